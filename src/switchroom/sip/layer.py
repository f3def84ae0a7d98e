"""Transaction layer: bytes and clock readings in, bytes and events out (RFC 3261 §17 and §18)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple
from zlib import crc32

from .errors import LimitExceeded, LocalProtocolError, RemoteProtocolError, SipError, TransportError
from .flow import TCP, TLS, UDP, WS, WSS, Flow
from .framing import PING, PONG, StreamFramer
from .headers import VIA, Via
from .identifiers import Identifiers
from .layer_events import (
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
)
from .limits import DEFAULT_LIMITS, Limits
from .matching import (
    MAGIC_COOKIE,
    client_key,
    is_old,
    old_key,
    response_flow,
    same_sent_by,
    sent_by_port,
    server_key,
    stamp_source,
)
from .message import Request, Response, parse, validate
from .timers import NEVER, TimerQueue, TimerValues
from .transaction import (
    ACCEPTED,
    CANCEL,
    CLIENT_OTHER,
    CLOSED,
    EXPIRE,
    FAILED,
    IN_ACK,
    IN_CANCEL,
    IN_REQUEST,
    INVITE_ANSWER_DELAY,
    OUT_2XX,
    REPORT,
    REROUTE,
    RETRY,
    SEND,
    SEND_100,
    SEND_ACK,
    SEND_CANCEL,
    TERMINATED,
    UP,
    ClientTransaction,
    ServerTransaction,
    Transaction,
    classify_answer,
    classify_response,
    other_answer_delay,
)

__all__ = [
    "DEFAULT_BOUNDS",
    "DEFAULT_TIMERS",
    "AckReceived",
    "CancelReceived",
    "ClientTransaction",
    "Event",
    "FlowRejected",
    "KeepAlive",
    "RequestFailed",
    "RequestReceived",
    "RequestTimedOut",
    "ResponseFailed",
    "ResponseReceived",
    "ServerTransaction",
    "TransactionLayer",
    "TransactionLimits",
]


class TransactionLimits(NamedTuple):
    """Bounds on what peers may make this layer remember; a request over one is answered 503, and counted.

    A transaction lingers for 32 s over UDP, so the defaults are 32 s of more than one process can serve: 7,800 calls a
    second, each an INVITE and a BYE, and from one address (a trunk, another proxy) half of that.  Count bounds small
    requests, which take 1 to 3 kB each, and octets large ones, which take two to four times their size until they are
    answered: 1.5 GB at the very worst, whatever is sent, and some 400 MB of ordinary calls.
    """

    transactions: int = 500_000
    """Server transactions in all."""
    transactions_per_source: int = 250_000
    """Server transactions that began at one address."""
    octets: int = 512 * 1024 * 1024
    """What their requests came in, or once they are answered their responses, in all."""
    octets_per_source: int = 256 * 1024 * 1024
    """The same, of those that began at one address."""
    retry_after: int = 10
    """Seconds in the Retry-After of the 503."""


DEFAULT_BOUNDS: Final = TransactionLimits()
DEFAULT_TIMERS: Final = TimerValues()

_OWN_CANCEL: Final = "the CANCEL of the layer"
"""The sender of CANCEL transactions: nobody is told what becomes of them."""

_CRLF: Final = b"\r\n"
_COUNTERS: Final = (
    "requests",  # new ones; retransmissions apart
    "responses",  # those that belong to a transaction
    "retransmissions_received",
    "retransmissions_sent",
    "keep_alives",
    "malformed_requests",  # answered, as far as they may be
    "malformed_other",  # dropped: responses, ACKs, what cannot be told to be a request or has no Via to answer by
    "stray_responses",  # of no transaction (RFC 6026 §7.2)
    "late_answers",  # not sent any more (RFC 4320 §4.2, RFC 3261 §17.2.2)
    "refused_total",  # 503: too many transactions
    "refused_source",  # 503: too many from one address
    "timeouts",
    "transport_errors",
)


class _Source:
    """What the server transactions that began at one address take."""

    __slots__ = ("octets", "transactions")

    def __init__(self) -> None:
        self.transactions = 0
        self.octets = 0


class TransactionLayer:
    """All transactions of one element, and the transport layer's rules that need no transport (RFC 3261 §17, §18).

    Feed `receive`, `handle_timers`, `flow_failed`, `flow_closed`, `flow_opened` and the transaction user's `send_*` and
    `cancel`; after each, put `take_output` on the wire and hand `take_events` to the transaction user.  `now` is
    seconds on a monotonic clock.  Nothing that comes from the network raises.
    """

    __slots__ = (
        "_answer_delay",
        "_bounds",
        "_clients",
        "_events",
        "_framers",
        "_ids",
        "_limits",
        "_octets",
        "_output",
        "_paths",
        "_queue",
        "_servers",
        "_sources",
        "_timers",
        "counters",
    )

    def __init__(
        self,
        ids: Identifiers,
        *,
        timers: TimerValues = DEFAULT_TIMERS,
        limits: Limits = DEFAULT_LIMITS,
        bounds: TransactionLimits = DEFAULT_BOUNDS,
    ) -> None:
        self._ids = ids
        self._timers = timers
        self._limits = limits
        self._bounds = bounds
        self._answer_delay = other_answer_delay(timers)
        self._clients: dict[str, ClientTransaction] = {}
        self._servers: dict[str, ServerTransaction] = {}
        self._sources: dict[str, _Source] = {}
        self._octets = 0
        self._paths: dict[Hashable, dict[Transaction, None]] = {}
        self._framers: dict[Hashable, StreamFramer] = {}
        self._queue = TimerQueue()
        self._output: list[tuple[Flow, bytes]] = []
        self._events: list[Event] = []
        self.counters: Final[dict[str, int]] = dict.fromkeys(_COUNTERS, 0)
        """What was counted since the start, by kind; `over_<limit>` appears when that limit was first hit."""

    # -- what comes from the network ------------------------------------------------------------------------------

    def receive(self, data: bytes | memoryview, flow: Flow, now: float) -> None:
        """Feed one datagram, one WebSocket message, or octets of a stream just as they came; `flow` is its source.

        Never raises for what is in it: a malformed request gets the response that is owed, all else is dropped, and
        both are counted in `counters`.
        """
        if flow.transport == TCP or flow.transport == TLS:
            self._receive_stream(data, flow, now)
        elif len(data) <= 4 and not bytes(data).strip(b"\r\n\0"):
            self.counters["keep_alives"] += 1
            if flow.transport != UDP:
                self._receive_keep_alive(flow, len(data) < 4)
        else:
            self._receive_message(data, flow, now)

    def _receive_stream(self, data: bytes | memoryview, flow: Flow, now: float) -> None:
        path = _path(flow)
        framer = self._framers.get(path)
        if framer is None:
            framer = self._framers[path] = StreamFramer(self._limits)
        if framer.dead:
            return  # what follows an error cannot be framed; the driver is about to close
        try:
            framer.feed(data)
            while True:
                item = framer.next()
                if item is None:
                    return
                if item is PING or item is PONG:
                    self.counters["keep_alives"] += 1
                    self._receive_keep_alive(flow, item is PONG)
                else:
                    self._receive_message(item, flow, now)
        except RemoteProtocolError as error:
            self._reject(error, flow)
            self._events.append(FlowRejected(flow, error))

    def _receive_keep_alive(self, flow: Flow, pong: bool) -> None:
        """A CRLF or two of them (RFC 5626 §3.5.1).

        Pings that come at once have one answer: a read may hold tens of thousands of them.
        """
        if not pong:
            output = self._output
            if output and output[-1][1] is _CRLF and output[-1][0] is flow:
                return
            output.append((flow, _CRLF))
        self._events.append(KeepAlive(flow, pong))

    def _receive_message(self, data: bytes | memoryview, flow: Flow, now: float) -> None:
        try:
            message = parse(data, limits=self._limits)
            validate(message)
            if isinstance(message, Request):
                self._receive_request(message, len(data), flow, now)
            else:
                self._receive_response(message, now)
        except RemoteProtocolError as error:
            self._reject(error, flow)

    def _receive_request(self, request: Request, octets: int, flow: Flow, now: float) -> None:
        via = request.via
        method = request.method
        key = server_key(request, via)
        transaction = self._find_server(key, method)
        if transaction is not None and method != "ACK":
            self.counters["retransmissions_received"] += 1
            if 2 * octets >= transaction.request_octets:  # else it is not the message again, but bait for the answer
                self._step_server(transaction, IN_REQUEST, now)
            return
        if method == "ACK":
            if transaction is None or self._step_server(transaction, IN_ACK, now) & UP:
                stamp_source(request, via, flow)
                self._events.append(AckReceived(request, flow))
            return
        self.counters["requests"] += 1
        stamp_source(request, via, flow)
        if method == "CANCEL":
            cancelled = self._servers.get(key + " INVITE") or self._servers.get(key)
            if cancelled is not None:
                self._answer_cancel(cancelled, request, self._new_server(key, request, octets, via, flow, now), now)
                return
        bounds = self._bounds
        source = self._sources.get(flow.remote[0])
        if len(self._servers) >= bounds.transactions or self._octets + octets > bounds.octets:
            self._refuse("refused_total", request, via, flow)
        elif source is not None and (
            source.transactions >= bounds.transactions_per_source or source.octets + octets > bounds.octets_per_source
        ):
            self._refuse("refused_source", request, via, flow)
        else:
            transaction = self._new_server(key, request, octets, via, flow, now)
            self._events.append(RequestReceived(transaction, request, flow))

    def _find_server(self, key: str, method: str) -> ServerTransaction | None:
        """The transaction that a request belongs to.

        Requests of one branch and sent-by, but of several methods, have the first one under the plain key.  A CANCEL
        never has: it must not stand in the way of the request that it cancels.
        """
        if method == "ACK":
            method = "INVITE"
        elif method == "CANCEL":
            return self._servers.get(key + " CANCEL")
        transaction = self._servers.get(key)
        if transaction is None or transaction.method == method:
            return transaction
        return self._servers.get(f"{key} {method}")

    def _new_server(
        self, key: str, request: Request, octets: int, via: Via, flow: Flow, now: float
    ) -> ServerTransaction:
        method = request.method
        if method == "CANCEL" or key in self._servers:
            key = f"{key} {method}"
        source = flow.remote[0]
        flow = response_flow(via, flow)
        if method == "INVITE":
            transaction = ServerTransaction(key, method, flow, request, now + INVITE_ANSWER_DELAY, NEVER)
        else:
            end_at = now + 64 * self._timers.t1
            transaction = ServerTransaction(key, method, flow, request, now + self._answer_delay, end_at)
        transaction.source = source
        transaction.sent_by_port = sent_by_port(via, flow)
        self._servers[key] = transaction
        taken = self._sources.get(source)
        if taken is None:
            taken = self._sources[source] = _Source()
        taken.transactions += 1
        transaction.request_octets = octets
        self._take_octets(transaction, octets)
        self._index(transaction)
        self._queue.touch(transaction)
        return transaction

    def _answer_cancel(
        self, cancelled: ServerTransaction, request: Request, transaction: ServerTransaction, now: float
    ) -> None:
        """Answer a CANCEL whose request is known 200, with the To tag of that one's responses (§9.2)."""
        response = request.create_response(200, to_tag=_to_tag(cancelled.wire) or self._ids.token())
        self.send_response(transaction, response, now)
        if self._step_server(cancelled, IN_CANCEL, now) & UP:
            self._events.append(CancelReceived(cancelled, request))

    def _receive_response(self, response: Response, now: float) -> None:
        via = response.via
        cseq = response.cseq
        transaction = self._clients.get(client_key(via.branch or "", cseq.method))
        if transaction is None or transaction.method != cseq.method or not same_sent_by(via, transaction.flow):
            self.counters["stray_responses"] += 1
            return
        self.counters["responses"] += 1
        self._step_client(transaction, classify_response(response.status), now, response)

    def _reject(self, error: RemoteProtocolError, flow: Flow) -> None:
        """Count what is malformed; if it is a request, send the response that is owed, without a transaction."""
        if isinstance(error, LimitExceeded):
            name = "over_" + error.limit_name
            self.counters[name] = self.counters.get(name, 0) + 1
        request = error.request
        status = error.status_hint
        if request is None or status is None:
            self.counters["malformed_other"] += 1
            return
        self.counters["malformed_requests"] += 1
        via = request.via
        stamp_source(request, via, flow)
        response = request.create_response(status, to_tag=_stateless_tag(request))
        self._answer_statelessly(response, via, flow)

    def _refuse(self, counter: str, request: Request, via: Via, flow: Flow) -> None:
        self.counters[counter] += 1
        retry_after = str(self._bounds.retry_after)
        response = request.create_response(503, to_tag=_stateless_tag(request), headers=(("Retry-After", retry_after),))
        self._answer_statelessly(response, via, flow)

    def _answer_statelessly(self, response: Response, via: Via, flow: Flow) -> None:
        """Send a response that no transaction repeats; its To tag is the same every time (§8.2.7)."""
        self._output.append((response_flow(via, flow), _encode(response)))

    # -- what the transaction user wants ---------------------------------------------------------------------------

    def send_request(
        self, request: Request, flow: Flow, now: float, sender: Hashable = None, branch: str | None = None
    ) -> ClientTransaction:
        """Send a copy of *request* with our Via on top in a new client transaction, and return that.

        Events about it carry *sender*.  *branch* is the Via's (with the magic cookie, never used before), a fresh one
        if None.  Raises LocalProtocolError for an ACK, which is no transaction: use `send`.
        """
        if request.method == "ACK":
            raise LocalProtocolError("an ACK has no transaction (RFC 3261 §17): use send()")
        if branch is None:
            branch = MAGIC_COOKIE + self._ids.token()
        elif not branch.startswith(MAGIC_COOKIE):
            raise LocalProtocolError(f"branch {branch!r} does not begin with {MAGIC_COOKIE} (RFC 3261 §8.1.1.7)")
        return self._start_client(_with_via(request, flow, branch), flow, branch, sender, now)

    def send_response(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Answer the request of *transaction*: any number of provisional responses to INVITE, and a final one.

        The 2xx to an INVITE may be sent again (RFC 3261 §13.3.1.4); the caller repeats it until the ACK.  To other
        requests a response that RFC 4320 or §17.2.2 forbids by now (a 100 before its time, a 408, one after the final
        response or after 64*T1) is not sent, but counted.  Raises LocalProtocolError for what the state does not allow.
        """
        event = classify_answer(transaction.method, response.status)
        if event >= OUT_2XX and is_old(transaction.key) and transaction.request is not None:
            self._expect_old_ack(transaction, transaction.request, response)
        if self._step_server(transaction, event, now, response) & SEND == 0:
            self.counters["late_answers"] += 1

    def send(self, message: Request | Response, flow: Flow, now: float, branch: str | None = None) -> None:
        """Send without a transaction: the ACK for a 2xx, or what is forwarded statelessly (§16.11).

        A request goes out as a copy with our Via on top, a response as it is.
        """
        if isinstance(message, Request):
            message = _with_via(message, flow, branch or MAGIC_COOKIE + self._ids.token())
        self._output.append((flow, _encode(message)))

    def cancel(self, transaction: ClientTransaction, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Cancel an INVITE (RFC 3261 §9.1), with *headers* (such as Reason) in the CANCEL.

        Waits for a provisional response if there was none, and has no effect after the final one.  The INVITE ends as
        ever, mostly with 487; 64*T1 after the CANCEL without any final response as `RequestTimedOut`.  Raises
        LocalProtocolError if it is no INVITE.
        """
        request = transaction.request
        if request is not None and transaction.cancel_request is None:
            cancel = request.create_cancel()
            for name, value in headers:
                cancel.headers.add(name, value)
            transaction.cancel_request = cancel
        self._step_client(transaction, CANCEL, now)

    # -- what becomes of flows ---------------------------------------------------------------------------------------

    def flow_failed(self, flow: Flow, error: SipError, now: float) -> None:
        """The connection broke or could not be opened, or a datagram to `flow.remote` was refused (ICMP; §18.4).

        Client transactions on it fail.  Responses go over another connection if the peer can be reached by one, and
        fail if that was tried (or if there is nothing to try: UDP, WebSocket).
        """
        self._framers.pop(_path(flow), None)
        again = flow.connection != 0 and (flow.transport == TCP or flow.transport == TLS)
        for transaction in self._on_path(flow):
            if isinstance(transaction, ClientTransaction):
                self._step_client(transaction, FAILED, now, None, error)
            else:
                assert isinstance(transaction, ServerTransaction)
                self._step_server(transaction, CLOSED if again else FAILED, now, None, error)

    def flow_closed(self, flow: Flow, now: float) -> None:
        """The connection was closed in good order, by the peer or by us; what waits may come over another one."""
        if flow.transport == WS or flow.transport == WSS:
            self.flow_failed(flow, TransportError("the WebSocket connection was closed"), now)
            return
        self._framers.pop(_path(flow), None)
        for transaction in self._on_path(flow):
            if isinstance(transaction, ClientTransaction):
                error = TransportError("the connection was closed before any response")
                self._step_client(transaction, CLOSED, now, None, error)
            else:
                assert isinstance(transaction, ServerTransaction)
                self._step_server(transaction, CLOSED, now)

    def flow_opened(self, wanted: Flow, flow: Flow) -> None:
        """What was to be sent on *wanted*, with connection 0, went out on *flow*: its fate is theirs from now on."""
        for transaction in self._on_path(wanted):
            # The Via is written already: responses are known by the sent-by in it.
            self._move(transaction, flow._replace(sent_by=transaction.flow.sent_by))

    def flow_pinged(self, flow: Flow) -> None:
        """The driver sent a CRLF ping on this stream: the next single CRLF is its pong (RFC 5626 §3.5.1)."""
        path = _path(flow)
        framer = self._framers.get(path)
        if framer is None:
            framer = self._framers[path] = StreamFramer(self._limits)
        framer.expect_pong()

    def unfinished(self, flow: Flow) -> int:
        """How many octets of a message have come on this stream: it should be complete within a bounded time."""
        framer = self._framers.get(_path(flow))
        return 0 if framer is None else framer.pending

    def _on_path(self, flow: Flow) -> list[Transaction]:
        return list(self._paths.get(_path(flow), ()))

    # -- time and results --------------------------------------------------------------------------------------------

    def handle_timers(self, now: float) -> None:
        """Feed time: carry out every timer that is due at *now*."""
        queue = self._queue
        while True:
            item = queue.pop_due(now)
            if item is None:
                return
            event = EXPIRE if item.expire_at <= now else RETRY
            if isinstance(item, ClientTransaction):
                self._step_client(item, event, now)
            else:
                assert isinstance(item, ServerTransaction)
                self._step_server(item, event, now)

    def next_timer(self) -> float:
        """When to call `handle_timers` at the latest; infinity when nothing waits.  Earlier is harmless."""
        return self._queue.next_at()

    def take_output(self) -> list[tuple[Flow, bytes]]:
        """What to put on the wire now, in this order; each item is handed out once."""
        output = self._output
        self._output = []
        return output

    def take_events(self) -> list[Event]:
        """What happened, in this order; each event is handed out once."""
        events = self._events
        self._events = []
        return events

    @property
    def busy(self) -> bool:
        """Whether there is output or an event to take."""
        return bool(self._output or self._events)

    @property
    def client_transactions(self) -> int:
        """How many client transactions live, those that only absorb retransmissions included."""
        return len(self._clients)

    @property
    def server_transactions(self) -> int:
        """How many server transactions live, those that only absorb retransmissions included."""
        return len(self._servers)

    # -- the only places where actions are carried out -----------------------------------------------------------------

    def _start_client(
        self, request: Request, flow: Flow, branch: str, sender: Hashable, now: float
    ) -> ClientTransaction:
        key = client_key(branch, request.method)
        if key in self._clients:
            raise LocalProtocolError(f"branch {branch} has a transaction already")
        transaction = ClientTransaction(key, request.method, flow, request, sender, now, self._timers)
        transaction.wire = _encode(request)
        self._clients[key] = transaction
        self._index(transaction)
        self._queue.touch(transaction)
        self._output.append((flow, transaction.wire))
        return transaction

    def _step_client(
        self,
        transaction: ClientTransaction,
        event: int,
        now: float,
        response: Response | None = None,
        error: SipError | None = None,
    ) -> None:
        actions = transaction.step(event, now, self._timers)
        if actions & REROUTE:
            self._move(transaction, transaction.flow._replace(connection=0))
        if actions & SEND:
            self.counters["retransmissions_sent"] += 1
            self._output.append((transaction.flow, transaction.wire))
        if actions & SEND_CANCEL and transaction.cancel_request is not None:
            cancel = transaction.cancel_request
            if client_key(transaction.branch, "CANCEL") not in self._clients:
                self._start_client(cancel, transaction.flow, transaction.branch, _OWN_CANCEL, now)
        if actions & SEND_ACK and transaction.request is not None and response is not None:
            transaction.wire = _encode(transaction.request.create_ack(response))
            self._output.append((transaction.flow, transaction.wire))
        if transaction.sender is not _OWN_CANCEL:
            if actions & UP and response is not None:
                self._events.append(ResponseReceived(transaction, response, transaction.sender))
            if actions & REPORT:
                self._report_client(transaction, error)
        if event == FAILED:
            self.counters["transport_errors"] += 1
        if transaction.state == TERMINATED:
            self._forget_client(transaction)
        else:
            if transaction.state >= ACCEPTED:
                transaction.request = transaction.cancel_request = None
                if transaction.state == ACCEPTED or transaction.table is CLIENT_OTHER:
                    transaction.wire = b""
            self._queue.touch(transaction)

    def _report_client(self, transaction: ClientTransaction, error: SipError | None) -> None:
        if error is None:
            self.counters["timeouts"] += 1
            self._events.append(RequestTimedOut(transaction, transaction.sender))
        else:
            self._events.append(RequestFailed(transaction, error, transaction.sender))

    def _step_server(
        self,
        transaction: ServerTransaction,
        event: int,
        now: float,
        response: Response | None = None,
        error: SipError | None = None,
    ) -> int:
        actions = transaction.step(event, now, self._timers)
        if actions & REROUTE:
            # §18.2.2: the connection that the request came on is gone, so open one to where its Via says
            remote = (transaction.source, transaction.sent_by_port)
            self._move(transaction, transaction.flow._replace(remote=remote, connection=0))
        if actions & SEND:
            if response is not None:
                transaction.wire = _encode(response)
                self._output.append((transaction.flow, transaction.wire))
            elif transaction.wire:
                self.counters["retransmissions_sent"] += 1
                self._output.append((transaction.flow, transaction.wire))
        if actions & SEND_100 and transaction.request is not None:
            transaction.wire = _encode(transaction.request.create_response(100))
            self._output.append((transaction.flow, transaction.wire))
        if actions & REPORT and not transaction.failure_told:
            transaction.failure_told = True
            self._report_server(transaction, error)
        if event == FAILED:
            self.counters["transport_errors"] += 1
        if transaction.state == TERMINATED:
            self._forget_server(transaction)
        else:
            if transaction.state >= ACCEPTED and transaction.request is not None:
                transaction.request = None
                self._take_octets(transaction, len(transaction.wire))
            self._queue.touch(transaction)
        return actions

    def _report_server(self, transaction: ServerTransaction, error: SipError | None) -> None:
        if error is None:
            self.counters["timeouts"] += 1
            if transaction.method == "INVITE":
                error = TransportError("no ACK within 64*T1 (timer H, RFC 3261 §17.2.1)")
            else:
                error = TransportError("no response was given within 64*T1, so none is sent (RFC 4320 §4.2)")
        self._events.append(ResponseFailed(transaction, error))

    def _expect_old_ack(self, transaction: ServerTransaction, request: Request, response: Response) -> None:
        """Let the ACK of an RFC 2543 client find its INVITE: it has the To tag of the response (§17.2.3)."""
        key = old_key("ACK", request, transaction.key.rpartition("\n")[2], response.to.tag)
        if transaction.method == "INVITE" and key not in self._servers:
            transaction.ack_key = key
            self._servers[key] = transaction

    # -- indexes -------------------------------------------------------------------------------------------------------

    def _index(self, transaction: Transaction) -> None:
        path = _path(transaction.flow)
        on_path = self._paths.get(path)
        if on_path is None:
            self._paths[path] = {transaction: None}
        else:
            on_path[transaction] = None

    def _unindex(self, transaction: Transaction) -> None:
        path = _path(transaction.flow)
        on_path = self._paths[path]
        del on_path[transaction]
        if not on_path:
            del self._paths[path]

    def _move(self, transaction: Transaction, flow: Flow) -> None:
        self._unindex(transaction)
        transaction.flow = flow
        self._index(transaction)

    def _forget_client(self, transaction: ClientTransaction) -> None:
        """Take what has terminated out of everything; a second time does nothing."""
        if self._clients.get(transaction.key) is transaction:
            del self._clients[transaction.key]
            transaction.cancel_request = None
            self._release(transaction)

    def _forget_server(self, transaction: ServerTransaction) -> None:
        """Take what has terminated out of everything; a second time does nothing."""
        if self._servers.get(transaction.key) is not transaction:
            return
        del self._servers[transaction.key]
        if transaction.ack_key:
            del self._servers[transaction.ack_key]
        source = transaction.source
        self._take_octets(transaction, 0)
        taken = self._sources[source]
        taken.transactions -= 1
        if not taken.transactions:
            del self._sources[source]
        self._release(transaction)

    def _take_octets(self, transaction: ServerTransaction, octets: int) -> None:
        """Count *octets* for a transaction from now on, in place of what was counted before."""
        more = octets - transaction.octets
        transaction.octets = octets
        self._octets += more
        self._sources[transaction.source].octets += more

    def _release(self, transaction: Transaction) -> None:
        transaction.request = None
        transaction.wire = b""
        self._queue.discard(transaction)
        self._unindex(transaction)


def _path(flow: Flow) -> Hashable:
    """What is dead together: a connection, or all that goes to one address and port by datagrams."""
    return flow.remote if flow.transport == UDP else (flow.transport, flow.remote, flow.connection)


def _with_via(request: Request, flow: Flow, branch: str) -> Request:
    """A copy of *request* with a Via for *flow* on top (§18.1.1), and `rport` where it matters (RFC 3581 §3)."""
    request = request.copy()
    via = f"SIP/2.0/{flow.transport} {flow.sent_by};branch={branch}"
    request.headers.add(VIA, via + ";rport" if flow.transport == UDP else via, first=True)
    return request


def _encode(message: Request | Response) -> bytes:
    """The bytes to send, with a Content-Length: streams must have one (§18.3)."""
    if "content-length" not in message.headers._keys:
        message = message.copy()
        message.set_content_length()
    return message.encode()


def _stateless_tag(request: Request) -> str:
    """A To tag that is the same for every retransmission of a request (§8.2.7)."""
    return f"{crc32((request.headers.get(VIA) or '').encode('utf-8', 'surrogateescape')):08x}"


def _to_tag(wire: bytes) -> str | None:
    """The To tag of a response of ours, None if it has none."""
    try:
        return parse(wire).to.tag
    except RemoteProtocolError:
        return None
