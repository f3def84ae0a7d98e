"""TCP and TLS: connections that clients open to us and that we open, with their time-outs and bounds."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, cast

from ..sip.errors import TransportError
from ..sip.flow import Flow
from ..sip.timers import NEVER, Timed
from .address import host_port
from .errors import transport_error
from .limits import TransportLimits

PING: Final = b"\r\n\r\n"
"""The keep-alive of RFC 5626 §3.5.1; its answer is one CRLF."""

OPENING: Final = 0
"""TLS or WebSocket handshake."""
OPEN: Final = 1
CLOSING: Final = 2
"""Nothing more is read; what is queued is still written."""
CLOSED: Final = 3


class StreamOwner(Protocol):
    """Who holds the connections and gets what they read."""

    loop: asyncio.AbstractEventLoop
    limits: TransportLimits

    def admit(self, connection: StreamConnection) -> bool:
        """A client connected: whether the limits allow it.  What is admitted counts until it is `lost`."""
        ...

    def identify(self, connection: StreamConnection) -> TransportError | None:
        """The TLS handshake, if there is one, is done: what is wrong with the peer's identity."""
        ...

    def opened(self, connection: StreamConnection) -> None:
        """All handshakes are done: give the connection its flow."""
        ...

    def next_ping(self, connection: StreamConnection, now: float) -> float:
        """A ping was sent: when to send the next one."""
        ...

    def received(self, connection: StreamConnection, data: bytes) -> None:
        """Bytes of the stream (one whole message on WebSocket)."""
        ...

    def lost(self, connection: StreamConnection, error: TransportError | None) -> None:
        """The connection is gone; None if it was closed in good order."""
        ...

    def schedule(self, item: Timed) -> None:
        """A deadline of the connection was set or moved."""
        ...

    def count(self, name: str) -> None:
        """Count an event of this name."""
        ...

    def complain(self, remote: tuple[str, int], text: str) -> bool:
        """Write a line about a peer to the log, unless there was one within the second; whether it was written."""
        ...

    def log_mistake(self, whose: str, text: str) -> None:
        """In an `except` block: log the exception, unless there was one of *whose* within the second."""
        ...


class StreamConnection(asyncio.Protocol, Timed):
    """One connection.  Its deadlines are kept by the owner's timer queue: there is no timer handle of its own.

    `retry_at` is when to ping next; `expire_at` the earliest of the time-outs that run.
    """

    __slots__ = (
        "_message_by",
        "_pong_by",
        "_state",
        "_transport",
        "_written_by",
        "accepted",
        "alias",
        "awaits_pong",
        "counted",
        "error",
        "flow",
        "handshake",
        "last_read",
        "name",
        "opening",
        "owner",
        "peer_names",
        "remote",
        "strict_pong",
        "transport_name",
    )

    def __init__(self, owner: StreamOwner, transport_name: str, *, accepted: bool, name: str = "") -> None:
        Timed.__init__(self)
        self.owner = owner
        self.transport_name = transport_name
        self.accepted = accepted
        self.name = name
        """The identity that was asked for when we opened it."""
        self.flow: Flow | None = None
        self.peer_names: tuple[str, ...] = ()
        self.alias: tuple[str, tuple[str, int]] | None = None
        """Whose listener's place it takes, if it takes one (RFC 5923)."""
        self.counted = ""
        """The host under which it counts for the limits; empty if it does not."""
        self.remote: tuple[str, int] = ("", 0)
        self.last_read = 0.0
        self.awaits_pong = False
        self.strict_pong = False
        self.error: TransportError | None = None
        self.handshake: asyncio.Task[None] | None = None
        """What runs the TLS handshake of an accepted connection."""
        self.opening: asyncio.Future[None] | None = None
        """Done when a connection that we open may be used; None for accepted ones."""
        self._state = OPENING
        self._transport: asyncio.Transport | None = None
        self._message_by = NEVER
        self._pong_by = NEVER
        self._written_by = NEVER

    def __repr__(self) -> str:
        word = "from" if self.accepted else "to"
        return f"<{self.transport_name} {word} {host_port(*self.remote)}>"

    # -- called by the loop -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop: connected, on connections that we open with the TLS handshake done."""
        owner = self.owner
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport = transport
        self.handshake = None
        peer = transport.get_extra_info("peername")
        self.last_read = owner.loop.time()
        if not peer:  # gone before we looked
            self._finish(None)
            transport.abort()
            return
        self.remote = (peer[0], peer[1])
        transport.set_write_buffer_limits(high=owner.limits.write_high)
        if self.accepted:
            if not self.counted and not owner.admit(self):
                self._state = CLOSED
                transport.abort()
                return
            self.expire_at = self.last_read + owner.limits.handshake_timeout
            owner.schedule(self)
        self._identify()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._state > OPEN:
            return
        self.last_read = self.owner.loop.time()
        if self.awaits_pong:
            # Any sign of life will do: the peer may be in the middle of a long message.
            self.awaits_pong = False
            self._pong_by = NEVER
        try:
            self._received(data)
        except Exception as error:  # a mistake of ours or of a library: this connection ends, the rest goes on
            self.owner.count("internal_errors")
            self.owner.log_mistake("Switchroom itself", f"internal error on {self!r}")
            self.abort(TransportError(f"internal error: {error!r}"))

    def eof_received(self) -> bool:
        """Called by the loop: the peer will send nothing more; what is queued is still written."""
        return False

    def pause_writing(self) -> None:
        """Called by the loop: the peer does not read.  Then we do not read from it either (back-pressure)."""
        if self._transport is None or self._state == CLOSED:
            return
        self.owner.count("back_pressure")
        self._transport.pause_reading()
        self._written_by = self.owner.loop.time() + self.owner.limits.write_timeout
        self._reschedule()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._written_by = NEVER
        if self._transport is not None and self._state == OPEN:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        error = self.error
        if error is None and exc is not None:
            error = transport_error(exc, f"{self.transport_name} connection with {host_port(*self.remote)}")
        self._finish(error)

    # -- what the subclass for WebSocket changes ----------------------------------------------------------------------

    def _identify(self) -> None:
        error = self.owner.identify(self)
        if error is None:
            self._begin()
        else:
            self.abort(error)

    def _begin(self) -> None:
        """TCP is connected, TLS is agreed: nothing more to do before messages may flow."""
        self._ready()

    def _received(self, data: bytes) -> None:
        self.owner.received(self, data)

    def send(self, data: bytes) -> bool:
        """Write a message.  False when the connection is no more, or too much is queued: then it is dropped."""
        transport = self._transport
        if transport is None or self._state >= CLOSING or transport.is_closing():
            return False
        transport.write(data)
        return self._within_bounds(transport)

    def ping(self) -> None:
        """Ask whether the peer is still there."""
        self.send(PING)

    def close(self) -> None:
        """Write what is queued, then close; a peer that does not take it is dropped."""
        if self._state >= CLOSING:
            return
        self._state = CLOSING
        if self._transport is None:
            self._finish(None)
            return
        self._written_by = self.owner.loop.time() + self.owner.limits.write_timeout
        self._reschedule()
        self._transport.close()

    # -- state --------------------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether messages may be written."""
        return self._state == OPEN and self._transport is not None and not self._transport.is_closing()

    @property
    def made(self) -> bool:
        """Whether the loop has given it a transport, which then has the socket."""
        return self._transport is not None

    def extra(self, name: str) -> Any:
        """`get_extra_info` of the transport."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    def abort(self, error: TransportError | None = None) -> None:
        """Drop the connection at once; *error* is why, for whoever waits for something on it."""
        if self.error is None:
            self.error = error
        if self.handshake is not None:
            self.handshake.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._finish(self.error)

    def message_pending(self, pending: bool, *, began: bool = False) -> None:
        """Whether a message is there in part: it must be complete within `message_timeout` of its first byte.

        *began*: that byte has just come.  (On a busy connection hardly a read ends where a message does.)
        """
        if not pending:
            self._message_by = NEVER
        elif began or self._message_by == NEVER:
            self._message_by = self.last_read + self.owner.limits.message_timeout
            self._reschedule()

    def handle_deadline(self, now: float) -> None:
        """A deadline of `Timed` has come, or an earlier one of those had moved."""
        if self._state == CLOSED:
            return
        late = self._late(now)
        if late:
            self.owner.count(late)
            text = f"{self.transport_name} connection with {host_port(*self.remote)} dropped: {_LATE[late]}"
            self.owner.complain(self.remote, text)
            self.abort(TransportError(text))
            return
        if self.retry_at <= now:
            self.retry_at = NEVER
            if self._state == OPEN:
                limits = self.owner.limits
                self.awaits_pong = True
                if self.strict_pong and self._pong_by == NEVER:
                    self._pong_by = now + limits.pong_timeout
                self.ping()
                self.retry_at = self.owner.next_ping(self, now)
        self._reschedule()

    def _late(self, now: float) -> str:
        if self._state == OPENING:
            return "handshake_timeouts" if self.accepted and self.expire_at <= now else ""
        if self._pong_by <= now:
            return "pong_timeouts"
        if self._message_by <= now:
            return "message_timeouts"
        if self._written_by <= now:
            return "write_timeouts"
        if self.accepted and self.last_read + self.owner.limits.idle_timeout <= now:
            return "idle_timeouts"
        return ""

    def _reschedule(self) -> None:
        if self._state == CLOSED:
            return
        if self._state != OPENING:
            due = min(self._pong_by, self._message_by, self._written_by)
            if self.accepted:
                due = min(due, self.last_read + self.owner.limits.idle_timeout)
            self.expire_at = due
        self.owner.schedule(self)

    def _ready(self) -> None:
        if self._state != OPENING:
            return
        self._state = OPEN
        self.owner.opened(self)
        self._reschedule()
        if self.opening is not None and not self.opening.done():
            self.opening.set_result(None)

    def _within_bounds(self, transport: asyncio.Transport) -> bool:
        if transport.get_write_buffer_size() <= self.owner.limits.write_queue:
            return True
        self.owner.count("write_queue_overflows")
        text = f"{self.transport_name} peer {host_port(*self.remote)} does not read what is sent to it: dropped"
        self.owner.complain(self.remote, text)
        self.owner.loop.call_soon(self.abort, TransportError(text))  # not while the caller works on it
        return False

    def _finish(self, error: TransportError | None) -> None:
        if self._state == CLOSED:
            return
        self._state = CLOSED
        self.retry_at = self.expire_at = NEVER
        if self.opening is not None and not self.opening.done():
            self.opening.set_exception(
                error or TransportError(f"{host_port(*self.remote)} closed the connection before it could be used")
            )
            self.opening.exception()  # whoever waits has it; nobody waiting is no mistake
        self.owner.lost(self, error)


_LATE: Final[dict[str, str]] = {
    "handshake_timeouts": "the TLS or WebSocket handshake took too long",
    "pong_timeouts": "no answer to a keep-alive ping",
    "message_timeouts": "a message was begun and not finished in time",
    "write_timeouts": "the peer did not take what was sent to it",
    "idle_timeouts": "nothing came for too long",
}
