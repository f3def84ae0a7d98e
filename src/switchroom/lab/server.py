"""Listening for streams, and connecting to those who do."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .host import TCP, is_loopback, socket_address
from .record import Note
from .stream import SYN, StreamEnd, reset
from .tls import context_of

if TYPE_CHECKING:
    from .host import Host, Packet
    from .network import MemoryNetwork
    from .record import Address

_HANDSHAKE_TIMEOUT: Final = 60.0


class ListeningSocket(NamedTuple):
    """What `server.sockets` shows of a listener."""

    family: socket.AddressFamily
    address: Address

    def getsockname(self) -> tuple[Any, ...]:
        """Its address, as the socket module writes it."""
        return socket_address(self.address)

    def fileno(self) -> int:
        """There is no file below it."""
        return -1


class _Acceptor:
    """A listening port."""

    def __init__(self, server: Server, host: Host, local: Address) -> None:
        self.local = local
        self._server = server
        self.host = host

    def deliver(self, packet: Packet) -> None:
        if packet.payload.kind != SYN:
            reset(packet, self.host)
            return
        end = StreamEnd(self.host, packet.destination, packet.source, self._server.tls, server_side=True)
        self._server.welcome(end)
        end.accept()

    def crash(self) -> None:
        self._server.close()


class Server(asyncio.AbstractServer):
    """What `create_server` returns."""

    def __init__(
        self,
        network: MemoryNetwork,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        addresses: Sequence[Address],
        ssl: object,
        handshake_timeout: float | None,
    ) -> None:
        self.tls = context_of(ssl)
        self._network = network
        self._factory = protocol_factory
        self._handshake_timeout = _HANDSHAKE_TIMEOUT if handshake_timeout is None else handshake_timeout
        self._acceptors: list[_Acceptor] = []
        self._streams: dict[StreamEnd, None] = {}
        self._serving = False
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []
        try:
            for address in addresses:
                host = network.host_of(address[0])
                host.bind(TCP, address[0], address[1], partial(self._listen, host))
        except OSError:
            self.close()
            raise

    def _listen(self, host: Host, local: Address) -> _Acceptor:
        acceptor = _Acceptor(self, host, local)
        self._acceptors.append(acceptor)
        return acceptor

    def welcome(self, end: StreamEnd) -> None:
        """A client connects."""
        if not self._serving:
            return
        self._streams[end] = None
        timer = None
        if self.tls is not None:
            timer = self._network.call_at(self._network.time() + self._handshake_timeout, end.abort)

        def established() -> None:
            if timer is not None:
                timer.cancel()
            end.use(end._context.run(self._factory))

        def gone(error: OSError | None = None) -> None:
            if timer is not None:
                timer.cancel()
            self._streams.pop(end, None)
            self._wake()

        end.on_established = established
        end.on_failed = gone
        end.on_gone = gone

    def _wake(self) -> None:
        if self._closed and not self._streams:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    @property
    def sockets(self) -> tuple[ListeningSocket, ...]:
        """The listeners, with their addresses."""
        return tuple(
            ListeningSocket(socket.AF_INET6 if ":" in acceptor.local[0] else socket.AF_INET, acceptor.local)
            for acceptor in self._acceptors
        )

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop it serves on."""
        return self._network.loop

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._serving

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        if self._closed:
            raise RuntimeError(f"server {self!r} is closed")
        self._serving = True

    async def serve_forever(self) -> None:
        """Accept connections until this is cancelled."""
        await self.start_serving()
        try:
            await self._network.loop.create_future()
        finally:
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Give the ports back; connections stay."""
        self._closed = True
        self._serving = False
        for acceptor in self._acceptors:
            acceptor.host.release(TCP, acceptor)
        self._acceptors.clear()
        self._wake()

    def close_clients(self) -> None:
        """Close every connection that this server accepted."""
        for stream in list(self._streams):
            stream.close()

    def abort_clients(self) -> None:
        """Reset every connection that this server accepted."""
        for stream in list(self._streams):
            stream.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection is gone, as asyncio does since Python 3.12."""
        if self._closed and not self._streams:
            return
        waiter: asyncio.Future[None] = self._network.loop.create_future()
        self._waiters.append(waiter)
        await waiter


async def connect(
    network: MemoryNetwork,
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    local: Address | None,
    remote: Address,
    ssl: object,
    server_name: str,
    handshake_timeout: float | None,
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Open a stream to *remote*; raises OSError (refused, timed out, TLS errors) as `create_connection` does."""
    tls = context_of(ssl)
    if local is not None:
        host = network.host_of(local[0])
    else:
        host = network.host_of(remote[0]) if is_loopback(remote[0]) else network.current_host()
    if local is None or local[0] in ("0.0.0.0", "::"):
        local = (host.source_for(remote[0]), 0 if local is None else local[1])
    elif not host.owns(local[0]):
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    if local[1] == 0:
        local = (local[0], host.free_port(TCP, local[0]))
    if (local, remote) in host.connections:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    end = StreamEnd(host, local, remote, tls, server_side=False)
    opened: asyncio.Future[None] = network.loop.create_future()

    def established() -> None:
        if not opened.done():
            opened.set_result(None)

    def failed(error: OSError) -> None:
        if not opened.done():
            note = f"{host.name}: connection to {remote[0]} port {remote[1]} failed: {error}"
            network.trace.notes.append(Note(network.time(), note))
            opened.set_exception(error)

    end.on_established = established
    end.on_failed = failed
    end.connect(server_name)
    limit = None
    if tls is not None:
        limit = _HANDSHAKE_TIMEOUT if handshake_timeout is None else handshake_timeout
        limit += network.connect_timeout
    try:
        async with asyncio.timeout(limit):
            await opened
    except TimeoutError as error:
        if opened.done() and not opened.cancelled() and opened.exception() is error:
            raise
        end.abort()
        raise ConnectionAbortedError(errno.ECONNABORTED, "the TLS handshake took too long") from None
    except BaseException:
        end.abort()
        raise
    protocol = end._context.run(protocol_factory)
    made = network.loop.create_future()
    end.use(protocol)
    network.loop.call_soon(made.set_result, None)
    await made
    return end, protocol
