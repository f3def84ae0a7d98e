"""Content-Length, bodies and limits (RFC 3261 §18.3, §20.14, §21.4.11 to §21.5.7)."""

from __future__ import annotations

from typing import Final

from .entry import ACCEPTED, DROPPED, INCOMPLETE, Entry, request

MESSAGE: Final = "MESSAGE sip:bob@example.com SIP/2.0"


def body(
    name: str,
    section: str,
    octets: bytes,
    *fields: str,
    outcome: str | int = ACCEPTED,
    stream: str | int | None = None,
    length: int | None = None,
    expected: bytes | None = None,
) -> Entry:
    """A MESSAGE with this body; *fields* are to hold the Content-Length unless *length* is given."""
    data = request(MESSAGE, "Content-Type: text/plain", *fields, body=octets, length=length)
    return Entry(name, section, data, outcome, stream=stream, body=octets if expected is None else expected)


BODIES: Final = [
    body("text", "RFC 3261 §7.4", b"Watson, come here.", "Content-Length: 18"),
    body("empty", "RFC 3261 §20.14", b"", "Content-Length: 0"),
    body("any octets", "RFC 3261 §7.4", bytes(range(256)) + b"\r\n\r\n", "Content-Length: 260"),
    body("compact form", "RFC 3261 §7.3.3", b"abc", "l: 3"),
    body("compact form in upper case", "RFC 3261 §7.3.3", b"abc", "L:3"),
    body("odd case", "RFC 3261 §7.3.1", b"abc", "cOnTeNt-LeNgTh: 3"),
    body("white space before the colon", "RFC 3261 §25.1 HCOLON", b"abc", "Content-Length \t : 3"),
    body("white space before the colon of the compact form", "RFC 3261 §25.1 HCOLON", b"abc", "l : 3"),
    body("folded after the colon", "RFC 3261 §25.1 HCOLON", b"abc", "Content-Length:\r\n 3"),
    body("folded after the number", "RFC 3261 §7.3.1", b"abc", "Content-Length: 3\r\n "),
    body("leading zeros", "RFC 3261 §20.14", b"abc", "Content-Length: " + "0" * 30 + "3"),
    body("none on a datagram", "RFC 3261 §18.3", b"abc", stream=400),
    body("shorter than the datagram", "RFC 3261 §18.3", b"abcdef", "Content-Length: 3", expected=b"abc"),
    body("longer than the datagram", "RFC 4475 §3.1.2.2", b"abc", "Content-Length: 9", outcome=400, stream=INCOMPLETE),
    body("negative", "RFC 4475 §3.1.2.3", b"abc", "Content-Length: -999", outcome=400),
    body("signed", "RFC 3261 §20.14", b"abc", "Content-Length: +3", outcome=400),
    body("no number", "RFC 3261 §20.14", b"abc", "Content-Length: three", outcome=400),
    body("empty value", "RFC 3261 §20.14", b"abc", "Content-Length:", outcome=400),
    body("hexadecimal", "RFC 3261 §20.14", b"abc", "Content-Length: 0x3", outcome=400),
    body("underscore", "RFC 3261 §20.14", b"abc", "Content-Length: 0_3", outcome=400),
    body("other digits", "RFC 3261 §25.1 DIGIT", b"abc", "Content-Length: ３", outcome=400),
    body("two numbers", "RFC 3261 §20.14", b"abc", "Content-Length: 3 3", outcome=400),
    body("list", "RFC 3261 §20.14", b"abc", "Content-Length: 3, 3", outcome=400),
    body("folded digits", "RFC 3261 §7.3.1", b"a" * 33, "Content-Length: 3\r\n 3", outcome=400),
    body("repeated", "RFC 3261 §20.14", b"abc", "Content-Length: 3", "Content-Length: 3", outcome=400),
    body("contradictory", "RFC 3261 §20.14", b"abc", "Content-Length: 3", "Content-Length: 0", outcome=400),
    body("contradictory in compact form", "RFC 3261 §20.14", b"abc", "l: 0", "Content-Length: 3", outcome=400),
    body("contradictory behind white space", "RFC 3261 §20.14", b"abc", "Content-Length: 3", "l\t: 0", outcome=400),
    body("longer than any body", "RFC 3261 §21.4.11", b"abc", "Content-Length: " + "9" * 5000, outcome=413),
]


def limit(name: str, section: str, data: bytes, status: int, *, stream: str | int | None = None) -> Entry:
    """A message over the limit *name*."""
    return Entry(f"over {name}", section, data, status, limit=name, stream=stream)


def within(name: str, section: str, data: bytes) -> Entry:
    """A message just within the limit *name*."""
    return Entry(f"at {name}", section, data, ACCEPTED, limit=name)


OPTIONS: Final = "OPTIONS sip:bob@example.com SIP/2.0"


def filled(size: int, *, data: bytes) -> str:
    """X header lines that make the head of *data* exactly *size* octets long."""
    head = data.index(b"\r\n\r\n") + 4
    rest = size - head
    text = []
    while rest > 8000:
        text.append("X-Fill: " + "a" * (4000 - 10))
        rest -= 4000
    return "\r\n".join([*text, "X-Fill: " + "a" * (rest - 10)])


def uri_of(size: int) -> str:
    """A Request-Line whose Request-URI has *size* octets."""
    return f"OPTIONS sip:{'a' * (size - 16)}@example.com SIP/2.0"


def routes(field: str, count: int) -> str:
    """*count* values, half of them in one list."""
    half = count // 2
    return "\r\n".join([f"{field}: " + ",".join(["<sip:a;lr>"] * half)] + [f"{field}: <sip:a;lr>"] * (count - half))


def large(size: int) -> bytes:
    """A MESSAGE with a body of *size* octets."""
    return request(MESSAGE, "Content-Type: text/plain", body=b"a" * size)


LIMITS: Final = [
    within("request_uri", "RFC 3261 §21.4.12", request(uri_of(2048))),
    limit("request_uri", "RFC 3261 §21.4.12", request(uri_of(2049)), 414),
    within("headers", "RFC 3261 §21.5.7", request(OPTIONS, *["X-A: b"] * (256 - 7))),
    limit("headers", "RFC 3261 §21.5.7", request(OPTIONS, *["X-A: b"] * (257 - 7)), 513),
    within("header_line", "RFC 3261 §21.5.7", request(OPTIONS, "X-A: " + "b" * (8192 - 5))),
    limit("header_line", "RFC 3261 §21.5.7", request(OPTIONS, "X-A: " + "b" * (8193 - 5)), 513),
    limit("header_line", "RFC 3261 §21.5.7 (folded)", request(OPTIONS, "X-A: " + "b\r\n " * 2100), 513),
    limit("header_line", "RFC 3261 §21.5.7 (octets)", request(OPTIONS, "X-A: " + "ä" * 4100), 513),
    within("head", "RFC 3261 §21.5.7", request(OPTIONS, filled(32768, data=request(OPTIONS)))),
    limit("head", "RFC 3261 §21.5.7", request(OPTIONS, filled(32769, data=request(OPTIONS))), 513),
    within("body", "RFC 3261 §21.4.11", large(49152)),
    limit("body", "RFC 3261 §21.4.11", large(49153), 413),
    limit(
        "message", "RFC 3261 §21.5.7", request(MESSAGE, filled(20000, data=request(MESSAGE)), body=b"a" * 49152), 513
    ),
    within(
        "vias", "RFC 3261 §21.4.21", request(OPTIONS, *["Via: SIP/2.0/UDP a,SIP/2.0/UDP b"] * 49, "v: SIP/2.0/UDP c")
    ),
    limit("vias", "RFC 3261 §21.4.21", request(OPTIONS, *["Via: SIP/2.0/UDP a,SIP/2.0/UDP b"] * 50), 483),
    within("routes", "RFC 3261 §20.34", request(OPTIONS, routes("Route", 70))),
    limit("routes", "RFC 3261 §20.34", request(OPTIONS, routes("Route", 71)), 513),
    within("record_routes", "RFC 3261 §20.30", request(OPTIONS, routes("Record-Route", 70))),
    limit("record_routes", "RFC 3261 §20.30", request(OPTIONS, routes("Record-Route", 71)), 513),
    Entry(
        "commas after an open quote count",
        "RFC 3261 §20.34",
        request(OPTIONS, 'Route: "' + "," * 80 + " <sip:a;lr>"),
        513,
        limit="routes",
    ),
    Entry(
        "a malformed list is left alone while it is short",
        "RFC 3261 §20.34",
        request(OPTIONS, 'Route: "' + "," * 60 + " <sip:a;lr>", *["X-A: b"] * 20),
        ACCEPTED,
    ),
    Entry(
        "quoted commas are no values",
        "RFC 3261 §7.3.1",
        request(OPTIONS, 'Route: "' + "," * 80 + '" <sip:a;lr>'),
        ACCEPTED,
    ),
    Entry(
        "an ACK over a limit",
        "RFC 3261 §17.1",
        request("ACK sip:a SIP/2.0", *["X-A: b"] * 300),
        DROPPED,
        limit="headers",
    ),
]
