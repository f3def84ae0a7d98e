"""Read a SIP message: header fields are parsed when they are asked for, and what nobody touches stays as it was."""

from __future__ import annotations

from switchroom.sip.errors import RemoteProtocolError
from switchroom.sip.message import Request, parse

INVITE = b"""\
INVITE sip:bob@biloxi.example.com SIP/2.0
Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds
Max-Forwards: 70
t: "Bob, at his desk" <sip:bob@biloxi.example.com>
From: Alice <sip:alice@atlanta.example.com>;tag=1928301774
Call-ID: a84b4c76e66710@pc33.atlanta.example.com
CSeq: 314159 INVITE
Contact: <sip:alice@pc33.atlanta.example.com>
X-Anything: is kept, byte for byte
Content-Length: 0

""".replace(b"\n", b"\r\n")


def describe(data: bytes) -> str:
    """One line about a message, or why it is none."""
    try:
        message = parse(data)
        if isinstance(message, Request):
            return (
                f"{message.method} from {message.from_.uri} to {message.to.display_name!r}, CSeq {message.cseq.number}"
            )
        return f"{message.status} {message.reason} to {message.cseq.method}"
    except RemoteProtocolError as error:
        return f"malformed, to be answered {error.status_hint}: {error}"


def main() -> None:
    print(describe(INVITE))
    print(describe(INVITE.replace(b"CSeq: 314159 INVITE", b"CSeq: many INVITE")))
    assert parse(INVITE).encode() == INVITE


if __name__ == "__main__":
    main()
