"""What a transaction user asks its driver to do, and the contract between the two."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from .flow import Flow
    from .layer import Event
    from .message import Request, Response
    from .transaction import ServerTransaction
    from .uri import Uri


class SendRequest(NamedTuple):
    """Send *request* in a new client transaction.

    The request carries no Via of this element yet.  The driver locates the next hop (RFC 3263: `destination` if
    given, else the first Route, else the Request-URI), opens a flow, and fails over to further hops by itself; the
    `sender` gets the outcome of the last attempt only, in `ResponseReceived`, `RequestTimedOut` or `RequestFailed`.
    """

    request: Request
    sender: Hashable
    destination: Flow | Uri | None = None


class SendResponse(NamedTuple):
    """Answer the request of a server transaction."""

    transaction: ServerTransaction
    response: Response


class SendAck(NamedTuple):
    """Send the ACK for a 2xx: no transaction, no answer (RFC 3261 §13.2.2.4).

    A failure to carry it is told to `sender`, if there is one, as `RequestFailed`.
    """

    request: Request
    sender: Hashable | None = None
    destination: Flow | Uri | None = None


class CancelRequest(NamedTuple):
    """Cancel what `sender` has under way (RFC 3261 §9.1); if nothing was sent yet, it never will be.

    The sender then gets the 487 (or whatever else ended the transaction) as its one outcome.
    """

    sender: Hashable
    headers: tuple[tuple[str, str], ...] = ()


Order = SendRequest | SendResponse | SendAck | CancelRequest


class TransactionUser(Protocol):
    """A machine above the transaction layer (RFC 3261 §5): a user agent core, a proxy core, a test."""

    def receive(self, event: Event, now: float) -> None:
        """Feed one event of the transaction layer."""
        ...

    def handle_timers(self, now: float) -> None:
        """Feed time."""
        ...

    def next_timer(self) -> float:
        """When to call `handle_timers` at the latest; infinity if there is nothing to wait for."""
        ...

    def take_orders(self) -> list[Order]:
        """What to do now, in this order; each order is handed out once."""
        ...

    def take_events(self) -> list[object]:
        """What happened, for the user of this machine; each event is handed out once."""
        ...
