"""The plain form of header fields: it is never more than what the parse functions accept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.errors import RemoteProtocolError
from switchroom.sip.header_lines import Headers
from switchroom.sip.headers import CALL_ID, CSEQ, FROM, MAX_FORWARDS, TO
from switchroom.sip.message import parse, validate
from switchroom.sip.plain_form import is_plain_request, is_plain_response, is_plain_without_tag
from switchroom.sip.uri import parse_uri

URI = "sip:bob@biloxi.example.com"
LINES = {
    "Max-Forwards": "Max-Forwards: 70",
    "From": "From: Alice <sip:alice@192.0.2.1:5070;transport=udp>;tag=9fxced76sl",
    "To": 'To: "Bob B." <sips:biloxi.example.com>',
    "Call-ID": "Call-ID: 3848276298@atlanta.example.com",
    "CSeq": "CSeq: 20 INVITE",
}


def header(**changed: str | None) -> Headers:
    """The lines above, in a message; None leaves one out."""
    lines = LINES | {name.replace("_", "-"): line for name, line in changed.items()}
    text = "\r\n".join(["INVITE sip:b SIP/2.0", *[line for line in lines.values() if line is not None], "", ""])
    return parse(text.encode("utf-8", "surrogateescape")).headers


def test_the_usual_form_is_plain() -> None:
    assert is_plain_request(header(), "INVITE", URI)
    assert is_plain_response(header())
    assert is_plain_request(header(Max_Forwards=None), "INVITE", URI)
    assert is_plain_request(header(From="f:<sip:a@b>;TAG=1"), "INVITE", URI)
    assert is_plain_request(header(), "INVITE", "sip:b@192.0.2.1:59999")
    several = "Route: <sip:a;lr>\r\nRoute: <sip:b;lr>"
    assert is_plain_request(header(Route=several), "INVITE", URI)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("From", None),
        ("From", "From: sip:alice@atlanta.example.com;tag=1"),
        ("From", "From: <sip:alice@192.0.2.256>;tag=1"),
        ("From", "From: <sip:al%69ce@a.example>;tag=1"),
        ("From", "From: <sip:a@b.example;a;a>;tag=1"),
        ("From", "From: <sip:a@b.example:65536>;tag=1"),
        ("From", "From: <sip:a@b.example>;tag=1;tag=1"),
        ("From", "From: <sip:a@b.example>;tag=1\r\nFrom: <sip:a@b.example>;tag=1"),
        ("To", None),
        ("To", "To: <tel:+1>"),
        ("To", "To: <sip:b@-.example>"),
        ("Call-ID", None),
        ("Call-ID", "Call-ID: a b"),
        ("CSeq", None),
        ("CSeq", "CSeq: 20\tINVITE"),
    ],
)
def test_any_other_form_is_left_to_the_parser(name: str, line: str | None) -> None:
    headers = header(**{name.replace("-", "_"): line})
    assert not is_plain_request(headers, "INVITE", URI)
    assert not is_plain_response(headers)


def test_what_only_requests_have_is_left_to_the_parser_as_well() -> None:
    assert not is_plain_request(header(), "INVITE", "sip:b@b_.-")
    assert not is_plain_request(header(), "INVITE", "tel:+1")
    assert not is_plain_request(header(), "BYE", URI)
    assert not is_plain_request(header(Max_Forwards="Max-Forwards: -1"), "INVITE", URI)


@pytest.mark.parametrize(
    ("line", "without"),
    [
        ("To: <sip:b@b.example>", True),
        ('t:"tag" <sip:tag@b.example;tag=1>', True),
        ("To: <sip:b@b.example>;tag=1", False),
        ("To: <sip:b@b.example>;TAG=1", False),
        ("To: <sip:b@-.example>", False),
        ("To: sip:b@b.example", False),
    ],
)
def test_a_tag_is_seen_in_the_plain_form(line: str, without: bool) -> None:
    assert is_plain_without_tag(line) is without


HOSTS = ("a", "a.b", "1.2.3.4", "1.2.3", "a_", "-", "[::1]", "")
PIECES = st.lists(
    st.sampled_from(
        [
            *(*HOSTS, "sip:", "sips:", "SIP:", "@", "<", ">", ":", ";", "=", ";tag=", ";lr", ";a=b", '"', "\\"),
            *(
                " ",
                "\t",
                "5060",
                "49152",
                "0",
                "99999",
                "%",
                "%41",
                ",",
                "?",
                "é",
                "\udcff",
                "INVITE",
                "1 ",
                "4294967296",
            ),
        ]
    ),
    max_size=9,
).map("".join)


@given(
    st.sampled_from(HOSTS), PIECES, st.sampled_from(("", "a <", "<", '"a" <')), st.sampled_from(("", ">", ">;tag=1"))
)
def test_what_is_plain_is_well_formed(host: str, pieces: str, before: str, after: str) -> None:
    uri = f"sip:{host}{pieces}"
    address = f"{before}{uri}{after}"
    for name, line in [
        ("From", f"From: {address}"),
        ("To", f"To: {pieces}{address}"),
        ("Call-ID", f"i: {pieces}"),
        ("CSeq", f"CSeq: {pieces}"),
        ("Max-Forwards", f"Max-Forwards: {pieces}"),
        ("Subject", "Subject: x"),
    ]:
        headers = header(**{name.replace("-", "_"): line})
        if is_plain_response(headers):
            for field in (FROM, TO, CALL_ID, CSEQ):
                assert headers.one(field) is not None
        if is_plain_request(headers, "INVITE", uri):
            headers.one(MAX_FORWARDS)
            parse_uri(uri)


def test_a_message_is_judged_alike_in_any_form() -> None:
    """One character more makes a value less than plain, and not less valid."""
    data = (
        f"INVITE {URI} SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\n" + "\r\n".join(LINES.values())
    ) + "\r\n\r\n"
    validate(parse(data.encode()))
    for name, line in LINES.items():
        validate(parse(data.replace(line, line + " ").encode()))
        with pytest.raises(RemoteProtocolError):
            validate(parse(data.replace(line, f"{name}: a b").encode()))
