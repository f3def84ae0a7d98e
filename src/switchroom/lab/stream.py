"""Streams in memory: reliable and ordered above links that lose packets, with resets, silence and back-pressure.

A small TCP.  The network itself tells a sender that a segment was lost, which stands for the missing acknowledgement;
everything else is as in the real one: segments are repeated with growing intervals until the stream times out, a
reader that pauses closes the window, and who sends to a connection that does not exist gets a reset.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .host import TCP, Packet, socket_address
from .record import DELIVERED, Passage
from .tls import Hello, TlsInfo

if TYPE_CHECKING:
    from .host import Host
    from .record import Address
    from .tls import TlsContext

SYN: Final = "SYN"
ACCEPT: Final = "SYN ACK"
ACK: Final = "ACK"
START: Final = "start"
HELLO: Final = "hello"
DATA: Final = "data"
FIN: Final = "FIN"
RESET: Final = "RST"

_HEADERS: Final = 60
_HELLO_SIZE: Final = 1200
_FIRST_RETRY: Final = 0.2
_FIRST_SYN_RETRY: Final = 1.0
_LONGEST_RETRY: Final = 120.0
_MOST_ACK_RETRIES: Final = 8
_HIGH_WATER: Final = 65536
_CLIENT_HELLO: Final = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"


class Segment(NamedTuple):
    """What one packet of a stream carries."""

    kind: str
    number: int = -1
    """Position among the sequenced segments of its direction (start, hello, data, FIN); -1 for the others."""
    data: bytes = b""
    hello: Hello | None = None
    passages: tuple[Passage, ...] = ()
    """The writes whose last byte is in this segment."""
    received: int = 0
    """ACK: how many sequenced segments have arrived without a gap."""
    taken: int = 0
    """ACK: how many bytes the reader has taken."""


class StreamEnd(asyncio.Transport):
    """One end of a stream: the transport, and the socket below it."""

    def __init__(self, host: Host, local: Address, remote: Address, tls: TlsContext | None, server_side: bool) -> None:
        super().__init__({"sockname": socket_address(local), "peername": socket_address(remote), "socket": None})
        self.local = local
        self.remote = remote
        self.server_side = server_side
        self.tls = tls
        self.on_established: Callable[[], None] | None = None
        self.on_failed: Callable[[OSError], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self._host = host
        self._network = host.network
        self._loop = host.network.loop
        self._context = host.context()
        self._protocol: asyncio.Protocol | None = None
        self._server_name = ""
        self._connected = False  # an answer to the SYN has come, or was sent
        self._up = False  # the protocol has its transport
        self._closing = False
        self._told = False  # the protocol's connection_lost is on its way, or there is no protocol to tell
        self._dead = False  # nothing is sent any more
        self._eof = False  # a FIN is sent or waits for the buffer
        self._fin_sent = False
        self._reading = True
        # Sending
        self._buffer = bytearray()
        self._writes: deque[tuple[int, Passage]] = deque()
        self._written = 0
        self._sent = 0
        self._taken_by_peer = 0
        self._next_number = 0
        self._acknowledged = 0
        self._progress_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._paused = False
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        # Receiving
        self._expected = 0
        self._early: dict[int, Segment] = {}
        self._waiting: deque[Segment] = deque()
        self._taken = 0
        host.connections[local, remote] = self

    def __repr__(self) -> str:
        return f"<{'TLS' if self.tls else 'TCP'} stream of {self._host.name} {self.local} to {self.remote}>"

    # -- opening ------------------------------------------------------------------------------------------------

    def connect(self, server_name: str) -> None:
        """Begin as the client."""
        self._server_name = server_name
        self._progress_at = self._network.time()
        self._transmit(Segment(SYN))

    def accept(self) -> None:
        """Begin as the server: answer the client's SYN."""
        self._connected = True
        self._progress_at = self._network.time()
        self._transmit(Segment(ACCEPT))

    def use(self, protocol: asyncio.BaseProtocol) -> None:
        """The stream is open: tell *protocol*."""
        self._protocol = protocol  # type: ignore[assignment]  # streams have stream protocols
        self._loop.call_soon(self._begin, context=self._context)

    def _begin(self) -> None:
        assert self._protocol is not None
        self._up = True  # only now: what arrives in the same instant waits
        self._protocol.connection_made(self)
        self._resume()

    def _established(self) -> None:
        if self.on_established is not None:
            self.on_established()

    def _shake_hands(self, hello: Hello) -> None:
        tls = self.tls
        if tls is None:
            # A TLS client at a plain listener: what that reads is the beginning of a TLS record.
            self._open_by_first_segment()
            self._waiting.append(Segment(DATA, data=_CLIENT_HELLO))
            return
        if hello.alert:
            self._refuse(ConnectionResetError(errno.ECONNRESET, f"the peer ended the TLS handshake: {hello.alert}"))
            return
        if self.server_side and not self._server_name and hello.certificate is None and hello.server_name != "\0":
            # First flight of the client: show who we are.
            self._server_name = hello.server_name or "\0"
            self._sequence(Segment(HELLO, hello=Hello(tls.choose(hello.server_name))))
            return
        wall = self._loop.clock.wall()
        try:
            tls.verify(hello.certificate, wall, "" if self.server_side else self._server_name)
        except OSError as error:
            self._sequence(Segment(HELLO, hello=Hello(None, alert=getattr(error, "verify_message", "") or str(error))))
            self._refuse(error)
            return
        server_name = self._server_name.strip("\0")
        info = TlsInfo(tls, hello.certificate, self.server_side, server_name)
        self._extra["ssl_object"] = info  # type: ignore[attr-defined]  # of asyncio.BaseTransport
        self._extra["sslcontext"] = tls  # type: ignore[attr-defined]
        self._extra["peercert"] = info.getpeercert()  # type: ignore[attr-defined]
        self._extra["cipher"] = info.cipher()  # type: ignore[attr-defined]
        if self.server_side:
            self._sequence(Segment(START))
            self._established()
        else:
            # "\0" marks the client's second flight, in which it shows its own certificate, if it has one.
            self._sequence(Segment(HELLO, hello=Hello(tls.choose(""), server_name="\0")))

    def _open_by_first_segment(self) -> None:
        if self.server_side and self._protocol is None:
            self._established()

    def _refuse(self, error: OSError) -> None:
        """The handshake failed."""
        if self.on_failed is not None:
            self.on_failed(error)
        self._told = self._closing = True
        self._finish_if_quiet()

    # -- segments out -------------------------------------------------------------------------------------------

    def _sequence(self, segment: Segment) -> None:
        if self._next_number == self._acknowledged:
            self._progress_at = self._network.time()
        segment = segment._replace(number=self._next_number)
        self._next_number += 1
        self._transmit(segment)

    def _transmit(self, segment: Segment, tries: int = 0) -> None:
        # The system goes on acknowledging for a while when the stream itself is gone (TIME-WAIT).
        if self._dead and (segment.kind != ACK or tries > _MOST_ACK_RETRIES):
            return
        if self._watch is None and segment.kind not in (ACK, RESET):
            self._set_watch()
        retry = None if segment.kind == RESET else partial(self._repeat, segment, tries)
        size = _HEADERS + (len(segment.data) if segment.hello is None else _HELLO_SIZE)
        self._host.send(Packet(TCP, self._host, self.local, self.remote, segment, size, on_lost=retry))

    def _repeat(self, segment: Segment, tries: int) -> None:
        first = _FIRST_SYN_RETRY if segment.kind in (SYN, ACCEPT) else _FIRST_RETRY
        delay = min(first * 2**tries, _LONGEST_RETRY)
        self._network.call_at(self._network.time() + delay, self._transmit, segment, tries + 1)

    def _set_watch(self) -> None:
        limit = self._network.stream_timeout if self._connected else self._network.connect_timeout
        self._watch = self._network.call_at(self._progress_at + limit, self._check_progress)

    def _check_progress(self) -> None:
        self._watch = None
        limit = self._network.stream_timeout if self._connected else self._network.connect_timeout
        if self._progress_at + limit <= self._network.time():
            self._fail(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        else:
            self._set_watch()

    def _unwatch_if_quiet(self) -> None:
        # What answers the server's first segment is the client's first one, not an acknowledgement.
        answered = self._expected > 0 if self.server_side else self._connected
        if self._watch is not None and answered and self._acknowledged == self._next_number:
            self._watch.cancel()
            self._watch = None

    def _pump(self) -> None:
        """Send what the window allows, then the FIN if the buffer is empty and one is due."""
        network = self._network
        while self._buffer:
            room = min(network.segment_size, self._taken_by_peer + network.window - self._sent)
            if room <= 0:
                break
            data = bytes(self._buffer[:room])
            del self._buffer[:room]
            self._sent += len(data)
            passages = []
            while self._writes and self._writes[0][0] <= self._sent:
                passages.append(self._writes.popleft()[1])
            self._sequence(Segment(DATA, data=data, passages=tuple(passages)))
        if self._paused and len(self._buffer) <= self._low:
            self._paused = False
            assert self._protocol is not None
            self._context.run(self._protocol.resume_writing)
        if self._eof and not self._buffer:
            self._send_fin()

    def _send_fin(self) -> None:
        if not self._fin_sent:
            self._fin_sent = True
            self._sequence(Segment(FIN))
        if self._closing:
            self._tell(None)

    # -- segments in --------------------------------------------------------------------------------------------

    def deliver(self, packet: Packet) -> None:
        """A packet of this stream arrives."""
        segment: Segment = packet.payload
        if segment.kind == RESET:
            refused = not self._connected
            error: OSError = (
                ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {self.remote}")
                if refused
                else ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            )
            self._fail(error)
        elif segment.kind == ACCEPT:
            if not self._connected:
                self._connected = True
                self._progress_at = self._network.time()
                if self.tls is None:
                    self._sequence(Segment(START))
                    self._established()
                else:
                    self._sequence(Segment(HELLO, hello=Hello(None, server_name=self._server_name)))
        elif segment.kind == ACK:
            self._acknowledge(segment)
        elif segment.number >= 0:
            self._arrive(segment, packet)

    def _acknowledge(self, segment: Segment) -> None:
        if segment.received > self._acknowledged:
            self._acknowledged = segment.received
            self._progress_at = self._network.time()
        self._taken_by_peer = max(self._taken_by_peer, segment.taken)
        self._unwatch_if_quiet()
        self._pump()
        self._finish_if_quiet()

    def _arrive(self, segment: Segment, packet: Packet) -> None:
        if self._told and segment.kind == DATA and self._up:
            reset(packet, self._host)  # nobody reads here any more
            self._die()
            return
        if segment.number >= self._expected:
            self._early[segment.number] = segment
        while self._expected in self._early:
            arrived = self._early.pop(self._expected)
            self._expected += 1
            self._take_in(arrived)
            if self._dead:
                return
        self._unwatch_if_quiet()
        if self._up and self._reading and not self._told:
            self._read_waiting()
        self._send_ack()

    def _take_in(self, segment: Segment) -> None:
        if segment.hello is not None:
            self._shake_hands(segment.hello)
        elif segment.kind == START:
            if self.tls is None:
                self._open_by_first_segment()
            elif self.server_side:
                self._fail(ConnectionResetError(errno.ECONNRESET, "not a TLS handshake"), say=True)
            else:
                self._established()
        elif self.tls is not None and "ssl_object" not in self._extra:  # type: ignore[attr-defined]
            self._fail(ConnectionResetError(errno.ECONNRESET, "not a TLS handshake"), say=True)
        else:
            self._waiting.append(segment)

    def _send_ack(self) -> None:
        self._transmit(Segment(ACK, received=self._expected, taken=self._taken))

    def _read_waiting(self) -> None:
        """Hand to the protocol what has arrived, adjoining segments as one piece."""
        taken_before = self._taken
        while self._waiting and self._reading and not self._told:
            pieces = []
            while self._waiting and self._waiting[0].kind == DATA:
                segment = self._waiting.popleft()
                pieces.append(segment.data)
                for passage in segment.passages:
                    passage.to_host = self._host.name
                    passage.ends(self._network.time(), DELIVERED)
            if pieces:
                data = b"".join(pieces)
                self._taken += len(data)
                assert self._protocol is not None
                self._context.run(self._protocol.data_received, data)
            elif self._waiting.popleft().kind == FIN:
                self._context.run(self._peer_finished)
        if self._taken - taken_before and not self._dead:
            self._send_ack()

    def _peer_finished(self) -> None:
        assert self._protocol is not None
        keep_open = self._protocol.eof_received()
        if not keep_open or self.tls is not None:
            self.close()

    # -- ending -------------------------------------------------------------------------------------------------

    def _tell(self, error: OSError | None) -> None:
        """Once: tell the protocol, or whoever waits for the connection, that it is over."""
        if self._told:
            return
        self._told = self._closing = True
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.connection_lost, error, context=self._context)
        elif self.on_failed is not None:
            self.on_failed(error or ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED)))
        if self.on_gone is not None:
            self.on_gone()

    def _fail(self, error: OSError, *, say: bool = False) -> None:
        if say:
            self._transmit(Segment(RESET))
        self._die()
        self._tell(error)

    def _die(self) -> None:
        if self._dead:
            return
        self._dead = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._host.connections.get((self.local, self.remote)) is self:
            del self._host.connections[self.local, self.remote]
        now = self._network.time()
        for _, passage in self._writes:
            passage.ends(now, "connection lost")
        self._writes.clear()
        self._buffer.clear()

    def _finish_if_quiet(self) -> None:
        """A closed stream whose every segment has been acknowledged is forgotten."""
        if self._told and not self._buffer and self._acknowledged == self._next_number:
            self._die()

    def crash(self) -> None:
        """The host lost its sockets: no word to the peer."""
        self._die()
        self._tell(ConnectionAbortedError(errno.ECONNABORTED, f"{self._host.name} crashed"))

    # -- asyncio.Transport --------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Send bytes, or keep them until the peer has room."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof and not self._closing:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not data:
            return
        copy = bytes(data)
        self._written += len(copy)
        passage = Passage(
            self._network.time(), "TLS" if self.tls else TCP, self._host.name, self.local, self.remote, copy
        )
        self._network.trace.passages.append(passage)
        self._writes.append((self._written, passage))
        self._buffer += copy
        self._pump()
        if len(self._buffer) > self._high and not self._paused:
            self._paused = True
            assert self._protocol is not None
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send several pieces as one."""
        self.write(b"".join(bytes(data) for data in list_of_data))

    def can_write_eof(self) -> bool:
        """Plain streams can be closed in one direction, TLS cannot."""
        return self.tls is None

    def write_eof(self) -> None:
        """Close the outward direction when what is buffered has been sent."""
        if self.tls is not None:
            raise NotImplementedError("TLS has no half-closed streams")
        if not self._eof and not self._closing:
            self._eof = True
            self._pump()

    def close(self) -> None:
        """Send what is buffered, then close both directions."""
        if not self._closing:
            self._closing = self._eof = True
            self._reading = False
            self._waiting.clear()
            self._pump()

    def abort(self) -> None:
        """Close at once, with a reset; what is buffered is lost."""
        if not self._dead:
            self._transmit(Segment(RESET))
            self._die()
        self._tell(None)

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether arriving data are handed to the protocol."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Keep arriving data; when the window is full the peer can send no more."""
        self._reading = False

    def resume_reading(self) -> None:
        """Hand over what was kept, then go on."""
        if not self._reading and not self._closing:
            self._reading = True
            self._loop.call_soon(self._resume, context=self._context)

    def _resume(self) -> None:
        # Called in the protocol's own context, so the data must be handed over from another one.
        self._network.call_at(self._network.time(), self._read_kept)

    def _read_kept(self) -> None:
        if self._up and self._reading and not self._told:
            self._read_waiting()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the stream to another protocol."""
        self._protocol = protocol  # type: ignore[assignment]  # streams have stream protocols

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that gets the data."""
        assert self._protocol is not None
        return self._protocol

    def get_write_buffer_size(self) -> int:
        """Bytes that the peer has no room for yet."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high water."""
        return (self._low, self._high)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to call `pause_writing` and `resume_writing`; as asyncio's own transports."""
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low


def reset(packet: Packet, host: Host) -> None:
    """Answer a segment that belongs to no connection of *host*."""
    segment: Segment = packet.payload
    if segment.kind in (RESET, ACK):
        return
    if not host.refuses and segment.kind == SYN:
        packet.lost("nobody listens")
        return
    answer = Packet(TCP, host, packet.destination, packet.source, Segment(RESET), _HEADERS)
    host.send(answer)
