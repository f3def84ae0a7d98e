"""Accepting clients of streams: each counts for the limits from its first packet, and none is the loop's own affair."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from .address import ListenAddress

BACKLOG: Final = 1024
_BATCH: Final = 64
_PAUSE: Final = 0.2
"""Seconds without accepting after the system ran out of files: trying at once would only burn the processor."""

Accept = Callable[[str, socket.socket, tuple[str, int]], None]
Failed = Callable[[OSError], None]


class StreamListener:
    """A listening socket whose clients are handed out as they come, before any TLS handshake.

    asyncio's own server tells of a TLS client only once the handshake is done, so that a thousand clients that never
    end it could not be refused; and out of files it calls the loop's exception handler.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: ListenAddress,
        accept: Accept,
        failed: Failed,
        *,
        reuse_port: bool = False,
    ) -> None:
        """*failed* hears, at most a few times per second, why nobody is accepted.

        Raises OSError when the port cannot be had.
        """
        self._loop = loop
        self._transport = address.transport
        self._accept = accept
        self._failed = failed
        self._pause: asyncio.TimerHandle | None = None
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.create_server(
            (address.host, address.port), family=family, backlog=BACKLOG, reuse_port=reuse_port
        )
        self._socket.setblocking(False)
        loop.add_reader(self._socket, self._readable)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket, as `asyncio.Server.sockets` has it."""
        return (self._socket,)

    def close(self) -> None:
        """Accept no more."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    async def wait_closed(self) -> None:
        """Nothing to wait for: connections are not the listener's."""

    def _readable(self) -> None:
        for _ in range(_BATCH):
            try:
                accepted, remote = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of files or buffers
                self._loop.remove_reader(self._socket)
                self._pause = self._loop.call_later(_PAUSE, self._resume)
                self._failed(error)
                return
            accepted.setblocking(False)
            self._accept(self._transport, accepted, (remote[0], remote[1]))

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._readable)
