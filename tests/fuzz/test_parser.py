"""Mutated messages against the parser: the declared error, the owed response, the same on every framing.

Runs for a few seconds; `SWITCHROOM_FUZZ_SECONDS` makes it longer.  A failure prints its seed and its octets;
`SWITCHROOM_FUZZ_SEED` starts from that seed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tests.corpus.entry import request
from tests.corpus.index import CORPUS

from switchroom.sip.errors import RemoteProtocolError
from switchroom.sip.framing import StreamFramer
from switchroom.sip.headers import FIELDS
from switchroom.sip.message import Request, Response, parse, validate
from switchroom.sip.multipart import BodyPart, body_parts, build_multipart

SECONDS = float(os.environ.get("SWITCHROOM_FUZZ_SECONDS", "3")) / 2
SEED = int(os.environ.get("SWITCHROOM_FUZZ_SEED", "1"))

CONTENT_TYPE, BODY = build_multipart([BodyPart.build("text/plain", b"a"), BodyPart.build("a/b", bytes(range(256)))])
SEEDS = [entry.data for entry in CORPUS if len(entry.data) < 2000]
SEEDS.append(request("MESSAGE sip:a SIP/2.0", f"Content-Type: {CONTENT_TYPE}", body=BODY))
PIECES = [
    *[b"\r\n", b"\r", b"\n", b"\r\n ", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x7f", b"\xff", b"\xc3\xa4"],
    *[b":", b";", b",", b"=", b"<", b">", b'"', b"\\", b"%", b"%00", b"@", b"[", b"]", b"(", b")", b"?", b"*"],
    *[b"0", b"-1", b"9" * 30, b"SIP/2.0", b"SIP/2.0 200 OK\r\n", b"--boundary-0"],
    *[b"Content-Length: 0\r\n", b"l : 7\r\n", b"Via: SIP/2.0/UDP x\r\n"],
]


def mutate(random_: random.Random) -> bytes:
    """A message of the corpus with up to six changes."""
    data = bytearray(random_.choice(SEEDS))
    for _ in range(random_.randint(1, 6)):
        start = random_.randrange(len(data) + 1)
        end = min(start + random_.choice((0, 1, 1, 2, 5, 40)), len(data))
        match random_.randrange(5):
            case 0:
                data[start:end] = random_.choice(PIECES)
            case 1:
                data[start:start] = random_.choice(PIECES)
            case 2:
                del data[start:end]
            case 3:
                data[start:start] = data[start:end] * random_.choice((1, 2, 50))
            case _:
                other = random_.choice(SEEDS)
                at = random_.randrange(len(other) + 1)
                data[start:end] = other[at : at + random_.choice((1, 10, 100))]
    return bytes(data)


def fuzz(check: Callable[[bytes, random.Random], None]) -> None:
    """Call *check* with mutated messages until the time is over."""
    end = time.monotonic() + SECONDS
    seed = SEED
    while time.monotonic() < end or seed == SEED:
        random_ = random.Random(seed)
        data = mutate(random_)
        try:
            check(data, random_)
        except Exception as error:
            error.add_note(f"SWITCHROOM_FUZZ_SEED={seed}: {data!r}")
            raise
        seed += 1


def look_at_everything(message: Request | Response) -> None:
    """Parse every value of the message, each of which may be malformed and nothing worse."""
    attempt(validate, message)
    attempt(body_parts, message)
    if isinstance(message, Request):
        attempt(lambda request: request.uri, message)
    for key in {name.lower() for name, _ in message.headers} & set(FIELDS):
        attempt(message.headers.one, FIELDS[key])
        attempt(lambda field: [str(value) for value in message.headers.all(field)], FIELDS[key])


def attempt(function: Callable[[Any], object], argument: object) -> RemoteProtocolError | None:
    """The declared error of *function*, if it raises it; any other is a failure."""
    try:
        function(argument)
    except RemoteProtocolError as error:
        check_error(error)
        return error
    return None


def check_error(error: RemoteProtocolError) -> None:
    """An error that names a status says whom to answer, or leaves that to who has the message."""
    if error.request is not None:
        assert error.status_hint is not None
        assert error.request.method != "ACK"
        response = error.request.create_response(error.status_hint, to_tag="t")
        head = response.encode()
        assert head.count(b"\r\n\r\n") == 1
        assert head.endswith(b"\r\n\r\n")


def check_datagram(data: bytes, _: random.Random) -> None:
    """What holds for any datagram."""
    error = attempt(parse, data)
    if error is not None:
        assert (error.request is None) == (error.status_hint is None)
        return
    message = parse(data)
    assert message.encode() in data
    look_at_everything(message)
    copy = message.copy()
    copy.headers.set("X-Touched", "1")
    again = parse(copy.encode())
    assert [item for item in again.headers if item[0] != "X-Touched"] == list(message.headers)
    assert again.body == message.body
    if isinstance(message, Request):
        look_at_everything(parse(message.create_response(200, to_tag="t").encode()))


def cut(chunks: list[bytes]) -> tuple[list[bytes], str | None]:
    """The messages of a stream, and what ended it."""
    framer = StreamFramer()
    messages: list[bytes] = []
    for chunk in chunks:
        framer.feed(chunk)
        try:
            while (item := framer.next()) is not None:
                if isinstance(item, bytes):
                    messages.append(item)
        except RemoteProtocolError as error:
            check_error(error)
            return messages, str(error)
    return messages, None


def check_stream(data: bytes, random_: random.Random) -> None:
    """What holds for any stream, however it is split."""
    data += random_.choice(SEEDS)
    whole = cut([data])
    bounds = sorted([0, len(data), *(random_.randrange(len(data) + 1) for _ in range(6))])
    assert cut([data[start:end] for start, end in pairwise(bounds)]) == whole
    for message in whole[0]:
        # What the framer calls a message must be the same one to the parser, or none.
        if attempt(parse, message) is None:
            assert parse(message).encode() == message


def test_datagrams() -> None:
    fuzz(check_datagram)


def test_streams() -> None:
    fuzz(check_stream)
