"""Every registered header field: its names, a valid and a malformed value, and what it renders."""

from __future__ import annotations

import pytest

from switchroom.sip import headers
from switchroom.sip.errors import ParseError
from switchroom.sip.headers import FIELDS, HeaderField, canonical_key

# key: (valid value as written, canonical text), ... ; malformed values.  "" stands for the text itself.
ADDRESS = (
    [('"Bob" <sip:bob@b>;x=1', ""), ("sip:bob@b;tag=1", "<sip:bob@b>;tag=1"), ("<tel:+1>", "")],
    ["", "Bob", "<sip:bob@b", "sip:a@b?c=d", "sip:a,b@c", '"Bob" sip:bob@b', "<>", "<sip:a@b>x", "a,b <sip:c@d>"],
)
NAME_ADDR = ([('"Bob" <sip:bob@b>;index=1.1', "")], ["sip:bob@b", "<sip:", ""])
ROUTE = ([("<sip:p.example;lr>;x", "")], ["sip:p.example;lr", "<tel:+1>", ""])
TOKEN = ([("100rel", ""), (" x ", "x")], ["", "a b", "a/b", "a,b"])
PARAMETERIZED = ([("gzip;q=0.5", ""), ("* ; audio", "*;audio")], ["", ";a", "a b", "a;", "a;b=c=d"])
INFORMATION = (
    [("<http://a/b>;purpose=icon", ""), ("<cid:x@y> ; a", "<cid:x@y>;a")],
    ["", "http://a/b", "<http://a", "<x>", "<http://a>b"],
)
LOOSE_INFORMATION = (
    [*INFORMATION[0], ("http://a/b", "<http://a/b>"), ("<x>", "x"), ("info=auto", "")],
    ["", "<http://a", "<http://a>b", "<>", "a b"],
)
NUMBER = ([("0", ""), ("0070", "70"), ("4294967295", "")], ["", "-1", "x", "4294967296", "1 2"])
TEXT = ([("any text, (really); it's fine", "")], [])
CHALLENGE = (
    [('Digest realm="a", nonce="b", stale=true, algorithm=MD5, qop="auth,auth-int"', ""), ("NTLM abc==", "")],
    ["", "Digest", 'Digest realm="a', 'Digest realm="a",', "Digest a b", 'Digest realm="a", realm="b"'],
)
CREDENTIALS = (
    [
        ('Digest username="u", realm="a", nonce="b", uri="sip:c", response="d", qop=auth, nc=00000001, cnonce="e"', ""),
        ("NoOneKnowsThisScheme opaque-data=here", ""),
    ],
    ["", "Digest", "Digest x", "Digest nc=1, NC=2", "(Digest) a=b"],
)
CALL_ID = (
    [("a84b4c76e66710@pc33.atlanta.com", ""), ("intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{", "")],
    ["", "a b", "a@b@c", "@a", "a@", "é", "a;b", "a,b"],
)

CASES: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    # RFC 3261
    "accept": (
        [("application/sdp;level=1", ""), ("*/*;q=0.1", ""), ("Text / *", "text/*")],
        ["", "text", "text/", "a/b c"],
    ),
    "accept-encoding": PARAMETERIZED,
    "accept-language": ([("da", ""), ("en-gb;q=0.8", "")], ["", "é"]),
    "alert-info": LOOSE_INFORMATION,
    "allow": TOKEN,
    "authentication-info": (
        [('nextnonce="47364c23432d2e131a5fb210812c"', ""), ('qop=auth, rspauth="1", cnonce="2", nc=00000001', "")],
        ["", "nextnonce", 'a="b" c="d"'],
    ),
    "authorization": CREDENTIALS,
    "call-id": CALL_ID,
    "call-info": LOOSE_INFORMATION,
    "contact": ([*ADDRESS[0], ("*", ""), (" * ", "*")], [*ADDRESS[1], "*;q=1", "**"]),
    "content-disposition": ([("Session;handling=optional", "session;handling=optional")], ["", "a/b"]),
    "content-encoding": TOKEN,
    "content-language": TOKEN,
    "content-length": NUMBER,
    "content-type": (
        [('multipart/mixed;boundary="a b"', ""), ("Application/SDP", "application/sdp")],
        ["", "sdp", "/sdp", "a/b;"],
    ),
    "cseq": (
        [("0009 \t INVITE", "9 INVITE"), ("4294967295 !Odd%", ""), ("36 a-B", "")],
        [
            "",
            "1",
            "INVITE",
            "1INVITE",
            "4294967296 A",
            "36893488147419103232 REGISTER",
            "-1 A",
            "1 A B",
            "1 A/B",
            "1 é",
            "1\nA",
            "1 A\n",
            "1\xa0A",
        ],
    ),
    "date": ([("Sat, 13 Nov 2010 23:29:00 GMT", "")], ["", "Sat, 13 Nov 2010 23:29:00 CET", "2010-11-13T23:29:00Z"]),
    "error-info": INFORMATION,
    "expires": ([("120", ""), ("soon", "3600"), ("4294967296", "3600")], []),
    "from": ADDRESS,
    "in-reply-to": CALL_ID,
    "max-forwards": ([("70", ""), ("0068", "68"), ("300", "")], ["", "-1", "x", "4294967296"]),
    "min-expires": NUMBER,
    "mime-version": ([("1.0", "")], []),
    "organization": TEXT,
    "priority": TOKEN,
    "proxy-authenticate": CHALLENGE,
    "proxy-authorization": CREDENTIALS,
    "proxy-require": TOKEN,
    "record-route": ROUTE,
    "reply-to": ADDRESS,
    "require": TOKEN,
    "retry-after": (
        [("18000;duration=3600", ""), ("120 (I'm in a meeting)", ""), ("5 (a \\) (b)) ; x", "5 (a \\) \\(b\\));x")],
        ["", "soon", "1 2", "5 (a", "5 (a) b", "(a)"],
    ),
    "route": ROUTE,
    "server": TEXT,
    "subject": TEXT,
    "supported": TOKEN,
    "timestamp": ([("54.21", ""), ("54. .5", ""), ("7\t2", "7 2")], ["", ".5", "a", "1 2 3"]),
    "to": ADDRESS,
    "unsupported": TOKEN,
    "user-agent": TEXT,
    "via": (
        [
            ("SIP/2.0/UDP a.example:5060;branch=z9hG4bK1;rport", ""),
            ("SIP / 2.0 / TCP  [::1] : 5060 ; branch = x ; ttl=16", "SIP/2.0/TCP [::1]:5060;branch=x;ttl=16"),
            ("SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw", ""),
            ("sip/2.0/UDP h", "SIP/2.0/UDP h"),
        ],
        [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 h",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:0",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP h;a;a",
            "SIP/2.0/UDP ::1",
            "SIP/2.0/UDP [h]",
            "SIP/2.0/UDP a..b",
            "SIP/2.0/UDP h;ttl=256",
            "SIP/2.0/UDP h;ttl=x",
            "SIP/2.0/UDP h;ttl",
            "SIP/2.0/UDP h;rport=x",
            "SIP/2.0/UDPh",
        ],
    ),
    "warning": (
        [('370 devnull "Choose a bigger pipe"', ""), ('307 [::1]:5060 "a \\"b\\""', "")],
        ["", "370", '37 a "b"', '0370 a "b"', '070 a "b"', "370 a b", '370 "b"', '370 a"b"'],
    ),
    "www-authenticate": CHALLENGE,
    # RFC 3262
    "rack": ([("776656 1 INVITE", "")], ["", "1 INVITE", "0 1 INVITE", "1 1 A/B", "1\n1 A", "1 4294967296 A", "x 1 A"]),
    "rseq": ([("988789", ""), ("1", "")], ["", "0", "4294967296", "x"]),
    # RFC 6665, RFC 5839
    "allow-events": TOKEN,
    "event": ([("presence.winfo;id=7", "")], ["", ".a", "a.", "a..b", "a b"]),
    "subscription-state": ([("Active;expires=60", "active;expires=60")], ["", "a b"]),
    "suppress-if-match": ([("*", ""), ("abc", "")], ["", "a b"]),
    "p-media-authorization": TOKEN,
    # RFC 3323, RFC 3325
    "privacy": ([("id; Critical", "id;critical"), ("header,user", "header;user")], ["", "id;", "a b"]),
    "p-asserted-identity": ADDRESS,
    "p-preferred-identity": ADDRESS,
    "remote-party-id": NAME_ADDR,
    "reason": (
        [('Q.850;cause=16;text="Terminated"', ""), ("SIP;cause=200;text=ok", 'SIP;cause=200;text="ok"')],
        ["", "a b", "a;"],
    ),
    "path": ROUTE,
    "service-route": ROUTE,
    "security-client": PARAMETERIZED,
    "security-server": PARAMETERIZED,
    "security-verify": PARAMETERIZED,
    "p-access-network-info": TEXT,
    "p-associated-uri": NAME_ADDR,
    "p-called-party-id": NAME_ADDR,
    "p-charging-function-addresses": TEXT,
    "p-charging-vector": TEXT,
    "p-visited-network-id": TEXT,
    "refer-to": ([("<sip:dave@denver.example.org?Replaces=12345%40192.168.118.3%3Bto-tag%3D12345>", "")], ADDRESS[1]),
    "referred-by": ([('<sip:r@ref.example>;cid="2UWQFN309shb3@ref.example"', "")], ADDRESS[1]),
    "refer-sub": ([("False;x=y", "false;x=y"), ("true", "")], ["", "yes"]),
    "accept-contact": ([('*;audio;methods="INVITE,BYE";require', "")], ["", ";audio"]),
    "reject-contact": ([("*;automata", "")], ["", "<sip:a@b>"]),
    "request-disposition": TOKEN,
    "replaces": (
        [
            (
                "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff",
                "98732@sip.example.com;to-tag=ff87ff;from-tag=r33th4x0r",
            ),
            ("a;to-tag=b;from-tag=c;early-only;x=y", ""),
        ],
        [
            "",
            "a",
            "a;to-tag=b",
            "a;from-tag=b",
            "a;to-tag=b;to-tag=c;from-tag=d",
            ";to-tag=b;from-tag=c",
            "a;to-tag;from-tag=b",
        ],
    ),
    "join": ([("a@b;to-tag=c;from-tag=d;x", "")], ["", "a;to-tag=b"]),
    "target-dialog": (
        [("fa77as7dad8-sd98ajzz@host.example.com;local-tag=kkaz-;remote-tag=6544", "")],
        ["", "a;local-tag=b", "a b;local-tag=c;remote-tag=d"],
    ),
    "sip-etag": TOKEN,
    "sip-if-match": TOKEN,
    "session-expires": (
        [("4000;Refresher=UAC;x", "4000;refresher=uac;x"), ("90", "")],
        ["", "x", "90;refresher=me", "90;", "-1"],
    ),
    "min-se": ([("90;x=y", "")], ["", "x", "90;"]),
    "resource-priority": ([("DSN.Flash", "dsn.flash"), ("q735.3", "")], ["", "dsn", "dsn.", ".flash", "a.b.c"]),
    "accept-resource-priority": ([("wps.0", "")], ["", "wps"]),
    "identity": ([("r5mwreLuyDRYBi/0TiPwEsY3rEVsk/G2W==;info=<https://a/b>;alg=ES256", "")], []),
    "identity-info": ([("<https://a/b>;alg=rsa-sha1", "")], []),
    "p-early-media": TOKEN,
    "p-refused-uri-list": NAME_ADDR,
    "answer-mode": ([("Auto;require", "")], ["", "a b"]),
    "priv-answer-mode": ([("Auto", "")], ["", "a b"]),
    "permission-missing": ADDRESS,
    "trigger-consent": TEXT,
    "max-breadth": NUMBER,
    "flow-timer": NUMBER,
    "diversion": ([("<sip:1@h>;reason=user-busy;privacy=off;screen=yes;counter=1", "")], ["sip:1@h", ""]),
    "history-info": ([("<sip:bob@b?Reason=SIP%3Bcause%3D302>;index=1.2;rc=1.1", "")], ["sip:bob@b;index=1", ""]),
    "info-package": PARAMETERIZED,
    "recv-info": PARAMETERIZED,
    "geolocation": INFORMATION,
    "geolocation-error": TEXT,
    "geolocation-routing": ([("yes", "")], ["", "a b"]),
    "policy-contact": TEXT,
    "policy-id": TEXT,
    "feature-caps": ([("*;+g.3gpp.srvcc", "")], ["", "a b"]),
    "user-to-user": (
        [("56a390f3d2b7310023a2;encoding=hex;purpose=foo", ""), ('"a b" ; x', '"a b";x')],
        ["", "a b", ";x", '"a'],
    ),
    "session-id": (
        [
            (
                "AB30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2;logme",
                "ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2;logme",
            ),
            ("0" * 32 + ";x", ""),
        ],
        ["", "ab", "z" * 32, "0" * 32 + ";remote=1"],
    ),
}

COMPACT = {
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition", "e": "Content-Encoding",
    "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported", "l": "Content-Length", "m": "Contact",
    "n": "Identity-Info", "o": "Event", "r": "Refer-To", "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via",
    "x": "Session-Expires", "y": "Identity",
}  # fmt: skip


# Those of this package: a user may have registered others.
OURS = {field.key: field for field in vars(headers).values() if isinstance(field, HeaderField)}


def test_the_table_has_every_field() -> None:
    assert set(OURS) == set(CASES)
    assert all(FIELDS[key] is field for key, field in OURS.items())


def test_every_field_has_its_constant() -> None:
    for key, field in OURS.items():
        assert getattr(headers, key.upper().replace("-", "_")) is field
        assert key.upper().replace("-", "_") in headers.__all__
    for name in headers.__all__:
        assert hasattr(headers, name)


@pytest.mark.parametrize(
    ("key", "text", "canonical"), [(key, *valid) for key, (valids, _) in CASES.items() for valid in valids]
)
def test_valid(key: str, text: str, canonical: str) -> None:
    field: HeaderField[object] = FIELDS[key]
    value = field.parse(text)
    assert str(value) == (canonical or text)
    again = field.parse(str(value))
    assert again == value
    assert hash(again) == hash(value)
    assert str(again) == str(value)


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, (_, malformed) in CASES.items() for text in malformed])
def test_malformed(key: str, text: str) -> None:
    with pytest.raises(ParseError) as error:
        FIELDS[key].parse(text)
    assert error.value.status_hint == 400


@pytest.mark.parametrize("key", [key for key, (_, malformed) in CASES.items() if malformed])
@pytest.mark.parametrize("text", ["\x00", "a\rb", "a\nb", "a\r\nVia: x", '"a\x07"', "<sip:a\x00@b>", "1\n"])
def test_control_characters_are_refused_wherever_there_is_a_grammar(key: str, text: str) -> None:
    with pytest.raises(ParseError):
        FIELDS[key].parse(text)


@pytest.mark.parametrize(("compact", "name"), COMPACT.items())
def test_compact_forms_both_ways(compact: str, name: str) -> None:
    field = FIELDS[name.lower()]
    assert (field.name, field.compact) == (name, compact)
    assert canonical_key(compact) == canonical_key(compact.upper()) == field.key


def test_no_other_compact_forms() -> None:
    assert {field.compact for field in OURS.values() if field.compact} == set(COMPACT)


# RFC 3261 §7.3.1 and §20: which may stand on several lines, and which not even joined by commas.
def test_lists_and_single_values() -> None:
    single = (
        "call-id",
        "content-length",
        "content-type",
        "cseq",
        "date",
        "expires",
        "from",
        "max-forwards",
        "subject",
        "to",
    )
    for key in single:
        assert not FIELDS[key].multiple
        assert not FIELDS[key].repeatable
    for key in ("www-authenticate", "authorization", "proxy-authenticate", "proxy-authorization"):
        assert not FIELDS[key].multiple
        assert FIELDS[key].repeatable
    for key in ("accept", "contact", "route", "record-route", "via", "supported", "warning", "reason", "path"):
        assert FIELDS[key].multiple
        assert FIELDS[key].repeatable
