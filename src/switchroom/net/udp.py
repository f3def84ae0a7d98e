"""UDP: datagrams read in batches from a raw socket, or through asyncio's transport where that is all there is."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections import deque
from typing import Any, Final, Protocol, cast

from .address import ListenAddress
from .errors import transport_error
from .loop import has_sockets

BATCH: Final = 64
"""Datagrams read per wake-up: enough to spare wake-ups, few enough that timers and streams get their turn."""
_TRY_TWO: Final = 16
"""Wake-ups for one datagram each, after which two are tried."""
_BUFFER: Final = 4 * 1024 * 1024
_LARGEST: Final = 65_535

# Linux tells an unconnected socket of ICMP errors only when asked to (ip(7)); socket lacks the names.
_RECVERR: Final = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
_MSG_ERRQUEUE: Final = 0x2000
_EXTENDED_ERROR: Final = struct.Struct("=IBBBB")
_ORIGIN_ICMP: Final = 2
_ORIGIN_ICMP6: Final = 3
# RFC 3261 §18.4: unreachable destinations and parameter problems are failures; the rest (source quench, time
# exceeded, and a path MTU that the system now knows) is not.
_ICMP_FAILURES: Final = frozenset((3, 12))
_ICMP6_FAILURES: Final = frozenset((1, 4))


class DatagramReceiver(Protocol):
    """Who gets what a datagram socket reads."""

    def datagram_received(self, source: DatagramSocket, data: bytes, remote: tuple[str, int]) -> None:
        """One datagram came."""
        ...

    def datagrams_read(self) -> None:
        """That was all for now: answer."""
        ...

    def datagram_failed(self, source: DatagramSocket, remote: tuple[str, int] | None, error: OSError) -> None:
        """The network reports that a datagram could not be delivered; to whom is not always known."""
        ...

    def count(self, name: str) -> None:
        """Count an event of this name."""
        ...


class DatagramSocket(Protocol):
    """One bound UDP port."""

    address: ListenAddress

    def send(self, data: bytes, remote: tuple[str, int]) -> None:
        """Send now, or queue it while the system takes none.  Raises OSError when it cannot be sent."""
        ...

    def close(self) -> None:
        """Give the port back; what is queued is lost."""
        ...


async def open_datagram_socket(
    address: ListenAddress, receiver: DatagramReceiver, *, queue: int, reuse_port: bool = False
) -> DatagramSocket:
    """Bind a UDP port.  Raises TransportError."""
    loop = asyncio.get_running_loop()
    action = f"cannot listen on {address}"
    try:
        if has_sockets(loop):
            return RawDatagramSocket(loop, address, receiver, queue=queue, reuse_port=reuse_port)
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: AsyncioDatagramSocket(address, receiver),
            local_addr=(address.host, address.port),
            family=_family(address.host),
        )
    except OSError as error:
        raise transport_error(error, action) from error
    host, port = transport.get_extra_info("sockname")[:2]
    protocol.address = ListenAddress(address.transport, host, port)
    return protocol


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class RawDatagramSocket:
    """A socket of our own, watched by the loop: a third of the work of asyncio's transport per message."""

    __slots__ = ("_alone", "_batch", "_limit", "_loop", "_queue", "_receiver", "_recverr", "_socket", "address")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: ListenAddress,
        receiver: DatagramReceiver,
        *,
        queue: int,
        reuse_port: bool = False,
    ) -> None:
        family = _family(address.host)
        self._loop = loop
        self._receiver = receiver
        self._limit = queue
        self._queue: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._recverr = False
        self._batch = 1
        self._alone = 0
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if reuse_port:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)  # the system takes what it allows
            if sys.platform == "linux":
                self._socket.setsockopt(*_RECVERR[family], 1)
                self._recverr = True
            self._socket.bind((address.host, address.port))
        except BaseException:
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self.address = ListenAddress(address.transport, host, port)
        loop.add_reader(self._socket, self._readable)

    def send(self, data: bytes, remote: tuple[str, int]) -> None:
        """Send now, or queue it while the system takes none.  Raises OSError when it cannot be sent."""
        if self._queue:
            self._enqueue(data, remote)
            return
        try:
            self._socket.sendto(data, remote)
        except (BlockingIOError, InterruptedError):
            self._enqueue(data, remote)
            self._loop.add_writer(self._socket, self._writable)
        except OSError:
            # The error may be the late echo of another datagram, and this one has not been sent.
            if not self._read_errors():
                raise
            self._socket.sendto(data, remote)

    def close(self) -> None:
        """Give the port back; what is queued is lost."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._queue.clear()

    def _readable(self) -> None:
        receive = self._socket.recvfrom
        receiver = self._receiver
        # To find nothing more costs a call and an exception: that is tried seldom while datagrams come one by one.
        batch = self._batch
        got = 0
        try:
            while got < batch:
                data, source = receive(_LARGEST)
                got += 1
                receiver.datagram_received(self, data, source if len(source) == 2 else source[:2])
            self._alone += 1
            if batch > 1 or self._alone >= _TRY_TWO:
                self._batch = min(2 * batch, BATCH)
        except (BlockingIOError, InterruptedError):
            self._batch = max(got, 1)
            self._alone = 0
        except OSError:
            self._read_errors()
            got = 0
        if got == 0 and self._socket.fileno() >= 0:
            # Woken by an error: libuv then stops watching the socket, so watch it anew.
            self._read_errors()
            self._loop.remove_reader(self._socket)
            self._loop.add_reader(self._socket, self._readable)
        receiver.datagrams_read()

    def _read_errors(self) -> bool:
        """Take what ICMP said from the socket's error queue (ip(7)); return whether there was anything."""
        if not self._recverr:
            return False
        found = False
        for _ in range(BATCH):
            try:
                _, ancillary, _, destination = self._socket.recvmsg(1, 512, _MSG_ERRQUEUE)
            except OSError:  # empty: EAGAIN
                break
            for _, _, content in ancillary:
                if len(content) < _EXTENDED_ERROR.size:
                    continue
                number, origin, kind, _, _ = _EXTENDED_ERROR.unpack_from(content)
                found = found or origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6)
                failed = (origin == _ORIGIN_ICMP and kind in _ICMP_FAILURES and number != errno.EMSGSIZE) or (
                    origin == _ORIGIN_ICMP6 and kind in _ICMP6_FAILURES
                )
                if failed and destination:
                    self._loop.call_soon(self._tell, destination[:2], OSError(number, "reported by ICMP"))
        return found

    def _tell(self, remote: tuple[str, int], error: OSError) -> None:
        # Never from within `send`: whoever sends is not prepared to hear of an older message's failure.
        if self._socket.fileno() >= 0:
            self._receiver.datagram_failed(self, remote, error)

    def _enqueue(self, data: bytes, remote: tuple[str, int]) -> None:
        if len(self._queue) >= self._limit:
            self._receiver.count("datagrams_dropped")
            return
        self._queue.append((data, remote))

    def _writable(self) -> None:
        queue = self._queue
        while queue:
            data, remote = queue[0]
            try:
                self._socket.sendto(data, remote)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if not self._read_errors():
                    self._loop.call_soon(self._tell, remote, error)
            queue.popleft()
        self._loop.remove_writer(self._socket)


class AsyncioDatagramSocket(asyncio.DatagramProtocol):
    """The same over `loop.create_datagram_endpoint`: for the lab's loop and for Windows."""

    def __init__(self, address: ListenAddress, receiver: DatagramReceiver) -> None:
        self.address = address
        self._receiver = receiver
        self._full = False
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Called by the loop."""
        self._receiver.datagram_received(self, data, addr[:2])
        self._receiver.datagrams_read()

    def error_received(self, exc: Exception) -> None:
        """Called by the loop.  It does not say which datagram failed, so that its transaction must time out."""
        if isinstance(exc, OSError):
            self._receiver.datagram_failed(self, None, exc)

    def pause_writing(self) -> None:
        """Called by the loop when its own queue is full."""
        self._full = True

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._full = False

    def send(self, data: bytes, remote: tuple[str, int]) -> None:
        """Send now; drop it when the system takes none."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise OSError(errno.EPIPE, "the socket is closed")
        if self._full:
            self._receiver.count("datagrams_dropped")
            return
        transport.sendto(data, remote)

    def close(self) -> None:
        """Give the port back."""
        if self._transport is not None:
            self._transport.abort()
