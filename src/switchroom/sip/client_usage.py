"""What registrations, subscriptions and publications have in common: requests that are seen through challenges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .client_request import with_credentials
from .errors import RemoteProtocolError, SipError
from .headers import RETRY_AFTER
from .layer import RequestFailed, RequestReceived, RequestTimedOut, ResponseReceived
from .orders import SendRequest, SendResponse

if TYPE_CHECKING:
    from .client_request import Authenticator
    from .dialog import Dialog
    from .flow import Flow
    from .layer import Event
    from .message import Request, Response
    from .orders import Order
    from .transaction import ServerTransaction
    from .uri import Uri

_CHALLENGES: Final = 4
"""How many challenges one request may meet: some proxies on the way, and a stale nonce (RFC 3261 §22.3)."""
LONGEST_INTERVAL: Final = 86_400
"""A day.  Who demands more than that between two refreshes (a Min-Expires may say 136 years) would never be asked
again whether he still knows of us: that is refused, and a longer grant is refreshed as if it were for a day."""


class UsageRequest:
    """A request of a usage under way; the `sender` of its transactions."""

    __slots__ = ("challenges", "destination", "dialog", "done", "owner", "request")

    def __init__(
        self, owner: ClientUsage, request: Request, dialog: Dialog | None, destination: Flow | Uri | None
    ) -> None:
        self.owner = owner
        self.request = request
        self.dialog = dialog
        self.destination = destination
        self.challenges = 0
        self.done = False


class ClientUsage:
    """Base of the machines that a user agent core hosts (`user_agent.Usage`).

    Subclasses send by `_send`, get one outcome per request in `_completed`, and requests of the peer in `_requested`.
    """

    def __init__(self, authenticator: Authenticator | None) -> None:
        self._authenticator = authenticator
        self._orders: list[Order] = []
        self._events: list[object] = []
        self._seq = 0
        """CSeq number of the last request outside a dialog."""

    def owns(self, request: Request) -> bool:
        """Whether a request of the peer belongs to this machine."""
        return False

    def receive(self, event: Event, now: float) -> None:
        """Feed one event of the transaction layer."""
        if isinstance(event, ResponseReceived):
            if isinstance(event.sender, UsageRequest) and event.sender.owner is self:
                self._answered(event.sender, event.response, now)
        elif isinstance(event, RequestTimedOut | RequestFailed):
            if isinstance(event.sender, UsageRequest) and event.sender.owner is self:
                self._end(event.sender, None, event.error if isinstance(event, RequestFailed) else None, now)
        elif isinstance(event, RequestReceived):
            self._requested(event.transaction, event.request, now)

    def take_orders(self) -> list[Order]:
        """What to do now, in this order."""
        orders, self._orders = self._orders, []
        return orders

    def take_events(self) -> list[object]:
        """What happened."""
        events, self._events = self._events, []
        return events

    # -- for subclasses ------------------------------------------------------------------------------------------------

    def _completed(self, sent: UsageRequest, response: Response | None, error: SipError | None, now: float) -> None:
        """The outcome: a final response, or None with what kept it from coming (nothing: a timeout)."""
        raise NotImplementedError

    def _requested(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """A request that the machine owns."""
        raise NotImplementedError

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _send(
        self, request: Request, dialog: Dialog | None = None, destination: Flow | Uri | None = None
    ) -> UsageRequest:
        if self._authenticator is not None:
            for name, value in self._authenticator.credentials(request):
                request.headers.add(name, value)
        sent = UsageRequest(self, request, dialog, destination)
        self._orders.append(SendRequest(request, sent, destination))
        return sent

    def _respond(
        self,
        transaction: ServerTransaction,
        request: Request,
        status: int,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        response = request.create_response(status, to_tag=to_tag, headers=tuple(headers))
        self._orders.append(SendResponse(transaction, response))
        return response

    # -- inside --------------------------------------------------------------------------------------------------------

    def _answered(self, sent: UsageRequest, response: Response, now: float) -> None:
        if sent.done or response.status < 200 or response.cseq.number != sent.request.cseq.number:
            return
        if response.status in (401, 407) and self._authorize(sent, response):
            return
        if self._authenticator is not None:
            self._authenticator.learn(sent.request, response)
        self._end(sent, response, None, now)

    def _end(self, sent: UsageRequest, response: Response | None, error: SipError | None, now: float) -> None:
        if sent.done:
            return
        sent.done = True
        try:
            self._completed(sent, response, error, now)
        except RemoteProtocolError as malformed:  # a final response that cannot be understood
            self._completed(sent, None, malformed, now)

    def _authorize(self, sent: UsageRequest, response: Response) -> bool:
        """The same request with credentials and the next CSeq (RFC 3261 §22.2, §22.3)."""
        if self._authenticator is None or sent.challenges >= _CHALLENGES:
            return False
        request = with_credentials(self._authenticator, sent.request, response)
        if request is None:
            return False
        sent.challenges += 1
        number = self._next_seq() if sent.dialog is None else sent.dialog.next_seq()
        request.headers.set("CSeq", f"{number} {request.method}")
        sent.request = request
        self._orders.append(SendRequest(request, sent, sent.destination))
        return True


def retry_after(response: Response | None) -> int | None:
    """The Retry-After of a response in seconds; None without one, or when it cannot be read."""
    if response is None:
        return None
    try:
        value = response.headers.one(RETRY_AFTER)
    except RemoteProtocolError:
        return None
    return value.seconds if value is not None else None


def refresh_delay(granted: float, fraction: float) -> float:
    """How long after a grant of *granted* seconds to refresh it.

    At *fraction* of it, but so early that a refresh which times out (64*T1) ends before the grant does; of a short
    grant, at the half.
    """
    granted = min(granted, LONGEST_INTERVAL)
    return granted / 2 if granted < 120 else min(granted * fraction, granted - 33)


def back_off_delay(failures: int, base: float, maximum: float, fraction: float) -> float:
    """Seconds to wait after *failures* in a row: RFC 5626 §4.5, for a random *fraction* in [0, 1).

    Between 50 and 100 % of min(maximum, base * 2 ** failures); nothing when there was no failure.
    """
    if failures <= 0:
        return 0.0
    upper = min(maximum, base * 2.0 ** min(failures, 32))
    return upper * (0.5 + fraction / 2)
