"""Start-lines (RFC 3261 §7.1, §7.2) and what may stand before them."""

from __future__ import annotations

from typing import Final

from .entry import ACCEPTED, DROPPED, INCOMPLETE, Entry, request, response


def line(
    name: str,
    section: str,
    text: str | bytes,
    outcome: str | int,
    uri: str | None = None,
    stream: str | int | None = None,
) -> Entry:
    """A request with this Request-Line."""
    return Entry(name, section, request(text), outcome, uri=uri, stream=stream)


def status(name: str, section: str, text: str | bytes, outcome: str, reason: str | None = None) -> Entry:
    """A response with this Status-Line."""
    return Entry(name, section, response(text), outcome, reason=reason)


REQUEST_LINES: Final = [
    line("invite", "RFC 3261 §7.1", "INVITE sip:bob@example.com SIP/2.0", ACCEPTED, "sip:bob@example.com"),
    line("extension method", "RFC 3261 §25.1 Method", "X.-!%*_+`'~9 sip:bob@example.com SIP/2.0", ACCEPTED),
    line("lower-case method is another method", "RFC 3261 §7.1", "options sip:bob@example.com SIP/2.0", ACCEPTED),
    line("version in lower case", "RFC 3261 §7.1", "OPTIONS sip:bob@example.com sip/2.0", ACCEPTED),
    line("sips URI", "RFC 3261 §19.1.1", "OPTIONS sips:bob@example.com SIP/2.0", ACCEPTED, "sips:bob@example.com"),
    line("host alone", "RFC 3261 §19.1.1", "OPTIONS sip:example.com SIP/2.0", ACCEPTED, "sip:example.com"),
    line("host and port", "RFC 3261 §19.1.1", "OPTIONS sip:bob@example.com:5070 SIP/2.0", ACCEPTED),
    line("IPv4 host", "RFC 3261 §25.1 IPv4address", "OPTIONS sip:bob@192.0.2.1 SIP/2.0", ACCEPTED),
    line("IPv6 host", "RFC 5118 §4.1", "OPTIONS sip:bob@[2001:db8::10] SIP/2.0", ACCEPTED, "sip:bob@[2001:db8::10]"),
    line("URI parameters", "RFC 3261 §19.1.1", "OPTIONS sip:bob@example.com;transport=tcp;lr SIP/2.0", ACCEPTED),
    line("password", "RFC 3261 §19.1.1", "OPTIONS sip:bob:secret@example.com SIP/2.0", ACCEPTED),
    line("telephone number", "RFC 3966 §3", "OPTIONS tel:+1-201-555-0123 SIP/2.0", ACCEPTED),
    line("local telephone number", "RFC 3966 §5.1.5", "OPTIONS tel:911;phone-context=+1 SIP/2.0", ACCEPTED),
    line("local telephone number without its context", "RFC 3966 §5.1.5", "OPTIONS tel:911 SIP/2.0", ACCEPTED),
    line("escaped user", "RFC 4475 §3.1.1.3", "OPTIONS sip:sips%3Auser%40example.com@example.net SIP/2.0", ACCEPTED),
    line(
        "another scheme", "RFC 3261 §25.1 absoluteURI", "OPTIONS nobodyKnowsThisScheme:totallyopaque SIP/2.0", ACCEPTED
    ),
    line("unknown version", "RFC 4475 §3.1.2.16", "OPTIONS sip:bob@example.com SIP/7.0", 505),
    line("version of HTTP", "RFC 3261 §7.1", "OPTIONS sip:bob@example.com HTTP/1.1", 400),
    line("no version", "RFC 3261 §7.1", "OPTIONS sip:bob@example.com", 400),
    line("version without a minor number", "RFC 3261 §25.1 SIP-Version", "OPTIONS sip:bob@example.com SIP/2", 400),
    line("no Request-URI", "RFC 3261 §7.1", "OPTIONS SIP/2.0", 400),
    line("empty Request-URI", "RFC 3261 §7.1", "OPTIONS  SIP/2.0", 400),
    line("two spaces before the URI", "RFC 4475 §3.1.2.8", "OPTIONS  sip:bob@example.com SIP/2.0", 400),
    line("two spaces after the URI", "RFC 4475 §3.1.2.8", "OPTIONS sip:bob@example.com  SIP/2.0", 400),
    line("space at the end", "RFC 4475 §3.1.2.9", "OPTIONS sip:bob@example.com SIP/2.0 ", 400),
    line("tab instead of a space", "RFC 3261 §7.1", "OPTIONS sip:bob@example.com\tSIP/2.0", 400),
    line("tab in the URI", "RFC 3261 §7.1", "OPTIONS sip:bob\t@example.com SIP/2.0", 400),
    line("space in the URI", "RFC 4475 §3.1.2.8", "OPTIONS sip:bob@example.com; lr SIP/2.0", 400),
    line("URI in angle brackets", "RFC 4475 §3.1.2.7", "OPTIONS <sip:bob@example.com> SIP/2.0", 400),
    line("URI without a scheme", "RFC 3261 §25.1 Request-URI", "OPTIONS bob@example.com SIP/2.0", 400),
    line("URI without a host", "RFC 3261 §19.1.1", "OPTIONS sip:bob@ SIP/2.0", 400),
    line("IPv6 without brackets", "RFC 5118 §4.2", "OPTIONS sip:2001:db8::10 SIP/2.0", 400),
    line("port too large", "RFC 3261 §19.1.1", "OPTIONS sip:bob@example.com:65536 SIP/2.0", 400),
    line("half an escape", "RFC 3261 §25.1 escaped", "OPTIONS sip:b%4@example.com SIP/2.0", 400),
    line("method that is no token", "RFC 3261 §25.1 Method", "OPT(ONS) sip:bob@example.com SIP/2.0", DROPPED),
    line("no method", "RFC 3261 §7.1", " sip:bob@example.com SIP/2.0", DROPPED),
    line("control character in the URI", "RFC 3261 §25.1 uric", b"OPTIONS sip:b\x01b@example.com SIP/2.0", 400),
    line("NUL in the URI", "RFC 3261 §25.1 uric", b"OPTIONS sip:b\x00b@example.com SIP/2.0", 400),
    line("ACK is never answered", "RFC 3261 §17.1", "ACK <sip:bob@example.com> SIP/2.0", DROPPED),
    Entry("leading CRLFs", "RFC 3261 §7.5", b"\r\n\r\n\r\n" + request(), ACCEPTED),
    Entry("bare LF first", "RFC 3261 §7.5", b"\n" + request(), 400, stream=DROPPED),
    Entry("CRLF LF first", "RFC 3261 §7.5", b"\r\n\n" + request(), 400, stream=DROPPED),
    Entry("CRLF CR first", "RFC 3261 §7.5", b"\r\n\r" + request(), 400, stream=DROPPED),
    Entry("CR CR LF first", "RFC 3261 §7.5", b"\r\r\n" + request(), 400, stream=DROPPED),
    Entry(
        "folded start-line",
        "RFC 3261 §7.3.1",
        request("OPTIONS sip:bob@example.com\r\n SIP/2.0"),
        400,
    ),
    Entry("continuation before any field", "RFC 3261 §7.3.1", request("OPTIONS sip:a SIP/2.0\r\n x"), 400),
    Entry("nothing", "RFC 3261 §7", b"", DROPPED, stream=INCOMPLETE),
    Entry("CRLFs alone", "RFC 5626 §3.5.1", b"\r\n\r\n", DROPPED, stream=INCOMPLETE),
    Entry("keep-alive of STUN", "RFC 5626 §3.5.2", b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12), DROPPED),
    Entry("request of HTTP", "RFC 3261 §7.1", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", DROPPED),
    Entry("no blank line", "RFC 3261 §7", request()[:-2], 400, stream=INCOMPLETE),
    Entry("start-line alone", "RFC 3261 §7", b"OPTIONS sip:a SIP/2.0\r\n\r\n", DROPPED),
]

STATUS_LINES: Final = [
    status("ok", "RFC 3261 §7.2", "SIP/2.0 200 OK", ACCEPTED, "OK"),
    status("empty reason", "RFC 4475 §3.1.1.13", "SIP/2.0 200 ", ACCEPTED, ""),
    status(
        "reason in UTF-8", "RFC 4475 §3.1.1.12", "SIP/2.0 200 = 2**3 * 5**2 но сто", ACCEPTED, "= 2**3 * 5**2 но сто"
    ),
    status("reason with a tab", "RFC 3261 §25.1 Reason-Phrase", "SIP/2.0 200 O\tK", ACCEPTED, "O\tK"),
    status("reason of other bytes", "RFC 3261 §7", b"SIP/2.0 200 \xff\xfe", ACCEPTED, "\udcff\udcfe"),
    status("version in lower case", "RFC 3261 §7.1", "sip/2.0 200 OK", ACCEPTED, "OK"),
    status("lowest code", "RFC 3261 §25.1 Status-Code", "SIP/2.0 100 Trying", ACCEPTED),
    status("highest code", "RFC 3261 §25.1 extension-code", "SIP/2.0 699 Never Again", ACCEPTED),
    status("no space after the code", "RFC 3261 §7.2", "SIP/2.0 200", DROPPED),
    status("two spaces before the code", "RFC 3261 §7.2", "SIP/2.0  200 OK", DROPPED),
    status("code too low", "RFC 3261 §7.2", "SIP/2.0 099 Zero", DROPPED),
    status("code too high", "RFC 3261 §7.2", "SIP/2.0 700 Seven", DROPPED),
    status("code too long", "RFC 4475 §3.1.2.19", "SIP/2.0 4294967301 better not break the receiver", DROPPED),
    status("code of two digits", "RFC 3261 §25.1 Status-Code", "SIP/2.0 20 OK", DROPPED),
    status("code of other digits", "RFC 3261 §25.1 Status-Code", "SIP/2.0 ２００ OK", DROPPED),
    status("code of letters", "RFC 3261 §25.1 Status-Code", "SIP/2.0 2xx OK", DROPPED),
    status("unknown version", "RFC 3261 §7.2", "SIP/3.0 200 OK", DROPPED),
    status("NUL in the reason", "RFC 3261 §25.1 Reason-Phrase", b"SIP/2.0 200 \x00", DROPPED),
]
