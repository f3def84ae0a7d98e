"""Framing of streams: split anywhere, pipelined, keep-alives, and what ends a stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.corpus.entry import request

from switchroom.sip.errors import LimitExceeded, ParseError, RemoteProtocolError
from switchroom.sip.framing import PING, PONG, CrlfKeepAlive, StreamFramer
from switchroom.sip.limits import DEFAULT_LIMITS, Limits

SMALL = request()
LARGE = request("MESSAGE sip:bob@example.com SIP/2.0", body=bytes(range(256)) * 4 + b"\r\n\r\n")

Item = bytes | CrlfKeepAlive


def drain(framer: StreamFramer) -> list[Item]:
    """All that can be had now."""
    items: list[Item] = []
    while (item := framer.next()) is not None:
        items.append(item)
    return items


def frame(*chunks: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Item]:
    """What one stream gives that brings *chunks*."""
    framer = StreamFramer(limits)
    items: list[Item] = []
    for chunk in chunks:
        framer.feed(chunk)
        items += drain(framer)
    return items


def fail(*chunks: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[StreamFramer, RemoteProtocolError]:
    """The framer and its error, for a stream that cannot be framed."""
    framer = StreamFramer(limits)
    for chunk in chunks[:-1]:
        framer.feed(chunk)
        drain(framer)
    framer.feed(chunks[-1])
    with pytest.raises(RemoteProtocolError) as caught:
        drain(framer)
    return framer, caught.value


def test_nothing_comes_of_nothing() -> None:
    framer = StreamFramer()
    assert framer.next() is None
    framer.feed(b"")
    assert framer.next() is None
    assert framer.pending == 0
    assert not framer.dead


def test_pipelined() -> None:
    assert frame(SMALL + LARGE + SMALL) == [SMALL, LARGE, SMALL]


def test_a_body_that_looks_like_a_message() -> None:
    outer = request("MESSAGE sip:a SIP/2.0", body=SMALL)
    assert frame(outer + SMALL) == [outer, SMALL]


def test_any_kind_of_buffer() -> None:
    framer = StreamFramer()
    framer.feed(bytearray(SMALL[:20]))
    framer.feed(memoryview(SMALL)[20:])
    assert drain(framer) == [SMALL]


def test_pending_counts_what_waits() -> None:
    framer = StreamFramer()
    framer.feed(SMALL + LARGE[:100])
    assert drain(framer) == [SMALL]
    assert framer.pending == 100


@pytest.mark.parametrize(
    ("chunks", "items"),
    [
        ([b"\r\n\r\n"], [PING]),
        ([b"\r\n"], [PONG]),
        ([b"\r\n\r\n\r\n\r\n"], [PING, PING]),
        ([b"\r\n\r\n\r\n"], [PING, PONG]),
        ([b"\r\n\r\n" + SMALL], [PING, SMALL]),
        ([b"\r\n" + SMALL], [PONG, SMALL]),
        ([SMALL + b"\r\n\r\n"], [SMALL, PING]),
        ([b"\r"], []),
        ([b"\r", b"\n"], [PONG]),
        ([b"\r\n", b"\r\n"], [PONG, PING]),
        ([b"\r\n", b"\r", b"\n"], [PONG, PING]),
        ([b"\r\n", b"\r\n", b"\r\n"], [PONG, PING, PONG]),
        ([b"\r\n", SMALL, b"\r\n"], [PONG, SMALL, PONG]),
    ],
)
def test_keep_alives(chunks: list[bytes], items: list[Item]) -> None:
    assert frame(*chunks) == items


def test_an_expected_pong_is_never_half_a_ping() -> None:
    framer = StreamFramer()
    framer.expect_pong()
    framer.expect_pong()
    framer.feed(b"\r\n\r\n")
    assert drain(framer) == [PONG, PONG]
    framer.feed(b"\r\n\r\n")
    assert drain(framer) == [PING]


def test_a_keep_alive_within_a_body_is_body() -> None:
    message = request("MESSAGE sip:a SIP/2.0", body=b"\r\n\r\n\r\n\r\n")
    assert frame(message[:-6], message[-6:]) == [message]


@pytest.mark.parametrize(
    "field",
    ["Content-Length: 3", "l:3", "L \t : \t 3", "CONTENT-LENGTH:\r\n 3", "content-length\t:\r\n\t 003\r\n  "],
)
def test_every_spelling_of_content_length(field: str) -> None:
    message = request("MESSAGE sip:a SIP/2.0", field, body=b"abc", length=None)
    assert frame(message + SMALL) == [message, SMALL]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("X: l: 3", "no Content-Length"),
        ("X-Content-Length: 3", "no Content-Length"),
        ("Content-Lengths: 3", "no Content-Length"),
        ("X: a\r\n Content-Length: 3", "no Content-Length"),
        ("l: 3\r\nContent-Length: 3", "repeated"),
        ("Content-Length: 3\r\nX: y\r\nCONTENT-length : 0", "repeated"),
        # no HCOLON has a folding before its colon, but who joins lines first reads a Content-Length here
        ("Content-Length: 0\r\nContent-Length\r\n : 3", "repeated"),
        ("l \r\n\t\r\n : 3\r\nl: 0", "repeated"),
        ("Content-Length: -1", "malformed"),
        ("Content-Length: 3\r\n 3", "malformed"),
        ("Content-Length:", "malformed"),
        ("Content-Length: 3\nX: y", "bare CR or LF"),
        ("Content-Length: 3\rX: y", "bare CR or LF"),
        ("X: \n\nContent-Length: 3", "bare CR or LF"),
    ],
)
def test_a_stream_that_cannot_be_framed(field: str, text: str) -> None:
    message = request("MESSAGE sip:a SIP/2.0", field, body=b"abc", length=None)
    framer, error = fail(SMALL, message + SMALL)
    assert isinstance(error, ParseError)
    assert text in str(error)
    assert error.status_hint == 400
    assert error.request is not None
    assert error.request.call_id == "corpus@host.example.com"
    assert framer.head.startswith(message[: message.index(b"\r\n\r\n")])


def test_dead_for_good() -> None:
    framer, error = fail(request(length=None))
    assert framer.dead
    framer.feed(SMALL)
    assert framer.pending == 0
    with pytest.raises(ParseError) as caught:
        framer.next()
    assert caught.value is error


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01", b"\x00", b"\n", b" ", b"\xff", b"\x7f"])
def test_what_begins_no_start_line_ends_the_stream_at_once(data: bytes) -> None:
    framer, error = fail(data)
    assert (error.status_hint, error.request) == (None, None)
    assert framer.dead


def test_a_bare_cr_between_messages() -> None:
    _, error = fail(SMALL, b"\r", b"x")
    assert error.status_hint is None


def test_an_ack_is_not_answered() -> None:
    _, error = fail(request("ACK sip:a SIP/2.0", length=None))
    assert (error.status_hint, error.request) == (None, None)


LIMITS = Limits(head=400, body=100, message=450)


@pytest.mark.parametrize(
    ("data", "name", "status"),
    [
        (request("OPTIONS sip:a SIP/2.0", "X: " + "y" * 200), "head", 513),
        (request("OPTIONS sip:a SIP/2.0", "X: " + "y" * 200)[:400], "head", 513),
        (b"OPTIONS sip:" + b"a" * 400, "request_uri", 414),
        (request("MESSAGE sip:a SIP/2.0", body=b"a" * 101), "body", 413),
        (request("MESSAGE sip:a SIP/2.0", length=101), "body", 413),
        (request("MESSAGE sip:a SIP/2.0", length=10**40), "body", 413),
        (request("MESSAGE sip:a SIP/2.0", "X: " + "y" * 130, length=100), "message", 513),
    ],
)
def test_limits_hold_while_a_message_is_incomplete(data: bytes, name: str, status: int) -> None:
    framer, error = fail(data, limits=LIMITS)
    assert isinstance(error, LimitExceeded)
    assert error.limit_name == name
    # Of a Request-Line without an end nothing is known that an answer needs.
    assert error.status_hint == (None if status == 414 else status)
    assert len(framer.head) <= LIMITS.head


def test_a_head_as_long_as_allowed() -> None:
    message = request("OPTIONS sip:a SIP/2.0", "X: y")
    exact = Limits(head=len(message))
    assert frame(*[message[i : i + 1] for i in range(len(message))], limits=exact) == [message]
    fail(message, limits=Limits(head=len(message) - 1))


def test_a_byte_at_a_time_is_linear_work() -> None:
    """The search for the end of the head goes on where it stopped: 3 bytes before the end at most."""
    message = request("OPTIONS sip:a SIP/2.0", "X-Fill: " + "y" * 7000)
    framer = StreamFramer()
    for index in range(len(message) - 1):
        framer.feed(message[index : index + 1])
        assert framer.next() is None
        assert framer._scanned == max(index - 2, 0)
    framer.feed(message[-1:])
    assert framer.next() == message


def normal(items: list[Item]) -> list[Item]:
    """*items* without the pongs that turned out to be half a ping."""
    return [
        item for item, after in pairwise([*items, None]) if item is not None and not (item is PONG and after is PING)
    ]


PIECES = st.lists(st.sampled_from([SMALL, LARGE, b"\r\n", b"\r\n\r\n"]), max_size=8)


@given(st.data(), PIECES)
def test_splits_do_not_matter(data: st.DataObject, pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    bounds = [0, *cuts, len(whole)]
    chunks = [whole[start:end] for start, end in pairwise(bounds)]
    assert normal(frame(*chunks)) == normal(frame(whole))
    assert [item for item in frame(*chunks) if isinstance(item, bytes)] == [p for p in pieces if len(p) > 4]


@given(st.lists(st.binary(max_size=60) | st.sampled_from([SMALL, SMALL[:50], LARGE[-30:], b"l: 9\r\n\r\n"])))
def test_any_bytes(chunks: list[bytes]) -> None:
    framer = StreamFramer()
    total = 0
    given_out = 0
    for chunk in chunks:
        framer.feed(chunk)
        total += len(chunk)
        try:
            given_out += sum(len(item) for item in drain(framer) if isinstance(item, bytes))
        except RemoteProtocolError:
            assert framer.dead
            return
    assert given_out + framer.pending <= total
