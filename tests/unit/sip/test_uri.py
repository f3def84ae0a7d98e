"""SIP, SIPS, tel and other URIs (RFC 3261 §19.1, RFC 3966)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.errors import LocalProtocolError, ParseError
from switchroom.sip.grammar import NO_PARAMS, Params
from switchroom.sip.uri import (
    OpaqueUri,
    SipUri,
    TelUri,
    Uri,
    UriParams,
    parse_port,
    parse_telephone_subscriber,
    parse_uri,
    unescape,
)


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    assert str(uri) == text
    return uri


def tel(text: str) -> TelUri:
    uri = parse_uri(text)
    assert isinstance(uri, TelUri)
    assert str(uri) == text
    return uri


# RFC 3261 §19.1.3, all of them, and what their parts are.
EXAMPLES = [
    ("sip:alice@atlanta.com", "alice", None, "atlanta.com", None, {}, ()),
    ("sip:alice:secretword@atlanta.com;transport=tcp", "alice", "secretword", "atlanta.com", None,
     {"transport": "tcp"}, ()),
    ("sips:alice@atlanta.com?subject=project%20x&priority=urgent", "alice", None, "atlanta.com", None, {},
     (("subject", "project x"), ("priority", "urgent"))),
    ("sip:+1-212-555-1212:1234@gateway.com;user=phone", "+1-212-555-1212", "1234", "gateway.com", None,
     {"user": "phone"}, ()),
    ("sips:1212@gateway.com", "1212", None, "gateway.com", None, {}, ()),
    ("sip:alice@192.0.2.4", "alice", None, "192.0.2.4", None, {}, ()),
    ("sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com", None, None, "atlanta.com", None,
     {"method": "REGISTER"}, (("to", "alice@atlanta.com"),)),
    ("sip:alice;day=tuesday@atlanta.com", "alice;day=tuesday", None, "atlanta.com", None, {}, ()),
    # RFC 4475 §3.1.1.2, §3.1.1.3, RFC 5118 §4.1, §4.3
    ("sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
     "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*", "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)",
     "example.com", None, {}, ()),
    ("sip:sips%3Auser%40example.com@example.net", "sips:user@example.com", None, "example.net", None, {}, ()),
    ("sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31", "caller", None, "host5.example.net", None,
     {"lr": "", "name": "value%41"}, ()),
    ("sip:[2001:db8::10]", None, None, "2001:db8::10", None, {}, ()),
    ("sip:[2001:db8::10:5070]", None, None, "2001:db8::10:5070", None, {}, ()),
    ("sip:user@[2001:db8::10]:5070;maddr=[::1]", "user", None, "2001:db8::10", 5070, {"maddr": "[::1]"}, ()),
    ("sip:a:@b:05060?x=&y=%20", "a", "", "b", 5060, {}, (("x", ""), ("y", " "))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "user", "password", "host", "port", "params", "headers"), EXAMPLES)
def test_components(
    text: str,
    user: str | None,
    password: str | None,
    host: str,
    port: int | None,
    params: dict[str, str],
    headers: tuple[tuple[str, str], ...],
) -> None:
    uri = sip(text)
    assert uri.scheme == text.partition(":")[0]
    assert uri.secure == (uri.scheme == "sips")
    assert (uri.user, uri.password, uri.host, uri.port) == (user, password, host, port)
    assert {name: uri.params.get(name) for name in uri.params} == params
    assert uri.headers == headers
    built = SipUri(uri.scheme, user, password, host, port, UriParams(params), headers)
    assert parse_uri(str(built)) == built


@pytest.mark.parametrize(
    "text",
    [
        "", "sip", "sip:", "sips:", "alice", "alice@example.com", "<sip:user@example.com>", " sip:a@b", "sip:a@b ",
        "sip:a b@c", "sip:a@b c", "sip:a\x00@b", "sip:a@b\r\n", "sip:a@b\n", "sip:a\r\n@b", "sip:é@b", "sip:a@é",
        "sip:@b", "sip::p@b", "sip:a@", "sip:a@b@c", "sip:a@b:", "sip:a@b:0", "sip:a@b:65536", "sip:a@b:99999999999",
        "sip:a@b:x", "sip:a@b:-1", "sip:a@b;", "sip:a@b;;lr", "sip:a@b;=x", "sip:a@b;x=", "sip:a@b;lr;lr",
        "sip:a@b;lr;LR", "sip:a@b;lr;%6cr", "sip:a@b;x=y=z", "sip:a@b;x=y z", "sip:a@b?", "sip:a@b?x", "sip:a@b?x=y&",
        "sip:a@b?x=y&&z=1", "sip:a@b?x=y=z", "sip:a%@b", "sip:a%4@b", "sip:a%4g@b", "sip:a@b;x=%zz", "sip:a@b?x=%",
        "sip:a@%62", "sip:a#b@c", 'sip:"a"@b', "sip:a<b@c", "sip:a[b@c", "sip:a^b@c", "sip:a`b@c", "sip:a{b}@c",
        "sip:2001:db8::10", "sip:a@2001:db8::10", "sip:[2001:db8::10", "sip:2001:db8::10]", "sip:[]", "sip:[::1]x",
        "sip:[fe80::1%25eth0]", "sip:[fe80::1%eth0]", "sip:[1.2.3.4]", "sip:[example.com]", "sip:[::g]", "sip:a@-b",
        "sip:a@256.1.1.1", "sip:a@1.2.3", "sip:a@b/c", "sip:a@b;x#y",
        "tel:", "tel:+", "tel:+-", "tel:+1x", "tel:+1 2", "tel:123;phone-context=", "tel:+1;ext=1;ext=2",
        "tel:+1;=x", "tel:+1;a=%", "tel:-;phone-context=a", "tel:xyz;phone-context=a", "tel:+1?x=y",
        "1http://x", "http:", "http:// x", "http://<x>", 'http://"x"', "http://\x7f", "http://é", "urn:%zz", ":x",
    ],
)  # fmt: skip
def test_malformed(text: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_uri(text)
    assert error.value.status_hint == 400


def test_port() -> None:
    assert parse_port("00005060") == 5060
    assert parse_port("65535") == 65535
    for text in ("", "0", "000000", "65536", "٥٠٦٠", "0" * 60_000):
        with pytest.raises(ParseError):
            parse_port(text)


# RFC 3261 §19.1.4: "The URIs within each of the following sets are equivalent"
EQUIVALENT = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
    ("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
     "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"),
    ("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
     "sip:alice@atlanta.com?priority=urgent&subject=project%20x"),
    # and more of its rules
    ("sip:a@b;user=phone", "sip:a@b;USER=Phone;x=1"),
    ("sip:a%2db@c", "sip:a-b@c", "sip:%61%2D%62@c"),
    ("sip:a%3bb@c", "sip:a%3Bb@c"),
    ("sip:a:%70w@c", "sip:a:pw@c"),
    ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0:0:0:0:1]"),
    ("sip:a@b;maddr=H;ttl=1;method=x;user=y", "sip:a@b;user=Y;method=X;ttl=%31;maddr=h"),
    ("SIP:a@b", "sip:a@B"),
    ("sip:a@b;x=%41", "sip:a@b;%58=a"),
    ("sip:a@b?Subject=X", "sip:a@b?subject=x"),
]  # fmt: skip
# "The URIs within each of the following sets are not equivalent"
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    # and more of its rules
    ("sip:a@b", "sips:a@b"),
    ("sip:a@b", "sip:b"),
    ("sip:a@b", "sip:a:@b"),
    ("sip:a:p@b", "sip:a:P@b"),
    ("sip:a:p@b", "sip:a@b"),
    ("sip:a@b", "sip:a@b;user=ip"),
    ("sip:a@b", "sip:a@b;ttl=1"),
    ("sip:a@b", "sip:a@b;method=INVITE"),
    ("sip:a@b", "sip:a@b;maddr=b"),
    ("sip:a@b;transport=udp", "sip:a@b;transport=tcp"),
    ("sip:a%3Bb@c", "sip:a;b@c"),
    ("sip:a%40b@c", "sip:a@c"),
    ("sip:a@b?x=1", "sip:a@b?x=2"),
    ("sip:a@b?x=1", "sip:a@b?x=1&x=1"),
    ("sip:%00@b", "sip:%00%00@b"),
    ("sip:a@b", "tel:+1"),
]  # fmt: skip


@pytest.mark.parametrize("texts", EQUIVALENT)
def test_equivalent(texts: tuple[str, ...]) -> None:
    for one, other in itertools.permutations(map(parse_uri, texts), 2):
        assert one == other
        assert hash(one) == hash(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different(one: str, other: str) -> None:
    assert parse_uri(one) != parse_uri(other)
    assert parse_uri(other) != parse_uri(one)


def test_equality_is_not_transitive() -> None:
    plain, on, off = map(
        parse_uri,
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    )
    assert plain == on
    assert plain == off
    assert on != off


def test_no_uri_equals_its_text() -> None:
    for text in ("sip:a@b", "tel:+1", "urn:x"):
        assert parse_uri(text) != text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("sip:alice@Example.COM", "sip:alice@example.com"),
        ("sip:%61lice@example.com;user=phone;x=y?subject=z", "sip:alice@example.com"),
        ("SIPS:Alice@example.com:5061", "sips:Alice@example.com:5061"),
        ("sip:sips%3Auser%40example.com@example.net", "sip:sips:user@example.com@example.net"),
        ("sip:null-%00-null@example.com", "sip:null-\x00-null@example.com"),
        ("sip:%C3%A9@example.com", "sip:é@example.com"),
        ("sip:%FF@example.com", "sip:\udcff@example.com"),
        ("sip:a:b@example.com", "sip:a:b@example.com"),
        ("sip:a@[2001:DB8:0::1]", "sip:a@[2001:db8::1]"),
        ("sip:example.com", "sip:example.com"),
        ("tel:+1-(201).555", "tel:+1201555"),
        ("tel:863-1234;phone-context=+1-914;ext=1-2;A", "tel:8631234;a;ext=12;phone-context=+1914"),
        ("tel:7042;phone-context=Example.COM", "tel:7042;phone-context=example.com"),
        ("HTTP://Example.com/A", "http://Example.com/A"),
    ],
)
def test_canonical_address_of_record(text: str, canonical: str) -> None:
    assert parse_uri(text).canonical() == canonical


def test_nul_in_user_survives() -> None:
    one, two = sip("sip:%00@host5.example.com"), sip("sip:%00%00@host5.example.com")
    assert one.user == "\x00"
    assert two.user == "\x00\x00"
    assert str(one.replace(port=5070)) == "sip:%00@host5.example.com:5070"


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        (SipUri("sip", "j@s0n", None, "h"), "sip:j%40s0n@h"),
        (SipUri("sip", "a b\r\n", "p:w", "h"), "sip:a%20b%0D%0A:p%3Aw@h"),
        (SipUri("sip", "é\udcff%", None, "h"), "sip:%C3%A9%FF%25@h"),
        (SipUri("sips", None, None, "2001:db8::1", 5061), "sips:[2001:db8::1]:5061"),
        (SipUri("sip", None, None, "h", None, UriParams({"lr": None, "x;": "a=b@"})), "sip:h;lr;x%3B=a%3Db%40"),
        (SipUri("sip", None, None, "h", None, Params({"x": "a b"})), "sip:h;x=a%20b"),
        (SipUri("sip", "a", None, "h", headers=[("To", "<sip:a@b>"), ("body", "a&b=?")]),
         "sip:a@h?To=%3Csip:a%40b%3E&body=a%26b%3D?"),
    ],
)  # fmt: skip
def test_rendering_escapes_what_must_be(uri: SipUri, text: str) -> None:
    assert str(uri) == text
    assert repr(uri) == f"<SipUri {text}>"
    assert parse_uri(text) == uri


@pytest.mark.parametrize(
    "arguments",
    [
        ("http", None, None, "h"),
        ("SIP", None, None, "h"),
        ("sip", "", None, "h"),
        ("sip", None, "p", "h"),
        ("sip", None, None, ""),
        ("sip", None, None, "h\r\nVia: x"),
        ("sip", None, None, "[::1]"),
        ("sip", None, None, "h", 0),
        ("sip", None, None, "h", 65536),
    ],
)
def test_no_malformed_uri_can_be_built(arguments: tuple[str, str | None, str | None, str]) -> None:
    with pytest.raises(LocalProtocolError):
        SipUri(*arguments)


def test_replace_and_without() -> None:
    uri = sip("sip:a%3Bb:p%3Bw@h:5070;x=1?s=t")
    assert str(uri.replace()) == str(uri)
    assert str(uri.replace(scheme="sips", host="::1", port=1)) == "sips:a%3Bb:p%3Bw@[::1]:1;x=1?s=t"
    assert str(uri.replace(user="c", password="d")) == "sip:c:d@h:5070;x=1?s=t"
    assert str(uri.replace(params=UriParams({"lr": None}), headers=())) == "sip:a%3Bb:p%3Bw@h:5070;lr"
    assert str(uri.with_param("lr")) == "sip:a%3Bb:p%3Bw@h:5070;x=1;lr?s=t"
    assert str(uri.with_param("X", "2")) == "sip:a%3Bb:p%3Bw@h:5070;x=2?s=t"
    assert str(uri.without("user")) == "sip:h:5070;x=1?s=t"
    assert str(uri.without("password", "port")) == "sip:a%3Bb@h;x=1?s=t"
    assert str(uri.without("params", "headers")) == "sip:a%3Bb:p%3Bw@h:5070"
    assert str(uri) == "sip:a%3Bb:p%3Bw@h:5070;x=1?s=t"
    with pytest.raises(LocalProtocolError):
        uri.without("host")


def test_properties() -> None:
    uri = sip("sip:a@[::1]:5070;transport=TCP;maddr=[::2];lr")
    assert (uri.transport, uri.maddr, uri.lr, uri.host_port) == ("tcp", "::2", True, "[::1]:5070")
    plain = sip("sip:a@h")
    assert (plain.transport, plain.maddr, plain.lr, plain.host_port) == (None, None, False, "h")


def test_uri_params() -> None:
    uri = sip("sip:h;%6C%72;N%61me=v%20w;x")
    params = uri.params
    assert "lr" in params
    assert params.get("NAME") == "v w"
    assert str(params) == ";%6C%72;N%61me=v%20w;x"
    assert str(params.with_("y", "a;b").without("x")) == ";%6C%72;N%61me=v%20w;y=a%3Bb"
    assert str(params.with_("A b", None).with_("C", "d")).endswith(";x;A%20b;C=d")
    assert params.items() == [("%6C%72", ""), ("N%61me", "v w"), ("x", "")]
    with pytest.raises(LocalProtocolError):
        params.with_("", "x")


@pytest.mark.parametrize(
    ("text", "number", "digits", "is_global", "context"),
    [
        # RFC 3966 §6
        ("tel:+1-201-555-0123", "+1-201-555-0123", "+12015550123", True, None),
        ("tel:7042;phone-context=example.com", "7042", "7042", False, "example.com"),
        ("tel:863-1234;phone-context=+1-914-555", "863-1234", "8631234", False, "+1-914-555"),
        ("tel:+358-555-1234567;postd=pp22", "+358-555-1234567", "+3585551234567", True, None),
        ("tel:*21#;phone-context=h", "*21#", "*21#", False, "h"),
        ("tel:+1;isub=a%20b", "+1", "+1", True, None),
    ],
)
def test_tel(text: str, number: str, digits: str, is_global: bool, context: str | None) -> None:
    uri = tel(text)
    assert uri.scheme == "tel"
    assert (uri.number, uri.digits, uri.is_global, uri.phone_context) == (number, digits, is_global, context)
    assert f"tel:{uri.subscriber}" == text
    assert parse_uri(str(TelUri(uri.number, uri.params))) == uri
    assert repr(uri) == f"<TelUri {text}>"


def test_tel_comparison() -> None:
    assert parse_uri("tel:+1-201-555-0123") == parse_uri("TEL:+12015550123")
    assert hash(parse_uri("tel:+1-201-555-0123")) == hash(parse_uri("tel:+12015550123"))
    assert parse_uri("tel:+1;a=1;B=x") == parse_uri("tel:+1;b=X;a=%31")
    assert parse_uri("tel:1;phone-context=+1-9;ext=1-2") == parse_uri("tel:1;phone-context=+19;ext=12")
    assert parse_uri("tel:1;phone-context=a-b") != parse_uri("tel:1;phone-context=ab")
    assert parse_uri("tel:+1;a=1") != parse_uri("tel:+1")
    assert parse_uri("tel:+1") != parse_uri("tel:1;phone-context=+1")


def test_tel_to_sip_and_back() -> None:
    # RFC 3261 §19.1.6
    uri = tel("tel:+358-555-1234567;POSTD=pp22").to_sip("foo.com")
    assert str(uri) == "sip:+3585551234567;postd=pp22@foo.com;user=phone"
    assert uri.telephone_subscriber == tel("tel:+358-555-1234567;postd=pp22")
    star = tel("tel:*21#;phone-context=h;x=%3B[1]").to_sip("g")
    assert str(star) == "sip:*21%23;phone-context=h;x=%3b%5B1%5D@g;user=phone"
    assert star.telephone_subscriber is not None
    assert star.telephone_subscriber.number == "*21#"
    assert str(TelUri("123", Params({"phone-context": "h"}))) == "tel:123;phone-context=h"


def test_telephone_subscriber_only_where_user_is_phone() -> None:
    assert sip("sip:123@h;user=phone").telephone_subscriber == TelUri("123")
    assert sip("sip:123@h").telephone_subscriber is None
    assert sip("sip:h;user=phone").telephone_subscriber is None
    assert sip("sip:alice.smith@h;user=phone").telephone_subscriber is None


def test_a_local_number_without_a_context_goes_on_as_it_came_and_is_never_made() -> None:
    # RFC 3966 §5.1.5 requires phone-context, and phones that dial an emergency number leave it out
    for text in ("tel:911", "TEL:*21#;ext=5", "tel:911;phone-context"):
        uri = tel(text)
        assert (uri.is_global, uri.phone_context) == (False, None)
        assert str(uri) == text
        assert repr(uri) == f"<TelUri tel:{uri.subscriber}>"
    assert str(tel("tel:911").to_sip("h")) == "sip:911@h;user=phone"
    assert tel("tel:911") == TelUri("911")
    for made in (TelUri("911"), TelUri("911", Params({"phone-context": None})), parse_telephone_subscriber("911")):
        with pytest.raises(LocalProtocolError, match="phone-context"):
            str(made)
        assert repr(made).startswith("<TelUri tel:911")


def test_what_is_no_unicode_cannot_be_escaped() -> None:
    # half of a surrogate pair, as JSON may have it; the octets that surrogateescape stands for are escaped
    for user in ("\ud800", "a\udfffb"):
        with pytest.raises(LocalProtocolError, match="no Unicode"):
            SipUri("sip", user, None, "h")
    with pytest.raises(LocalProtocolError, match="no Unicode"):
        sip("sip:h").with_param("x", "\ud800")
    assert str(SipUri("sip", "\udcff", None, "h")) == "sip:%FF@h"


@pytest.mark.parametrize("number", ["", "x", "+", "1;a", "+1\r\n"])
def test_no_malformed_number_can_be_built(number: str) -> None:
    with pytest.raises(LocalProtocolError):
        TelUri(number, NO_PARAMS)


def test_other_schemes_are_opaque() -> None:
    uri = parse_uri("URN:service:sos")
    assert isinstance(uri, OpaqueUri)
    assert (uri.scheme, uri.rest, str(uri)) == ("urn", "service:sos", "URN:service:sos")
    assert repr(uri) == "<OpaqueUri URN:service:sos>"
    assert uri == OpaqueUri("urn", "service:sos")
    assert uri == parse_uri("urn:servic%65:sos")
    assert hash(uri) == hash(parse_uri("urn:service:sos"))
    assert uri != parse_uri("urn:service:SOS")
    assert uri != parse_uri("cid:service:sos")
    assert str(parse_uri("http://[::1]/a?b#c")) == "http://[::1]/a?b#c"
    with pytest.raises(LocalProtocolError):
        OpaqueUri("x y", "z")


def test_unescape_decodes_once() -> None:
    assert unescape("v%61lue%25%34%31") == "value%41"
    assert unescape("plain") == "plain"


HOSTS = st.sampled_from(["h", "example.com", "192.0.2.1", "2001:db8::1", "h.", "a_b"])
TEXT = st.text(st.characters(exclude_categories=()), min_size=1, max_size=12)


@given(
    st.sampled_from(["sip", "sips"]),
    st.none() | TEXT,
    st.none() | st.text(max_size=8),
    HOSTS,
    st.none() | st.integers(1, 65535),
    st.dictionaries(TEXT.map(str.lower).filter(lambda name: name == name.lower()), st.none() | TEXT, max_size=4),
    st.lists(st.tuples(TEXT, st.text(max_size=8)), max_size=3),
)
def test_round_trip(
    scheme: str,
    user: str | None,
    password: str | None,
    host: str,
    port: int | None,
    params: dict[str, str | None],
    headers: list[tuple[str, str]],
) -> None:
    # a surrogateescaped byte that happens to complete another is not told apart from the character; so it is with bytes
    def canonical(text: str) -> str:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")

    if user is None:
        password = None
    texts = (user, password, *params, *params.values(), *(text for header in headers for text in header))
    if any("\ud800" <= c <= "\udc7f" or "\udd00" <= c <= "\udfff" for text in texts for c in text or ""):
        with pytest.raises(LocalProtocolError):
            str(SipUri(scheme, user, password, host, port, UriParams(params), headers))
        return
    uri = SipUri(scheme, user, password, host, port, UriParams(params), headers)
    again = parse_uri(str(uri))
    assert isinstance(again, SipUri)
    assert again == uri
    assert str(again) == str(uri)
    assert again.user == (None if user is None else canonical(user))
    assert again.host == host
    assert again.port == port
    assert again.headers == tuple((canonical(name), canonical(value)) for name, value in headers)


@given(
    st.text(st.characters(exclude_categories=()), max_size=40), st.sampled_from(["", "sip:", "sips:a@", "tel:", "x:"])
)
def test_any_text_is_a_uri_or_a_parse_error(text: str, prefix: str) -> None:
    try:
        uri: Uri = parse_uri(prefix + text)
    except ParseError:
        return
    assert parse_uri(str(uri)) == uri
    assert hash(parse_uri(str(uri))) == hash(uri)
    assert isinstance(uri.canonical(), str)
