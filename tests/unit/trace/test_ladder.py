"""Ladders: labels, drawing as text and as SVG, and nothing unescaped."""

from __future__ import annotations

import itertools
import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.message import parse
from switchroom.trace.ladder import Label, LadderEvent, LadderNote, label_of, render_svg, render_text, visible

INVITE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: 1@example.com\r\n"
    b"Max-Forwards: 70\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0"
)
RINGING = b"SIP/2.0 180 Ringing\r\nCSeq: 1 INVITE\r\n\r\n"
OK = b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nc: application/sdp\r\n\r\n"
ACK = b"ACK sip:bob@192.0.2.2 SIP/2.0\r\ncseq : 1 ACK\r\n\r\n"
BUSY = b"SIP/2.0 486 Busy Here\r\nCSeq: 1 INVITE\r\n\r\n"
CALL = [
    LadderEvent(10.0, "alice", "proxy", INVITE, "UDP"),
    LadderEvent(10.5, "alice", "proxy", INVITE, "UDP", "lost"),
    LadderEvent(10.52, "proxy", "bob", INVITE, "UDP", "duplicate"),
    LadderEvent(11.0, "bob", "proxy", RINGING, "UDP", "late"),
    LadderEvent(11.0, "bob", "alice", OK, "UDP"),
    LadderNote(11.25, "bob picks up"),
    LadderEvent(11.5, "alice", "bob", ACK, "UDP", "lost", "partition"),
    LadderEvent(12.0, "bob", "alice", OK, "UDP"),
    LadderEvent(12.1, "bob", "alice", OK, "UDP"),
    LadderEvent(13.0, "proxy", "proxy", "a spiral"),
    LadderEvent(14.0, "bob", "proxy", BUSY, "UDP", "lost"),
]


# -- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "label"),
    [
        (INVITE, Label("INVITE (1) SDP", "request")),
        (parse(INVITE), Label("INVITE (1) SDP", "request")),
        (RINGING, Label("180 Ringing (1 INVITE)", "provisional")),
        (OK, Label("200 OK (1 INVITE) SDP", "success")),
        (BUSY, Label("486 Busy Here (1 INVITE)", "failure")),
        (ACK, Label("ACK (1)", "request")),
        (b"SIP/2.0 302\r\n\r\n", Label("302", "failure")),
        (b"SIP/2.0 200 \r\n\r\n", Label("200", "success")),
        (b"\r\n\r\nOPTIONS sip:x SIP/2.0\r\n\r\n", Label("OPTIONS", "request")),
        (b"OPTIONS sip:x SIP/2.0\nCSeq: 7 OPTIONS\n\n", Label("OPTIONS (7)", "request")),
        (b"MESSAGE sip:x SIP/2.0\r\n\r\nCSeq: 1 INVITE\r\n", Label("MESSAGE", "request")),
        (b"\r\n\r\n", Label("CRLF ping", "other")),
        (b"\r\n", Label("CRLF pong", "other")),
        (b"", Label("0 bytes", "other")),
        (b"\x80\x00\x12\x34", Label("4 bytes", "other")),
        (b"GET /ws HTTP/1.1\r\n\r\n", Label("GET /ws HTTP/1.1", "other")),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Label("HTTP/1.1 101 Switching Protocols", "other")),
        ("a label", Label("a label", "other")),
    ],
)
def test_what_a_message_is_called(message: object, label: Label) -> None:
    assert label_of(message) == label  # type: ignore[arg-type]


def test_names_from_the_network_are_cut() -> None:
    text = label_of(b"SIP/2.0 200 " + b"x" * 10_000 + b"\r\nCSeq: 1 INVITE\r\n\r\n").text
    assert len(text) < 200


# -- text ------------------------------------------------------------------------------------------------------------


def test_a_ladder_line_by_line() -> None:
    lines = [line.rstrip() for line in render_text(CALL, width=104).splitlines()]
    assert lines == [
        "                       alice                                 proxy                                  bob",
        "     0.000    +0.000     │── INVITE (1) SDP ──────────────────>│                                     │",
        "     0.500    +0.500     │── INVITE (1) SDP [again] ─✗         │                                     │",
        "     0.520    +0.020     │                                     │── INVITE (1) SDP [twice] ──────────>│",
        "     1.000    +0.480     │                                     │<─ 180 Ringing (1 INVITE) [late] ────│",
        "     1.000    +0.000     │<─ 200 OK (1 INVITE) SDP ──────────────────────────────────────────────────│",
        "     1.250    +0.250  (bob picks up)",
        "     1.500    +0.250     │── ACK (1) [partition] ───────────────────────────✗                        │",
        "     2.000    +0.500     │<─ 200 OK (1 INVITE) SDP [again] ──────────────────────────────────────────│",
        "     2.100    +0.100     │<─ 200 OK (1 INVITE) SDP [again, 2] ───────────────────────────────────────│",
        "     3.000    +0.900     │                          a spiral ↺ │                                     │",
        "     4.000    +1.000     │                                     │       ✗─ 486 Busy Here (1 INVITE) ──│",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 136, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_width_is_kept(width: int, ascii_only: bool) -> None:
    text = render_text(CALL, width=width, ascii_only=ascii_only)
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.isascii() or not ascii_only


def test_too_many_participants_make_a_list() -> None:
    people = [f"phone-{number}" for number in range(20)]
    events = [LadderEvent(0.0, one, other, INVITE) for one, other in itertools.pairwise(people)]
    events.append(LadderEvent(1.0, "phone-1", "phone-2", INVITE, outcome="lost"))
    lines = render_text([*events, LadderNote(2.0, "note")], width=100).splitlines()
    assert lines[0].split(maxsplit=2)[2] == "phone-0 ─> phone-1: INVITE (1) SDP"
    assert lines[-2].split(maxsplit=2)[2] == "phone-1 ─✗ phone-2: INVITE (1) SDP [again]"
    assert lines[-1].split(maxsplit=2)[2] == "(note)"
    assert max(len(line) for line in lines) <= 100


def test_the_order_and_the_names_of_the_participants() -> None:
    heading = render_text(
        CALL, participants=["bob", "idle"], names={"alice": "Alice", "bob": "192.0.2.2"}
    ).splitlines()[0]
    assert heading.split() == ["192.0.2.2", "idle", "Alice", "proxy"]


def test_the_clock_is_the_callers() -> None:
    lines = render_text(CALL, clock=lambda seconds: f"t={seconds:.1f}").splitlines()
    assert lines[1].startswith("t=10.0    +0.000  ")
    assert lines[2].startswith("t=10.5    +0.500  ")


def test_nothing_and_notes_alone() -> None:
    assert render_text([]) == ""
    assert render_text([LadderNote(1.0, "nobody here")]).split(maxsplit=2)[2] == "nobody here"
    assert render_svg([]).startswith("<svg")


def test_retransmissions_are_told_from_new_messages() -> None:
    other = INVITE.replace(b"CSeq: 1", b"CSeq: 2")
    events = [LadderEvent(float(n), "a", "b", data) for n, data in enumerate((INVITE, other, INVITE, INVITE))]
    events.append(LadderEvent(9.0, "b", "a", INVITE))
    events.append(LadderEvent(9.0, "a", "b", b"\r\n\r\n"))
    events.append(LadderEvent(9.0, "a", "b", b"\r\n\r\n"))
    marks = [line.partition("[")[2].partition("]")[0] for line in render_text(events).splitlines()[1:]]
    assert marks == ["", "", "again", "again, 2", "", "", ""]


def test_wide_characters_keep_the_columns() -> None:
    events = [LadderEvent(0.0, "電話", "b", "日本語 label"), LadderEvent(0.0, "電話", "b", "x")]
    lines = render_text(events, width=80).splitlines()

    def cells(text: str) -> int:
        return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

    assert cells(lines[1]) == cells(lines[2]) <= 80


# -- nothing unescaped -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\r\nb\tc\x00", "a\\x0d\\x0ab\\x09c\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("caf\u00e9", "café"),
        ("\udcff", "\\xff"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("a\u0301", "a\\u0301"),
        ("\U000e0041", "\\U000e0041"),
        ("\ufffe", "\\ufffe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_ascii_only() -> None:
    assert visible("café 電", ascii_only=True) == "caf\\xe9 \\u96fb"


HOSTILE = (
    b"SIP/2.0 200 \x1b]0;owned\x07\xff<script>alert(1)</script>&\"']]>\x00\x9b\r\nCSeq: 1 <b>\r\n\r\n",
    b"<svg/onload=x> sip:x SIP/2.0\r\nCSeq: 1 \x1b[2J\r\n\r\n",
)


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile_messages(data: bytes) -> None:
    events = [LadderEvent(0.0, "\x1b[5malice<a>", "</svg>&bob", data, comment="\x1b<i>"), LadderNote(1.0, "\x1b]\n<u>")]
    for ascii_only in (False, True):
        text = render_text(events, width=140, ascii_only=ascii_only)
        assert all(character.isprintable() or character == "\n" for character in text)
        assert len(text.splitlines()) == 3
    svg = render_svg(events, title="\x1b</title><script>")
    assert "<script" not in svg
    assert "<i>" not in svg
    check_svg(svg)


def check_svg(svg: str) -> ElementTree.Element:
    """Well-formed, and made of drawing elements alone."""
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert {element.tag for element in root.iter()} <= {
        space + name for name in ("svg", "title", "style", "rect", "text", "line", "path", "g")
    }
    assert not any(name.startswith("on") or name.endswith("href") for e in root.iter() for name in e.attrib)
    assert all(character.isprintable() or character == "\n" for character in svg)
    return root


@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20))
def test_any_bytes_and_any_names(data: bytes, one: str, other: str) -> None:
    for message in (data, b"SIP/2.0 200 " + data, b"INVITE sip:x SIP/2.0\r\nCSeq: 1 " + data):
        events = [LadderEvent(0.0, one, other, message)]
        text = render_text(events, width=70)
        assert all(character.isprintable() or character == "\n" for character in text)
        assert len(text.splitlines()) == 2
        check_svg(render_svg(events))


# -- SVG -------------------------------------------------------------------------------------------------------------


def test_svg() -> None:
    root = check_svg(render_svg(CALL, title="A & B", names={"proxy": "p1.example.com"}))
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert root[0].text == "A & B"
    assert texts[:3] == ["alice", "p1.example.com", "bob"]
    for label in (
        "INVITE (1) SDP [again]",
        "180 Ringing (1 INVITE) [late]",
        "bob picks up",
        "a spiral",
        "ACK (1) [partition]",
    ):
        assert label in texts, label
    assert "     0.520    +0.020" in texts
    groups = list(root.iter("{http://www.w3.org/2000/svg}g"))
    assert len(groups) == len(CALL) - 1
    assert groups[0][0].text == "UDP alice to proxy: INVITE (1) SDP"
    assert "again" not in str(groups[0][1].get("class"))
    assert "again" in str(groups[1][1].get("class"))


def test_svg_is_as_large_as_it_must_be() -> None:
    small, large = (check_svg(render_svg(CALL[:count])) for count in (2, 11))
    assert int(small.get("height", 0)) < int(large.get("height", 0))
    assert int(small.get("width", 0)) < int(large.get("width", 0))


def test_a_message_to_oneself_stands_where_there_is_room() -> None:
    events = [LadderEvent(0.0, name, name, f"spiral at {name}") for name in ("first", "second", "third")]
    first, _, third = render_text(events, width=80).splitlines()[1:]
    assert first.index("│") < first.index("↺ spiral at first")
    assert third.index("spiral at third ↺") < third.rindex("│")


def test_marks_outlive_the_label() -> None:
    long = b"SIP/2.0 480 Temporarily Unavailable For Quite Some Time\r\nCSeq: 1 INVITE\r\n\r\n"
    line = render_text([LadderEvent(0.0, "a", "b", long, outcome="late")], width=60).splitlines()[1]
    assert "480 Temp" in line
    assert "… [late]" in line
