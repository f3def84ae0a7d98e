"""The registry of header fields."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switchroom.sip.errors import LocalProtocolError, ParseError
from switchroom.sip.grammar import parse_token
from switchroom.sip.headers import AUTHORIZATION, CONTACT, DATE, FIELDS, SUPPORTED, canonical_key, register, registry


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    fields, keys = dict(FIELDS), dict(registry._KEYS)
    yield
    for table, before in ((FIELDS, fields), (registry._KEYS, keys)):
        table.clear()
        table.update(before)


def test_one_line_adds_a_field() -> None:
    team = register("X-Test-Team", parse_token, multiple=True)
    assert FIELDS["x-test-team"] is team
    assert (team.name, team.key, team.compact, team.multiple, team.repeatable) == (
        "X-Test-Team", "x-test-team", None, True, True,
    )  # fmt: skip
    assert team.parse_all("a, b") == ["a", "b"]
    assert canonical_key("X-TEST-TEAM") == canonical_key("x-TEST-team") == "x-test-team"
    assert repr(team) == "<HeaderField X-Test-Team>"


def test_a_field_is_text_unless_said_otherwise() -> None:
    assert register("X-Test-Text").parse("  a, b ") == "a, b"
    assert register("X-Test-Str", str).parse(" a ") == "a"


def test_a_type_parses_too() -> None:
    field = register("X-Test-Number", int)
    assert field.parse(" 7 ") == 7
    with pytest.raises(ParseError):
        field.parse("seven")


def test_a_compact_form_of_ones_own() -> None:
    field = register("X-Test-Compact", compact="Q")
    assert field.compact == "q"
    assert canonical_key("q") == canonical_key("Q") == "x-test-compact"


@pytest.mark.parametrize(
    ("name", "compact"),
    [("Via", None), ("VIA", None), ("vIA", None), ("V", None), ("X-Test", "v"), ("X-Test", "ab"), ("X-Test", "1"),
     ("X-Test", "é"), ("X-Test", ""), ("X Test", None), ("", None), ("X-Test:", None)],
)  # fmt: skip
def test_what_is_taken_or_no_name_is_refused(name: str, compact: str | None) -> None:
    before = dict(FIELDS)
    with pytest.raises(LocalProtocolError):
        register(name, compact=compact)
    assert before == FIELDS


@pytest.mark.parametrize(
    ("name", "key"),
    [("Call-ID", "call-id"), ("CALL-ID", "call-id"), ("Call-Id", "call-id"), ("cAlL-iD", "call-id"), ("I", "call-id"),
     ("CSeq", "cseq"), ("Cseq", "cseq"), ("Unknown-Header", "unknown-header"), ("z", "z")],
)  # fmt: skip
def test_canonical_key(name: str, key: str) -> None:
    assert canonical_key(name) == key


def test_a_known_key_is_one_object() -> None:
    assert canonical_key("Contact") is canonical_key("m") is canonical_key("cONTACT") is CONTACT.key


def test_parse_all() -> None:
    assert SUPPORTED.parse_all("100rel, timer") == ["100rel", "timer"]
    assert SUPPORTED.parse_all("") == []
    assert [str(value) for value in CONTACT.parse_all('"a, b" <sip:a,b@c>;q=1, <sip:d@e>')] == [
        '"a, b" <sip:a,b@c>;q=1',
        "<sip:d@e>",
    ]
    assert [str(value) for value in DATE.parse_all("Sat, 13 Nov 2010 23:29:00 GMT")] == [
        "Sat, 13 Nov 2010 23:29:00 GMT"
    ]
    assert len(AUTHORIZATION.parse_all('Digest username="a", realm="b"')) == 1
    with pytest.raises(ParseError):
        SUPPORTED.parse_all("a,,b")
