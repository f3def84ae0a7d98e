"""The asyncio side: transports, DNS and the endpoint that drives the machines of `switchroom.sip`."""
