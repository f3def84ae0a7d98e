"""Header fields (RFC 3261 §7.3 and §20): how lines are made, then the grammar of values."""

from __future__ import annotations

from typing import Final

from .entry import ACCEPTED, DROPPED, Entry, request, response


def lines(
    name: str, section: str, *text: str | bytes, outcome: str | int = ACCEPTED, stream: int | None = None
) -> Entry:
    """A request with these further header lines."""
    return Entry(name, section, request(b"OPTIONS sip:bob@example.com SIP/2.0", *text), outcome, stream=stream)


def values(name: str, section: str, text: str, *expected: str) -> Entry:
    """A request in which the header field of *text* (possibly several lines) has these values."""
    key = text.partition(":")[0].strip()
    without = ("Via",) if key in ("Via", "v") else ()
    return Entry(
        name,
        section,
        request("OPTIONS sip:bob@example.com SIP/2.0", text, without=without),
        ACCEPTED,
        ((key, expected),),
    )


def bad(name: str, section: str, text: str) -> Entry:
    """A request with a malformed value in a header field that it could do without."""
    return Entry(
        name, section, request("OPTIONS sip:bob@example.com SIP/2.0", text), 400, ((text.partition(":")[0], ()),)
    )


def instead(name: str, section: str, field: str, text: str, outcome: str | int = ACCEPTED) -> Entry:
    """A request with *text* in the place of a mandatory header field."""
    return Entry(name, section, request("OPTIONS sip:bob@example.com SIP/2.0", text, without=(field,)), outcome)


def missing(field: str, outcome: str | int) -> Entry:
    """A request without one of the mandatory header fields."""
    return Entry(f"no {field}", "RFC 3261 §8.1.1", request(without=(field,)), outcome)


def reply_without(field: str) -> Entry:
    """A response without one of the mandatory header fields."""
    data = response()
    start = data.index(field.encode() + b": ")
    return Entry(
        f"response without {field}", "RFC 3261 §8.2.6", data[:start] + data[data.index(b"\r\n", start) + 2 :], DROPPED
    )


HEADER_LINES: Final = [
    lines("unknown field", "RFC 3261 §7.3.2", "X-Unknown: ;;,,;;,;"),
    lines("empty value", "RFC 3261 §7.3.1", "Subject:"),
    lines("no space after the colon", "RFC 3261 §7.3.1", "Subject:lunch"),
    lines("white space before the colon", "RFC 3261 §25.1 HCOLON", "Subject \t : lunch"),
    lines("odd case", "RFC 3261 §7.3.1", "sUBJECT: lunch"),
    lines("any token for a name", "RFC 4475 §3.1.1.2", "extensionHeader-!.%*+_`'~: x"),
    lines("bytes that are no UTF-8", "RFC 3261 §7", b"X-Bytes: \xff\xfe\x80"),
    lines("UTF-8", "RFC 3261 §25.1 TEXT-UTF8-TRIM", "Subject: Грüße 大停電"),
    lines("folded by a space", "RFC 3261 §7.3.1", "Subject: I know you're there,\r\n pick up the phone"),
    lines("folded by a tab, twice", "RFC 3261 §7.3.1", "Subject: a\r\n\tb\r\n\t  c"),
    lines("folded before the value", "RFC 3261 §7.3.1", "Subject:\r\n lunch"),
    lines("folded with a blank line", "RFC 3261 §25.1 LWS", "Subject: a\r\n \r\n b"),
    lines("control characters in quoted pairs", "RFC 4475 §3.1.1.2", 'X-Quoted: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f"'),
    lines("control character in a comment's quoted pair", "RFC 3261 §25.1 comment", "Server: x (a\\\x01b)"),
    lines("no colon", "RFC 3261 §7.3", "Subject", outcome=400),
    lines("no colon in an unknown field", "RFC 3261 §7.3", "Nonsense", outcome=400),
    lines("empty name", "RFC 3261 §7.3", ": lunch", outcome=400),
    lines("blank name", "RFC 3261 §7.3", "X-A: b", "\x0b: lunch", outcome=400),
    lines("name that is no token", "RFC 3261 §25.1 header-name", "Sub(ject: lunch", outcome=400),
    lines("name outside ASCII", "RFC 3261 §25.1 header-name", "Sübject: lunch", outcome=400),
    lines("space within the name", "RFC 3261 §25.1 header-name", "Sub ject: lunch", outcome=400),
    lines("bare CR in a value", "RFC 3261 §25.1 CRLF", "Subject: a\rb", outcome=400),
    lines("bare LF in a value", "RFC 3261 §25.1 CRLF", "Subject: a\nb", outcome=400),
    lines("bare LF hides a line", "RFC 3261 §25.1 CRLF", "Subject: a\nContent-Length: 7", outcome=400),
    lines("bare LF before a fold", "RFC 3261 §7.3.1", "Subject: a\n b", outcome=400),
    lines("LF in a quoted pair", "RFC 3261 §25.1 quoted-pair", 'X-Quoted: "a\\\nb"', outcome=400),
    lines("NUL in a value", "RFC 3261 §25.1 TEXT-UTF8char", b"Subject: a\x00b", outcome=400),
    lines("NUL in quotes, not in a pair", "RFC 3261 §25.1 qdtext", b'X-Quoted: "a\x00b"', outcome=400),
    lines("NUL after a backslash outside quotes", "RFC 3261 §25.1 quoted-pair", b"Subject: a\\\x00b", outcome=400),
    lines("NUL after an escaped backslash", "RFC 3261 §25.1 quoted-pair", b'X-Quoted: "a\\\\\x00b"', outcome=400),
    lines("escape character of terminals", "RFC 3261 §25.1 TEXT-UTF8char", b"Subject: \x1b[2J", outcome=400),
    lines("DEL", "RFC 3261 §25.1 TEXT-UTF8char", b"Subject: a\x7fb", outcome=400),
    lines("vertical tab in a name", "RFC 3261 §25.1 header-name", b"Subject\x0b: a", outcome=400),
]

MANDATORY: Final = [
    missing("Via", DROPPED),
    missing("From", 400),
    missing("To", 400),
    missing("Call-ID", 400),
    missing("CSeq", 400),
    missing("Max-Forwards", ACCEPTED),
    lines("To twice", "RFC 4475 §3.3.8", "t: <sip:bob@example.com>", outcome=400),
    lines("From twice", "RFC 4475 §3.3.8", "FROM: <sip:carol@example.com>;tag=c", outcome=400),
    lines("Call-ID twice", "RFC 4475 §3.3.8", "i: other", outcome=400),
    lines("CSeq twice", "RFC 4475 §3.3.8", "CSeq: 1 OPTIONS", outcome=400),
    lines("Max-Forwards twice", "RFC 4475 §3.3.8", "max-forwards: 5", outcome=400),
    instead("CSeq of another method", "RFC 3261 §8.1.1.5", "CSeq", "CSeq: 1 INVITE", 400),
    instead("CSeq of the method in another case", "RFC 3261 §7.1", "CSeq", "CSeq: 1 options", 400),
    instead("CSeq of zero", "RFC 3261 §20.16", "CSeq", "CSeq: 0 OPTIONS"),
    instead("CSeq with leading zeros", "RFC 4475 §3.1.1.1", "CSeq", "CSeq: 0009\r\n  OPTIONS"),
    instead("highest CSeq", "RFC 3261 §8.1.1.5", "CSeq", "CSeq: 2147483647 OPTIONS"),
    instead("CSeq beyond 32 bits", "RFC 4475 §3.1.2.4", "CSeq", "CSeq: 36893488147419103232 OPTIONS", 400),
    instead("negative CSeq", "RFC 3261 §20.16", "CSeq", "CSeq: -1 OPTIONS", 400),
    instead("CSeq without a method", "RFC 3261 §20.16", "CSeq", "CSeq: 1", 400),
    instead("CSeq without a number", "RFC 3261 §20.16", "CSeq", "CSeq: OPTIONS", 400),
    instead("CSeq in other digits", "RFC 3261 §25.1 DIGIT", "CSeq", "CSeq: １ OPTIONS", 400),
    instead("Max-Forwards of zero", "RFC 4475 §3.3.11", "Max-Forwards", "Max-Forwards: 0"),
    instead("Max-Forwards of words", "RFC 3261 §20.22", "Max-Forwards", "Max-Forwards: many", 400),
    instead("negative Max-Forwards", "RFC 3261 §20.22", "Max-Forwards", "Max-Forwards: -1", 400),
    instead("Call-ID of any word", "RFC 4475 §3.1.1.2", "Call-ID", "Call-ID: w%ZK-!.*_+'@word`~)(><:\\/\"][?}{"),
    instead("Call-ID with a space", "RFC 3261 §25.1 callid", "Call-ID", "Call-ID: a b", 400),
    instead("Call-ID with two @", "RFC 3261 §25.1 callid", "Call-ID", "Call-ID: a@b@c", 400),
    instead("empty Call-ID", "RFC 3261 §25.1 callid", "Call-ID", "Call-ID:", 400),
    instead("To in compact form", "RFC 3261 §7.3.3", "To", "t: <sip:bob@example.com>"),
    instead("To without <>", "RFC 3261 §20.39", "To", "To: sip:bob@example.com;x=y"),
    instead("To with a name in tokens", "RFC 3261 §25.1 display-name", "To", "To: Bob  B. <sip:bob@example.com>"),
    instead(
        "To with a name in quotes", "RFC 3261 §25.1 display-name", "To", 'To: "B, \\"b\\" <b>" <sip:bob@example.com>'
    ),
    instead("To of a telephone number", "RFC 3966 §3", "To", "To: <tel:+12015550123>"),
    instead("To of another scheme", "RFC 4475 §3.3.4", "To", "To: <isbn:2983792873>"),
    instead("To with an open quote", "RFC 4475 §3.1.2.6", "To", 'To: "Mr. J. User <sip:j.user@example.com>', 400),
    instead("To with an open bracket", "RFC 3261 §25.1 name-addr", "To", "To: <sip:bob@example.com", 400),
    instead("To with a name and no <>", "RFC 3261 §25.1 name-addr", "To", "To: Bob sip:bob@example.com", 400),
    instead("To with a header but no <>", "RFC 3261 §20.10", "To", "To: sip:bob@example.com?Subject=x", 400),
    instead("To with a repeated parameter", "RFC 3261 §7.3.1", "To", "To: <sip:bob@example.com>;a=1;a=2", 400),
    instead("empty To", "RFC 3261 §20.39", "To", "To:", 400),
    instead("From with a bad parameter", "RFC 3261 §25.1 from-param", "From", "From: <sip:a@example.com>;tag=;;", 400),
    instead(
        "Via of another version", "RFC 3261 §21.5.6", "Via", "Via: SIP/7.0/UDP host.example.com;branch=z9hG4bKx", 505
    ),
    instead("Via without a host", "RFC 3261 §25.1 sent-by", "Via", "Via: SIP/2.0/UDP ;branch=z9hG4bKx", DROPPED),
    instead("Via without a transport", "RFC 3261 §25.1 sent-protocol", "Via", "Via: SIP/2.0 a.example.com", DROPPED),
    instead("Via with a bad port", "RFC 3261 §25.1 port", "Via", "Via: SIP/2.0/UDP a.example.com:99999", DROPPED),
    instead("empty Via", "RFC 3261 §20.42", "Via", "Via:", DROPPED),
    *[reply_without(field) for field in ("Via", "From", "To", "Call-ID", "CSeq")],
]

VALUES: Final = [
    values(
        "Via spaced and folded",
        "RFC 4475 §3.1.1.1",
        "Via: SIP  / 2.0\r\n /UDP\r\n  192.0.2.2;branch=390s",
        "SIP/2.0/UDP 192.0.2.2;branch=390s",
    ),
    values(
        "Via list",
        "RFC 3261 §7.3.1",
        "v: SIP/2.0/TCP a;branch=1 , SIP/2.0/UDP b:5070",
        "SIP/2.0/TCP a;branch=1",
        "SIP/2.0/UDP b:5070",
    ),
    values("Via lines", "RFC 3261 §7.3.1", "Via: SIP/2.0/TLS a\r\nv: SIP/2.0/WSS b", "SIP/2.0/TLS a", "SIP/2.0/WSS b"),
    values(
        "Via of IPv6",
        "RFC 5118 §4.5",
        "Via: SIP/2.0/UDP [2001:db8::9]:5070;received=[2001:db8::1];rport=9",
        "SIP/2.0/UDP [2001:db8::9]:5070;received=[2001:db8::1];rport=9",
    ),
    values(
        "Via of a token transport",
        "RFC 3261 §25.1 other-transport",
        "Via: SIP/2.0/UNKNOWN a;maddr=192.0.2.9;ttl=16;rport",
        "SIP/2.0/UNKNOWN a;maddr=192.0.2.9;ttl=16;rport",
    ),
    values("Contact star", "RFC 3261 §10.2.2", "Contact: *", "*"),
    values(
        "Contact list",
        "RFC 3261 §20.10",
        'm: "Mr. \\"A\\", B" <sip:a@b;lr?c=d>;q=0.7;expires=60, sip:c@d',
        '"Mr. \\"A\\", B" <sip:a@b;lr?c=d>;q=0.7;expires=60',
        "<sip:c@d>",
    ),
    values("Contact parameter outside", "RFC 4475 §3.3.12", "Contact: sip:a@b;unknownparam", "<sip:a@b>;unknownparam"),
    values("Contact parameter inside", "RFC 4475 §3.3.13", "Contact: <sip:a@b;unknownparam>", "<sip:a@b;unknownparam>"),
    values("Route list", "RFC 3261 §20.34", "Route: <sip:a;lr>,<sip:b;lr>;x=y", "<sip:a;lr>", "<sip:b;lr>;x=y"),
    values(
        "Record-Route lines",
        "RFC 3261 §20.30",
        "Record-Route: <sip:a;lr>\r\nRecord-Route: <sip:b;lr>",
        "<sip:a;lr>",
        "<sip:b;lr>",
    ),
    values(
        "Path",
        "RFC 3327 §4",
        "Path: <sip:P3.example.com;lr>,<sip:P1.example.com;lr>",
        "<sip:P3.example.com;lr>",
        "<sip:P1.example.com;lr>",
    ),
    values("Service-Route", "RFC 3608 §5", "Service-Route: <sip:P2.example.com;lr>", "<sip:P2.example.com;lr>"),
    values("Allow", "RFC 3261 §20.5", "Allow: INVITE, ACK,BYE", "INVITE", "ACK", "BYE"),
    values("empty Allow", "RFC 3261 §20.5", "Allow:"),
    values("empty Supported", "RFC 3261 §20.37", "k:"),
    values("Supported", "RFC 3261 §20.37", "k: 100rel\r\nSupported: timer, replaces", "100rel", "timer", "replaces"),
    values("Require", "RFC 3261 §20.32", "Require: 100rel", "100rel"),
    values("Content-Type", "RFC 3261 §20.15", "c: text/html; charset=ISO-8859-4", "text/html;charset=ISO-8859-4"),
    values("Expires", "RFC 3261 §20.19", "Expires: 7200", "7200"),
    values("Expires too large counts as an hour", "RFC 4475 §3.1.2.4", "Expires: 10000000000000000000000", "3600"),
    values("Event", "RFC 6665 §8.2.1", "o: refer;id=93809824", "refer;id=93809824"),
    values("RAck", "RFC 3262 §7.2", "RAck: 776656 1 INVITE", "776656 1 INVITE"),
    values("RSeq", "RFC 3262 §7.1", "RSeq: 988789", "988789"),
    values("Session-Expires", "RFC 4028 §4", "x: 4000;refresher=uac", "4000;refresher=uac"),
    values("Min-SE", "RFC 4028 §5", "Min-SE: 60", "60"),
    values(
        "Refer-To",
        "RFC 3515 §2.1",
        "r: <sip:dave@denver.example.org?Replaces=12345%40192.168.118.3%3Bto-tag%3D12345>",
        "<sip:dave@denver.example.org?Replaces=12345%40192.168.118.3%3Bto-tag%3D12345>",
    ),
    values("Referred-By", "RFC 3892 §3", "b: <sip:a@b>", "<sip:a@b>"),
    values(
        "Replaces",
        "RFC 3891 §6.1",
        "Replaces: 98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff",
        "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r",
    ),
    values("Privacy", "RFC 3323 §4.2", "Privacy: id;critical", "id;critical"),
    values("SIP-If-Match", "RFC 3903 §11.3.2", "SIP-If-Match: dx200xyz", "dx200xyz"),
    values(
        "Subscription-State",
        "RFC 6665 §8.2.3",
        "Subscription-State: terminated;reason=timeout;retry-after=10",
        "terminated;reason=timeout;retry-after=10",
    ),
    values(
        "Reason",
        "RFC 3326 §2",
        'Reason: SIP ;cause=200 ;text="Call completed elsewhere"',
        'SIP;cause=200;text="Call completed elsewhere"',
    ),
    values("Max-Breadth", "RFC 5393 §5.3.2", "Max-Breadth: 60", "60"),
    values(
        "Warning",
        "RFC 3261 §20.43",
        "Warning: 301 isi.example.com \"Incompatible network address type 'E.164'\"",
        "301 isi.example.com \"Incompatible network address type 'E.164'\"",
    ),
    bad("Contact with an open quote", "RFC 3261 §25.1 contact-param", 'Contact: "Bob <sip:a@b>'),
    bad("empty Contact", "RFC 3261 §20.10", "Contact:"),
    bad("Contact list with a hole", "RFC 3261 §25.1 COMMA", "Contact: <sip:a@b>,,<sip:c@d>"),
    bad("Route without <>", "RFC 3261 §25.1 route-param", "Route: sip:a;lr"),
    bad("Route of a telephone number", "RFC 3261 §20.34", "Route: <tel:+12015550123>"),
    bad("Require of no token", "RFC 3261 §25.1 option-tag", "Require: 100 rel"),
    bad("empty Require", "RFC 3261 §20.32", "Require:"),
    bad("Content-Type without a subtype", "RFC 3261 §25.1 media-type", "Content-Type: text"),
    bad("Content-Type twice", "RFC 4475 §3.3.8", "Content-Type: a/b\r\nc: a/b"),
    bad("RAck without a method", "RFC 3262 §7.2", "RAck: 776656 1"),
    bad("RSeq of zero", "RFC 3262 §7.1", "RSeq: 0"),
    bad("Session-Expires of words", "RFC 4028 §4", "Session-Expires: soon"),
    bad("Warning without a text", "RFC 3261 §20.43", "Warning: 301 isi.example.com"),
]
