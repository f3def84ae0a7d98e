"""Messages: raw lines and typed values, byte-identical encoding, responses, CANCEL and ACK, and what is owed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.corpus.entry import request as corpus_request
from tests.corpus.entry import response as corpus_response

from switchroom.sip.errors import LimitExceeded, LocalProtocolError, ParseError, RemoteProtocolError
from switchroom.sip.header_lines import Headers, parse_headers
from switchroom.sip.headers import (
    ACCEPT_RESOURCE_PRIORITY,
    ALLOW,
    AUTHORIZATION,
    CALL_ID,
    CONTACT,
    CSEQ,
    EXPIRES,
    MAX_FORWARDS,
    RECORD_ROUTE,
    RECV_INFO,
    RESOURCE_PRIORITY,
    ROUTE,
    SUBJECT,
    SUPPORTED,
    VIA,
    Address,
    HeaderField,
    Via,
    canonical_key,
    register,
)
from switchroom.sip.limits import DEFAULT_LIMITS
from switchroom.sip.message import METHODS, Message, Request, Response, parse, request_to_answer, validate
from switchroom.sip.status import REASON_PHRASES, reason_phrase
from switchroom.sip.uri import parse_uri

INVITE = (
    b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds , SIP/2.0/TCP b;branch=2\r\n"
    b"v:SIP/2.0/UDP c;branch=3\r\n"
    b"Max-Forwards: 70\r\n"
    b"Record-Route: <sip:p2;lr>,\r\n <sip:p1;lr>\r\n"
    b"t:  Bob  <sip:bob@biloxi.example.com>\r\n"
    b"FROM: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Route: <sip:r1;lr>, <sip:r2;lr>\r\n"
    b"Contact: <sip:alice@pc33.atlanta.example.com>\r\n"
    b"Timestamp: 54.1\r\n"
    b"X-Odd  : a\r\n\tb \r\n"
    b"Content-Type: text/plain\r\n"
    b"Content-Length: 4\r\n\r\nbody"
)


def invite() -> Request:
    """The request above."""
    message = parse(INVITE)
    assert isinstance(message, Request)
    return message


def lines(message: Message) -> list[bytes]:
    """The start-line and the header lines as they leave; continuation lines are lines of their own here."""
    return message.encode().partition(b"\r\n\r\n")[0].split(b"\r\n")


def changed(message: Message) -> tuple[set[bytes], set[bytes]]:
    """The lines that left `INVITE` as it became *message*, and those that came."""
    before = set(INVITE.partition(b"\r\n\r\n")[0].split(b"\r\n"))
    after = set(lines(message))
    return before - after, after - before


# Reading


def test_typed_values() -> None:
    message = invite()
    assert (message.method, message.uri_text) == ("INVITE", "sip:bob@biloxi.example.com")
    assert message.uri == parse_uri("sip:bob@biloxi.example.com")
    assert message.via.branch == "z9hG4bK776asdhds"
    assert [via.branch for via in message.vias] == ["z9hG4bK776asdhds", "2", "3"]
    assert tuple(message.cseq) == (314159, "INVITE")
    assert message.from_.tag == "1928301774"
    assert (message.to.display_name, message.to.tag) == ("Bob", None)
    assert message.call_id == "a84b4c76e66710"
    assert message.max_forwards == 70
    assert [str(route) for route in message.routes] == ["<sip:r1;lr>", "<sip:r2;lr>"]
    assert [str(route) for route in message.record_routes] == ["<sip:p2;lr>", "<sip:p1;lr>"]
    assert [str(contact) for contact in message.contacts] == ["<sip:alice@pc33.atlanta.example.com>"]
    assert str(message.content_type) == "text/plain"
    assert message.body == b"body"
    assert (message.expires, message.require, message.supported) == (None, (), ())
    assert (message.proxy_require, message.allow) == ((), ())
    assert repr(message) == "<Request 'INVITE sip:bob@biloxi.example.com SIP/2.0'>"


@pytest.mark.parametrize("name", ["X-Odd", "x-odd", "X-ODD"])
def test_raw_values(name: str) -> None:
    headers = invite().headers
    assert headers.get(name) == "a b"
    assert headers.get_all(name) == ["a b"]
    assert name in headers


def test_names_in_any_form() -> None:
    headers = invite().headers
    assert headers.get("Via") == headers.get("v") == headers.get("VIA") == headers.get(VIA)
    assert headers.get_all("V")[1] == "SIP/2.0/UDP c;branch=3"
    assert VIA in headers
    assert "To" in headers
    assert ("Subject" in headers, SUBJECT in headers, 7 in headers) == (False, False, False)
    assert (headers.get("Subject"), headers.get_all("Subject")) == (None, [])
    assert (headers.one(SUBJECT), headers.all(SUBJECT)) == (None, ())
    assert len(headers) == 14


def test_iteration_keeps_the_spelling() -> None:
    items = list(invite().headers)
    assert items[4] == ("t", "Bob  <sip:bob@biloxi.example.com>")
    assert items[3] == ("Record-Route", "<sip:p2;lr>, <sip:p1;lr>")
    assert items[11] == ("X-Odd", "a b")
    assert repr(invite().headers).startswith("Headers([('Via', ")


def test_values_are_parsed_once() -> None:
    message = invite()
    assert message.via is message.via
    assert message.vias is message.vias
    assert message.uri is message.uri


def test_a_malformed_value_raises_at_every_access() -> None:
    message = parse(INVITE.replace(b"CSeq: 314159 INVITE", b"CSeq: many").replace(b"Contact: <", b"Contact: <<"))
    for _ in range(2):
        with pytest.raises(ParseError):
            _ = message.cseq
        with pytest.raises(ParseError):
            _ = message.contacts


def test_a_malformed_uri_raises_at_every_access() -> None:
    message = parse(INVITE.replace(b"sip:bob@biloxi.example.com SIP", b"sip:bob@ SIP"))
    assert isinstance(message, Request)
    for _ in range(2):
        with pytest.raises(ParseError):
            _ = message.uri


@pytest.mark.parametrize("name", ["via", "cseq", "from_", "to", "call_id"])
def test_what_every_message_must_have(name: str) -> None:
    with pytest.raises(ParseError, match="no "):
        getattr(Request("INVITE", "sip:a", Headers()), name)


def test_a_repeated_header_field_that_must_not_be() -> None:
    headers = Headers([("Subject", "a"), ("s", "b")])
    with pytest.raises(ParseError, match="repeated"):
        headers.one(SUBJECT)
    with pytest.raises(ParseError, match="repeated"):
        headers.all(SUBJECT)
    assert headers.get(SUBJECT) == "a"


def test_credentials_may_stand_on_several_lines_and_hold_commas() -> None:
    text = 'Digest username="a", realm="{}", nonce="n", uri="sip:a", response="{:032}"'
    headers = Headers([(AUTHORIZATION, text.format(name, 0)) for name in ("one", "two")])
    first = headers.one(AUTHORIZATION)
    assert first is not None
    assert first.params.get("realm") == "one"
    assert len(headers.all(AUTHORIZATION)) == 2
    assert headers.pop_first(AUTHORIZATION) == first
    assert len(headers) == 1


def test_empty_lists() -> None:
    headers = Headers([("Supported", ""), ("k", "timer"), ("Allow", "")])
    assert headers.all(SUPPORTED) == ("timer",)
    assert headers.one(SUPPORTED) == "timer"
    assert headers.all(ALLOW) == ()
    assert headers.one(ALLOW) is None
    for field in (ACCEPT_RESOURCE_PRIORITY, RECV_INFO):
        assert Headers([(field, "")]).all(field) == ()
    for empty in (CONTACT, RESOURCE_PRIORITY):
        with pytest.raises(ParseError):
            Headers([(empty, "")]).one(empty)


def test_a_user_registers_a_header_field() -> None:
    field = register("X-Test-Message-Team", int)
    headers = parse_headers(b"x-TEST-message-team : 7")
    assert headers.one(field) == 7
    headers.set(field, 8)
    assert headers.one(field) == 8
    bad = parse_headers(b"X-Test-Message-Team: seven")
    with pytest.raises(ParseError):
        bad.one(field)


def test_header_lines_alone() -> None:
    assert len(parse_headers(b"")) == 0
    assert list(parse_headers(b"a: b\r\n c\r\nd:")) == [("a", "b c"), ("d", "")]
    for bad in (b" a: b", b"a", b"a: b\x00", b"a: b\nc: d", b"a: b\r\n\r\nc: d"):
        with pytest.raises(ParseError):
            parse_headers(bad)


# Writing


def test_untouched_is_byte_identical() -> None:
    message = invite()
    validate(message)
    assert message.vias
    assert message.encode() is INVITE


def test_set_renders_its_own_line_only() -> None:
    message = invite()
    message.headers.set(MAX_FORWARDS, 69)
    assert changed(message) == ({b"Max-Forwards: 70"}, {b"Max-Forwards: 69"})
    assert message.max_forwards == 69
    assert lines(message)[3] == b"Max-Forwards: 69"


def test_set_removes_the_other_lines() -> None:
    message = invite()
    message.headers.set("Via", Via("TLS", "x"))
    assert message.headers.get_all("Via") == ["SIP/2.0/TLS x"]
    assert lines(message)[1] == b"Via: SIP/2.0/TLS x"


def test_set_appends_what_is_new() -> None:
    message = invite()
    message.headers.set("X-New", "1")
    assert lines(message)[-1] == b"X-New: 1"


def test_add() -> None:
    message = invite()
    message.headers.add(VIA, "SIP/2.0/UDP top;branch=0", first=True)
    message.headers.add("Subject", "first", first=True)
    message.headers.add("X-New", "1")
    message.headers.add("X-Odd", "before", first=True)
    assert message.via.host == "top"
    assert len(message.vias) == 4
    assert lines(message)[1:3] == [b"Subject: first", b"Via: SIP/2.0/UDP top;branch=0"]
    assert lines(message)[-1] == b"X-New: 1"
    assert message.headers.get_all("x-odd") == ["before", "a b"]
    assert not changed(message)[0]


def test_remove() -> None:
    message = invite()
    assert message.headers.remove("v") == 2
    assert message.headers.remove("v") == 0
    assert VIA not in message.headers
    assert message.vias == ()
    untouched = invite()
    assert untouched.headers.remove("X-None") == 0
    assert untouched.encode() is INVITE


def test_pop_first_takes_one_value_of_its_line() -> None:
    message = invite()
    assert message.headers.pop_first(VIA).branch == "z9hG4bK776asdhds"
    assert lines(message)[1] == b"Via: SIP/2.0/TCP b;branch=2"
    assert message.headers.pop_first(VIA).branch == "2"
    assert lines(message)[1] == b"v:SIP/2.0/UDP c;branch=3"
    assert message.headers.pop_first(VIA).branch == "3"
    with pytest.raises(ParseError, match="no Via"):
        message.headers.pop_first(VIA)


def test_pop_first_leaves_what_is_malformed() -> None:
    message = parse(INVITE.replace(b"Route: <sip:r1;lr>", b"Route: sip:r1"))
    with pytest.raises(ParseError):
        message.headers.pop_first(ROUTE)
    assert message.headers.get(ROUTE) == "sip:r1, <sip:r2;lr>"


def test_pop_first_of_a_single_value() -> None:
    headers = Headers([("Max-Forwards", "7")])
    assert headers.pop_first(MAX_FORWARDS) == 7
    assert len(headers) == 0


def test_replace_first() -> None:
    message = invite()
    message.headers.replace_first(VIA, message.via.with_param("received", "192.0.2.1"))
    assert changed(message) == (
        {b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds , SIP/2.0/TCP b;branch=2"},
        {
            b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds;received=192.0.2.1, "
            b"SIP/2.0/TCP b;branch=2"
        },
    )
    assert message.via.received == "192.0.2.1"
    message.headers.replace_first(MAX_FORWARDS, 1)
    assert message.max_forwards == 1
    with pytest.raises(ParseError, match="no Expires"):
        message.headers.replace_first(EXPIRES, 1)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\x00b", 'a"\\\r\n"', "a\r\n b", "\x1b"])
@pytest.mark.parametrize("name", ["Subject", SUBJECT])
def test_a_value_cannot_smuggle(name: str | HeaderField[Any], value: str) -> None:
    headers = Headers()
    for write in (headers.set, headers.add):
        with pytest.raises(LocalProtocolError):
            write(name, value)
    assert len(headers) == 0


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "a\r\nb"])
def test_a_name_must_be_a_token(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        Headers().add(name, "x")


def test_controls_in_quoted_pairs_may_be_written() -> None:
    headers = Headers([("Subject", '"BEL \\\x07"')])
    assert headers.get("Subject") == '"BEL \\\x07"'


def test_body_sets_content_length() -> None:
    message = invite()
    message.body = b"other"
    assert message.headers.get("l") == "5"
    assert message.encode().endswith(b"Content-Length: 5\r\n\r\nother")
    message.body = b"again"
    assert message.encode().endswith(b"Content-Length: 5\r\n\r\nagain")


def test_content_length_cannot_be_made_wrong() -> None:
    message = invite()
    message.headers.set("Content-Length", 9)
    message.headers.add("Content-Length", 10)
    assert message.encode() == INVITE
    message.headers.remove("Content-Length")
    assert b"Content-Length" not in message.encode()
    message.set_content_length()
    assert message.encode() == INVITE


def test_the_request_uri_can_be_set() -> None:
    message = invite()
    assert message.uri
    message.uri = parse_uri("sip:carol@example.com;lr")
    assert message.encode().startswith(b"INVITE sip:carol@example.com;lr SIP/2.0\r\nVia")
    assert str(message.uri) == "sip:carol@example.com;lr"
    message.uri = "tel:+1"  # type: ignore[assignment]  # mypy has one type for both ways; text is taken too
    assert message.uri == parse_uri("tel:+1")
    assert changed(message)[1] == {b"INVITE tel:+1 SIP/2.0"}


@pytest.mark.parametrize("uri", ["", "sip:a b", "<sip:a>", "sip:a\r\nX: y", "sip:a\tb", "sip:a>"])
def test_a_request_uri_that_cannot_be_written(uri: str) -> None:
    with pytest.raises(LocalProtocolError):
        Request.build("OPTIONS", uri, from_="<sip:a>", to="<sip:b>", call_id="c", cseq=1)


def test_copies_are_independent() -> None:
    original = invite()
    assert original.vias
    assert original.via
    assert original.uri
    copy = original.copy()
    assert copy.encode() is INVITE
    copy.headers.pop_first(VIA)
    copy.uri = parse_uri("sip:x")
    copy.body = b""
    assert original.encode() is INVITE
    assert len(original.vias) == 3
    assert len(copy.vias) == 2
    reply = original.create_response(200)
    twin = reply.copy()
    twin.headers.remove("Via")
    assert (twin.status, twin.reason, len(reply.vias)) == (200, "OK", 3)


def test_half_a_character_cannot_be_encoded() -> None:
    message = invite()
    message.headers.set("Subject", "\ud83d")
    with pytest.raises(LocalProtocolError, match="no Unicode"):
        message.encode()


# Building


def test_build() -> None:
    message = Request.build(
        "INVITE",
        parse_uri("sip:bob@example.com"),
        from_=Address("Alice", parse_uri("sip:alice@example.com")).with_tag("1"),
        to="<sip:bob@example.com>",
        call_id="abc",
        cseq=7,
        headers=[(CONTACT, "<sip:alice@192.0.2.1>"), ("Subject", "lunch")],
        body="größe".encode(),
        content_type="text/plain",
    )
    assert (
        message.encode()
        == (
            "INVITE sip:bob@example.com SIP/2.0\r\n"
            "Max-Forwards: 70\r\n"
            'From: "Alice" <sip:alice@example.com>;tag=1\r\n'
            "To: <sip:bob@example.com>\r\n"
            "Call-ID: abc\r\n"
            "CSeq: 7 INVITE\r\n"
            "Contact: <sip:alice@192.0.2.1>\r\n"
            "Subject: lunch\r\n"
            "Content-Type: text/plain\r\n"
            "Content-Length: 7\r\n"
            "\r\n"
            "größe"
        ).encode()
    )


def test_build_without_max_forwards() -> None:
    message = Request.build("X", "sip:a", from_="<sip:a>", to="<sip:b>", call_id="c", cseq=1, max_forwards=None)
    assert message.max_forwards is None
    assert message.headers.get("Content-Length") == "0"


@pytest.mark.parametrize("method", ["", "a b", "a\r\nb", "ä"])
def test_a_method_that_cannot_be_written(method: str) -> None:
    with pytest.raises(LocalProtocolError):
        Request.build(method, "sip:a", from_="<sip:a>", to="<sip:b>", call_id="c", cseq=1)


def test_response_copies_what_it_must() -> None:
    response = invite().create_response(180, to_tag="b1", headers=[("Contact", "<sip:bob@192.0.2.4>")])
    assert lines(response) == [
        b"SIP/2.0 180 Ringing",
        b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds , SIP/2.0/TCP b;branch=2",
        b"v:SIP/2.0/UDP c;branch=3",
        b"Record-Route: <sip:p2;lr>,",
        b" <sip:p1;lr>",
        b"t:  Bob  <sip:bob@biloxi.example.com>;tag=b1",
        b"FROM: Alice <sip:alice@atlanta.example.com>;tag=1928301774",
        b"Call-ID: a84b4c76e66710",
        b"CSeq: 314159 INVITE",
        b"Contact: <sip:bob@192.0.2.4>",
        b"Content-Length: 0",
    ]
    assert response.to.tag == "b1"


@pytest.mark.parametrize(
    ("status", "record_route", "timestamp"),
    [
        (100, False, True),
        (101, True, False),
        (200, True, False),
        (299, True, False),
        (300, False, False),
        (487, False, False),
    ],
)
def test_what_only_some_responses_copy(status: int, record_route: bool, timestamp: bool) -> None:
    response = invite().create_response(status)
    assert (RECORD_ROUTE in response.headers, "Timestamp" in response.headers) == (record_route, timestamp)
    assert response.to.tag is None


def test_a_tag_in_to_is_kept() -> None:
    message = parse(INVITE.replace(b"t:  Bob  <sip:bob@biloxi.example.com>", b"To: sip:bob@b;TAG=mine"))
    assert isinstance(message, Request)
    assert message.create_response(200, to_tag="other").headers.get("To") == "sip:bob@b;TAG=mine"


def test_a_tag_is_added_to_every_form_of_to() -> None:
    for to in (b"To: sip:bob@b", b"To: sip:bob@b;x=y \t", b"To:\r\n <sip:bob@b>\r\n ", b'To: "a;b" <sip:bob@b;c>;d'):
        message = parse(INVITE.replace(b"t:  Bob  <sip:bob@biloxi.example.com>", to))
        assert isinstance(message, Request)
        response = parse(message.create_response(200, to_tag="b1").encode())
        assert response.to.tag == "b1"
        assert response.to.uri == message.to.uri


def test_a_malformed_to_goes_back_as_it_came() -> None:
    message = parse(INVITE.replace(b"t:  Bob  <sip:bob@biloxi.example.com>", b'To: "Bob'))
    assert isinstance(message, Request)
    assert message.create_response(400, to_tag="b1").headers.get("To") == '"Bob'


def test_response_with_body_and_reason() -> None:
    response = invite().create_response(200, "Fine", body=b"v=0", content_type="application/sdp")
    assert response.encode().startswith(b"SIP/2.0 200 Fine\r\n")
    assert response.encode().endswith(b"Content-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0")


def test_what_a_response_cannot_be() -> None:
    with pytest.raises(LocalProtocolError, match="tag"):
        invite().create_response(200, to_tag="a;b")
    with pytest.raises(LocalProtocolError, match="status"):
        invite().create_response(99)
    with pytest.raises(LocalProtocolError, match="status"):
        Response.build(700)
    with pytest.raises(LocalProtocolError, match="reason"):
        Response.build(200, "O\r\nK")


def test_response_build() -> None:
    response = Response.build(486, headers=[("Via", "SIP/2.0/UDP a")], body=b"x", content_type="text/plain")
    assert response.encode() == (
        b"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP a\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx"
    )
    assert repr(response) == "<Response 'SIP/2.0 486 Busy Here'>"


def test_cancel() -> None:
    cancel = invite().create_cancel()
    assert lines(cancel) == [
        b"CANCEL sip:bob@biloxi.example.com SIP/2.0",
        b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds",
        b"Max-Forwards: 70",
        b"t:  Bob  <sip:bob@biloxi.example.com>",
        b"FROM: Alice <sip:alice@atlanta.example.com>;tag=1928301774",
        b"Call-ID: a84b4c76e66710",
        b"CSeq: 314159 CANCEL",
        b"Route: <sip:r1;lr>, <sip:r2;lr>",
        b"Content-Length: 0",
    ]
    validate(cancel)
    with pytest.raises(LocalProtocolError):
        cancel.create_cancel()


def test_ack() -> None:
    request = invite()
    ack = request.create_ack(request.create_response(486, to_tag="b1"))
    assert lines(ack) == [
        b"ACK sip:bob@biloxi.example.com SIP/2.0",
        b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds",
        b"Max-Forwards: 70",
        b"To: Bob  <sip:bob@biloxi.example.com>;tag=b1",
        b"FROM: Alice <sip:alice@atlanta.example.com>;tag=1928301774",
        b"Call-ID: a84b4c76e66710",
        b"CSeq: 314159 ACK",
        b"Route: <sip:r1;lr>, <sip:r2;lr>",
        b"Content-Length: 0",
    ]
    with pytest.raises(LocalProtocolError):
        ack.create_ack(request.create_response(486))


def test_every_reason_phrase() -> None:
    assert all(100 <= status <= 699 and phrase for status, phrase in REASON_PHRASES.items())
    assert reason_phrase(487) == "Request Terminated"
    assert reason_phrase(299) == "OK"
    assert reason_phrase(699) == "Busy Everywhere"
    assert reason_phrase(700) == "Unknown"


# Parsing and what is owed


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer(kind: type) -> None:
    assert parse(kind(INVITE)).encode() == INVITE


def test_odd_but_valid_start_lines_encode_identically() -> None:
    for data in (
        corpus_request("OPTIONS sip:a sip/2.0"),
        corpus_response("Sip/2.0 200 "),
        corpus_response("SIP/2.0 200 \udcff".encode("utf-8", "surrogateescape")),
    ):
        message = parse(data)
        message.headers.set("X-New", 1)
        assert message.encode() == data.replace(b"\r\n\r\n", b"\r\nX-New: 1\r\n\r\n")


@pytest.mark.parametrize("version", ["\u017fIP/2.0", "S\u0131P/2.0", "SIP/\uff12.0", "\uff33IP/2.0"])
def test_letters_that_only_case_folding_makes_ascii_are_no_version(version: str) -> None:
    with pytest.raises(ParseError, match="Request-Line") as error:
        parse(corpus_request(f"OPTIONS sip:a {version}"))
    assert error.value.status_hint == 400
    with pytest.raises(ParseError) as error:
        parse(corpus_response(f"{version} 200 OK"))
    assert error.value.status_hint is None


def test_octets_after_the_body_are_dropped_and_none_before_it() -> None:
    message = parse(b"\r\n\r\n" + INVITE + b"trailing")
    assert message.encode() == INVITE
    assert message.body == b"body"


def test_limits_can_be_set() -> None:
    with pytest.raises(LimitExceeded) as caught:
        parse(INVITE, limits=DEFAULT_LIMITS._replace(message=len(INVITE) - 1))
    assert (caught.value.limit_name, caught.value.status_hint) == ("message", 513)
    assert parse(INVITE, limits=DEFAULT_LIMITS._replace(message=len(INVITE)))


def test_a_broken_request_can_be_answered() -> None:
    data = INVITE.replace(b"INVITE sip:bob@biloxi.example.com SIP/2.0", b"INVITE  <sip:bob@b> SIP/9.0", 1)
    data = data.replace(b"Timestamp: 54.1", b"broken line\r\nTo: <sip:second@b>\r\nX: a\x00").replace(
        b"FROM:", b"From :"
    )
    with pytest.raises(ParseError) as caught:
        parse(data)
    request = caught.value.request
    assert request is not None
    assert request.method == "INVITE"
    assert lines(request.create_response(400, to_tag="x")) == [
        b"SIP/2.0 400 Bad Request",
        b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds , SIP/2.0/TCP b;branch=2",
        b"v:SIP/2.0/UDP c;branch=3",
        b"t:  Bob  <sip:bob@biloxi.example.com>;tag=x",
        b"From : Alice <sip:alice@atlanta.example.com>;tag=1928301774",
        b"Call-ID: a84b4c76e66710",
        b"CSeq: 314159 INVITE",
        b"Content-Length: 0",
    ]


def test_half_a_line_is_not_copied() -> None:
    whole = INVITE.partition(b"\r\nCSeq")[0]
    assert request_to_answer(whole) is not None
    for data, expected in ((whole + b"\r\nCSe", True), (whole, False), (whole[:-3], False)):
        request = request_to_answer(data)
        assert request is not None
        assert ("Call-ID" in request.headers) is expected
    long = request_to_answer(INVITE.replace(b"X-Odd", b"X: " + b"a" * DEFAULT_LIMITS.head + b"\r\nX-Odd"))
    assert long is not None
    assert long.headers.get("Call-ID") == "a84b4c76e66710"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"INVITE",
        b"INVITE \r\n\r\n",
        INVITE.replace(b"INVITE sip", b"ACK sip", 1),
        INVITE.replace(b"INVITE sip", b"SIP/2.0 sip", 1),
        INVITE.replace(b"Via: SIP/2.0/UDP", b"Via: SIP/2.0").replace(b"v:", b"X:"),
        INVITE.replace(b"Via: ", b"X: ").replace(b"v:", b"X:"),
        INVITE.replace(b"Via: ", b"Via: \x01").replace(b"v:", b"v:\n"),
    ],
)
def test_what_is_never_answered(data: bytes) -> None:
    assert request_to_answer(data) is None


def test_unusable_header_fields_are_left_out_of_the_answer() -> None:
    data = INVITE.replace(b"Call-ID: a84b4c76e66710", b"Call-ID: a\x00").replace(b"t:  Bob", b"t:\r\n \r\nX:")
    request = request_to_answer(data)
    assert request is not None
    assert ("Call-ID" in request.headers, "To" in request.headers, "CSeq" in request.headers) == (False, False, True)


def test_validate_says_how_to_answer() -> None:
    message = parse(INVITE.replace(b"CSeq: 314159 INVITE", b"CSeq: 1 BYE"))
    with pytest.raises(ParseError) as caught:
        validate(message)
    assert caught.value.status_hint == 400
    assert caught.value.request is not None
    assert caught.value.request.headers.get(CSEQ) == "1 BYE"


def test_a_request_that_was_built_is_judged_too() -> None:
    message = Request.build("OPTIONS", "sip:a", from_="<sip:a>", to="<sip:b>", call_id="c", cseq=1)
    with pytest.raises(ParseError, match="no Via") as caught:
        validate(message)
    assert (caught.value.status_hint, caught.value.request) == (None, None)


def test_a_response_is_never_answered() -> None:
    response = parse(corpus_response())
    response.headers.remove(CALL_ID)
    with pytest.raises(ParseError) as caught:
        validate(response)
    assert (caught.value.status_hint, caught.value.request) == (None, None)


def test_a_message_is_a_request_or_a_response() -> None:
    with pytest.raises(NotImplementedError):
        _ = Message().start_line


def test_methods_are_those_of_the_rfcs() -> None:
    assert len(METHODS) == 14


# Properties

TOKENS = st.text("abcXYZ09-.!%*_+`'~", min_size=1, max_size=12)
RAW = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([*INVITE.splitlines(keepends=True), b"\r\n", b" ", b"\x00", b"\r", b"SIP/2.0 200 "])).map(
        b"".join
    ),
)


def receive(data: bytes) -> Message | RemoteProtocolError:
    """The message, or the one error that may be raised."""
    try:
        message = parse(data)
        validate(message)
    except RemoteProtocolError as error:
        return error
    return message


@given(RAW)
def test_any_bytes_raise_the_declared_error_only(data: bytes) -> None:
    result = receive(data)
    if isinstance(result, Message):
        assert result.encode() in data
    else:
        assert (result.request is None) == (result.status_hint is None)
        if result.request is not None and result.status_hint is not None:
            assert parse(result.request.create_response(result.status_hint).encode())


VALUES = st.binary(max_size=30).map(lambda octets: octets.translate(None, bytes([*range(32), 127])))


@given(st.lists(st.tuples(TOKENS, VALUES), max_size=10), st.binary(max_size=50))
def test_parse_then_encode_is_the_identity(fields: list[tuple[str, bytes]], body: bytes) -> None:
    fields = [(name, value) for name, value in fields if canonical_key(name) != "content-length"]
    data = corpus_request("X sip:a SIP/2.0", *[name.encode() + b" :" + value for name, value in fields], body=body)
    message = parse(data)
    assert message.encode() == data
    assert message.body == body
    message.headers.set("X-Touched", "")
    assert message.encode() == data.replace(b"\r\n\r\n", b"\r\nX-Touched: \r\n\r\n", 1)
    assert [name for name, _ in message.headers][6:-2] == [name for name, _ in fields]


NAMES = st.sampled_from(["Subject", "s", "SUBJECT", "X-A", "x-a", "Via", "v"])
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["set", "add", "first", "remove"]), NAMES, st.text("ab ", max_size=3)), max_size=20
)


@given(OPERATIONS)
def test_headers_against_a_list(operations: list[tuple[str, str, str]]) -> None:
    headers = Headers()
    model: list[tuple[str, str]] = []
    for operation, name, value in operations:
        key = canonical_key(name)
        at = [index for index, (other, _) in enumerate(model) if canonical_key(other) == key]
        rest = [item for item in model if canonical_key(item[0]) != key]
        if operation == "set":
            headers.set(name, value)
            if at:
                rest.insert(at[0], (name, value))
                model = rest
            else:
                model.append((name, value))
        elif operation == "add":
            headers.add(name, value)
            model.append((name, value))
        elif operation == "first":
            headers.add(name, value, first=True)
            model.insert(at[0] if at else 0, (name, value))
        else:
            assert headers.remove(name) == len(at)
            model = rest
        model = [(name, value.strip(" ")) for name, value in model]
        assert list(headers) == model
        assert headers.get_all(name) == [v for n, v in model if canonical_key(n) == key]
