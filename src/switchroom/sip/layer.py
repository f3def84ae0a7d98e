"""Transaction layer: bytes and clock readings in, bytes and events out (RFC 3261 §17 and §18)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Final, NamedTuple

from .errors import RemoteProtocolError, SipError
from .flow import Flow
from .identifiers import Identifiers
from .message import DEFAULT_LIMITS, Limits, Message, Request, Response
from .timers import TimerValues
from .transaction import ClientTransaction, ServerTransaction


class RequestReceived(NamedTuple):
    """A new request: answer it with `send_response(transaction, ...)`.  An unmatched CANCEL comes here too."""

    transaction: ServerTransaction
    request: Request
    flow: Flow


class AckReceived(NamedTuple):
    """The ACK for a 2xx, or an ACK that belongs to no transaction: there is nothing to answer."""

    request: Request
    flow: Flow


class CancelReceived(NamedTuple):
    """The peer cancels the INVITE of `transaction`, which still waits for a final response: send 487.

    `request` is the CANCEL, already answered 200 (RFC 3261 §9.2).
    """

    transaction: ServerTransaction
    request: Request


class ResponseReceived(NamedTuple):
    """A response to a request of ours: any number of provisional ones, then one final; of 2xx to INVITE all."""

    transaction: ClientTransaction
    response: Response
    sender: Hashable


class RequestTimedOut(NamedTuple):
    """No final response in time: timer B or F, or 64*T1 after the CANCEL (RFC 3261 §9.1); treat it as 408."""

    transaction: ClientTransaction
    sender: Hashable


class RequestFailed(NamedTuple):
    """The transport could not carry the request; treat it as 503 (RFC 3261 §8.1.3.1)."""

    transaction: ClientTransaction
    error: SipError
    sender: Hashable


class ResponseFailed(NamedTuple):
    """A response could not be carried, was never acknowledged (timer H), or none was given in 64*T1 (not INVITE)."""

    transaction: ServerTransaction
    error: SipError


class FlowRejected(NamedTuple):
    """What came on this stream cannot be framed: flush the output, then close it."""

    flow: Flow
    error: RemoteProtocolError


class KeepAlive(NamedTuple):
    """The peer of a stream sent a CRLF keep-alive: a ping (answered already), or the pong to one of ours."""

    flow: Flow
    pong: bool


Event = (
    RequestReceived
    | AckReceived
    | CancelReceived
    | ResponseReceived
    | RequestTimedOut
    | RequestFailed
    | ResponseFailed
    | FlowRejected
    | KeepAlive
)


class TransactionLimits(NamedTuple):
    """Bounds on what peers may make this layer remember; a request over one is answered 503, and counted."""

    transactions: int = 1_000_000
    """Server transactions in all."""
    transactions_per_source: int = 500_000
    """Server transactions that began at one address."""
    retry_after: int = 10
    """Seconds in the Retry-After of the 503."""


class TransactionLayer:
    """All transactions of one element."""

    def __init__(
        self,
        ids: Identifiers,
        *,
        wall: Callable[[], float] | None = None,
        timers: TimerValues = TimerValues(),
        limits: Limits = DEFAULT_LIMITS,
        bounds: TransactionLimits = TransactionLimits(),
    ) -> None:
        raise NotImplementedError

    counters: Final[dict[str, int]]

    def receive(self, data: bytes | memoryview, flow: Flow, now: float) -> None:
        """Feed one datagram or WebSocket message, or what arrived on a stream.  Never raises for what is in it."""
        raise NotImplementedError

    def send_request(
        self, request: Request, flow: Flow, now: float, sender: Hashable = None, branch: str | None = None
    ) -> ClientTransaction:
        """Send a copy of *request* with our Via on top, in a new client transaction."""
        raise NotImplementedError

    def send_response(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Answer a request."""
        raise NotImplementedError

    def send(self, message: Message, flow: Flow, now: float, branch: str | None = None) -> None:
        """Send without a transaction: an ACK for a 2xx, a request or response forwarded statelessly."""
        raise NotImplementedError

    def cancel(self, transaction: ClientTransaction, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Cancel an INVITE; without effect once it has its final response."""
        raise NotImplementedError

    def flow_failed(self, flow: Flow, error: SipError, now: float) -> None:
        """The flow is dead, or something sent on it could not be carried."""
        raise NotImplementedError

    def flow_closed(self, flow: Flow, now: float) -> None:
        """The peer closed the connection in good order, or we did."""
        raise NotImplementedError

    def flow_opened(self, wanted: Flow, flow: Flow) -> None:
        """What was sent on *wanted* (connection 0) has been sent on *flow*."""
        raise NotImplementedError

    def handle_timers(self, now: float) -> None:
        """Feed time."""
        raise NotImplementedError

    def next_timer(self) -> float:
        """When to call `handle_timers` at the latest."""
        raise NotImplementedError

    def take_output(self) -> list[tuple[Flow, bytes]]:
        """What to put on the wire, in order."""
        raise NotImplementedError

    def take_events(self) -> list[Event]:
        """What happened."""
        raise NotImplementedError
