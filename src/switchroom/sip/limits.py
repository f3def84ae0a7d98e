"""The bounds of what is accepted from the network: each has a name, a default and the status sent when it is hit.

A bound that is exceeded raises `LimitExceeded` with the name of its field here.  RFC 3261 knows a status for the
Request-URI (414, §21.4.12), the body (413, §21.4.11), the hops (483, §21.4.21) and the message as a whole (513,
§21.5.7); the bounds on the header have none of their own and are part of the last.  None of them is a 400, since what
was sent is well-formed: the sender should learn that it is the size that is refused.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Limits(NamedTuple):
    """Named bounds.  Sizes are in octets; the comment names the status."""

    message: int = 65_535  # 513; start-line, header and body together: what a UDP datagram holds (§18.1.1)
    head: int = 32_768  # 513; start-line and header, with the blank line
    header_line: int = 8_192  # 513; one header field, with its continuation lines
    headers: int = 256  # 513; header fields, counted in lines
    request_uri: int = 2_048  # 414
    body: int = 49_152  # 413; in datagrams what is left after the head, on streams the Content-Length
    vias: int = 100  # 483; Via values: hops already made, and 70 is where Max-Forwards starts (§8.1.1.6)
    routes: int = 70  # 513; Route values
    record_routes: int = 70  # 513; Record-Route values
    body_parts: int = 64  # 413; parts of one multipart body, those of nested ones included
    body_depth: int = 4  # 413; multipart bodies within multipart bodies


DEFAULT_LIMITS: Final = Limits()
