"""One stream connection between a loop and its owner: what neither loopback nor the lab brings about."""

from __future__ import annotations

import asyncio
from typing import Any

from switchroom.net.limits import TransportLimits
from switchroom.net.stream import StreamConnection
from switchroom.sip.errors import TransportError
from switchroom.sip.flow import Flow
from switchroom.sip.timers import Timed

REMOTE = ("192.0.2.1", 5060)


class Owner:
    """A `StreamOwner` that keeps a record; what it is given may be a mistake."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = TransportLimits()
        self.ended: list[str | None] = []
        self.counted: list[str] = []
        self.mistakes: list[str] = []

    def admit(self, connection: StreamConnection) -> bool:
        return True

    def identify(self, connection: StreamConnection) -> None: ...

    def opened(self, connection: StreamConnection) -> None:
        connection.flow = Flow("TCP", connection.remote, ("192.0.2.2", 5060), "192.0.2.2", 1)

    def next_ping(self, connection: StreamConnection, now: float) -> float:
        return now + 120

    def received(self, connection: StreamConnection, data: bytes) -> None:
        raise ZeroDivisionError("a mistake of ours")

    def lost(self, connection: StreamConnection, error: TransportError | None) -> None:
        self.ended.append(None if error is None else str(error))

    def schedule(self, item: Timed) -> None: ...

    def count(self, name: str) -> None:
        self.counted.append(name)

    def complain(self, remote: tuple[str, int], text: str) -> bool:
        return True

    def log_mistake(self, whose: str, text: str) -> None:
        self.mistakes.append(text)


class Wire(asyncio.Transport):
    """A transport that nobody is at the other end of."""

    def __init__(self, peer: tuple[str, int] | None) -> None:
        super().__init__({"peername": peer})
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


def connection(owner: Any) -> StreamConnection:
    return StreamConnection(owner, "TCP", accepted=True)


async def test_a_mistake_of_ours_ends_this_connection_and_tells_nobody_else() -> None:
    owner, wire = Owner(), Wire(REMOTE)
    made = connection(owner)
    made.connection_made(wire)
    made.data_received(b"anything")
    assert wire.aborted
    assert owner.counted == ["internal_errors"]
    assert owner.mistakes == ["internal error on <TCP from 192.0.2.1:5060>"]
    made.data_received(b"more of it")  # what was under way already
    made.connection_lost(None)
    assert owner.ended == ["internal error: ZeroDivisionError('a mistake of ours')"]  # once


async def test_a_client_that_is_gone_before_we_looked() -> None:
    owner, wire = Owner(), Wire(None)
    made = connection(owner)
    made.connection_made(wire)
    assert (wire.aborted, owner.ended, made.flow) == (True, [None], None)
    made.connection_lost(ConnectionResetError())
    assert owner.ended == [None]
    assert not made.send(b"too late")


async def test_a_connection_that_breaks_says_how() -> None:
    owner = Owner()
    made = connection(owner)
    made.connection_made(Wire(REMOTE))
    made.connection_lost(ConnectionResetError(104, "reset"))
    assert owner.ended == ["TCP connection with 192.0.2.1:5060: the peer reset the connection"]
    made.abort()
    made.close()
    assert len(owner.ended) == 1


async def test_closing_what_was_never_connected() -> None:
    owner = Owner()
    made = connection(owner)
    made.close()
    made.close()
    assert owner.ended == [None]
