"""Events: the notifier's side (RFC 6665 §4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from .client_usage import ClientUsage, UsageRequest
from .dialog import IN_SUCCESS, Dialog, DialogId, id_of_request
from .dialog import TERMINATED as DIALOG_TERMINATED
from .errors import LocalProtocolError, RemoteProtocolError
from .event import GONE_STATUSES, TIMEOUT
from .headers import EVENT, Address, Event
from .timers import NEVER, Timed, TimerQueue

if TYPE_CHECKING:
    from .client_request import Authenticator
    from .errors import SipError
    from .identifiers import Identifiers
    from .message import Request, Response
    from .transaction import ServerTransaction

ASKED: Final = 0
"""The application has not decided yet."""
PENDING: Final = 1
ACTIVE: Final = 2
TERMINATED: Final = 3
STATE_NAMES: Final = ("asked", "pending", "active", "terminated")

ACCEPT: Final = 0
"""The application grants the subscription."""
DEFER: Final = 1
"""The application takes it, but will decide later whether to show the state."""
REJECT: Final = 2
"""The application refuses, by a response."""
REFRESH: Final = 3
"""SUBSCRIBE of the peer within the dialog."""
LEAVE: Final = 4
"""SUBSCRIBE of the peer with Expires 0."""
EXPIRE: Final = 5
END: Final = 6
"""The application ends it."""
UNREACHABLE: Final = 7
"""A NOTIFY failed in a way that ends the subscription (§4.2.2)."""
INPUT_NAMES: Final = ("accept", "defer", "reject", "refresh", "leave", "expire", "end", "unreachable")

NOTHING: Final = 0
NOTIFY: Final = 1
"""Send the state."""
LAST: Final = 2
"""Send the last NOTIFY: terminated, with the reason."""
CLOSE: Final = 4
"""Tell the application that it is over."""
FORBIDDEN: Final = 8
"""A mistake of the application."""
ACTION_NAMES: Final = ("send NOTIFY", "send the last NOTIFY", "tell the end", "refuse")

# RFC 6665 §4.2: its figure 2, with the decision of the application as inputs.
TABLE: Final[dict[tuple[int, int], tuple[int, int]]] = {
    (ASKED, ACCEPT): (ACTIVE, NOTIFY),
    (ASKED, DEFER): (PENDING, NOTIFY),
    (ASKED, REJECT): (TERMINATED, NOTHING),
    (ASKED, REFRESH): (ASKED, NOTHING),
    (ASKED, LEAVE): (ASKED, NOTHING),
    (ASKED, EXPIRE): (TERMINATED, CLOSE),  # the SUBSCRIBE can be answered no more
    (ASKED, END): (ASKED, FORBIDDEN),
    (ASKED, UNREACHABLE): (ASKED, NOTHING),
    (PENDING, ACCEPT): (ACTIVE, NOTIFY),
    (PENDING, DEFER): (PENDING, NOTHING),
    (PENDING, REJECT): (PENDING, FORBIDDEN),
    (PENDING, REFRESH): (PENDING, NOTIFY),  # §4.2.1.2
    (PENDING, LEAVE): (TERMINATED, LAST | CLOSE),
    (PENDING, EXPIRE): (TERMINATED, LAST | CLOSE),
    (PENDING, END): (TERMINATED, LAST | CLOSE),
    (PENDING, UNREACHABLE): (TERMINATED, CLOSE),
    (ACTIVE, ACCEPT): (ACTIVE, NOTHING),
    (ACTIVE, DEFER): (ACTIVE, FORBIDDEN),
    (ACTIVE, REJECT): (ACTIVE, FORBIDDEN),
    (ACTIVE, REFRESH): (ACTIVE, NOTIFY),  # §4.2.1.2
    (ACTIVE, LEAVE): (TERMINATED, LAST | CLOSE),  # §4.2.1.4
    (ACTIVE, EXPIRE): (TERMINATED, LAST | CLOSE),  # §4.2.2
    (ACTIVE, END): (TERMINATED, LAST | CLOSE),
    (ACTIVE, UNREACHABLE): (TERMINATED, CLOSE),  # §4.2.2
    (TERMINATED, ACCEPT): (TERMINATED, FORBIDDEN),
    (TERMINATED, DEFER): (TERMINATED, FORBIDDEN),
    (TERMINATED, REJECT): (TERMINATED, FORBIDDEN),
    (TERMINATED, REFRESH): (TERMINATED, NOTHING),
    (TERMINATED, LEAVE): (TERMINATED, NOTHING),
    (TERMINATED, EXPIRE): (TERMINATED, NOTHING),
    (TERMINATED, END): (TERMINATED, NOTHING),
    (TERMINATED, UNREACHABLE): (TERMINATED, NOTHING),
}

_DECISION_WAIT: Final = 30.0
"""Seconds that the application has for its decision: less than the 64*T1 that the transaction lives."""


@dataclass(frozen=True, slots=True)
class PackageSettings:
    """One event package: how long subscriptions to it may last, in seconds."""

    default_expires: int = 3600
    min_expires: int = 60
    """Less is refused with 423 (§4.2.1.1)."""
    max_expires: int = 3600
    """More is cut to this."""


@dataclass(frozen=True, slots=True)
class NotifierSettings:
    """What a notifier offers, and its bounds."""

    contact: Address
    packages: Mapping[str, PackageSettings] = field(default_factory=dict)
    min_interval: float = 0.0
    """Seconds between two NOTIFYs of one subscription, at least; changes in between are merged (§4.2.2)."""
    max_subscriptions: int = 10_000
    """More get 503."""
    retry_after: int = 60
    """The Retry-After of that 503."""


class State(NamedTuple):
    """What a NOTIFY carries."""

    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class SubscriptionRequested(NamedTuple):
    """Someone wants to know: call `Notifier.accept`, `defer` or `reject` within half a minute."""

    subscription: ServerSubscription
    request: Request


class SubscriptionClosed(NamedTuple):
    """A subscription to our state is over; `reason` is the one told to the subscriber, None when it is unreachable."""

    subscription: ServerSubscription
    reason: str | None


class ServerSubscription(Timed):
    """A subscription to our state: `retry_at` is when to send a NOTIFY that was held back, `expire_at` its end."""

    __slots__ = (
        "changed", "dialog", "event", "expires", "fetch", "notified_at", "request", "sent", "shared", "state",
        "transaction", "value",
    )  # fmt: skip

    def __init__(
        self, dialog: Dialog, event: Event, request: Request, transaction: ServerTransaction, expires: int, shared: bool
    ) -> None:
        super().__init__()
        self.dialog = dialog
        self.event = event
        self.request = request
        """The SUBSCRIBE (or REFER) that made it."""
        self.transaction: ServerTransaction | None = transaction
        self.expires = expires
        self.fetch = expires == 0
        self.shared = shared
        self.state = ASKED
        self.value = State()
        self.notified_at = -NEVER
        self.sent: UsageRequest | None = None
        self.changed = False
        """Whether there is something to tell once the NOTIFY under way is answered."""

    @property
    def key(self) -> tuple[DialogId, str, str | None]:
        """What identifies it: the dialog, the package, and the id (§4.4.1, §4.5.2)."""
        return self.dialog.id, self.event.package, self.event.id


class Notifier(ClientUsage):
    """All subscriptions to one user agent: it answers SUBSCRIBE, keeps time, and sends NOTIFY.

    `find_dialog` gives the dialog of a session, when a SUBSCRIBE comes within one: `UserAgent.dialog_of`.
    """

    def __init__(
        self,
        settings: NotifierSettings,
        ids: Identifiers,
        *,
        authenticator: Authenticator | None = None,
        find_dialog: Callable[[DialogId], Dialog | None] | None = None,
    ) -> None:
        super().__init__(authenticator)
        self.settings = settings
        self.subscriptions: dict[tuple[DialogId, str, str | None], ServerSubscription] = {}
        self._ids = ids
        self._find_dialog = find_dialog
        self._under_way: dict[UsageRequest, ServerSubscription] = {}
        self._clocks = TimerQueue()

    # -- the application's side ----------------------------------------------------------------------------------------

    def accept(
        self, subscription: ServerSubscription, now: float, body: bytes = b"", content_type: str | None = None
    ) -> None:
        """Grant it (after `defer`: at last): 200, and a NOTIFY with the state."""
        subscription.value = State(body, content_type)
        self._step(subscription, ACCEPT, now)

    def defer(
        self, subscription: ServerSubscription, now: float, body: bytes = b"", content_type: str | None = None
    ) -> None:
        """Take it as pending: 200, and a NOTIFY with a neutral state."""
        subscription.value = State(body, content_type)
        self._step(subscription, DEFER, now)

    def reject(
        self,
        subscription: ServerSubscription,
        now: float,
        status: int = 403,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Refuse it by a response."""
        self._step(subscription, REJECT, now)
        self.subscriptions.pop(subscription.key, None)
        self._clocks.discard(subscription)
        subscription.dialog.leave()
        self._answer(subscription, status, tuple(headers))

    def notify(
        self,
        subscription: ServerSubscription,
        now: float,
        body: bytes = b"",
        content_type: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """The state is another one now: tell it, unless one NOTIFY is under way or the last one was just now.

        LocalProtocolError for a subscription that was not accepted, or is over.
        """
        if subscription.state not in (PENDING, ACTIVE):
            raise LocalProtocolError(f"no state can be told while a subscription is {STATE_NAMES[subscription.state]}")
        subscription.value = State(body, content_type, headers)
        self._tell(subscription, now)

    def end(
        self, subscription: ServerSubscription, now: float, reason: str = "noresource", wait: int | None = None
    ) -> None:
        """End it: the last NOTIFY says why, and after how many seconds another subscription is welcome (§4.1.3)."""
        self._step(subscription, END, now, reason=reason, wait=wait)

    # -- TransactionUser -----------------------------------------------------------------------------------------------

    def owns(self, request: Request) -> bool:
        """A SUBSCRIBE that wants to make a dialog, is in one of ours, or in one of a session."""
        return request.method == "SUBSCRIBE" and (not request.to.tag or self._is_known(request))

    def _is_known(self, request: Request) -> bool:
        wanted = id_of_request(request)
        try:
            event = request.headers.one(EVENT)
        except RemoteProtocolError:
            return True  # to be told so
        if event is not None and (wanted, event.package, event.id) in self.subscriptions:
            return True
        return self._session_dialog(wanted) is not None

    def handle_timers(self, now: float) -> None:
        """Feed time."""
        while (item := self._clocks.pop_due(now)) is not None:
            assert isinstance(item, ServerSubscription)
            if item.expire_at <= now:
                self._step(item, EXPIRE, now, reason=TIMEOUT)
            else:
                item.retry_at = NEVER
                self._tell(item, now)
            self._clocks.touch(item)

    def next_timer(self) -> float:
        """The earliest deadline."""
        return self._clocks.next_at()

    # -- SUBSCRIBE -----------------------------------------------------------------------------------------------------

    def _session_dialog(self, wanted: DialogId) -> Dialog | None:
        dialog = None if self._find_dialog is None else self._find_dialog(wanted)
        return dialog if dialog is not None and dialog.state != DIALOG_TERMINATED else None

    def _requested(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        try:
            self._subscribed(transaction, request, now)
        except RemoteProtocolError as error:
            self._respond(transaction, request, error.status_hint or 400, to_tag=self._ids.token())

    def _subscribed(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        event = request.headers.one(EVENT)
        package = self.settings.packages.get(event.package) if event is not None else None
        wanted = id_of_request(request)
        known = None
        if request.to.tag and event is not None:
            known = self.subscriptions.get((wanted, event.package, event.id))
        if event is None or (package is None and known is None):
            allowed = ", ".join(self.settings.packages)
            headers = [("Allow-Events", allowed)] if allowed else []
            self._respond(transaction, request, 489, to_tag=self._ids.token(), headers=headers)  # §4.2.1.1
            return
        package = package or PackageSettings()
        expires = request.expires
        expires = package.default_expires if expires is None else min(expires, package.max_expires)
        if 0 < expires < package.min_expires:
            minimum = [("Min-Expires", str(package.min_expires))]
            self._respond(transaction, request, 423, to_tag=self._ids.token(), headers=minimum)
            return
        if known is not None:
            self._refreshed(known, transaction, request, expires, now)
            return
        shared = self._session_dialog(wanted) if request.to.tag else None
        if request.to.tag and shared is None:
            self._respond(transaction, request, 481)  # §4.2.1.2: a refresh of what is over
            return
        self._open(event, transaction, request, expires, shared, now)

    def _open(
        self,
        event: Event,
        transaction: ServerTransaction,
        request: Request,
        expires: int,
        shared: Dialog | None,
        now: float,
    ) -> None:
        if len(self.subscriptions) >= self.settings.max_subscriptions:
            later = [("Retry-After", str(self.settings.retry_after))]
            self._respond(transaction, request, 503, to_tag=self._ids.token(), headers=later)
            return
        if shared is not None:
            shared.share()
        dialog = shared or Dialog.from_request(request, self._ids.token())
        subscription = ServerSubscription(dialog, event, request, transaction, expires, shared is not None)
        subscription.expire_at = now + _DECISION_WAIT
        self._clocks.touch(subscription)
        self.subscriptions[subscription.key] = subscription
        self._events.append(self._asked_event(subscription, request))

    def _asked_event(self, subscription: ServerSubscription, request: Request) -> object:
        return SubscriptionRequested(subscription, request)

    def _refreshed(
        self,
        subscription: ServerSubscription,
        transaction: ServerTransaction,
        request: Request,
        expires: int,
        now: float,
    ) -> None:
        dialog = subscription.dialog
        if not subscription.shared and not dialog.in_order(request):
            self._respond(transaction, request, 500)
            return
        dialog.refresh_target(request)
        lines = [("Expires", str(expires)), ("Contact", str(self.settings.contact))]
        self._respond(transaction, request, 200, headers=lines)
        if expires == 0:
            self._step(subscription, LEAVE, now, reason=TIMEOUT)
        else:
            if subscription.state != ASKED:
                subscription.expire_at = now + expires
                self._clocks.touch(subscription)
            self._step(subscription, REFRESH, now)

    def _answer(self, subscription: ServerSubscription, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        transaction = subscription.transaction
        assert transaction is not None  # all rows that answer leave ASKED, which nothing enters again
        subscription.transaction = None
        tag = subscription.dialog.local_tag or None
        self._respond(transaction, subscription.request, status, to_tag=tag, headers=headers)

    def _grant_lines(self, subscription: ServerSubscription) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Status and header fields of the response that grants: §4.2.1.1."""
        return 200, (("Expires", str(subscription.expires)), ("Contact", str(self.settings.contact)))

    # -- the table -----------------------------------------------------------------------------------------------------

    def _step(
        self,
        subscription: ServerSubscription,
        input_: int,
        now: float,
        *,
        reason: str | None = None,
        wait: int | None = None,
    ) -> None:
        before = subscription.state
        state, do = TABLE[before, input_]
        if do & FORBIDDEN:
            raise LocalProtocolError(f"{INPUT_NAMES[input_]}: the subscription is {STATE_NAMES[before]}")
        subscription.state = state
        if before == ASKED and state in (PENDING, ACTIVE):
            self._granted(subscription, now)
            if subscription.fetch:
                self._step(subscription, EXPIRE, now, reason=TIMEOUT)  # §4.4.3: the one NOTIFY is the last one
                return
        if do & NOTIFY:
            self._tell(subscription, now)
        if do & LAST:
            self._last(subscription, reason, wait, now)
        if do & CLOSE:
            if before == ASKED:
                self._answer(subscription, 480)
            self._close(subscription, reason if do & LAST else None)

    def _granted(self, subscription: ServerSubscription, now: float) -> None:
        if not subscription.shared:
            subscription.dialog.step(IN_SUCCESS)
        status, lines = self._grant_lines(subscription)
        subscription.expire_at = now + subscription.expires
        self._clocks.touch(subscription)
        self._answer(subscription, status, lines)

    def _close(self, subscription: ServerSubscription, reason: str | None) -> None:
        self.subscriptions.pop(subscription.key, None)
        self._clocks.discard(subscription)
        subscription.dialog.leave()
        self._events.append(SubscriptionClosed(subscription, reason))

    # -- NOTIFY --------------------------------------------------------------------------------------------------------

    def _tell(self, subscription: ServerSubscription, now: float) -> None:
        if subscription.sent is not None:
            subscription.changed = True
            return
        at = subscription.notified_at + self.settings.min_interval
        if now < at:
            subscription.retry_at = at
            self._clocks.touch(subscription)
            return
        left = max(0, round(subscription.expire_at - now))
        state = "active" if subscription.state == ACTIVE else "pending"
        self._send_notify(subscription, f"{state};expires={left}", now)

    def _last(self, subscription: ServerSubscription, reason: str | None, wait: int | None, now: float) -> None:
        text = "terminated"
        if reason:
            text += f";reason={reason}"
        if wait is not None:
            text += f";retry-after={wait}"
        self._send_notify(subscription, text, now)

    def _send_notify(self, subscription: ServerSubscription, state: str, now: float) -> None:
        value = subscription.value
        lines = [("Event", str(subscription.event)), ("Subscription-State", state), *value.headers]
        request = subscription.dialog.create_request(
            "NOTIFY",
            contact=self.settings.contact,
            headers=lines,
            body=value.body,
            content_type=value.content_type if value.body else None,
        )
        subscription.changed = False
        subscription.retry_at = NEVER
        subscription.notified_at = now
        subscription.sent = self._send(request, subscription.dialog)
        self._under_way[subscription.sent] = subscription

    def _completed(self, sent: UsageRequest, response: Response | None, error: SipError | None, now: float) -> None:
        subscription = self._under_way.pop(sent, None)
        if subscription is None or subscription.sent is not sent or subscription.state == TERMINATED:
            return
        subscription.sent = None
        if response is not None and response.status < 300:
            subscription.dialog.refresh_target(response)
        elif response is None or response.status in GONE_STATUSES:
            # §4.2.2: 481 and the like, and a timeout; a peer that cannot be reached is not told for ever either
            self._step(subscription, UNREACHABLE, now)
            return
        if subscription.changed:
            self._tell(subscription, now)
