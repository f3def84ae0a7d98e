"""The SIP protocol without I/O: bytes and clock readings in, bytes and events out.

Standard library only; nothing here opens a socket, reads a clock or draws a random number.
"""
