"""Addresses and pointers (RFC 3261 §20.10, §20.20, §20.34; §20.4, §20.9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.errors import LocalProtocolError, ParseError
from switchroom.sip.grammar import Params
from switchroom.sip.headers import (
    ALERT_INFO,
    CALL_INFO,
    STAR,
    Address,
    Information,
    parse_address,
    parse_contact,
    parse_information,
    parse_route,
)
from switchroom.sip.uri import OpaqueUri, SipUri, TelUri, parse_uri


@pytest.mark.parametrize(
    ("text", "name", "uri", "params"),
    [
        # RFC 3261 §20.10, §20.20, §20.39
        ('"Mr. Watson" <sip:watson@worcester.bell-telephone.com>;q=0.7; expires=3600', "Mr. Watson",
         "sip:watson@worcester.bell-telephone.com", ";q=0.7;expires=3600"),
        ('"Mr. Watson" <mailto:watson@bell-telephone.com> ;q=0.1', "Mr. Watson", "mailto:watson@bell-telephone.com",
         ";q=0.1"),
        ('"A. G. Bell" <sip:agb@bell-telephone.com> ;tag=a48s', "A. G. Bell", "sip:agb@bell-telephone.com",
         ";tag=a48s"),
        ("sip:+12125551212@server.phone2net.com;tag=887s", "", "sip:+12125551212@server.phone2net.com", ";tag=887s"),
        ("Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8", "Anonymous", "sip:c8oqz84zk7z@privacy.org", ";tag=hyh8"),
        # RFC 4475 §3.1.1.1, §3.1.1.2, §3.1.1.6 (lwsdisp), §3.1.2.16, §3.3.12, §3.3.13
        ('"J Rosenberg \\\\\\""       <sip:jdrosen@example.com> ; tag = 98asjd8', 'J Rosenberg \\"',
         "sip:jdrosen@example.com", ";tag=98asjd8"),
        ("sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n", "", "sip:vivekg@chair-dnrc.example.com",
         ";tag=1918181833n"),
        ('"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam = newvalue ; secondparam ; q = 0.33',
         'Quoted string ""', "sip:jdrosen@example.com", ";newparam=newvalue;secondparam;q=0.33"),
        ("token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"р\";tag=_token~1'+`*%!-.",
         "token1~` token2'+_ token3*%!.-", "sip:mundane@example.com",
         ";fromParam''~+*_!.-%=\"р\";tag=_token~1'+`*%!-."),
        ('"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:a@example.com>', "BEL:\x07 NUL:\x00 DEL:\x7f",
         "sip:a@example.com", ""),
        ("caller<sip:caller@example.com>;tag=323", "caller", "sip:caller@example.com", ";tag=323"),
        ("A. Bell <sip:a.g.bell@example.com>;tag=qweoiqpe", "A. Bell", "sip:a.g.bell@example.com", ";tag=qweoiqpe"),
        ("sip:+19725552222@gw1.example.net;unknownparam", "", "sip:+19725552222@gw1.example.net", ";unknownparam"),
        ("<sip:+19725552222@gw1.example.net;unknownparam>", "", "sip:+19725552222@gw1.example.net;unknownparam", ""),
        # and more
        ('"" <sip:a@b>', "", "sip:a@b", ""),
        ('"a"\t <sip:a@b>\t;\tx', "a", "sip:a@b", ";x"),
        ("a \t  b\t<sip:a@b>", "a b", "sip:a@b", ""),
        ("a  b <sip:a@b> ;x", "a b", "sip:a@b", ";x"),
        ("Jürgen Müller <sip:j@b>", "Jürgen Müller", "sip:j@b", ""),
        ("\udcff <sip:j@b>", "\udcff", "sip:j@b", ""),
        ('"<,;>" <sip:a,b@c;f?d=e>;g', "<,;>", "sip:a,b@c;f?d=e", ";g"),
        ("tel:+1-201;tag=x", "", "tel:+1-201", ";tag=x"),
        ("<sip:a@b>;x=\"a>b;c\"", "", "sip:a@b", ';x="a>b;c"'),
    ],
)  # fmt: skip
def test_parts(text: str, name: str, uri: str, params: str) -> None:
    address = parse_address(text)
    assert (address.display_name, str(address.uri), str(address.params)) == (name, uri, params)
    assert parse_address(str(address)) == address
    assert parse_address(f" {text}\t") == address


@pytest.mark.parametrize(
    "text",
    [
        "Bell, Alexander <sip:a.g.bell@example.com>;tag=43",  # RFC 4475 §3.1.2.15
        '"Mr. J. User <sip:j.user@example.com>',  # §3.1.2.6: the quotation does not end
        "sip:user@example.com?Route=%3Csip:example.com%3E",  # §3.1.2.13
        '"a" "b" <sip:a@b>', '"a" b <sip:a@b>', 'a "b" <sip:a@b>', '"a"', '"a" sip:a@b', "a@b <sip:a@b>", "< sip:a@b>",
        "<sip:a@b >", "<<sip:a@b>>", "<sip:a@b>>", "<sip:a@b> x", "<sip:a@b>;", "<sip:a@b>;;x", "<sip:a@b>;tag=a;TAG=b",
        "<sip:a@b>,<sip:c@d>", "sip:a@b;", "sip:a@b;x;", "sip:a@b x", "sip:a,b@c", "sip:a@b,", "\x00<sip:a@b>",
        "a\r\n <sip:a@b>", "<sip:a\r\n@b>", "sip:a@b;x=\"y", "name", "<name>", "<sip:2001:db8::1>",
    ],
)  # fmt: skip
def test_malformed(text: str) -> None:
    with pytest.raises(ParseError):
        parse_address(text)


def test_properties() -> None:
    address = parse_address('"Bob" <sip:bob@b>;tag=1;q=0.25;expires=60')
    assert (address.tag, address.q, address.expires) == ("1", 0.25, 60)
    assert str(address) == '"Bob" <sip:bob@b>;tag=1;q=0.25;expires=60'
    plain = parse_address("<sip:bob@b>")
    assert (plain.tag, plain.q, plain.expires) == (None, 1.0, None)
    assert str(plain.with_tag("x").with_param("lr").without_param("tag")) == "<sip:bob@b>;lr"


@pytest.mark.parametrize(("text", "q"), [("0", 0), ("1", 1), ("0.5", 0.5), ("0.333", 0.333), ("1.000", 1), ("0.", 0)])
def test_q(text: str, q: float) -> None:
    assert parse_address(f"<sip:a@b>;q={text}").q == q


@pytest.mark.parametrize("text", ["2", "1.1", "0.1234", "x", ".5", "-1", "nan", "1e9", '""'])
def test_malformed_q_counts_as_one(text: str) -> None:
    assert parse_address(f"<sip:a@b>;q={text}").q == 1


@pytest.mark.parametrize("text", ["280297596632815", "x", "-1", '""'])
def test_malformed_expires_counts_as_an_hour(text: str) -> None:
    """RFC 3261 §20.10; RFC 4475 §3.1.2.4."""
    assert parse_address(f"<sip:a@b>;expires={text}").expires == 3600


def test_star() -> None:
    assert parse_contact("*") is STAR
    assert parse_contact(" * ") == STAR
    assert str(STAR) == "*"
    assert parse_contact("<sip:a@b>") != STAR
    with pytest.raises(ParseError):
        parse_address("*")


def test_route_is_a_sip_uri_in_brackets() -> None:
    route = parse_route("<sip:services.example.com;lr;unknownwith=value;unknown-no-value>")
    assert isinstance(route.uri, SipUri)
    assert route.uri.lr
    with pytest.raises(ParseError, match="no SIP URI"):
        parse_route("<http://a>")
    with pytest.raises(ParseError, match="without <>"):
        parse_route("sip:a;lr")


def test_equal_addresses_have_equal_uris() -> None:
    assert parse_address("<sip:a@B>;tag=x") == parse_address("sip:%61@b;tag=x")
    assert hash(parse_address("<sip:a@B>;tag=x")) == hash(parse_address("sip:%61@b;tag=x"))
    assert parse_address("<sip:a@b>;tag=x") != parse_address("<sip:a@b>;tag=y")
    assert parse_address("a <sip:a@b>") != parse_address("<sip:a@b>")


URIS = st.sampled_from(
    [SipUri("sip", "a;b", None, "h"), SipUri("sips", None, None, "::1", 5061), TelUri("+1"), OpaqueUri("urn", "x:y")]
)
SAID = st.text(st.characters(exclude_characters="\r\n", exclude_categories=()), max_size=20)
NAMES = st.text("abcxyz0189-.!%*_+`'~", min_size=1, max_size=8)


@given(SAID, URIS, st.dictionaries(NAMES, st.none() | SAID, max_size=4))
def test_round_trip(name: str, uri: SipUri | TelUri | OpaqueUri, params: dict[str, str | None]) -> None:
    address = Address(name, uri, Params(params))
    again = parse_address(str(address))
    assert again == address
    assert str(again) == str(address)


def test_information() -> None:
    info = parse_information("<http://www.example.com/alice/photo.jpg> ;Purpose=Icon")
    assert info == Information(parse_uri("http://www.example.com/alice/photo.jpg"), Params({"purpose": "Icon"}))
    assert info.purpose == "icon"
    assert parse_information("<cid:a@b>").purpose is None
    for text in ("http://x", "info=alert-autoanswer", "<info>", "", "<>", "<http://x>y", "<http://x"):
        with pytest.raises(ParseError):
            parse_information(text)


@pytest.mark.parametrize(
    ("text", "uri", "params", "rendered"),
    [
        ("<http://x/y>;info=alert-autoanswer", "http://x/y", {"info": "alert-autoanswer"}, None),
        # what phones and their servers write instead
        ("info=alert-autoanswer", None, {"info": "alert-autoanswer"}, None),
        (";info=alert-autoanswer;x", None, {"info": "alert-autoanswer", "x": ""}, "info=alert-autoanswer;x"),
        (
            'info="a:b;c, d" ;answer-after=0',
            None,
            {"info": "a:b;c, d", "answer-after": "0"},
            'info="a:b;c, d";answer-after=0',
        ),
        ("Bellcore-dr4", None, {"Bellcore-dr4": ""}, None),
        ("<Bellcore-dr4>;x", None, {"Bellcore-dr4": "", "x": ""}, "Bellcore-dr4;x"),
        ("http://x/y.wav ; purpose=icon", "http://x/y.wav", {"purpose": "icon"}, "<http://x/y.wav>;purpose=icon"),
        ("sip:a@b;answer-after=0", "sip:a@b", {"answer-after": "0"}, "<sip:a@b>;answer-after=0"),
    ],
)
def test_alert_info_of_phones(text: str, uri: str | None, params: dict[str, str], rendered: str | None) -> None:
    for field in (ALERT_INFO, CALL_INFO):
        info = field.parse(text)
        assert info == Information(None if uri is None else parse_uri(uri), Params(params))
        assert str(info) == (rendered or text)
        assert field.parse(str(info)) == info


@pytest.mark.parametrize("text", ["", "<>", "<", "Auto Answer", "a=b c", "<http://x", "<http://x>y", "http:// x", ":x"])
def test_alert_info_that_is_nothing(text: str) -> None:
    with pytest.raises(ParseError):
        ALERT_INFO.parse(text)


def test_information_about_nothing_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        str(Information(None))


@pytest.mark.parametrize(
    ("value", "name"),
    [(parse_address("<sip:a@b>"), "uri"), (parse_uri("sip:a@b"), "host"), (parse_uri("tel:+1"), "number"),
     (parse_uri("urn:x"), "rest"), (parse_information("<urn:x>"), "uri")],
)  # fmt: skip
def test_values_are_immutable(value: object, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(value, name, "x")
