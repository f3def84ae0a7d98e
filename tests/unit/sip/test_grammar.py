"""Basic rules: tokens, quoted strings, lists, parameters (RFC 3261 §25.1, §7.3.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip import grammar
from switchroom.sip.errors import LocalProtocolError, ParseError
from switchroom.sip.grammar import NO_PARAMS, Params, parse_params, split_commas

TOKEN_CHARACTERS = "ABCXYZabcxyz0189-.!%*_+`'~"
tokens = st.text(TOKEN_CHARACTERS, min_size=1, max_size=20)
# what a quoted-string can carry: everything but CR and LF, surrogateescaped bytes among it
quotable = st.text(st.characters(exclude_characters="\r\n", exclude_categories=()), max_size=30)


@pytest.mark.parametrize("text", ["a", "INVITE", "!interesting-Method0123456789_*+`.%indeed'~", "1"])
def test_token(text: str) -> None:
    assert grammar.is_token(text)
    assert grammar.parse_token(f" \t{text} ") == text


@pytest.mark.parametrize("text", ["", "a b", "a,b", "a/b", 'a"', "(a)", "a@b", "é", "a\r\n", "a\n", "\x00", "{}", "a="])
def test_no_token(text: str) -> None:
    assert not grammar.is_token(text)
    with pytest.raises(ParseError, match="not a token"):
        grammar.parse_token(text + ",")


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("0009", 9), (" 70\t", 70), ("4294967295", 2**32 - 1), ("0" * 5000 + "7", 7)]
)
def test_digits(text: str, number: int) -> None:
    assert grammar.parse_digits(text, 2**32 - 1) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.0", "0x1", "1 2", "١٢", "²", "4294967296", "9" * 20, "9" * 21, "9" * 60_000, "1_0"]
)
def test_no_digits(text: str) -> None:
    with pytest.raises(ParseError):
        grammar.parse_digits(text, 2**32 - 1)


@pytest.mark.parametrize(
    ("text", "unfolded"),
    [
        ("plain", "plain"),
        ("  trimmed\t", "trimmed"),
        ("a\r\n b", "a b"),
        ("a \t\r\n\t  b", "a b"),
        ("\r\n first", "first"),
        ("a\r\n b\r\n c", "a b c"),
        ("a\r\n ", "a"),
    ],
)
def test_unfold(text: str, unfolded: str) -> None:
    assert grammar.unfold(text) == unfolded


@pytest.mark.parametrize("text", ["a\r\nb", "a\rb", "a\nb", "a\n b", "a\r\r\n b", "a\r\n\r\n b", "a\r\n"])
def test_unfold_refuses_what_folds_nothing(text: str) -> None:
    with pytest.raises(ParseError):
        grammar.unfold(text)


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("", '""'),
        ("Alice", '"Alice"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("bell\x07 nul\x00 del\x7f tab\t", '"bell\\\x07 nul\\\x00 del\\\x7f tab\t"'),
        ("Jürgen", '"Jürgen"'),
    ],
)
def test_quote(said: str, quoted: str) -> None:
    assert grammar.quote(said) == quoted
    assert grammar.unquote(quoted) == said
    assert grammar.parse_quoted_string(f" {quoted} ") == said


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "\r\nVia: x"])
def test_no_quoted_string_holds_a_line_break(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        grammar.quote(text)


@pytest.mark.parametrize("text", ["", "a", '"', '"a', 'a"', '"a"b"', '"a" b', '"\\"', '"\x07"', '"a\\\n"', '"\r"'])
def test_no_quoted_string(text: str) -> None:
    with pytest.raises(ParseError):
        grammar.parse_quoted_string(text)


@given(quotable)
def test_quoting_round_trip(text: str) -> None:
    assert grammar.parse_quoted_string(grammar.quote(text)) == text


def test_unquote_leaves_other_text_alone() -> None:
    assert grammar.unquote("token") == "token"
    assert grammar.unquote('"') == '"'


def test_end_of_quoted_string() -> None:
    assert grammar.end_of_quoted_string(r'x"a\"b"y', 1) == 7
    with pytest.raises(ParseError, match="does not end"):
        grammar.end_of_quoted_string('"a', 0)


def test_excerpt_fits_on_a_line() -> None:
    assert grammar.excerpt("short\r\n") == r"'short\r\n'"
    assert len(grammar.excerpt("x" * 60_000)) < 80


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("  \t", []),
        ("a", ["a"]),
        (" a , b,c ", ["a", "b", "c"]),
        ("a,,b", ["a", "", "b"]),
        (",", ["", ""]),
        ('"a,b" <sip:a@b>,c', ['"a,b" <sip:a@b>', "c"]),
        ("<sip:a,b@c>;q=1,<sip:d@e>", ["<sip:a,b@c>;q=1", "<sip:d@e>"]),
        (r'"a\",b",c', [r'"a\",b"', "c"]),
        ('x="a",', ['x="a"', ""]),
    ],
)
def test_split_commas(text: str, items: list[str]) -> None:
    assert split_commas(text) == items


@pytest.mark.parametrize("text", ['"a,b', "<sip:a,b", 'a,"', '<a"b>,c', "a,<b<c>"])
def test_split_commas_refuses_open_quotation(text: str) -> None:
    with pytest.raises(ParseError, match="does not end"):
        split_commas(text)


def test_params_keep_order_spelling_and_quotation() -> None:
    text = ';Branch=z9hG4bK1;rport;x="a, b";received=2001:db8::1;Y=[::1]'
    params = parse_params(text)
    assert str(params) == text
    assert params.get("branch") == params.get("BRANCH") == "z9hG4bK1"
    assert params.get("rport") == ""
    assert params.get("x") == "a, b"
    assert params.raw("X") == '"a, b"'
    assert params.get("absent") is None
    assert params.get("absent", "default") == "default"
    assert params.raw("absent") is None
    assert "RPORT" in params
    assert "absent" not in params
    assert 1 not in params
    assert list(params) == ["branch", "rport", "x", "received", "y"]
    assert params.items()[:3] == [("Branch", "z9hG4bK1"), ("rport", ""), ("x", "a, b")]
    assert len(params) == 5
    assert repr(parse_params(";a=b")) == "Params([('a', 'b')])"


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("a=b", ";a=b"),
        (' ; a = b ;\tc ; d = "e f" ', ';a=b;c;d="e f"'),
        ('a="";b', ';a="";b'),
        ("lr;lr2", ";lr;lr2"),
    ],
)
def test_params_with_white_space(text: str, rendered: str) -> None:
    assert str(parse_params(text)) == rendered


@pytest.mark.parametrize(
    "text",
    [
        ";",
        ";;a",
        ";a;",
        ";a=",
        ";a=b c",
        ";a=b;a=c",
        ";A;a",
        ' ;a ; a = "b"',
        ';a="b',
        ";a=b,c",
        ";=b",
        ';a="b"c',
        ";a=é",
    ],
)
def test_malformed_params(text: str) -> None:
    with pytest.raises(ParseError):
        parse_params(text)


def test_params_are_immutable_values() -> None:
    params = Params({"Tag": "a", "lr": None})
    assert str(params) == ";Tag=a;lr"
    assert str(params.with_("tag", "b c")) == ';Tag="b c";lr'
    assert str(params.with_("x", None)) == ";Tag=a;lr;x"
    assert str(params.with_("X-Y", "")) == ";Tag=a;lr;X-Y"
    assert str(params.with_quoted("lr", "x")) == ';Tag=a;lr="x"'
    assert str(params.without("TAG")) == ";lr"
    assert str(Params({"a": "b"}).with_("C", "d").without("C")) == ";a=b"
    assert str(Params({"a": "b"}).without("a")) == ""
    assert params.without("absent") is params
    assert str(params) == ";Tag=a;lr"


def test_params_are_equal_by_decoded_values_in_any_order() -> None:
    assert parse_params(';a=b;C="d"') == parse_params(";c=d;A=b")
    assert hash(parse_params(';a=b;C="d"')) == hash(parse_params(";c=d;A=b"))
    assert parse_params(";a=b") != parse_params(";a=c")
    assert parse_params(";a=b") != parse_params(";a=b;c")
    assert Params() == NO_PARAMS
    assert NO_PARAMS != ""


@pytest.mark.parametrize("name", ["", "a b", "a=", "é", "a\r\n"])
def test_params_refuse_a_name_that_is_no_token(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        Params({name: "x"})
    with pytest.raises(LocalProtocolError):
        NO_PARAMS.with_(name, "x")


def test_params_refuse_what_would_add_a_line_or_repeat_a_name() -> None:
    with pytest.raises(LocalProtocolError):
        Params({"a": "x\r\nVia: y"})
    with pytest.raises(LocalProtocolError, match="twice"):
        Params([("a", "1"), ("A", "2")])


@given(st.dictionaries(tokens.map(str.lower), st.none() | quotable, max_size=6))
def test_params_round_trip(values: dict[str, str | None]) -> None:
    params = Params(values)
    again = parse_params(str(params))
    assert again == params
    assert str(again) == str(params)
    assert dict(again.items()) == {name: value or "" for name, value in values.items()}
