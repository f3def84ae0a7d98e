"""The `lab` fixture for pytest."""
