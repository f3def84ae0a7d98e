"""Datagram endpoints in memory."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .host import UDP, Packet, address_of, socket_address
from .record import Passage

if TYPE_CHECKING:
    from .host import Host
    from .record import Address

_MAX_PAYLOAD: Final = 65507
_UDP_HEADER: Final = 8


class DatagramEndpoint(asyncio.DatagramTransport):
    """The transport that `create_datagram_endpoint` returns, and the socket below it."""

    def __init__(
        self,
        host: Host,
        local: Address,
        remote: Address | None,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self._host = host
        self._network = host.network
        self._loop = host.network.loop
        self._remote = remote
        self._closing = False
        self.local: Address = local
        host.bind(UDP, local[0], local[1], self._bound)
        extra: dict[str, Any] = {"sockname": socket_address(self.local), "socket": None}
        if remote is not None:
            extra["peername"] = socket_address(remote)
        super().__init__(extra)
        self._context = host.context()
        protocol = self._context.run(protocol_factory)
        if not isinstance(protocol, asyncio.DatagramProtocol):
            protocol = _as_datagram_protocol(protocol)
        self.protocol: asyncio.DatagramProtocol = protocol
        self.started: asyncio.Future[None] = self._loop.create_future()
        """Done when the protocol has been told of its transport."""
        self._loop.call_soon(self.protocol.connection_made, self, context=self._context)
        self._loop.call_soon(self._start, context=self._context)

    def _bound(self, address: Address) -> DatagramEndpoint:
        self.local = address
        return self

    def _start(self) -> None:
        if not self.started.done():
            self.started.set_result(None)

    # -- the transport ------------------------------------------------------------------------------------------

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram; errors that a network would report come by `error_received`."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._closing:
            return
        data = bytes(data)
        destination = self._remote
        if addr is not None:
            given = address_of(addr[0], addr[1])
            if destination is not None and destination != given:
                raise ValueError(f"Invalid address: must be None or {destination}")
            destination = given
        if destination is None:
            raise ValueError("no address to send to, and the endpoint is not connected")
        if len(data) > _MAX_PAYLOAD:
            self._loop.call_soon(self._error, OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE)))
            return
        source = self.local
        if source[0] in ("0.0.0.0", "::"):
            try:
                source = (self._host.source_for(destination[0]), source[1])
            except OSError as error:
                self._loop.call_soon(self._error, error)
                return
        network = self._network
        passage = Passage(network.time(), UDP, self._host.name, source, destination, data)
        network.trace.passages.append(passage)
        size = len(data) + _UDP_HEADER + (40 if ":" in destination[0] else 20)
        self._host.send(Packet(UDP, self._host, source, destination, data, size, passage=passage))

    def close(self) -> None:
        """Give the port back; nothing is received any more."""
        if not self._closing:
            self._closing = True
            self._host.release(UDP, self)
            self._loop.call_soon(self.protocol.connection_lost, None, context=self._context)

    def abort(self) -> None:
        """The same as `close`: there is nothing in a buffer."""
        self.close()

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Always 0: a datagram is on the wire when `sendto` returns."""
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Never reached."""
        return (16384, 65536)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Accepted and ignored: nothing is ever buffered."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that gets the datagrams."""
        return self.protocol

    # -- the socket ---------------------------------------------------------------------------------------------

    def deliver(self, packet: Packet) -> None:
        """A datagram arrives at this port."""
        if self._remote is not None and packet.source != self._remote:
            packet.lost("not from the connected address")
            return
        packet.delivered()
        self._context.run(self.protocol.datagram_received, packet.payload, socket_address(packet.source))

    def fail(self, destination: Address, error: OSError) -> None:
        """The network reports an error about a datagram to *destination*."""
        if destination == self._remote or self._network.icmp_to_all or error.errno == errno.EMSGSIZE:
            self._error(error)

    def crash(self) -> None:
        """The host lost its sockets."""
        if not self._closing:
            self._closing = True
            gone = ConnectionAbortedError(errno.ECONNABORTED, f"{self._host.name} crashed")
            self._loop.call_soon(self.protocol.connection_lost, gone, context=self._context)

    def _error(self, error: OSError) -> None:
        if not self._closing:
            self._context.run(self.protocol.error_received, error)


def _as_datagram_protocol(protocol: Any) -> asyncio.DatagramProtocol:
    """asyncio asks for no base class, only for the methods."""
    for name in ("connection_made", "datagram_received", "error_received", "connection_lost"):
        if not callable(getattr(protocol, name, None)):
            raise TypeError(f"the protocol has no method {name}")
    return protocol  # type: ignore[no-any-return]
