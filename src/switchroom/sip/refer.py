"""REFER: asking a user agent to send a request, and hearing what comes of it (RFC 3515, RFC 4488, RFC 3420)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from .dialog import id_of_request
from .errors import LocalProtocolError, ParseError, RemoteProtocolError
from .event import FAILURE, NORESOURCE, Subscriber, SubscriberSettings
from .grammar import Params
from .headers import EVENT, REFER_SUB, REFER_TO, REFERRED_BY, Address, Event
from .notifier import ACTIVE, PENDING, Notifier, PackageSettings, ServerSubscription, State
from .status import reason_phrase

if TYPE_CHECKING:
    from .client_request import Authenticator
    from .client_usage import UsageRequest
    from .dialog import Dialog
    from .errors import SipError
    from .event import Subscription
    from .identifiers import Identifiers
    from .message import Request, Response
    from .transaction import ServerTransaction

SIPFRAG_TYPE: Final = "message/sipfrag;version=2.0"
_REFER: Final = Event("refer")


class Fragment(NamedTuple):
    """The status line of a `message/sipfrag` body: how far the referred request has come (RFC 3515 §2.4.5)."""

    status: int
    reason: str


def sipfrag(status: int, reason: str | None = None) -> bytes:
    """A `message/sipfrag` body that is a status line only, as RFC 3515 §2.4.5 asks at least."""
    return f"SIP/2.0 {status} {reason_phrase(status) if reason is None else reason}\r\n".encode()


def parse_sipfrag(body: bytes) -> Fragment:
    """The status line at the head of a `message/sipfrag` body; ParseError when there is none."""
    line = body.partition(b"\r\n")[0].partition(b"\n")[0].decode("utf-8", "surrogateescape")
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0" or len(status) != 3 or not (status.isascii() and status.isdigit()):
        raise ParseError("a sipfrag of a REFER needs a status line (RFC 3515 §2.4.5)")
    return Fragment(int(status), reason)


class ReferAccepted(NamedTuple):
    """The referee took the REFER; with `subscribed` false it will not tell what comes of it (RFC 4488)."""

    referrer: Referrer
    response: Response
    subscribed: bool


class Referrer(Subscriber):
    """A REFER of ours, and the subscription that it makes: `start` it once, then read its events.

    `ReferAccepted`, then `Notified` for each NOTIFY (`parse_sipfrag` reads its body), and at last `SubscriptionEnded`,
    which carries the status when the REFER itself failed.  `stop` ends the subscription early.  `settings.target` is
    who shall act and `settings.headers` may hold Referred-By, Target-Dialog and so on; with `dialog` the REFER goes
    within that dialog.  `quiet` asks for no subscription at all.
    """

    def __init__(
        self,
        settings: SubscriberSettings,
        refer_to: Address,
        ids: Identifiers,
        *,
        authenticator: Authenticator | None = None,
        dialog: Dialog | None = None,
        quiet: bool = False,
    ) -> None:
        settings = replace(settings, event=_REFER, resubscribe=False, expires=settings.expires or 3600)
        super().__init__(settings, ids, authenticator=authenticator, dialog=dialog)
        self.refer_to = refer_to
        self.quiet = quiet
        self._referred = False
        self._refer: UsageRequest | None = None
        self._named = _REFER

    def start(self, now: float) -> None:
        """Send the REFER; LocalProtocolError the second time, since each REFER is a request of its own."""
        if self._referred:
            raise LocalProtocolError("a Referrer sends one REFER; make another one for the next")
        self._referred = True
        super().start(now)

    def _create_first(self, expires: int) -> Request:
        settings = self.settings
        lines = [("Refer-To", str(self.refer_to))]
        if self.quiet:
            lines += [("Refer-Sub", "false"), ("Supported", "norefersub")]
        if settings.accept:
            lines.append(("Accept", ", ".join(settings.accept)))
        lines.extend(settings.headers)
        if self._session_dialog is None:
            return self._create_outside("REFER", lines)
        return self._session_dialog.create_request("REFER", contact=settings.contact, headers=lines)

    def _is_our_event(self, event: Event | None) -> bool:
        """RFC 3515 §2.4.6: the id is the CSeq number of the REFER; of the first REFER in a dialog it may be missing."""
        if event is None or event.package != "refer":
            return False
        sent = self._refer
        return event.id is None or sent is None or event.id == str(sent.request.cseq.number)

    def _event(self) -> Event:
        return self._named

    def _send_subscribe(self, subscription: Subscription, expires: int, now: float) -> None:
        super()._send_subscribe(subscription, expires, now)
        if self._refer is None:
            self._refer = subscription.sent

    def _accepts_minimum(self, response: Response) -> bool:
        return False  # a REFER names no interval

    def _requested(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        try:
            self._named = request.headers.one(EVENT) or _REFER  # a SUBSCRIBE of ours has the id that the NOTIFYs have
        except RemoteProtocolError:
            self._respond(transaction, request, 400)
            return
        super()._requested(transaction, request, now)

    def _completed(self, sent: UsageRequest, response: Response | None, error: SipError | None, now: float) -> None:
        if sent is self._refer and response is not None and response.status < 300:
            answer = response.headers.one(REFER_SUB)
            subscribed = answer is None or answer.value
            self._events.append(ReferAccepted(self, response, subscribed))
            for subscription in list(self.subscriptions):
                if not subscribed and subscription.dialog is None:
                    self._step(subscription, FAILURE, now)
        super()._completed(sent, response, error, now)


class ReferRequested(NamedTuple):
    """Someone asks us to send a request to `refer_to`: call `Referee.accept_refer` or `reject` within half a minute.

    What method is meant, and header fields for it, are in the URI; `referred_by` is who asks, as far as that can be
    believed (RFC 3892).
    """

    subscription: ServerSubscription
    request: Request
    refer_to: Address
    referred_by: Address | None


class Referee(Notifier):
    """Takes REFER requests, and tells the referrers what comes of them.

    After `accept_refer` tell each response to the referred request by `progress`; the final one ends the subscription.
    """

    def owns(self, request: Request) -> bool:
        """A REFER outside any dialog or within a session's, and a SUBSCRIBE to one that was accepted."""
        if request.method == "REFER":
            return not request.to.tag or self._session_dialog(id_of_request(request)) is not None
        return request.method == "SUBSCRIBE" and bool(request.to.tag) and self._is_refer(request)

    def accept_refer(self, subscription: ServerSubscription, now: float) -> None:
        """202, and a NOTIFY that it is being tried; neither a NOTIFY nor a subscription if none was wanted."""
        request = subscription.request
        subscription.dialog.refresh_target(request)
        if _is_quiet(request):
            lines = [("Contact", str(self.settings.contact)), ("Refer-Sub", "false")]
            self.reject(subscription, now, 202, lines)  # as to the subscription, it is refused (RFC 4488 §4)
            return
        self.accept(subscription, now, sipfrag(100), SIPFRAG_TYPE)

    def progress(self, subscription: ServerSubscription, now: float, status: int, reason: str | None = None) -> None:
        """Tell a response to the referred request; a final one, or 503 or 408 for none, ends the subscription."""
        if subscription.state not in (PENDING, ACTIVE):
            return  # nobody listens (any more)
        if status >= 200:
            subscription.value = State(sipfrag(status, reason), SIPFRAG_TYPE)
            self.end(subscription, now, NORESOURCE)
        else:
            self.notify(subscription, now, sipfrag(status, reason), SIPFRAG_TYPE)

    def _is_refer(self, request: Request) -> bool:
        try:
            event = request.headers.one(EVENT)
        except RemoteProtocolError:
            return False
        return event is not None and (id_of_request(request), event.package, event.id) in self.subscriptions

    def _subscribed(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        if request.method != "REFER":
            super()._subscribed(transaction, request, now)
            return
        if request.headers.one(REFER_TO) is None:
            raise RemoteProtocolError("a REFER needs one Refer-To (RFC 3515 §2.4.2)", 400)
        request.headers.one(REFERRED_BY)
        request.headers.one(REFER_SUB)
        shared = self._session_dialog(id_of_request(request)) if request.to.tag else None
        # §2.4.6: the id tells apart the REFERs of one dialog
        event = Event("refer", Params((("id", str(request.cseq.number)),))) if shared is not None else _REFER
        package = self.settings.packages.get("refer") or PackageSettings()
        self._open(event, transaction, request, package.default_expires, shared, now)

    def _asked_event(self, subscription: ServerSubscription, request: Request) -> object:
        refer_to = request.headers.one(REFER_TO)
        assert refer_to is not None  # _subscribed has seen it
        return ReferRequested(subscription, request, refer_to, request.headers.one(REFERRED_BY))

    def _grant_lines(self, subscription: ServerSubscription) -> tuple[int, tuple[tuple[str, str], ...]]:
        return 202, (("Contact", str(self.settings.contact)),)


def _is_quiet(request: Request) -> bool:
    wanted = request.headers.one(REFER_SUB)
    return wanted is not None and not wanted.value
