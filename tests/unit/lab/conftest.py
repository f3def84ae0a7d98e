"""What the tests of the lab share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from switchroom.lab import Lab


class Recorder(asyncio.DatagramProtocol):
    """A datagram protocol that writes down everything with its time."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.got: list[tuple[float, bytes, tuple[Any, ...]]] = []
        self.errors: list[Exception] = []
        self.lost: list[Exception | None] = []
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.got.append((self.lab.time(), data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)

    def send(self, data: bytes, to: tuple[Any, ...] | None = None) -> None:
        self.transport.sendto(data, to)

    @property
    def data(self) -> list[bytes]:
        return [data for _, data, _ in self.got]


class StreamRecorder(asyncio.Protocol):
    """A stream protocol that writes down what happens to it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.pieces: list[bytes] = []
        self.told: list[str] = []
        self.error: Exception | None = None
        self.opened_at = 0.0
        self.lost_at = 0.0
        self.gone = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.opened_at = self.lab.time()
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def eof_received(self) -> bool | None:
        self.told.append("eof")
        return None

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.told.append("lost")
        self.lost_at = self.lab.time()
        self.gone.set()

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


Opener = Callable[..., Awaitable[Recorder]]


@pytest.fixture
def datagrams(lab: Lab) -> Opener:
    """Opens a datagram endpoint that records."""

    async def open_endpoint(local: tuple[str, int] | None = None, **options: Any) -> Recorder:
        _, protocol = await lab.loop.create_datagram_endpoint(lambda: Recorder(lab), local, **options)
        return protocol  # type: ignore[no-any-return]

    return open_endpoint
