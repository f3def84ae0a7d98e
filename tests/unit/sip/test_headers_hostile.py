"""No input makes a parser raise anything but ParseError, or work that grows faster than the input."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.errors import ParseError
from switchroom.sip.grammar import parse_params, split_commas, unfold
from switchroom.sip.headers import FIELDS
from switchroom.sip.uri import parse_uri

PIECES = [
    *(
        " ",
        "\t",
        "a",
        "a b ",
        "a.",
        "a-",
        "1.",
        "-",
        "0",
        "%",
        "%4",
        "%41",
        ";",
        ";;",
        ";a",
        ";a=b",
        ";a=",
        ';a="b"',
        "=",
    ),
    *(",", ",,", "a,", ":", "::", "0:", "[", "]", "[::", "@", "a@", "/", "<", ">", "<>", "<a>,", "<sip:", '"', '""'),
    *('"a",', "\\", '\\"', '"\\', "(", "()", "\\(", ")", "?", "?a=b", "&", "&a=b", "a=b,", 'a="b",', "*", "+", "\x00"),
    *("\r", "\n", "\r\n ", "\r\n", "é", "\udcff"),
]
STARTS = [
    "",
    "sip:",
    "sip:a@",
    "tel:",
    "tel:+",
    "<sip:",
    '"',
    "Digest ",
    "Digest a=",
    "SIP/2.0/UDP ",
    "a;",
    "a;x=",
    "1 (",
    "1 ",
]
ENDS = ["", "!", '"', ">", "\x00"]


def parse_anything(key: str, text: str) -> None:
    try:
        value = FIELDS[key].parse(text)
    except ParseError:
        return
    assert FIELDS[key].parse(str(value)) == value


KEYS = sorted(FIELDS)


@given(st.sampled_from(KEYS), st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_any_text_is_a_value_or_a_parse_error(key: str, text: str) -> None:
    parse_anything(key, text)


@given(st.sampled_from(KEYS), st.text(st.characters(exclude_categories=()), max_size=30))
def test_any_characters_are_a_value_or_a_parse_error(key: str, text: str) -> None:
    parse_anything(key, text)


def _all_fields(text: str) -> None:
    for parse in {field.parse for field in FIELDS.values()}:
        with suppress(ParseError):
            parse(text)


def _basics(text: str) -> None:
    for parse in (split_commas, parse_params, parse_uri, unfold):
        with suppress(ParseError):
            parse(text)


def _cost(work: Callable[[str], None], text: str) -> float:
    """The CPU seconds of *work*."""
    begin = process_time()
    work(text)
    return process_time() - begin


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("work", [_all_fields, _basics])
def test_work_grows_no_faster_than_the_input(work: Callable[[str], None], piece: str) -> None:
    """Four times the input may take about four times as long; backtracking would take sixteen times."""
    for start in STARTS:
        text = start + piece * (16_000 // len(piece))
        for end in ENDS[:2]:
            if _cost(work, text + end) < 0.05:
                continue  # 16 KB in all parsers within 50 ms: nothing here grows
            large = min(_cost(work, text + end) for _ in range(3))  # what else the machine does only adds to it
            small = min(_cost(work, start + piece * (4_000 // len(piece)) + end) for _ in range(3))
            assert large < 8 * small + 0.05, (start, piece, end)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("piece", [";a", " ", "a", '"', "<", "(", ",", ":", "%41", "-", "a.", "\\"])
def test_64_kilobytes_take_no_time(start: str, piece: str) -> None:
    for end in ENDS[:2]:
        text = start + piece * (65_536 // len(piece)) + end
        begin = process_time()
        _all_fields(text)
        _basics(text)
        assert process_time() - begin < 5
