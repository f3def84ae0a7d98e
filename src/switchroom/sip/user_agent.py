"""The user agent core: everything between the transaction layer and the application (RFC 3261 §8)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from .client_request import Authenticator, ClientRequest, with_credentials
from .clock import Clock
from .dialog import TARGET_REFRESH, Dialog, DialogId, id_of_request, secure_contact
from .errors import LocalProtocolError, RemoteProtocolError, SipError
from .headers import ACCEPT, JOIN, REPLACES, SESSION_EXPIRES, Address, Join, MediaType, Replaces
from .invite_dialog import InviteDialog
from .layer import (
    AckReceived,
    CancelReceived,
    Event,
    RequestFailed,
    RequestReceived,
    RequestTimedOut,
    ResponseFailed,
    ResponseReceived,
)
from .merged_requests import MergedRequests
from .message import Request, Response
from .orders import CancelRequest, Order, SendRequest, SendResponse, TransactionUser
from .session import Session
from .session_client import ClientSession
from .session_events import IncomingRequest, IncomingSession, RequestCompleted, RequestProgress
from .session_server import ServerSession
from .session_table import CONFIRMED
from .session_timer import SessionTimerSettings, TooSmall, grant, refused_min_se, request_headers
from .timers import NEVER, TimerQueue, TimerValues
from .uri import OpaqueUri, SipUri, Uri, parse_uri
from .user_agent_settings import KNOWN_METHODS, UserAgentSettings

if TYPE_CHECKING:
    from .flow import Flow
    from .identifiers import Identifiers
    from .transaction import ServerTransaction

_NEED_DIALOG: Final = frozenset(("BYE", "UPDATE", "PRACK"))
"""Methods that mean nothing outside a dialog: 481."""
_DESCRIBED: Final = frozenset(("INVITE", "UPDATE", "PRACK"))
"""Methods whose body the sessions deal with."""
_CHALLENGES: Final = 4
"""How many challenges one request may meet: some proxies on the way, and a stale nonce (§22.3)."""
_RAISES: Final = 3
"""How many 422 one request may meet, one for each element that has a Min-SE of its own (RFC 4028 §7.4)."""


class Usage(TransactionUser, Protocol):
    """A machine that lives within a user agent core: a registration, a subscription, a publication.

    It is fed the events of its own requests and of those that it owns; its orders and events go out by the core's.
    """

    def owns(self, request: Request) -> bool:
        """Whether a request belongs to it: by its dialog, or because this is what it serves."""
        ...


class UsageSender(NamedTuple):
    """The sender of a usage's request, as the driver sees it."""

    usage: Usage
    sender: Hashable


class ForkPolicy(Protocol):
    """Chooses among the branches of a forked INVITE that were answered."""

    def __call__(self, session: ClientSession, response: Response, /) -> bool:
        """Whether to take this 2xx while none was taken yet; one that is not gets ACK and BYE."""
        ...


class UserAgent:
    """One user agent: its sessions, its requests, and the usages that it hosts.

    Feed it the events of the transaction layer (`receive`) and time (`handle_timers`), carry out its orders
    (`take_orders`), and read its events (`take_events`): see `session_events`.
    """

    def __init__(
        self,
        settings: UserAgentSettings,
        identifiers: Identifiers,
        *,
        authenticator: Authenticator | None = None,
        fork_policy: ForkPolicy | None = None,
    ) -> None:
        self.settings = settings
        self.identifiers = identifiers
        self.authenticator = authenticator
        self.clocks = TimerQueue()
        self.sessions: set[Session] = set()
        """All sessions that were not told as ended yet."""
        self._fork_policy = fork_policy
        self._legs: dict[DialogId, tuple[Session, InviteDialog]] = {}
        self._watched: dict[ServerTransaction, Session] = {}
        self._ringing: set[ServerTransaction] = set()
        self._merged = MergedRequests(64 * settings.timers.t1)
        self._usages: list[Usage] = []
        self._orders: list[Order] = []
        self._events: list[object] = []
        self._capabilities = self._list_capabilities()
        self._accept = tuple(_media_type(text) for text in settings.accept)

    # -- the application's side ----------------------------------------------------------------------------------

    def invite(
        self,
        now: float,
        target: Uri | str,
        *,
        from_: Address,
        to: Address | None = None,
        body: bytes = b"",
        content_type: str | None = "application/sdp",
        headers: Iterable[tuple[str, str]] = (),
        expires: int | None = None,
        call_id: str | None = None,
        destination: Flow | Uri | None = None,
    ) -> ClientSession:
        """Start a session: sends an INVITE, with an offer in *body* or without one (§13.2.1).

        `expires` seconds without a final response, or `settings.invite_wait`, make it give up by itself.
        """
        lines = self.capabilities()
        lines += request_headers(self.session_timer)
        if expires is not None:
            lines.append(("Expires", str(expires)))
        lines.extend(headers)
        request = self.create_request(
            "INVITE", target, from_=from_, to=to, body=body, content_type=content_type, headers=lines, call_id=call_id
        )
        wait = self.settings.invite_wait if expires is None else float(expires)
        session = ClientSession(self, request, destination, wait, now)
        self.sessions.add(session)
        self.start(session.handle, now)
        return session

    def create_request(
        self,
        method: str,
        target: Uri | str,
        *,
        from_: Address,
        to: Address | None = None,
        body: bytes = b"",
        content_type: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        call_id: str | None = None,
    ) -> Request:
        """A request outside any dialog (§8.1.1), with a new From tag, our Contact, and the pre-loaded Route."""
        uri = parse_uri(target) if isinstance(target, str) else target
        lines = [("Route", str(route)) for route in self.settings.routes]
        if method != "MESSAGE":  # RFC 3428 §4: a MESSAGE has no Contact
            routes = self.settings.routes
            first = routes[0].uri if routes else uri
            secure = any(isinstance(each, SipUri) and each.secure for each in (uri, first))  # §8.1.1.8
            lines.append(("Contact", str(secure_contact(self.contact) if secure else self.contact)))
        if self.settings.name:
            lines.append(("User-Agent", self.settings.name))
        lines.extend(headers)
        return Request.build(
            method,
            uri,
            from_=from_.with_param("tag", self.identifiers.token()),
            to=to if to is not None else Address("", uri),
            call_id=call_id or self.identifiers.token(128),
            cseq=1,
            headers=lines,
            body=body,
            content_type=content_type if body else None,
        )

    def send(self, request: Request, now: float, destination: Flow | Uri | None = None) -> ClientRequest:
        """Send a request outside any dialog (OPTIONS, MESSAGE...); its outcome is told as `RequestCompleted`.

        Raises LocalProtocolError for INVITE, which starts a session: `invite`.
        """
        if request.method in ("INVITE", "ACK", "CANCEL"):
            raise LocalProtocolError(f"{request.method} is not sent by itself: see invite() and the session's verbs")
        handle = ClientRequest(request, self, None, destination)
        self.start(handle, now)
        return handle

    def cancel(self, handle: ClientRequest, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Make no further attempts at a request; the outcome is that of the attempt under way.

        An INVITE under way is cancelled; any other request is not (RFC 3261 §9.1).
        """
        handle.cancelled = True
        if handle.method == "INVITE":
            self._orders.append(CancelRequest(handle, tuple(headers)))

    def respond(
        self,
        incoming: IncomingRequest,
        status: int,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        """Answer an `IncomingRequest`; LocalProtocolError for a 101-199, which RFC 4320 §4.1 forbids."""
        if 100 < status < 200:
            raise LocalProtocolError("no request but INVITE gets provisional responses (RFC 4320 §4.1)")
        request, session = incoming.request, incoming.session
        response = request.create_response(
            status,
            reason,
            to_tag=self.identifiers.token() if status > 100 else None,
            headers=tuple(headers),
            body=body,
            content_type=content_type if body else None,
        )
        if session is not None and 200 <= status < 300:
            found = self._legs.get(id_of_request(request))
            if found is not None:
                found[1].dialog.refresh_target(request)  # §12.2.2: once it is accepted
        self._orders.append(SendResponse(incoming.transaction, response))
        return response

    def attach(self, usage: Usage) -> None:
        """Host a machine: from now on it is driven along with this user agent."""
        self._usages.append(usage)

    def detach(self, usage: Usage) -> None:
        """Let go of a machine that has ended."""
        self._usages.remove(usage)

    def owns(self, request: Request) -> bool:
        """Whether a request with a To tag belongs to a dialog of this user agent."""
        return id_of_request(request) in self._legs or any(usage.owns(request) for usage in self._usages)

    def session_of(self, dialog_id: DialogId) -> Session | None:
        """The session of a dialog, as this end names it."""
        found = self._legs.get(dialog_id)
        return found[0] if found is not None else None

    def dialog_of(self, dialog_id: DialogId) -> Dialog | None:
        """The dialog of a session by its own name: of a forked INVITE there are more than that of the session."""
        found = self._legs.get(dialog_id)
        return found[1].dialog if found is not None else None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no session, dialog, unanswered INVITE, or clock."""
        return not (self.sessions or self._legs or self._watched) and self.clocks.next_at() == NEVER

    # -- TransactionUser -----------------------------------------------------------------------------------------

    def receive(self, event: Event, now: float) -> None:
        """Feed one event of the transaction layer."""
        if isinstance(event, ResponseReceived):
            sender = event.sender
            if isinstance(sender, ClientRequest):
                self._answered(sender, event.response, now)
            elif isinstance(sender, UsageSender):
                sender.usage.receive(event._replace(sender=sender.sender), now)
        elif isinstance(event, RequestReceived):
            self._requested(event, now)
        elif isinstance(event, AckReceived):
            self._acknowledged(event.request, now)
        elif isinstance(event, RequestTimedOut | RequestFailed):
            sender = event.sender
            if isinstance(sender, ClientRequest):
                self._unanswered(sender, event.error if isinstance(event, RequestFailed) else None, now)
            elif isinstance(sender, UsageSender):
                sender.usage.receive(event._replace(sender=sender.sender), now)
        elif isinstance(event, CancelReceived):
            session = self._watched.get(event.transaction)
            if session is not None:
                session.transaction_cancelled(event.transaction, event.request, now)
        elif isinstance(event, ResponseFailed):
            session = self._watched.get(event.transaction)
            if session is not None:
                session.response_failed(event.transaction, event.error, now)
            else:
                for usage in self._usages:
                    usage.receive(event, now)

    def handle_timers(self, now: float) -> None:
        """Feed time."""
        clocks = self.clocks
        while (item := clocks.pop_due(now)) is not None:
            assert isinstance(item, Clock)
            item.fire(now)
            clocks.touch(item)
        for usage in self._usages:
            if usage.next_timer() <= now:
                usage.handle_timers(now)

    def next_timer(self) -> float:
        """When to call `handle_timers` at the latest; infinity if there is nothing to wait for."""
        at = self.clocks.next_at()
        for usage in self._usages:
            at = min(at, usage.next_timer())
        return at

    def take_orders(self) -> list[Order]:
        """What to do now, in this order."""
        orders, self._orders = self._orders, []
        for usage in self._usages:
            orders.extend(_by_usage(usage, order) for order in usage.take_orders())
        return orders

    def take_events(self) -> list[object]:
        """What happened, for the application."""
        events, self._events = self._events, []
        for usage in self._usages:
            events.extend(usage.take_events())
        return events

    # -- SessionHost ---------------------------------------------------------------------------------------------

    @property
    def timer_values(self) -> TimerValues:
        """T1, T2, T4."""
        return self.settings.timers

    @property
    def session_timer(self) -> SessionTimerSettings | None:
        """What to ask for and grant of session timers; None when `timer` is not among the supported extensions."""
        return self.settings.session_timer if "timer" in self.settings.supported else None

    @property
    def modification_wait(self) -> float:
        """How long the application may think about a change that the peer asks for."""
        return self.settings.modification_wait

    @property
    def max_early_dialogs(self) -> int:
        """How many branches of one INVITE are kept track of."""
        return self.settings.max_early_dialogs

    @property
    def contact(self) -> Address:
        """The Contact of this user agent; a driver that learns its address sets it."""
        return self.settings.contact

    @contact.setter
    def contact(self, contact: Address) -> None:
        self.settings = replace(self.settings, contact=contact)

    def capabilities(self) -> list[tuple[str, str]]:
        """Allow and Supported."""
        return list(self._capabilities)

    def emit(self, event: object) -> None:
        """Tell the application."""
        self._events.append(event)

    def order(self, order: Order) -> None:
        """Tell the driver."""
        self._orders.append(order)

    def start(self, handle: ClientRequest, now: float) -> None:
        """Send a request and see it through challenges and redirections."""
        authenticator = self.authenticator
        if authenticator is not None:
            for name, value in authenticator.credentials(handle.request):
                handle.request.headers.add(name, value)
        self._orders.append(SendRequest(handle.request, handle, handle.destination))

    def respond_to(
        self,
        transaction: ServerTransaction,
        request: Request,
        status: int,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Answer a request without asking the application."""
        response = request.create_response(status, reason, to_tag=self.identifiers.token(), headers=tuple(headers))
        if self.settings.name:
            response.headers.add("Server", self.settings.name)
        self._orders.append(SendResponse(transaction, response))

    def remember(self, session: Session, leg: InviteDialog) -> None:
        """Requests within the dialog of *leg* belong to *session* from now on."""
        self._legs[leg.dialog.id] = session, leg

    def forget(self, leg: InviteDialog) -> None:
        """The dialog of *leg* is over."""
        self._legs.pop(leg.dialog.id, None)

    def watch(self, transaction: ServerTransaction, session: Session) -> None:
        """Tell *session* when the transaction is cancelled or fails."""
        self._watched[transaction] = session

    def unwatch(self, transaction: ServerTransaction) -> None:
        """The transaction has its final response."""
        self._watched.pop(transaction, None)
        self._ringing.discard(transaction)

    def accepts_branch(self, session: ClientSession, response: Response) -> bool:
        """Whether the caller takes this 2xx: the first one, if no policy says otherwise."""
        return self._fork_policy is None or self._fork_policy(session, response)

    def session_ended(self, session: Session) -> None:
        """The session was told as ended."""
        self.sessions.discard(session)

    # -- RequestOwner of the application's own requests ----------------------------------------------------------

    def response_received(self, handle: ClientRequest, response: Response, now: float) -> None:
        """A response to a request of `send`."""
        if response.status >= 200:
            self._events.append(RequestCompleted(handle, response))
        elif response.status > 100:
            self._events.append(RequestProgress(handle, response))

    def request_failed(self, handle: ClientRequest, error: SipError | None, now: float) -> None:
        """A request of `send` found no answer."""
        self._events.append(RequestCompleted(handle, None, error))

    # -- responses (§8.1.3) --------------------------------------------------------------------------------------

    def _answered(self, handle: ClientRequest, response: Response, now: float) -> None:
        status = response.status
        if response.cseq.number != handle.request.cseq.number:
            return  # of an attempt that was given up
        owner = handle.owner
        if owner is None or (handle.done and not (status < 300 and handle.method == "INVITE")):
            return
        try:
            if status < 200:
                if not handle.done:
                    owner.response_received(handle, response, now)
                return
            if status >= 300 and self._try_again(handle, response):
                return
            if self.authenticator is not None:
                self.authenticator.learn(handle.request, response)
            handle.done = True
            owner.response_received(handle, response, now)
        except RemoteProtocolError as error:
            # what cannot be understood is no provisional response, and as a final one it ends the request
            if status >= 200:
                handle.done = True
                owner.request_failed(handle, error, now)

    def _unanswered(self, handle: ClientRequest, error: SipError | None, now: float) -> None:
        owner = handle.owner
        if owner is None or handle.done or self._next_target(handle):
            return
        handle.done = True
        owner.request_failed(handle, error, now)

    def _try_again(self, handle: ClientRequest, response: Response) -> bool:
        """Whether a final response leads to another attempt: credentials, a longer interval, another target."""
        status = response.status
        if handle.cancelled:
            return False
        if status in (401, 407):
            return self._authorize(handle, response)
        if status == 422:
            return self._raise_interval(handle, response)
        if self.settings.follow_redirects and handle.dialog is None:
            if status < 400:
                self._redirect(handle, response)
            if status < 600:  # §21.6: nobody else will answer otherwise
                return self._next_target(handle)
        return False

    def _authorize(self, handle: ClientRequest, response: Response) -> bool:
        """§22.2, §22.3: the same request with credentials and the next CSeq."""
        if self.authenticator is None or handle.challenges >= _CHALLENGES:
            return False
        request = with_credentials(self.authenticator, handle.request, response)
        if request is None:
            return False
        handle.challenges += 1
        self._resend(handle, request)
        return True

    def _raise_interval(self, handle: ClientRequest, response: Response) -> bool:
        """RFC 4028 §7.4: the same request with the Min-SE of the 422 and an interval not below it."""
        least = refused_min_se(response)
        wanted = handle.request.headers.one(SESSION_EXPIRES)
        if least is None or wanted is None or handle.intervals_raised >= _RAISES:
            return False
        handle.intervals_raised += 1
        request = handle.request.copy()
        refresher = f";refresher={wanted.refresher}" if wanted.refresher else ""
        request.headers.set("Session-Expires", f"{max(wanted.seconds, least)}{refresher}")
        request.headers.set("Min-SE", str(least))
        owner = handle.owner
        if isinstance(owner, Session):
            owner.min_se = max(owner.min_se, least)
        self._resend(handle, request)
        return True

    def _redirect(self, handle: ClientRequest, response: Response) -> None:
        """Add the Contacts of a 3xx to the targets still to be tried, best first (§8.1.3.4)."""
        handle.tried.add(handle.request.uri_text)
        contacts = sorted(response.contacts, key=_preference, reverse=True)
        for contact in contacts:
            uri = contact.uri
            if isinstance(uri, SipUri):
                handle.targets.append(uri)

    def _next_target(self, handle: ClientRequest) -> bool:
        while handle.targets and not handle.cancelled and len(handle.tried) <= self.settings.max_redirects:
            uri = handle.targets.pop(0)
            text = str(uri)
            if text in handle.tried:
                continue
            handle.tried.add(text)
            request = handle.request.copy()
            request.uri = uri.replace(params=uri.params.without("method"), headers=())
            handle.destination = None
            self._resend(handle, request)
            return True
        return False

    def _resend(self, handle: ClientRequest, request: Request) -> None:
        if handle.dialog is not None:
            number = handle.dialog.next_seq()
        else:
            number = request.cseq.number + 1
            if isinstance(handle.owner, ClientSession):
                handle.owner.begin_anew()
        request.headers.set("CSeq", f"{number} {request.method}")
        handle.request = request
        self._orders.append(SendRequest(request, handle, handle.destination))

    # -- requests (§8.2) -----------------------------------------------------------------------------------------

    def _requested(self, event: RequestReceived, now: float) -> None:
        transaction, request = event.transaction, event.request
        try:
            self._serve(event, now)
        except RemoteProtocolError as error:
            self.respond_to(transaction, request, error.status_hint or 400)

    def _serve(self, event: RequestReceived, now: float) -> None:
        transaction, request, _ = event
        to_tag = request.to.tag
        usage = next((usage for usage in self._usages if usage.owns(request)), None)
        if self._refused(transaction, request, to_tag, now):
            return
        found = self._legs.get(id_of_request(request)) if to_tag else None
        if usage is not None:
            # RFC 6665 §4.5.2: a subscription may share the dialog of a session, and with it the CSeq numbers
            if found is not None and not found[1].dialog.in_order(request):
                self.respond_to(transaction, request, 500, "CSeq Out Of Order")
            else:
                usage.receive(event, now)
        elif found is not None:
            session, leg = found
            session.receive_request(transaction, request, leg, now)
        elif to_tag or request.method in _NEED_DIALOG:
            self.respond_to(transaction, request, 481)  # §12.2.2
        elif request.method == "INVITE":
            self._invited(event, now)
        else:
            self._events.append(IncomingRequest(transaction, request))

    def _refused(self, transaction: ServerTransaction, request: Request, to_tag: str | None, now: float) -> bool:
        """The checks of §8.2.1 to §8.2.3, in that order, with the response that each of them owes."""
        settings, method = self.settings, request.method
        if method == "CANCEL":
            self.respond_to(transaction, request, 481)  # §9.2: it matched no transaction
            return True
        if method not in settings.allow:
            status = 405 if method in KNOWN_METHODS else 501
            self.respond_to(transaction, request, status, None, (("Allow", ", ".join(settings.allow)),))
            return True
        if method in TARGET_REFRESH:
            _read_ways(request)
        if isinstance(request.uri, OpaqueUri):
            self.respond_to(transaction, request, 416)  # §8.2.2.1
            return True
        if not to_tag and self._merged.is_merged(request, now):
            self.respond_to(transaction, request, 482)  # §8.2.2.2
            return True
        unknown = [tag for tag in request.require if tag not in settings.supported]
        if unknown:
            self.respond_to(transaction, request, 420, None, (("Unsupported", ", ".join(unknown)),))  # §8.2.2.3
            return True
        if method in _DESCRIBED:
            return self._refused_content(transaction, request)
        return False

    def _refused_content(self, transaction: ServerTransaction, request: Request) -> bool:
        """§8.2.3: the body must be understood, unless it is said to be optional."""
        headers = request.headers
        if request.body and "handling=optional" not in (headers.get("Content-Disposition") or "").lower():
            encoding = headers.get("Content-Encoding")
            if encoding is not None and encoding.strip().lower() != "identity":
                self.respond_to(transaction, request, 415, None, (("Accept-Encoding", "identity"),))
                return True
            kind = request.content_type
            if kind is not None and not any(each.includes(kind) for each in self._accept):
                self.respond_to(transaction, request, 415, None, (("Accept", ", ".join(self.settings.accept)),))
                return True
        ranges = headers.all(ACCEPT)
        if ranges and not any(each.includes(kind) for each in ranges for kind in self._accept):
            self.respond_to(transaction, request, 406)  # §21.4.7: the answer could not be read
            return True
        return False

    def _invited(self, event: RequestReceived, now: float) -> None:
        """An INVITE outside any dialog (§13.3.1)."""
        transaction, request, flow = event
        settings = self.settings
        if len(self._ringing) >= settings.max_pending_sessions:
            self.respond_to(transaction, request, 503, None, (("Retry-After", str(settings.retry_after)),))
            return
        granted = grant(request, self.session_timer)
        if isinstance(granted, TooSmall):
            self.respond_to(transaction, request, 422, None, (("Min-SE", str(granted.min_se)),))
            return
        replaces, join = _references(request)
        target: Session | None = None
        if replaces is not None or join is not None:
            target, status = self._referred(replaces, join)
            if status:
                self.respond_to(transaction, request, status)
                return
        session = ServerSession(self, transaction, request, settings.ring_wait, now, secure=flow.secure)
        if replaces is not None:
            session.replaced = target
        self.sessions.add(session)
        self._ringing.add(transaction)
        self._events.append(IncomingSession(session, request, replaces, join, target))

    def _referred(self, replaces: Replaces | None, join: Join | None) -> tuple[Session | None, int]:
        """The session that a Replaces or Join names, or the status owed when it names none (RFC 3891 §3, 3911 §4)."""
        reference = replaces or join
        assert reference is not None
        remote_tag = "" if reference.from_tag == "0" else reference.from_tag  # RFC 3891 §3: a null tag
        session = self.session_of(DialogId(reference.call_id, reference.to_tag, remote_tag))
        if session is None:
            return None, 481
        if session.ended:
            return None, 603
        if replaces is not None and replaces.early_only and session.state == CONFIRMED:
            return None, 486
        if isinstance(session, ServerSession) and not session.answered:
            return None, 481  # RFC 3891 §3: an early dialog that we did not initiate
        return session, 0

    def _acknowledged(self, request: Request, now: float) -> None:
        """An ACK outside any transaction; what belongs to no dialog is never answered (§17.1.1.3)."""
        try:
            found = self._legs.get(id_of_request(request))
            if found is not None:
                session, leg = found
                session.ack_received(request, leg, now)
        except RemoteProtocolError:
            return  # no response to an ACK: the 2xx goes on being repeated

    def _list_capabilities(self) -> tuple[tuple[str, str], ...]:
        settings = self.settings
        return (("Allow", ", ".join(settings.allow)), ("Supported", ", ".join(settings.supported)))


def _references(request: Request) -> tuple[Replaces | None, Join | None]:
    replaces, join = request.headers.one(REPLACES), request.headers.one(JOIN)
    if replaces is not None and join is not None:
        raise RemoteProtocolError("Replaces and Join exclude each other (RFC 3911 §4)", 400)
    return replaces, join


def _read_ways(request: Request) -> None:
    """Raise ParseError (400) now for what else would when the request is answered: Contact, Route, Record-Route."""
    _ = request.contacts, request.routes, request.record_routes


def _preference(contact: Address) -> float:
    return contact.q


def _by_usage(usage: Usage, order: Order) -> Order:
    """The order of a usage, with a sender by which the core finds its way back."""
    if isinstance(order, SendResponse) or order.sender is None:
        return order
    return order._replace(sender=UsageSender(usage, order.sender))


def _media_type(text: str) -> MediaType:
    kind, _, subtype = text.partition("/")
    return MediaType(kind, subtype)
