"""The endpoint: one SIP element's transports, its transaction layer, and the users on top of them."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ..sip.errors import LocalProtocolError, RemoteProtocolError, SipError, TransportError
from ..sip.flow import TLS, Flow
from ..sip.identifiers import Identifiers
from ..sip.layer import (
    DEFAULT_BOUNDS,
    DEFAULT_TIMERS,
    AckReceived,
    CancelReceived,
    Event,
    FlowRejected,
    KeepAlive,
    RequestFailed,
    RequestReceived,
    RequestTimedOut,
    ResponseFailed,
    ResponseReceived,
    TransactionLayer,
    TransactionLimits,
)
from ..sip.limits import DEFAULT_LIMITS, Limits
from ..sip.message import Request, Response
from ..sip.orders import CancelRequest, Order, SendAck, SendRequest, SendResponse, TransactionUser
from ..sip.timers import NEVER, TimerValues
from ..sip.transaction import ServerTransaction
from ..sip.uri import Uri
from .address import ListenAddress, parse_listen
from .dns import DnsCache, DnsResolver, Resolver
from .identifiers import SystemIdentifiers
from .incoming import KNOWN_METHODS, Handler, IncomingRequest
from .limits import LIMITS, TransportLimits
from .loop import has_sockets
from .sending import Sending
from .tap import Tap
from .tls import TlsContexts, TlsSettings, TlsSource
from .transport import Transports

Chooser = Callable[[Request, Flow], TransactionUser | None]
"""Names the transaction user for a request that belongs to no transaction and no dialog; None: a handler has it."""

EventHandler = Callable[[Any], Awaitable[object] | object]

_ROUNDS: Final = 64
"""Rounds of a flush before the loop gets its turn: a user that orders without end must not stop the rest."""
_TIMER_SLACK: Final = 0.005
"""Seconds between two looks at what is due: thousands of transactions that end one by one must not each wake us up."""


class RequestTimeout(TransportError, TimeoutError):
    """No final response in time (timer B or F); a user agent treats it as a 408 (RFC 3261 §8.1.3.1)."""


class Endpoint:
    """The transports of one SIP element, its transaction layer, and the transaction users it serves.

        endpoint = Endpoint(["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"])

        @endpoint.on("OPTIONS")
        def alive(incoming: IncomingRequest) -> None:
            incoming.respond(200)

        async with endpoint:
            response = await endpoint.request(request)

    What comes in goes to its transaction's owner, else to the user that owns its dialog, else to the one that the
    chooser names, else to the handler of its method, else to the first user; what nobody wants is answered 481, 405 or
    501.  Nothing that comes from the network raises into the event loop.
    """

    def __init__(
        self,
        listen: Sequence[str] = ("udp:0.0.0.0:0",),
        users: Iterable[TransactionUser] = (),
        *,
        chooser: Chooser | None = None,
        resolver: Resolver | None = None,
        wall: Callable[[], float] = time.time,
        identifiers: Identifiers | None = None,
        tap: Tap | None = None,
        tls: TlsSettings | TlsSource | None = None,
        limits: TransportLimits = LIMITS,
        message_limits: Limits = DEFAULT_LIMITS,
        transaction_limits: TransactionLimits = DEFAULT_BOUNDS,
        timers: TimerValues = DEFAULT_TIMERS,
        advertise: str | Mapping[str, str] | None = None,
        supported: Collection[str] = (),
        reuse_port: bool = False,
        websocket_path: str = "/",
        websocket_origins: Collection[str] = (),
    ) -> None:
        """*listen*: transport:address:port each, as for `address.parse_listen`.

        *wall* gives seconds since 1970, for the tap.  *advertise* is the host or host:port to show to peers instead of
        our own address: for all listeners, or by the listener's text.  *supported* are the option tags that the
        handlers understand (a request that requires others is answered 420).  *websocket_path* is asked for on
        WebSocket connections that we open.  *websocket_origins* are those whose web pages may connect to us
        ("https://phone.example.com"; "*": any), besides pages of the host that they connect to; programs that are no
        browsers always may.
        """
        self._listen = [parse_listen(text) for text in listen]
        self._users: list[TransactionUser] = []
        self._event_handlers: dict[TransactionUser, EventHandler] = {}
        self._chooser = chooser
        self._resolver = resolver
        self._wall = wall
        self._identifiers = SystemIdentifiers() if identifiers is None else identifiers
        self._tls: TlsSource = TlsContexts(tls or TlsSettings()) if tls is None or isinstance(tls, TlsSettings) else tls
        self._limits = limits
        self._message_limits = message_limits
        self._advertise = advertise
        self._supported = frozenset(supported)
        self._reuse_port = reuse_port
        self._websocket_path = websocket_path
        self._websocket_origins = websocket_origins
        self._handlers: dict[str, Handler] = {}
        self._address_listeners: list[Callable[[Flow, tuple[str, int]], object]] = []
        self._flow_listeners: list[Callable[[Flow, TransportError | None], object]] = []
        self._callers = _Callers()
        self._mailbox: list[tuple[TransactionUser, Event]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered: set[ServerTransaction] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._timer_ran = -NEVER
        self._timer_slack = 0.0
        self._flushing = False
        self._draining = False
        self._closed = False
        self._drained = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._transports: Transports | None = None
        self._sending: Sending
        self._dns: DnsCache
        self.tap: Final = Tap() if tap is None else tap
        """Shows every message: `endpoint.tap.subscribe(print)`."""
        self.layer: Final = TransactionLayer(
            self._identifiers, timers=timers, limits=message_limits, bounds=transaction_limits
        )
        self._counters: dict[str, int] = {}
        for user in users:
            self.run_user(user)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the listeners.  Raises TransportError, with none of them open, when one cannot be opened."""
        if self._transports is not None:
            raise LocalProtocolError("an endpoint is started once")
        self._loop = asyncio.get_running_loop()
        if has_sockets(self._loop):  # on the clock of the lab all happens to the instant
            self._timer_slack = _TIMER_SLACK
        transports = Transports(
            self,
            limits=self._limits,
            identifiers=self._identifiers,
            tls=self._tls,
            tap=self.tap,
            wall=self._wall,
            counters=self._counters,
            largest_message=self._message_limits.message,
            advertise=self._advertise,
            reuse_port=self._reuse_port,
            websocket_path=self._websocket_path,
            websocket_origins=self._websocket_origins,
        )
        resolver = DnsResolver() if self._resolver is None else self._resolver
        self._dns = DnsCache(resolver, self._loop.time, self._limits.remembered)
        self._sending = Sending(
            self.layer,
            transports,
            self._dns,
            self._identifiers,
            limits=self._limits,
            deliver=self._post,
            flush=self.flush,
            learned=self._address_learned,
        )
        self._transports = transports
        try:
            for address in self._listen:
                await transports.listen(address)
        except BaseException:
            await self.close(grace=0.0)
            raise
        self.flush()

    async def close(self, grace: float = 2.0) -> None:
        """Close in good order: take nothing new, let what is under way end for *grace* seconds, then close.

        New requests outside of dialogs are answered 503 meanwhile.  Afterwards no task and no timer is left; requests
        that still wait end with TransportError.
        """
        transports = self._transports
        if transports is None or self._closed:
            return
        self._draining = True
        transports.stop_accepting()
        self.flush()
        if grace > 0 and not self._idle():
            try:
                async with asyncio.timeout(grace):
                    await self._drained.wait()
            except TimeoutError:
                self._count("closed_with_work_left")
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sending.close()
        self.flush()
        self._closed = True
        await self._dns.close()
        await transports.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def __aenter__(self) -> Endpoint:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def listeners(self) -> tuple[ListenAddress, ...]:
        """Where the endpoint listens, in the order of *listen*; ports that were 0 are the real ones."""
        return () if self._transports is None else self._transports.listeners

    @property
    def connections(self) -> int:
        """How many stream connections there are."""
        return 0 if self._transports is None else self._transports.connections

    @property
    def counters(self) -> dict[str, int]:
        """What was counted since the start: the transaction layer's counters and those of the transports."""
        return self.layer.counters | self._counters

    def reload_certificates(self) -> None:
        """Read the TLS files again; connections go on with what they have.  Raises TransportError, changing nothing."""
        self._tls.reload()

    # -- who is served ------------------------------------------------------------------------------------------------

    def run_user(self, user: TransactionUser, on_event: EventHandler | None = None) -> None:
        """Attach a transaction user: its events go in, its orders are carried out, its timers are kept.

        *on_event* (`def` or `async def`) gets what `take_events` of the user yields; without it the events are left for
        whoever owns the user.  After calling methods of the user from outside, call `flush`.
        """
        self._users.append(user)
        if on_event is not None:
            self._event_handlers[user] = on_event
        if self._transports is not None:
            self.flush()

    def remove_user(self, user: TransactionUser) -> None:
        """Detach a transaction user; what comes for it from now on is answered as if it had never been here."""
        self._users.remove(user)
        self._event_handlers.pop(user, None)

    def on(self, *methods: str) -> Callable[[Handler], Handler]:
        """A decorator: the function handles requests of these methods that no transaction, dialog or chooser claims.

        A plain function is called; a coroutine function runs in a task of its own, which is cancelled when the request
        is.  An exception in either is logged, and answered 500.
        """

        def register(handler: Handler) -> Handler:
            for method in methods:
                self._handlers[method] = handler
            return handler

        return register

    def on_public_address(self, listener: Callable[[Flow, tuple[str, int]], object]) -> None:
        """Call *listener* with (flow, our address as its peer sees it) when that is learned (RFC 3581 §4)."""
        self._address_listeners.append(listener)

    def on_flow_ended(self, listener: Callable[[Flow, TransportError | None], object]) -> None:
        """Call *listener* with (flow, error) when a connection is gone; None if it was closed in good order.

        Whoever is registered over that flow (RFC 5626) has to register anew then.
        """
        self._flow_listeners.append(listener)

    @property
    def public_addresses(self) -> dict[tuple[str, tuple[str, int]], tuple[str, int]]:
        """Our address as peers see it, by (transport, peer's address): only where it is not our own (NAT)."""
        return {} if self._transports is None else self._sending.public_addresses

    # -- sending ------------------------------------------------------------------------------------------------------

    async def request(
        self,
        request: Request,
        destination: Flow | Uri | None = None,
        *,
        on_provisional: Callable[[Response], object] | None = None,
    ) -> Response:
        """Send a request outside of any user, and wait for the final response, whatever its status.

        It is located by RFC 3263 (*destination*, else its first Route, else its Request-URI), and fails over from hop
        to hop.  Raises `RequestTimeout` when nobody answers, `TransportError` when nobody can be reached.  To an INVITE
        the caller owes an ACK for a 2xx (`send_stateless`); cancelling the call of this method cancels an INVITE.
        """
        self._started()
        call = _Call(self._loop.create_future(), on_provisional)
        self._sending.send(self._callers, SendRequest(request, call, destination), self._loop.time())
        self.flush()
        try:
            return await call.future
        except asyncio.CancelledError:
            self._sending.cancel(self._callers, CancelRequest(call), self._loop.time())
            self.flush()
            raise

    def send_stateless(self, message: Request | Response, destination: Flow | Uri | None = None) -> None:
        """Send without a transaction: nothing is repeated, nobody waits for an answer, a failure is only counted.

        A response needs the flow as its destination.
        """
        self._started()
        now = self._loop.time()
        if isinstance(message, Request):
            self._sending.send_stateless(message, destination, now, _ignore)
        elif isinstance(destination, Flow):
            self._sending.fill_response(destination, message)
            self.layer.send(message, destination, now)
        else:
            raise LocalProtocolError("a response goes back on the flow of its request: give that as destination")
        self.flush()

    def send_response(self, transaction: ServerTransaction, response: Response) -> None:
        """Answer a request in its transaction."""
        self._started()
        self._respond(transaction, response, self._loop.time())
        self.flush()

    def keep_alive(self, flow: Flow) -> None:
        """Hold the peer of a connection that we opened to answering pings: it agreed to (RFC 5626 §4.4, RFC 6223).

        Without that only a peer that has answered one before is; see `TransportLimits.pong_timeout`.
        """
        self._started().keep_alive(flow)

    # -- the flush loop -----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Carry out what the users want by now, and deliver what happened.

        The endpoint calls it after everything that it does itself; call it after calling a user's own methods.
        """
        transports = self._transports
        if self._flushing or self._closed or transports is None:
            return
        self._flushing = True
        try:
            for _ in range(_ROUNDS):
                if not self._flush_once(transports):
                    break
            else:
                self._loop.call_soon(self.flush)
        finally:
            self._flushing = False
        self._tell_drained()
        self._arm(transports)

    def _flush_once(self, transports: Transports) -> bool:
        """One round: output, events, orders; whether there may be more."""
        layer = self.layer
        now = self._loop.time()
        output = layer.take_output()
        for flow, data in output:
            transports.send(flow, data)
        events = layer.take_events()
        for event in events:
            try:
                self._dispatch(event, now)
            except Exception:  # a mistake of ours; whatever caused it must not stop the rest
                self._internal_error(f"on {type(event).__name__}")
        mailbox = self._mailbox
        if mailbox:
            self._mailbox = []
            for user, posted in mailbox:
                self._feed(user, posted, now)
        busy = False
        for user in self._users:
            try:
                orders = user.take_orders()
                for order in orders:
                    self._carry_out(user, order, now)
                handler = self._event_handlers.get(user)
                happened = user.take_events() if handler is not None else ()
            except Exception:
                self._mistake("user_errors", type(user).__name__)
                continue
            for each in happened:
                assert handler is not None
                self._call(handler, each, f"{type(each).__name__} handler", None)
            busy = busy or bool(orders) or bool(happened)
        return busy or layer.busy or bool(self._mailbox)

    def _arm(self, transports: Transports) -> None:
        """Set the one timer to the next deadline; a timer that fires early is harmless."""
        due = min(self.layer.next_timer(), transports.next_timer())
        for user in self._users:
            due = min(due, user.next_timer())
        if due >= self._timer_at:
            return
        due = max(due, self._timer_ran + self._timer_slack)
        if due >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = NEVER
        transports = self._transports
        if self._closed or transports is None:
            return
        now = self._timer_ran = self._loop.time()
        try:
            self.layer.handle_timers(now)
            transports.handle_timers(now)
        except Exception:  # a mistake of ours: what is due stays due, and the rest goes on
            self._internal_error("on a timer")
        for user in self._users:
            if user.next_timer() <= now:
                try:
                    user.handle_timers(now)
                except Exception:
                    self._mistake("user_errors", type(user).__name__, "on a timer")
        self.flush()

    # -- what happened ------------------------------------------------------------------------------------------------

    def _dispatch(self, event: Event, now: float) -> None:
        kind = type(event)
        if kind is RequestReceived:
            assert isinstance(event, RequestReceived)
            self._request_received(event, now)
        elif isinstance(event, ResponseReceived):
            self._sending.response_received(event, now)
        elif isinstance(event, AckReceived):
            self._ack_received(event, now)
        elif isinstance(event, RequestTimedOut):
            self._sending.timed_out(event, now)
        elif isinstance(event, RequestFailed):
            self._sending.failed(event, now)
        elif isinstance(event, CancelReceived):
            self._cancel_received(event, now)
        elif isinstance(event, ResponseFailed):
            self._unanswered.discard(event.transaction)
            owner = event.transaction.user
            if isinstance(owner, IncomingRequest):
                self._count("responses_failed")
            elif owner is not None:
                self._feed(owner, event, now)  # type: ignore[arg-type]  # a note of ours: always a user
        elif isinstance(event, FlowRejected):
            self._count("flows_rejected")
            self._started().complain(event.flow.remote, f"{_source(event.flow)} sent what is no SIP: {event.error}")
            # What the layer owes it went out before this event; nothing more is read.
            self._started().close_flow(event.flow)
        elif isinstance(event, KeepAlive) and event.pong:
            self._started().pong_received(event.flow)

    def _request_received(self, event: RequestReceived, now: float) -> None:
        transaction, request, flow = event
        if flow.transport == TLS and flow.peer_names and "alias" in request.via.params:
            self._started().add_alias(flow, request.via.port)
        user = self._owner(request)
        if user is None:
            if self._draining:
                self._refuse(event, 503, now, (("Retry-After", "10"),))
                return
            if self._chooser is not None:
                try:
                    user = self._chooser(request, flow)
                except Exception:
                    self._user_failed(event, now, "the chooser")
                    return
        handler = self._handlers.get(request.method)
        if user is None and handler is None and self._chooser is None and self._users:
            user = self._users[0]
        if user is not None:
            transaction.user = user
            self._unanswered.add(transaction)
            self._feed(user, event, now)
        elif handler is None:
            self._refuse_method(event, now)
        else:
            self._handle(handler, event, now)

    def _owner(self, request: Request) -> TransactionUser | None:
        """The user that has the dialog of *request*."""
        for user in self._users:
            owns = getattr(user, "owns", None)
            if owns is not None and owns(request):
                return user
        return None

    def _handle(self, handler: Handler, event: RequestReceived, now: float) -> None:
        transaction, request, flow = event
        if len(self._tasks) >= self._limits.handlers:
            self._count("refused_handlers")
            self._refuse(event, 503, now, (("Retry-After", "10"),))
            return
        try:
            unsupported = [tag for tag in request.require if tag not in self._supported]
        except RemoteProtocolError:
            self._refuse(event, 400, now)
            return
        if unsupported and request.method != "CANCEL":  # §8.2.2.3
            self._refuse(event, 420, now, (("Unsupported", ", ".join(unsupported)),))
            return
        incoming = IncomingRequest(self, request, flow, transaction, self._identifiers.token())
        transaction.user = incoming
        self._unanswered.add(transaction)
        self._call(handler, incoming, request.method, incoming)

    def _ack_received(self, event: AckReceived, now: float) -> None:
        user = self._owner(event.request)
        if user is None and self._chooser is not None:
            try:
                user = self._chooser(event.request, event.flow)
            except Exception:
                self._mistake("user_errors", "the chooser")
                return
        handler = self._handlers.get("ACK")
        if user is None and handler is None and self._chooser is None and self._users:
            user = self._users[0]
        if user is not None:
            self._feed(user, event, now)
        elif handler is not None:
            incoming = IncomingRequest(self, event.request, event.flow, None, "")
            self._call(handler, incoming, f"ACK {event.request.call_id}", None)
        else:
            self._count("stray_acks")

    def _cancel_received(self, event: CancelReceived, now: float) -> None:
        owner = event.transaction.user
        if isinstance(owner, IncomingRequest):
            if owner.task is not None:
                owner.task.cancel()
            if not owner.answered:
                owner.respond(487)
        elif owner is not None:
            self._feed(owner, event, now)  # type: ignore[arg-type]  # a note of ours: always a user

    def _feed(self, user: TransactionUser, event: Event, now: float) -> None:
        try:
            user.receive(event, now)
        except Exception:
            if isinstance(event, RequestReceived):
                self._user_failed(event, now, type(user).__name__)
            else:
                self._mistake("user_errors", type(user).__name__, f"on {type(event).__name__}")

    def _user_failed(self, event: RequestReceived, now: float, who: str) -> None:
        self._mistake("user_errors", who, f"on a {event.request.method} request")
        if event.transaction.pending:
            self._refuse(event, 500, now)

    def _post(self, user: TransactionUser, event: Event) -> None:
        self._mailbox.append((user, event))

    # -- orders -------------------------------------------------------------------------------------------------------

    def _carry_out(self, user: TransactionUser, order: Order, now: float) -> None:
        if isinstance(order, SendResponse):
            try:
                self._respond(order.transaction, order.response, now)
            except LocalProtocolError:
                self._mistake("user_errors", type(user).__name__, "with a response that cannot be sent")
        elif isinstance(order, SendRequest):
            self._sending.send(user, order, now)
        elif isinstance(order, SendAck):
            self._sending.acknowledge(user, order, now)
        else:
            self._sending.cancel(user, order, now)

    def _respond(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        if response.status >= 200:
            self._unanswered.discard(transaction)
        self._sending.fill_response(transaction.flow, response)
        self.layer.send_response(transaction, response, now)

    def _refuse(self, event: RequestReceived, status: int, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        response = event.request.create_response(status, to_tag=self._identifiers.token(), headers=headers)
        self._respond(event.transaction, response, now)

    def _refuse_method(self, event: RequestReceived, now: float) -> None:
        """Nobody wants it: 481 for what needs a dialog or a transaction, 405 or 501 for the rest (§8.2.1, §12.2.2)."""
        request = event.request
        if request.method == "CANCEL" or request.to.tag:
            self._refuse(event, 481, now)
            return
        status = 405 if request.method in KNOWN_METHODS else 501
        self._refuse(event, status, now, (("Allow", ", ".join(self._handlers)),))

    # -- handlers -----------------------------------------------------------------------------------------------------

    def _call(self, handler: Handler, argument: Any, name: str, incoming: IncomingRequest | None) -> None:
        """Call a handler; a coroutine becomes a task."""
        try:
            result = handler(argument)
        except Exception:
            self._handler_failed(incoming, name)
            return
        if result is not None and inspect.isawaitable(result):
            if incoming is not None:
                name = f"{name} {incoming.request.call_id}"
            task = self._loop.create_task(self._await(result, name, incoming), name=name)
            self._tasks.add(task)
            task.add_done_callback(self._task_done)
            if incoming is not None:
                incoming.task = task

    async def _await(self, result: Awaitable[object], name: str, incoming: IncomingRequest | None) -> None:
        try:
            await result
        except Exception:
            self._handler_failed(incoming, name)
        except asyncio.CancelledError:
            if incoming is not None and incoming.transaction is not None and not incoming.answered:
                incoming.respond(503)  # the endpoint closes
            raise
        finally:
            self.flush()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._tell_drained()

    def _handler_failed(self, incoming: IncomingRequest | None, name: str) -> None:
        word, _, rest = name.partition(" ")
        if incoming is not None:
            rest = incoming.request.call_id
        self._mistake("handler_errors", f"the handler of {word}", rest)
        if incoming is not None and incoming.transaction is not None and not incoming.answered:
            incoming.respond(500)

    # -- what the transports tell (TransportUser) ---------------------------------------------------------------------

    def received(self, data: bytes, flow: Flow) -> None:
        """Called by the transports: a datagram, a WebSocket message, or a piece of a stream."""
        counters = self.layer.counters
        before = counters["malformed_requests"] + counters["malformed_other"]
        try:
            self.layer.receive(data, flow, self._loop.time())
        except Exception:  # a mistake of ours; whatever caused it must not stop the rest
            self._internal_error(f"on a message of {_source(flow)}")
        if counters["malformed_requests"] + counters["malformed_other"] != before:
            self._started().complain(flow.remote, f"{_source(flow)} sent a malformed message")

    def flow_failed(self, flow: Flow, error: TransportError) -> None:
        """Called by the transports: the flow is dead, or what was sent on it cannot be carried."""
        self.layer.flow_failed(flow, error, self._loop.time())

    def flow_closed(self, flow: Flow) -> None:
        """Called by the transports: the connection was closed in good order."""
        self.layer.flow_closed(flow, self._loop.time())

    def connection_ended(self, flow: Flow, error: TransportError | None) -> None:
        """Called by the transports: the connection of the flow is gone."""
        for listener in self._flow_listeners:
            self._call(partial(listener, flow), error, "flow_ended", None)

    def flow_opened(self, wanted: Flow, flow: Flow) -> None:
        """Called by the transports: what was sent on *wanted* has been sent on *flow*."""
        self.layer.flow_opened(wanted, flow)

    def flow_pinged(self, flow: Flow) -> None:
        """Called by the transports: a CRLF ping was sent."""
        self.layer.flow_pinged(flow)

    def unfinished(self, flow: Flow) -> int:
        """Called by the transports: how many octets of a message have come."""
        return self.layer.unfinished(flow)

    def timer_moved(self) -> None:
        """Called by the transports: a deadline of theirs may be the next one."""
        if not self._flushing and not self._closed and self._transports is not None:
            self._arm(self._transports)

    # -- small things -------------------------------------------------------------------------------------------------

    def _started(self) -> Transports:
        if self._transports is None:
            raise LocalProtocolError(
                "the endpoint is not started: use `async with endpoint`, or await endpoint.start()"
            )
        if self._closed:
            raise LocalProtocolError("the endpoint is closed")
        return self._transports

    def _internal_error(self, where: str) -> None:
        """Called in an `except` block: count and log a mistake of our own."""
        self._mistake("internal_errors", "Switchroom itself", where)

    def _mistake(self, counter: str, whose: str, where: str = "") -> None:
        """Called in an `except` block: count it; log it, but not more than once per second of the same program.

        Peers may be able to provoke it with every message.
        """
        self._count(counter)
        if self._transports is not None:
            self._transports.log_mistake(whose, f"{whose} failed {where}".rstrip())

    def _tell_drained(self) -> None:
        if self._draining and self._idle():
            self._drained.set()

    def _idle(self) -> bool:
        return not (self._tasks or self._unanswered or len(self._sending))

    def _address_learned(self, flow: Flow, seen: tuple[str, int]) -> None:
        for listener in self._address_listeners:
            self._call(partial(listener, flow), seen, "public_address", None)

    def _count(self, name: str) -> None:
        self._counters[name] = self._counters.get(name, 0) + 1


class _Call:
    """Somebody waits in `Endpoint.request`."""

    __slots__ = ("future", "on_provisional")

    def __init__(self, future: asyncio.Future[Response], on_provisional: Callable[[Response], object] | None) -> None:
        self.future = future
        self.on_provisional = on_provisional


class _Callers:
    """The transaction user behind `Endpoint.request`."""

    __slots__ = ()

    def receive(self, event: Event, now: float) -> None:
        """An outcome, or a provisional response."""
        if not isinstance(event, ResponseReceived | RequestTimedOut | RequestFailed):
            return
        call = event.sender
        assert isinstance(call, _Call)
        if call.future.done():
            return
        if isinstance(event, RequestFailed):
            call.future.set_exception(event.error)
        elif isinstance(event, RequestTimedOut):
            call.future.set_exception(RequestTimeout("no final response came in time"))
        elif event.response.status >= 200:
            call.future.set_result(event.response)
        elif call.on_provisional is not None:
            call.on_provisional(event.response)

    def handle_timers(self, now: float) -> None:
        """There are none."""

    def next_timer(self) -> float:
        """Never."""
        return NEVER

    def take_orders(self) -> list[Order]:
        """They come by `Endpoint.request`."""
        return []

    def take_events(self) -> list[object]:
        """They go to whoever waits."""
        return []


def _ignore(_: SipError) -> None:
    """A stateless request that could not be sent is counted, and that is all."""


def _source(flow: Flow) -> str:
    return f"{flow.transport} {flow.remote[0]}:{flow.remote[1]}"
