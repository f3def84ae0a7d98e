"""Via and sequence numbers (RFC 3261 §20.42, §20.16; RFC 3581; RFC 3262)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.errors import LocalProtocolError, ParseError
from switchroom.sip.grammar import NO_PARAMS, Params
from switchroom.sip.headers import CSeq, RAck, Via, parse_cseq, parse_rack, parse_via

TOKENS = st.text("ABCXYZabcxyz0189-.!%*_+`'~", min_size=1, max_size=12)
HOSTS = st.sampled_from(["h", "example.com", "192.0.2.1", "2001:db8::1", "h.", "a_b"])


def test_fields() -> None:
    via = parse_via("SIP/2.0/UDP pc33.atlanta.com:5060;branch=z9hG4bK776asdhds;rport;Foo=bar")
    assert via == Via(
        "UDP", "pc33.atlanta.com", 5060, Params({"branch": "z9hG4bK776asdhds", "rport": None, "foo": "bar"})
    )
    assert (via.protocol, via.branch, via.sent_by) == ("SIP/2.0", "z9hG4bK776asdhds", "pc33.atlanta.com:5060")
    assert "rport" in via.params
    assert (via.rport, via.received, via.maddr, via.ttl) == (None, None, None, None)
    assert str(via) == "SIP/2.0/UDP pc33.atlanta.com:5060;branch=z9hG4bK776asdhds;rport;Foo=bar"


def test_fields_of_the_way_back() -> None:
    via = parse_via("SIP/2.0/TLS [2001:db8::9:1];received=2001:db8::1;rport=5070;maddr=[::2];ttl=16")
    assert (via.transport, via.host, via.port, via.sent_by) == ("TLS", "2001:db8::9:1", None, "[2001:db8::9:1]")
    assert (via.received, via.rport, via.maddr, via.ttl, via.branch) == ("2001:db8::1", 5070, "::2", 16, None)
    # RFC 5118 §4.5: received with and without brackets
    assert parse_via("SIP/2.0/UDP h;received=[2001:db8::1]").received == "2001:db8::1"


def test_torture_wsinv() -> None:
    """RFC 4475 §3.1.1.1: white space wherever the grammar lets it stand."""
    first = parse_via("SIP  / 2.0  / TCP     spindle.example.com   ; branch  =   z9hG4bK9ikj8  ")
    assert str(first) == "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8"
    second = parse_via("SIP  /    2.0   / UDP  192.168.255.111   ; branch= z9hG4bK30239")
    assert str(second) == "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239"


def test_a_foreign_protocol_is_for_the_caller_to_judge() -> None:
    via = parse_via("SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw")
    assert via.protocol == "SIP/7.0"
    assert str(via).startswith("SIP/7.0/UDP ")


def test_with_param() -> None:
    via = parse_via("SIP/2.0/UDP h:1;branch=x;rport")
    assert str(via.with_param("rport", "5061").with_param("received", "192.0.2.1")) == (
        "SIP/2.0/UDP h:1;branch=x;rport=5061;received=192.0.2.1"
    )
    assert str(Via("TCP", "h").with_param("rport")) == "SIP/2.0/TCP h;rport"


@pytest.mark.parametrize(
    "via",
    [
        Via("UDP\r\n", "h"),
        Via("UDP", "h\r\nX: y"),
        Via("UDP", "h", 1, NO_PARAMS, "\x00"),
        Via("UDP", "h, SIP/2.0/UDP i"),
        Via("UDP", ""),
        Via("", "h"),
        Via("UDP", "h", 0, Params({"x": "a b"})),
    ],
)
def test_no_malformed_via_is_rendered(via: Via) -> None:
    with pytest.raises(LocalProtocolError):
        str(via)


def test_quoted_parameters_are_rendered() -> None:
    assert str(Via("UDP", "h", 1, Params({"x": "a b"}))) == 'SIP/2.0/UDP h:1;x="a b"'


@given(TOKENS, HOSTS, st.none() | st.integers(1, 65535), st.dictionaries(TOKENS.map(str.lower), st.none() | TOKENS))
def test_round_trip(transport: str, host: str, port: int | None, params: dict[str, str | None]) -> None:
    for name in ("rport", "ttl"):
        params.pop(name, None)
    via = Via(transport, host, port, Params(params))
    assert parse_via(str(via)) == via
    assert str(parse_via(f" {str(via).replace('/', ' / ').replace(';', ' ; ')} ")) == str(via)


@given(st.lists(st.sampled_from('a;,=\\" \t<>()é\x01\x7f\x85\u2028\U0001f600\udc80\udcff'), max_size=8).map("".join))
def test_what_came_from_the_network_can_always_be_written_again(content: str) -> None:
    # whoever adds received and rport to a foreign Via must not fail for what its sender put into it
    for param in (f'x="{content}"', f'branch="{content}";rport', f"x={content}"):
        try:
            via = parse_via(f"SIP/2.0/UDP h;{param}")
        except ParseError:
            continue
        assert parse_via(str(via)) == via
        stamped = via.with_param("received", "fe80::1%eth0").with_param("rport", "1")
        assert parse_via(str(stamped)) == stamped


@given(st.integers(0, 2**32 - 1), TOKENS)
def test_cseq_round_trip(number: int, method: str) -> None:
    assert parse_cseq(str(CSeq(number, method))) == (number, method)


def test_cseq_keeps_the_case_of_the_method() -> None:
    assert parse_cseq("1 invite") != parse_cseq("1 INVITE")
    assert parse_cseq("139122385 !interesting-Method0123456789_*+`.%indeed'~").method.endswith("indeed'~")


def test_rack() -> None:
    assert parse_rack("776656  1\tINVITE") == RAck(776656, 1, "INVITE")
    with pytest.raises(ParseError, match="RSeq 0"):
        parse_rack("0 1 INVITE")
