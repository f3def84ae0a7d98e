"""The public test kit: a virtual-time event loop and a network in memory."""
