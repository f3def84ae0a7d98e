"""Events: the subscriber's side, and what both sides share (RFC 6665).

A `Subscriber` is one wish to know the state of a resource.  It sends a SUBSCRIBE; each NOTIFY that answers from another
dialog makes one `Subscription` (several when the SUBSCRIBE was forked).  The dialog is made by the NOTIFY, which may
overtake the 2xx (§4.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from .client_usage import LONGEST_INTERVAL, ClientUsage, UsageRequest, back_off_delay, refresh_delay, retry_after
from .dialog import IN_SUCCESS, Dialog, DialogId, id_of_request
from .dialog import TERMINATED as DIALOG_TERMINATED
from .errors import RemoteProtocolError
from .headers import EVENT, MIN_EXPIRES, SUBSCRIPTION_STATE, Address, Event, SubscriptionState
from .message import Request
from .timers import NEVER, TimerValues
from .uri import Uri

if TYPE_CHECKING:
    from .client_request import Authenticator
    from .errors import SipError
    from .identifiers import Identifiers
    from .message import Response
    from .transaction import ServerTransaction

# Why a subscription ended: the reason of Subscription-State (§4.1.3), or what happened here.
DEACTIVATED: Final = "deactivated"
"""Moved: subscribe again at once."""
PROBATION: Final = "probation"
"""Not now: subscribe again later."""
REJECTED: Final = "rejected"
"""Not allowed any more: do not come back."""
TIMEOUT: Final = "timeout"
"""Not refreshed in time: subscribe again at once, if still wanted."""
GIVEUP: Final = "giveup"
"""No authorization was given in time: subscribe again later, if wanted."""
NORESOURCE: Final = "noresource"
"""What was subscribed to is no more: do not come back."""
INVARIANT: Final = "invariant"
"""The state will never change: do not come back."""

_NEVER_AGAIN: Final = frozenset((REJECTED, NORESOURCE, INVARIANT))
_AT_ONCE: Final = frozenset((DEACTIVATED, TIMEOUT))

GONE_STATUSES: Final = frozenset((404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604))
"""Responses to SUBSCRIBE or NOTIFY within a dialog that end the subscription; others leave it (§4.1.2.2, §4.2.2)."""

INIT: Final = 0
NOTIFY_WAIT: Final = 1
STOP_WAIT: Final = 2
"""Not wanted any more, but there is no dialog yet in which to say so."""
PENDING: Final = 3
ACTIVE: Final = 4
ENDING: Final = 5
"""The SUBSCRIBE with Expires 0 is sent; the last NOTIFY is still to come (§4.1.2.3)."""
TERMINATED: Final = 6
STATE_NAMES: Final = ("init", "notify wait", "stop wait", "pending", "active", "ending", "terminated")

SUBSCRIBE: Final = 0
NOTIFY_ACTIVE: Final = 1
NOTIFY_PENDING: Final = 2
NOTIFY_TERMINATED: Final = 3
DUE: Final = 4
"""Time to refresh."""
TIMER_N: Final = 5
"""64*T1 after a SUBSCRIBE without a NOTIFY."""
FAILURE: Final = 6
"""The SUBSCRIBE failed, in a way that ends the subscription."""
EXPIRED: Final = 7
STOP: Final = 8
INPUT_NAMES: Final = (
    "subscribe", "NOTIFY active", "NOTIFY pending", "NOTIFY terminated", "due", "timer N", "failure", "expired", "stop",
)  # fmt: skip

NOTHING: Final = 0
SEND: Final = 1
"""Send SUBSCRIBE, and start timer N."""
WIND: Final = 2
"""Stop timer N, and set the times of refresh and expiry."""
LEAVE: Final = 4
"""Send SUBSCRIBE with Expires 0, and start timer N."""
END: Final = 8
"""Tell the end."""
ACTION_NAMES: Final = ("send SUBSCRIBE", "wind up the timers", "send SUBSCRIBE with Expires 0", "tell the end")

# RFC 6665 §4.1.2 figure 1; the rows of "stop" and "expired" from the text of §4.1.2.2 and §4.1.2.3.
TABLE: Final[dict[tuple[int, int], tuple[int, int]]] = {
    (INIT, SUBSCRIBE): (NOTIFY_WAIT, SEND),
    (INIT, NOTIFY_ACTIVE): (INIT, NOTHING),
    (INIT, NOTIFY_PENDING): (INIT, NOTHING),
    (INIT, NOTIFY_TERMINATED): (INIT, NOTHING),
    (INIT, DUE): (INIT, NOTHING),
    (INIT, TIMER_N): (INIT, NOTHING),
    (INIT, FAILURE): (INIT, NOTHING),
    (INIT, EXPIRED): (INIT, NOTHING),
    (INIT, STOP): (TERMINATED, END),
    (NOTIFY_WAIT, SUBSCRIBE): (NOTIFY_WAIT, NOTHING),
    (NOTIFY_WAIT, NOTIFY_ACTIVE): (ACTIVE, WIND),
    (NOTIFY_WAIT, NOTIFY_PENDING): (PENDING, WIND),
    (NOTIFY_WAIT, NOTIFY_TERMINATED): (TERMINATED, END),
    (NOTIFY_WAIT, DUE): (NOTIFY_WAIT, NOTHING),
    (NOTIFY_WAIT, TIMER_N): (TERMINATED, END),
    (NOTIFY_WAIT, FAILURE): (TERMINATED, END),
    (NOTIFY_WAIT, EXPIRED): (NOTIFY_WAIT, NOTHING),
    (NOTIFY_WAIT, STOP): (STOP_WAIT, NOTHING),
    (STOP_WAIT, SUBSCRIBE): (NOTIFY_WAIT, NOTHING),
    (STOP_WAIT, NOTIFY_ACTIVE): (ENDING, LEAVE),
    (STOP_WAIT, NOTIFY_PENDING): (ENDING, LEAVE),
    (STOP_WAIT, NOTIFY_TERMINATED): (TERMINATED, END),
    (STOP_WAIT, DUE): (STOP_WAIT, NOTHING),
    (STOP_WAIT, TIMER_N): (TERMINATED, END),
    (STOP_WAIT, FAILURE): (TERMINATED, END),
    (STOP_WAIT, EXPIRED): (STOP_WAIT, NOTHING),
    (STOP_WAIT, STOP): (STOP_WAIT, NOTHING),
    (PENDING, SUBSCRIBE): (PENDING, SEND),
    (PENDING, NOTIFY_ACTIVE): (ACTIVE, WIND),
    (PENDING, NOTIFY_PENDING): (PENDING, WIND),
    (PENDING, NOTIFY_TERMINATED): (TERMINATED, END),
    (PENDING, DUE): (PENDING, SEND),
    (PENDING, TIMER_N): (TERMINATED, END),
    (PENDING, FAILURE): (TERMINATED, END),
    (PENDING, EXPIRED): (TERMINATED, END),
    (PENDING, STOP): (ENDING, LEAVE),
    (ACTIVE, SUBSCRIBE): (ACTIVE, SEND),
    (ACTIVE, NOTIFY_ACTIVE): (ACTIVE, WIND),
    (ACTIVE, NOTIFY_PENDING): (PENDING, WIND),  # not in the figure, but the notifier knows
    (ACTIVE, NOTIFY_TERMINATED): (TERMINATED, END),
    (ACTIVE, DUE): (ACTIVE, SEND),
    (ACTIVE, TIMER_N): (TERMINATED, END),
    (ACTIVE, FAILURE): (TERMINATED, END),
    (ACTIVE, EXPIRED): (TERMINATED, END),
    (ACTIVE, STOP): (ENDING, LEAVE),
    (ENDING, SUBSCRIBE): (ENDING, NOTHING),
    (ENDING, NOTIFY_ACTIVE): (ENDING, NOTHING),  # sent before our SUBSCRIBE arrived
    (ENDING, NOTIFY_PENDING): (ENDING, NOTHING),
    (ENDING, NOTIFY_TERMINATED): (TERMINATED, END),
    (ENDING, DUE): (ENDING, NOTHING),
    (ENDING, TIMER_N): (TERMINATED, END),
    (ENDING, FAILURE): (TERMINATED, END),
    (ENDING, EXPIRED): (TERMINATED, END),
    (ENDING, STOP): (ENDING, NOTHING),
    (TERMINATED, SUBSCRIBE): (NOTIFY_WAIT, SEND),
    (TERMINATED, NOTIFY_ACTIVE): (TERMINATED, NOTHING),
    (TERMINATED, NOTIFY_PENDING): (TERMINATED, NOTHING),
    (TERMINATED, NOTIFY_TERMINATED): (TERMINATED, NOTHING),
    (TERMINATED, DUE): (TERMINATED, NOTHING),
    (TERMINATED, TIMER_N): (TERMINATED, NOTHING),
    (TERMINATED, FAILURE): (TERMINATED, NOTHING),
    (TERMINATED, EXPIRED): (TERMINATED, NOTHING),
    (TERMINATED, STOP): (TERMINATED, NOTHING),
}

_BRIEF_RETRIES: Final = 3


@dataclass(frozen=True, slots=True)
class SubscriberSettings:
    """What is subscribed to, and how patiently; times in seconds."""

    target: Uri
    """The Request-URI: the resource."""
    event: Event
    """The package, with its parameters."""
    local: Address
    """The subscriber: From."""
    contact: Address
    expires: int = 3600
    """How long to ask for; 0 fetches the state once (§4.1.2.3)."""
    accept: tuple[str, ...] = ()
    """The body types that are understood; none: the package's default."""
    routes: tuple[Address, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    """Further header fields of the SUBSCRIBE outside the dialog."""
    body: bytes = b""
    """A filter, of `content_type`."""
    content_type: str | None = None
    refresh_fraction: float = 0.8
    """When to refresh, as a part of what was granted; short grants are refreshed at their half."""
    max_dialogs: int = 8
    """How many branches of a forked SUBSCRIBE are taken; further ones get 481, which ends them (§4.4.1)."""
    resubscribe: bool = True
    """Whether to subscribe anew after an end that allows it."""
    base_time: float = 30.0
    """Base of the back-off between attempts (the formula of RFC 5626 §4.5)."""
    max_time: float = 1800.0
    longest_retry_after: int = 3600
    """What a longer Retry-After is cut to."""
    timers: TimerValues = TimerValues()  # noqa: RUF009  # immutable


class Notified(NamedTuple):
    """A NOTIFY, answered 200: the state is in its body (or it is a neutral one, while `state` is pending)."""

    subscription: Subscription
    state: SubscriptionState
    request: Request


class SubscriptionEnded(NamedTuple):
    """A subscription is over; told once for each.

    `reason` is that of the notifier, or None when it said nothing; `status` of the SUBSCRIBE that failed, if that was
    it.  `retry_at` is when the subscriber tries anew by itself, None when it does not.
    """

    subscription: Subscription
    reason: str | None = None
    status: int | None = None
    error: SipError | None = None
    retry_at: float | None = None


class Subscription:
    """One dialog of a subscription; `dialog` is None until the first NOTIFY came."""

    __slots__ = ("dialog", "due_at", "expires_at", "sent", "shared", "state", "subscriber", "timer_n_at")

    def __init__(self, subscriber: Subscriber, state: int) -> None:
        self.subscriber = subscriber
        self.state = state
        self.dialog: Dialog | None = None
        self.shared = False
        """Whether the dialog belongs to a session too, which then looks after its CSeq."""
        self.sent: UsageRequest | None = None
        self.due_at = NEVER
        self.expires_at = NEVER
        self.timer_n_at = NEVER

    @property
    def is_active(self) -> bool:
        """Whether the notifier said that the state it sends is real."""
        return self.state == ACTIVE

    def next_timer(self) -> float:
        """The earliest of its deadlines."""
        return min(self.due_at, self.expires_at, self.timer_n_at)

    def stop_timers(self) -> None:
        """Nothing is waited for any more."""
        self.due_at = self.expires_at = self.timer_n_at = NEVER


class Subscriber(ClientUsage):
    """A subscription of ours: `start` it, `stop` it, and read `Notified` and `SubscriptionEnded`.

    `dialog` is that of a session in which to subscribe; default: a dialog of its own.
    """

    def __init__(
        self,
        settings: SubscriberSettings,
        ids: Identifiers,
        *,
        authenticator: Authenticator | None = None,
        dialog: Dialog | None = None,
    ) -> None:
        super().__init__(authenticator)
        self.settings = settings
        self.subscriptions: list[Subscription] = []
        """Those that are not told as ended."""
        self._ids = ids
        self._session_dialog = dialog
        self._call_id = ""
        self._tag = ""
        self._wanted = False
        self._open_until = -NEVER
        """Until when a NOTIFY may open a further dialog: timer N of the first SUBSCRIBE."""
        self._granted: int | None = None
        self._minimum = 0
        self._briefs = 0
        self._failures = 0
        self._began = 0.0
        self._retry_at = NEVER

    # -- the application's side ----------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Subscribe; when subscribed already, refresh at once."""
        self._wanted = True
        if not self.subscriptions:
            self._subscribe(now)
            return
        for subscription in list(self.subscriptions):
            self._step(subscription, SUBSCRIBE, now)

    def stop(self, now: float) -> None:
        """Unsubscribe (§4.1.2.3); the end of each subscription is told once its last NOTIFY came."""
        self._wanted = False
        self._retry_at = NEVER
        for subscription in list(self.subscriptions):
            self._step(subscription, STOP, now)

    # -- TransactionUser -----------------------------------------------------------------------------------------------

    def owns(self, request: Request) -> bool:
        """A NOTIFY of this event, in a dialog that our SUBSCRIBE made or may make."""
        if request.method != "NOTIFY" or not self._call_id:
            return False
        if request.call_id != self._call_id or request.to.tag != self._tag:
            return False
        if self._session_dialog is not None and id_of_request(request) != self._session_dialog.id:
            return False
        try:
            return self._is_our_event(request.headers.one(EVENT))
        except RemoteProtocolError:
            return True  # to be told so

    def handle_timers(self, now: float) -> None:
        """Feed time."""
        if self._retry_at <= now:
            self._retry_at = NEVER
            if self._session_dialog is None or self._session_dialog.state != DIALOG_TERMINATED:
                self._subscribe(now)
        for subscription in list(self.subscriptions):
            if subscription.timer_n_at <= now:
                self._step(subscription, TIMER_N, now)
            elif subscription.expires_at <= now:
                self._step(subscription, EXPIRED, now, reason=TIMEOUT)
            elif subscription.due_at <= now:
                subscription.due_at = NEVER
                self._step(subscription, DUE, now)

    def next_timer(self) -> float:
        """The earliest deadline."""
        at = self._retry_at
        for subscription in self.subscriptions:
            at = min(at, subscription.next_timer())
        return at

    # -- requests ------------------------------------------------------------------------------------------------------

    def _is_our_event(self, event: Event | None) -> bool:
        ours = self.settings.event
        return event is not None and event.package == ours.package and event.id == ours.id

    def _subscribe(self, now: float) -> None:
        """A SUBSCRIBE that makes dialogs: always with a new Call-ID and tag, unless it goes through a session's."""
        dialog = self._session_dialog
        if dialog is None:
            self._call_id = self._ids.token(128)
            self._tag = self._ids.token()
            self._seq = 0
        else:
            dialog.share()
            self._call_id, self._tag = dialog.call_id, dialog.local_tag
        self._granted = None
        self._began = now
        first = Subscription(self, INIT)
        self.subscriptions.append(first)
        self._step(first, SUBSCRIBE, now)
        self._open_until = first.timer_n_at

    def _event(self) -> Event:
        return self.settings.event

    def _lines(self, expires: int, *, first: bool) -> list[tuple[str, str]]:
        settings = self.settings
        lines = [("Event", str(self._event())), ("Expires", str(expires))]
        if settings.accept:
            lines.append(("Accept", ", ".join(settings.accept)))
        if first:
            lines.extend(settings.headers)
        return lines

    def _create_first(self, expires: int) -> Request:
        settings = self.settings
        if self._session_dialog is not None:
            return self._session_dialog.create_request(
                "SUBSCRIBE",
                contact=settings.contact,
                headers=self._lines(expires, first=True),
                body=settings.body,
                content_type=settings.content_type,
            )
        return self._create_outside("SUBSCRIBE", self._lines(expires, first=True))

    def _create_outside(self, method: str, lines: list[tuple[str, str]]) -> Request:
        settings = self.settings
        head = [("Route", str(route)) for route in settings.routes]
        head.append(("Contact", str(settings.contact)))
        return Request.build(
            method,
            settings.target,
            from_=settings.local.with_param("tag", self._tag),
            to=Address("", settings.target),
            call_id=self._call_id,
            cseq=self._next_seq(),
            headers=head + lines,
            body=settings.body,
            content_type=settings.content_type,
        )

    def _send_subscribe(self, subscription: Subscription, expires: int, now: float) -> None:
        subscription.due_at = NEVER
        subscription.timer_n_at = now + 64 * self.settings.timers.t1
        dialog = subscription.dialog
        if dialog is None:
            subscription.sent = self._send(self._create_first(expires), self._session_dialog)
            return
        request = dialog.create_request(
            "SUBSCRIBE", contact=self.settings.contact, headers=self._lines(expires, first=False)
        )
        subscription.sent = self._send(request, dialog)

    def _asked(self) -> int:
        expires = self.settings.expires
        return max(expires, self._minimum) if expires else 0

    # -- responses -----------------------------------------------------------------------------------------------------

    def _completed(self, sent: UsageRequest, response: Response | None, error: SipError | None, now: float) -> None:
        subscription = next((each for each in self.subscriptions if each.sent is sent), None)
        if subscription is None:
            return
        if response is not None and response.status < 300:
            self._accepted(subscription, response, now)
        elif (
            response is not None
            and response.status == 423
            and subscription.state not in (STOP_WAIT, ENDING)
            and self._accepts_minimum(response)
        ):
            self._send_subscribe(subscription, self._asked(), now)
        elif (
            subscription.dialog is None
            or subscription.state == ENDING
            or (response is None and error is None)  # figure 1: re-subscription times out
            or (response is not None and response.status in GONE_STATUSES)
        ):
            status = None if response is None else response.status
            wait = retry_after(response)
            self._step(subscription, FAILURE, now, status=status, error=error, wait=wait)
        else:
            # §4.1.2.2: it holds until it expires; another try halfway
            subscription.timer_n_at = NEVER
            wait = retry_after(response)
            left = (subscription.expires_at - now) / 2
            subscription.due_at = now + (left if wait is None else max(wait, 1.0)) if left > 1.0 else NEVER
            subscription.sent = None

    def _accepted(self, subscription: Subscription, response: Response, now: float) -> None:
        expires = response.expires
        self._briefs = 0
        if subscription.dialog is None:
            self._granted = expires
            return
        if response.status == 204:  # RFC 5839 §4: no NOTIFY will come
            subscription.timer_n_at = NEVER
        if expires and subscription.state in (PENDING, ACTIVE):
            self._wind(subscription, expires, now)

    def _accepts_minimum(self, response: Response) -> bool:
        minimum = response.headers.one(MIN_EXPIRES)
        if minimum is None or not 0 < self._asked() < minimum <= LONGEST_INTERVAL or self._briefs >= _BRIEF_RETRIES:
            return False
        self._briefs += 1
        self._minimum = minimum
        return True

    # -- NOTIFY --------------------------------------------------------------------------------------------------------

    def _requested(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        try:
            state = request.headers.one(SUBSCRIPTION_STATE)
            if request.headers.one(EVENT) is None or state is None:
                raise RemoteProtocolError("a NOTIFY needs a Subscription-State (RFC 6665 §8.2.3)", 400)
            subscription = self._find(request, now)
        except RemoteProtocolError as error:
            self._respond(transaction, request, error.status_hint or 400)
            return
        if subscription is None or subscription.dialog is None:
            self._respond(transaction, request, 481)  # §4.1.3, §4.4.1
            return
        dialog = subscription.dialog
        if not subscription.shared and not dialog.in_order(request):
            self._respond(transaction, request, 500)
            return
        dialog.refresh_target(request)
        self._respond(transaction, request, 200)
        self._events.append(Notified(subscription, state, request))
        self._notified(subscription, state, now)

    def _notified(self, subscription: Subscription, state: SubscriptionState, now: float) -> None:
        if state.state == "terminated" or self._asked() == 0:
            reason = state.reason if state.state == "terminated" else TIMEOUT
            self._step(subscription, NOTIFY_TERMINATED, now, reason=reason, wait=state.retry_after)
            return
        # §8.2.3 lets packages have states of their own; what is not pending is taken for active
        input_ = NOTIFY_PENDING if state.state == "pending" else NOTIFY_ACTIVE
        expires = state.expires
        if expires is None and subscription.expires_at == NEVER:
            expires = self._granted if self._granted is not None else self._asked()
        self._step(subscription, input_, now, expires=expires)

    def _find(self, request: Request, now: float) -> Subscription | None:
        """The subscription of a NOTIFY; makes its dialog when it is the first one of it."""
        wanted: DialogId = id_of_request(request)
        waiting: Subscription | None = None
        for subscription in self.subscriptions:
            if subscription.dialog is None:
                waiting = subscription
            elif subscription.dialog.id == wanted:
                return subscription
        if waiting is None:
            if self._session_dialog is not None or now > self._open_until or not self.subscriptions:
                return None
            if len(self.subscriptions) >= self.settings.max_dialogs:
                return None
        if self._session_dialog is not None:
            dialog = self._session_dialog
        else:
            dialog = Dialog.from_request(request, self._tag)
            dialog.remote_seq = None
            dialog.local_seq = self._seq
            dialog.step(IN_SUCCESS)
        if waiting is None:
            waiting = Subscription(self, NOTIFY_WAIT if self._wanted else STOP_WAIT)
            self.subscriptions.append(waiting)
        waiting.dialog = dialog
        waiting.shared = self._session_dialog is not None
        return waiting

    # -- the table -----------------------------------------------------------------------------------------------------

    def _step(
        self,
        subscription: Subscription,
        input_: int,
        now: float,
        *,
        expires: int | None = None,
        reason: str | None = None,
        status: int | None = None,
        error: SipError | None = None,
        wait: int | None = None,
    ) -> None:
        subscription.state, do = TABLE[subscription.state, input_]
        if do & SEND:
            self._send_subscribe(subscription, self._asked(), now)
        elif do & LEAVE:
            self._send_subscribe(subscription, 0, now)
        elif do & WIND:
            subscription.timer_n_at = NEVER
            if expires is not None:
                self._wind(subscription, expires, now)
        elif do & END:
            self._end_of(subscription, reason, status, error, wait, now)

    def _wind(self, subscription: Subscription, expires: int, now: float) -> None:
        subscription.expires_at = now + expires
        subscription.due_at = now + refresh_delay(expires, self.settings.refresh_fraction)

    def _end_of(
        self,
        subscription: Subscription,
        reason: str | None,
        status: int | None,
        error: SipError | None,
        wait: int | None,
        now: float,
    ) -> None:
        subscription.stop_timers()
        subscription.sent = None
        self.subscriptions.remove(subscription)
        dialog = self._session_dialog or subscription.dialog
        if dialog is not None:
            dialog.leave()
        retry_at: float | None = None
        if not self.subscriptions and self._wanted and self.settings.resubscribe and self.settings.expires:
            delay = self._delay(reason, status, wait, now)
            if delay is not None:
                self._retry_at = retry_at = now + delay
        self._events.append(SubscriptionEnded(subscription, reason, status, error, retry_at))

    def _delay(self, reason: str | None, status: int | None, wait: int | None, now: float) -> float | None:
        """How long to wait before subscribing anew; None: do not (§4.1.3)."""
        if reason in _NEVER_AGAIN or (status is not None and not _may_try_again(status, wait)):
            return None
        # who ends subscriptions as soon as they are made is not asked again at once each time
        self._failures = self._failures + 1 if now - self._began < self.settings.base_time else 0
        settings = self.settings
        if wait is not None and reason not in _AT_ONCE:
            return min(wait, settings.longest_retry_after) * (1 + self._ids.random() / 10)
        failures = self._failures
        if reason in _AT_ONCE or status == 481:
            failures -= 1
        elif failures == 0:
            failures = 1
        return back_off_delay(failures, settings.base_time, settings.max_time, self._ids.random())


def _may_try_again(status: int, wait: int | None) -> bool:
    """Whether another SUBSCRIBE may fare better than one that got *status*."""
    return wait is not None or status in (408, 480, 481, 487, 491) or (500 <= status < 600 and status not in (501, 505))
