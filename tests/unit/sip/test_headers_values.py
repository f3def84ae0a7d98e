"""Values of the other header fields: what their properties say."""

from __future__ import annotations

import calendar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.errors import LocalProtocolError, ParseError
from switchroom.sip.grammar import NO_PARAMS, Params
from switchroom.sip.headers import (
    EXPIRES,
    SESSION_EXPIRES,
    AuthenticationInfo,
    Challenge,
    Credentials,
    Date,
    Disposition,
    Event,
    Join,
    MediaType,
    MinSE,
    Parameterized,
    Privacy,
    RAck,
    Reason,
    ReferSub,
    Replaces,
    ResourceValue,
    RetryAfter,
    SessionExpires,
    SessionId,
    SubscriptionState,
    TargetDialog,
    Timestamp,
    UserToUser,
    Warning,
    parse_authentication_info,
    parse_challenge,
    parse_credentials,
    parse_date,
    parse_disposition,
    parse_event,
    parse_media_type,
    parse_reason,
    parse_replaces,
    parse_retry_after,
    parse_session_id,
    parse_subscription_state,
    parse_user_to_user,
    parse_warning,
)

SAID = st.text(st.characters(exclude_characters="\r\n", exclude_categories=()), max_size=20)
NAMES = st.text("abcxyz0189-.!*_+`'~", min_size=1, max_size=8)


# Digest: which parameters stand in quotation marks (RFC 3261 §25.1, RFC 7616 §3.3, §3.4, §3.5)


def test_challenge_renders_by_the_rules_of_digest() -> None:
    params = {"realm": "a", "domain": "sip:x", "nonce": "n", "opaque": "", "stale": "TRUE", "algorithm": "SHA-256",
              "qop": "auth", "charset": "UTF-8", "userhash": "true", "x": "y", "z": "a b"}  # fmt: skip
    assert str(Challenge("Digest", Params(params))) == (
        'Digest realm="a", domain="sip:x", nonce="n", opaque="", stale=TRUE, algorithm=SHA-256, qop="auth", '
        'charset=UTF-8, userhash=true, x=y, z="a b"'
    )


def test_credentials_render_by_the_rules_of_digest() -> None:
    params = {"Username": 'b"ob', "realm": "a", "nonce": "n", "uri": "sip:x", "response": "r", "algorithm": "MD5",
              "cnonce": "c", "opaque": "o", "qop": "auth-int", "nc": "0000000a"}  # fmt: skip
    assert str(Credentials("Digest", Params(params))) == (
        'Digest Username="b\\"ob", realm="a", nonce="n", uri="sip:x", response="r", algorithm=MD5, cnonce="c", '
        'opaque="o", qop=auth-int, nc=0000000a'
    )


def test_authentication_info_renders_by_the_rules_of_digest() -> None:
    params = {"nextnonce": "n", "qop": "auth", "rspauth": "r", "cnonce": "c", "nc": "00000001"}
    info = AuthenticationInfo(Params(params))
    assert str(info) == 'nextnonce="n", qop=auth, rspauth="r", cnonce="c", nc=00000001'
    assert parse_authentication_info(str(info)) == info
    assert info.get("rspauth") == "r"


def test_sloppy_quotation_is_read_and_mended() -> None:
    challenge = parse_challenge('digest realm=asterisk ,nonce=abc/==, algorithm="MD5",stale="false", qop=auth,opaque=')
    assert challenge.get("nonce") == "abc/=="
    assert challenge.get("opaque") == ""
    assert str(challenge) == (
        'digest realm="asterisk", nonce="abc/==", algorithm=MD5, stale=false, qop="auth", opaque=""'
    )
    credentials = parse_credentials('Digest\tusername="u" , uri=sip:a@b, qop="auth", nc="00000001"')
    assert credentials.get("URI") == "sip:a@b"
    assert str(credentials) == 'Digest username="u", uri="sip:a@b", qop=auth, nc=00000001'


def test_what_is_bare_by_rule_is_quoted_when_it_must_be() -> None:
    assert str(Challenge("Digest", Params({"algorithm": "a b"}))) == 'Digest algorithm="a b"'


def test_other_schemes_are_left_as_they_are() -> None:
    text = 'Other realm=a, nonce="b", nc="1"'
    assert str(parse_credentials(text)) == text
    bearer = parse_credentials("Bearer  mF_9.B5f-4.1JqM==")
    assert bearer == Credentials("Bearer", NO_PARAMS, "mF_9.B5f-4.1JqM==")
    assert str(bearer) == "Bearer mF_9.B5f-4.1JqM=="


@pytest.mark.parametrize(
    "value",
    [
        Challenge("Digest"),
        Challenge("Di gest", Params({"a": "b"})),
        Credentials("Bearer", NO_PARAMS, "a b"),
        Credentials("Bearer", Params({"a": "b"}), "c"),
        Challenge("Digest", Params({"realm": "a"}), "\r\n"),
    ],
)
def test_no_malformed_authentication_is_rendered(value: Challenge | Credentials) -> None:
    with pytest.raises(LocalProtocolError):
        str(value)


@given(st.dictionaries(NAMES | st.sampled_from(["realm", "qop", "nc", "stale"]), SAID, min_size=1, max_size=5))
def test_authentication_round_trip(params: dict[str, str]) -> None:
    for value, parse in ((Challenge("Digest", Params(params)), parse_challenge),
                         (Credentials("X", Params(params)), parse_credentials)):  # fmt: skip
        again = parse(str(value))
        assert again.params.items() == list(params.items())
        assert again == value
        assert str(again) == str(value)


# Bodies


def test_media_type() -> None:
    media = parse_media_type('Multipart/Mixed; boundary="a b"; charset=UTF-8; q=0.5')
    assert (media.type, media.subtype, media.essence) == ("multipart", "mixed", "multipart/mixed")
    assert (media.boundary, media.charset, media.q) == ("a b", "UTF-8", 0.5)
    plain = MediaType("application", "sdp")
    assert (plain.boundary, plain.charset, plain.q, str(plain)) == (None, None, 1.0, "application/sdp")


@pytest.mark.parametrize(
    ("text", "included"),
    [("*/*", True), ("application/*", True), ("application/sdp;level=1", True), ("text/*", False),
     ("application/x", False), ("*/x", False)],
)  # fmt: skip
def test_media_range(text: str, included: bool) -> None:
    assert parse_media_type(text).includes(MediaType("application", "sdp")) == included


def test_disposition() -> None:
    assert parse_disposition("Session").handling == "required"
    assert parse_disposition("session;handling=Optional").handling == "optional"
    assert str(Disposition("render", Params({"handling": "optional"}))) == "render;handling=optional"


# Dates


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Sat, 13 Nov 2010 23:29:00 GMT", 1289690940),  # RFC 3261 §20.17
        ("Tue, 29 Feb 2000 12:00:00 GMT", 951825600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799),
        ("Sat, 01 Jan 0000 00:00:00 GMT", -62167219200),
    ],
)
def test_date(text: str, timestamp: int) -> None:
    assert parse_date(text) == Date(timestamp)
    assert str(Date(timestamp)) == text


def test_date_tolerates_white_space_a_wrong_weekday_and_leap_seconds() -> None:
    assert parse_date(" Mon, 31  Dec 2016\t23:59:60 GMT ") == Date(1483228800)


@pytest.mark.parametrize(
    "text",
    ["Xxx, 13 Nov 2010 23:29:00 GMT", "Sat, 13 Xxx 2010 23:29:00 GMT", "Sat, 00 Nov 2010 23:29:00 GMT",
     "Sat, 31 Nov 2010 23:29:00 GMT", "Sat, 29 Feb 1900 23:29:00 GMT", "Sat, 29 Feb 2010 23:29:00 GMT",
     "Sat, 13 Nov 2010 24:29:00 GMT", "Sat, 13 Nov 2010 23:60:00 GMT", "Sat, 13 Nov 2010 23:29:61 GMT",
     "Sat, 13 Nov 2010 23:29:00 EST", "Sat, 13 Nov 10 23:29:00 GMT", "13 Nov 2010 23:29:00 GMT"],
)  # fmt: skip
def test_no_date(text: str) -> None:
    with pytest.raises(ParseError):
        parse_date(text)


@pytest.mark.parametrize("timestamp", [-62167219201, 253402300800])
def test_dates_have_four_digits_of_year(timestamp: int) -> None:
    with pytest.raises(LocalProtocolError):
        str(Date(timestamp))


@given(st.integers(-62135596800, 253402300799))
def test_date_agrees_with_the_standard_library(timestamp: int) -> None:
    text = str(Date(timestamp))
    assert parse_date(text) == Date(timestamp)
    day, month, year = int(text[5:7]), list(calendar.month_abbr).index(text[8:11]), int(text[12:16])
    hours, minutes, seconds = map(int, text[17:25].split(":"))
    assert calendar.timegm((year, month, day, hours, minutes, seconds)) == timestamp
    assert text[:3] == calendar.day_abbr[calendar.weekday(year, month, day)]


def test_retry_after() -> None:
    value = parse_retry_after("18000;duration=3600")
    assert (value.seconds, value.comment, value.duration) == (18000, "", 3600)
    value = parse_retry_after(r"120 ( I'm \(not\) here (now) )")
    assert (value.seconds, value.comment, value.duration) == (120, " I'm (not) here (now) ", None)
    assert parse_retry_after("5 (bell\\\x07)").comment == "bell\x07"
    assert str(RetryAfter(5, "bell\x07 )")) == "5 (bell\\\x07 \\))"
    for text in ("5 (bell\x07)", "5 (\r\n)", "5 (\\\r)", "5 (\x00)"):
        with pytest.raises(ParseError):
            parse_retry_after(text)
    assert parse_retry_after("5;duration=x").duration is None
    with pytest.raises(LocalProtocolError):
        str(RetryAfter(5, "a\r\nb"))
    with pytest.raises(ParseError, match="does not end"):
        parse_retry_after("5 (a\\")


def test_timestamp() -> None:
    assert str(Timestamp("54.3")) == "54.3"
    assert str(Timestamp("54.3", "0.5")) == "54.3 0.5"


# Reasons


def test_reason() -> None:
    reason = parse_reason('Q.850;cause=16;text="Normal call clearing"')
    assert (reason.protocol, reason.cause, reason.text) == ("Q.850", 16, "Normal call clearing")
    assert str(Reason.of("SIP", 600, "Busy")) == 'SIP;cause=600;text="Busy"'
    assert str(Reason.of("SIP", 200)) == "SIP;cause=200"
    for text in ("SIP", "SIP;cause=x", "SIP;cause=" + "9" * 5000, "SIP;cause"):
        assert parse_reason(text).cause is None
    assert parse_reason("SIP;text").text == ""


def test_warning() -> None:
    assert parse_warning('307 isi.edu:5060 "Session \\"parameter\\", not understood"') == Warning(
        307, "isi.edu:5060", 'Session "parameter", not understood'
    )
    for value in (Warning(99, "a", "b"), Warning(1000, "a", "b"), Warning(399, "a b", "c"), Warning(399, "a", "\r\n")):
        with pytest.raises(LocalProtocolError):
            str(value)


# Dialogs, subscriptions, sessions


def test_references_are_built_and_rendered() -> None:
    assert str(Replaces("a@b", "t", "f", True)) == "a@b;to-tag=t;from-tag=f;early-only"
    assert str(Join("a@b", "t", "f")) == "a@b;to-tag=t;from-tag=f"
    assert str(TargetDialog("a@b", "l", "r")) == "a@b;local-tag=l;remote-tag=r"
    assert parse_replaces("a@b;early-only;to-tag=t;from-tag=f;x") == Replaces(
        "a@b", "t", "f", True, Params({"x": None})
    )
    assert str(RAck(1, 2, "INVITE")) == "1 2 INVITE"


def test_event() -> None:
    assert parse_event("foo; id=1234").id == "1234"
    assert parse_event("presence") == Event("presence")
    assert parse_event("presence").id is None
    assert parse_event("Presence") != parse_event("presence")


def test_subscription_state() -> None:
    state = parse_subscription_state("Terminated;reason=NoResource;retry-after=30")
    assert (state.state, state.reason, state.retry_after, state.expires) == ("terminated", "noresource", 30, None)
    state = parse_subscription_state("active;expires=x;retry-after")
    assert (state.expires, state.retry_after, state.reason) == (None, None, None)
    assert str(SubscriptionState("active", Params({"expires": "60"}))) == "active;expires=60"


def test_session_expires() -> None:
    assert SESSION_EXPIRES.parse("1800;refresher=uas") == SessionExpires(1800, "uas")
    assert str(SessionExpires(1800)) == "1800"
    assert str(SessionExpires(1800, "uac")) == "1800;refresher=uac"
    assert str(MinSE(90)) == "90"


@pytest.mark.parametrize("text", ["1" + "0" * 100, "-1", "", "3600.5"])
def test_malformed_expires_counts_as_an_hour(text: str) -> None:
    """RFC 4475 §3.1.2.4: an overlarge value is no reason to refuse the request."""
    assert EXPIRES.parse(text) == 3600


def test_session_id() -> None:
    value = parse_session_id("a" * 32 + ";remote=" + "0" * 32)
    assert value == SessionId("a" * 32, "0" * 32)
    assert str(value) == "a" * 32 + ";remote=" + "0" * 32


def test_user_to_user() -> None:
    value = parse_user_to_user('"a;b";encoding=Text')
    assert (value.data, value.encoding) == ("a;b", "text")
    assert str(UserToUser("48656c6c6f")) == "48656c6c6f"
    assert UserToUser("48").encoding == "hex"


@pytest.mark.parametrize(
    "value",
    [
        Parameterized("a;b"),
        Privacy(("id", "a;b")),
        ResourceValue("a.b", "c"),
        ResourceValue("a", ""),
        Event("a b"),
        SubscriptionState(""),
        MediaType("a/b", "c"),
        MediaType("a", "b;c"),
        Disposition("a,b"),
        Reason("SIP;cause=1"),
        Replaces("a;b", "t", "f"),
        Join("a", "t;x", "f"),
        TargetDialog("a", "l", "\r\n"),
        SessionExpires(90, "uac;x"),
        SessionId("x"),
        SessionId("a" * 32, "x"),
    ],
)
def test_no_malformed_value_is_rendered(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        str(value)


def test_tokens_with_structure() -> None:
    assert str(Privacy(("id", "critical"))) == "id;critical"
    assert str(ReferSub(False)) == "false"
    assert str(ResourceValue("dsn", "flash")) == "dsn.flash"
    assert str(Parameterized("*", Params({"audio": None}))) == "*;audio"
