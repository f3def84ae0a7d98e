"""What an entry of the corpus is, and the few lines that every one of its messages needs."""

from __future__ import annotations

from typing import Final, NamedTuple

ACCEPTED: Final = "accepted"
DROPPED: Final = "dropped"


class Entry(NamedTuple):
    """One message and what must become of it.

    `outcome` is ACCEPTED, DROPPED (no response can or may be sent) or the status owed.  `stream` is that of the same
    bytes on a stream, where it differs; INCOMPLETE there means that the rest is waited for.
    `values` are the typed values of header fields, in canonical text.
    """

    name: str
    section: str
    data: bytes
    outcome: str | int
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stream: str | int | None = None
    uri: str | None = None
    reason: str | None = None
    body: bytes | None = None
    limit: str | None = None


INCOMPLETE: Final = "incomplete"

TO: Final = "To: <sip:bob@example.com>"
MANDATORY: Final = {
    "Via": "Via: SIP/2.0/UDP host.example.com;branch=z9hG4bKcorpus",
    "Max-Forwards": "Max-Forwards: 70",
    "From": "From: <sip:alice@example.com>;tag=a1",
    "To": TO,
    "Call-ID": "Call-ID: corpus@host.example.com",
}


def request(
    start: str | bytes = "OPTIONS sip:bob@example.com SIP/2.0",
    *fields: str | bytes,
    without: tuple[str, ...] = (),
    body: bytes = b"",
    length: int | None = -1,
) -> bytes:
    """A request; *without* names mandatory header fields to leave out, a *length* of None leaves out Content-Length."""
    lines = [start if isinstance(start, bytes) else start.encode()]
    lines += [line.encode() for name, line in MANDATORY.items() if name not in without]
    if "CSeq" not in without:
        lines.append(b"CSeq: 1 " + lines[0].partition(b" ")[0])
    lines += [field if isinstance(field, bytes) else field.encode() for field in fields]
    if length is not None:
        lines.append(b"Content-Length: %d" % (len(body) if length < 0 else length))
    return b"\r\n".join([*lines, b"", body])


def response(start: str | bytes = "SIP/2.0 200 OK", *fields: str | bytes, body: bytes = b"") -> bytes:
    """A response to an OPTIONS."""
    data = request(b"OPTIONS x SIP/2.0", *fields, without=("Max-Forwards", "To"), body=body)
    start = start if isinstance(start, bytes) else start.encode()
    return data.replace(b"OPTIONS x SIP/2.0\r\n", start + b"\r\nTo: <sip:bob@example.com>;tag=b1\r\n", 1)
