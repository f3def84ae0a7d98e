"""Carrying out a transaction user's orders: locate the next hop, open a flow, send, fail over (RFC 3263 §4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Final, Protocol

from ..sip.errors import LocalProtocolError, RemoteProtocolError, SipError, TransportError
from ..sip.failover import DeadHops, HopSequence
from ..sip.flow import TCP, UDP, WS, WSS, Flow
from ..sip.headers import RETRY_AFTER
from ..sip.identifiers import Identifiers
from ..sip.layer import Event, RequestFailed, RequestTimedOut, ResponseReceived, TransactionLayer
from ..sip.locating import Hop, LocatingPolicy, Locator, LookupFailed, Question, Record, Target, canonical_address
from ..sip.message import Request, Response
from ..sip.orders import CancelRequest, SendAck, SendRequest, TransactionUser
from ..sip.transaction import ClientTransaction
from ..sip.uri import Uri
from .contact import fill_contact, has_placeholder
from .dns import DnsCache
from .limits import TransportLimits
from .transport import Transports

_WEBSOCKET: Final = frozenset((WS, WSS))
_VIA_SIZE: Final = 100
"""Octets that our Via adds to a request, about."""


Work = Callable[[], Coroutine[Any, Any, None]]


class Deliver(Protocol):
    """Hands an event to a transaction user at the next opportunity."""

    def __call__(self, user: TransactionUser, event: Event) -> None: ...


class Attempt:
    """One request on its way: from the order to its one outcome, over as many hops as it takes.

    It is the `sender` of its client transactions; the transaction user's own sender is kept here.
    """

    __slots__ = (
        "cancelled",
        "flow",
        "hops",
        "over",
        "request",
        "sender",
        "target",
        "transaction",
        "user",
        "work",
    )

    def __init__(self, user: TransactionUser, sender: Hashable, request: Request) -> None:
        self.user = user
        self.sender = sender
        self.request = request
        self.target: Uri | None = None
        self.flow: Flow | None = None
        self.hops: HopSequence | None = None
        self.transaction: ClientTransaction | None = None
        """The client transaction that runs; None while the next hop is looked for or connected to."""
        self.work: asyncio.Task[None] | None = None
        self.cancelled = False
        self.over = False


class Sending:
    """The requests of an endpoint that are under way.

    Each gets exactly one outcome: a final response, a time-out or a failure (to an INVITE further 2xx may follow).
    """

    def __init__(
        self,
        layer: TransactionLayer,
        transports: Transports,
        dns: DnsCache,
        identifiers: Identifiers,
        *,
        limits: TransportLimits,
        deliver: Deliver,
        flush: Callable[[], None],
        learned: Callable[[Flow, tuple[str, int]], None],
    ) -> None:
        self._layer = layer
        self._transports = transports
        self._dns = dns
        self._identifiers = identifiers
        self._limits = limits
        self._deliver = deliver
        self._flush = flush
        self._learned = learned
        self._loop = transports.loop
        self._dead = DeadHops(capacity=limits.remembered)
        self._attempts: dict[tuple[TransactionUser, Hashable], list[Attempt]] = {}
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ways: dict[tuple[str, str], Flow] = {}
        """Which way the INVITE of a call went to a URI that was looked up: its ACK for a 2xx goes the same way."""
        self._public: dict[tuple[str, tuple[str, int]], tuple[str, int]] = {}

    def __len__(self) -> int:
        return self._count

    # -- orders -------------------------------------------------------------------------------------------------------

    def send(self, user: TransactionUser, order: SendRequest, now: float) -> None:
        """Carry out a `SendRequest`."""
        attempt = Attempt(user, order.sender, order.request)
        self._count += 1
        self._attempts.setdefault((user, order.sender), []).append(attempt)
        if self._count > self._limits.attempts:
            self._transports.count("attempts_refused")
            self._end(attempt, RequestFailed(None, TransportError("too many requests are under way"), order.sender))
            return
        destination = order.destination
        if isinstance(destination, Flow):
            if destination.transport == UDP or destination.connection:
                self._send_on(attempt, destination, now)
            else:
                self._work(
                    attempt, partial(self._open, attempt, destination.transport, destination.remote, _name(destination))
                )
            return
        try:
            uri = destination or order.request.next_hop
            attempt.target = uri
            locator = self._locator(order.request, uri)
        except SipError as error:
            self._end(attempt, RequestFailed(None, error, order.sender))
            return
        unknown = self._ask_cache(locator, now)
        if locator.done:
            self._located(attempt, locator, now)
        else:
            self._work(attempt, partial(self._locate, attempt, locator, unknown))

    def acknowledge(self, user: TransactionUser, order: SendAck, now: float) -> None:
        """Carry out a `SendAck`."""
        self.send_stateless(
            order.request,
            order.destination,
            now,
            lambda error: self._deliver(user, RequestFailed(None, error, order.sender)) if order.sender else None,
        )

    def send_stateless(
        self,
        request: Request,
        destination: Flow | Uri | None,
        now: float,
        failed: Callable[[SipError], object],
    ) -> None:
        """Locate and send a request without a transaction; *failed* hears of it if it could not be sent."""
        try:
            if isinstance(destination, Flow):
                flow: Flow | None = destination
            else:
                uri = destination or request.next_hop
                flow = self._way(request, uri)
                if flow is None:
                    locator = self._locator(request, uri)
                    unknown = self._ask_cache(locator, now)
                    if locator.done:
                        hop = _first(locator, self._dead, now)
                        flow = self._transports.flow_at_once(hop.transport, (hop.host, hop.port), hop.name)
            if flow is None:
                work = partial(self._send_stateless_later, request, locator, unknown, failed)
                self._spawn(work, f"send {request.method}")
            else:
                self._layer.send(self._filled(request, flow), flow, now)
        except SipError as error:
            self._transports.count("stateless_failures")
            failed(error)

    def cancel(self, user: TransactionUser, order: CancelRequest, now: float) -> None:
        """Carry out a `CancelRequest`: what was not sent never will be, and its sender gets a 487."""
        for attempt in list(self._attempts.get((user, order.sender), ())):
            attempt.cancelled = True
            if attempt.hops is not None:
                attempt.hops.stop()
            if attempt.transaction is not None:
                if attempt.request.method == "INVITE":
                    self._layer.cancel(attempt.transaction, now, order.headers)
                continue
            if attempt.work is not None:
                attempt.work.cancel()
            response = attempt.request.create_response(487, to_tag=self._identifiers.token())
            self._end(attempt, ResponseReceived(None, response, attempt.sender))

    def fill_response(self, flow: Flow, response: Response) -> None:
        """Put our address into the Contact of a response that leaves it to us."""
        if has_placeholder(response):
            fill_contact(response, flow, self.public_address(flow))

    async def close(self) -> None:
        """Give up: whoever waits for a response hears that the endpoint closes."""
        for attempt in [each for attempts in self._attempts.values() for each in attempts]:
            error = TransportError("the endpoint was closed before there was a response")
            self._end(attempt, RequestFailed(attempt.transaction, error, attempt.sender))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- events of the layer about our transactions -------------------------------------------------------------------

    def response_received(self, event: ResponseReceived, now: float) -> None:
        """A response: to the user, or a reason to try the next hop."""
        attempt = event.sender
        assert isinstance(attempt, Attempt)
        response = event.response
        transaction = event.transaction
        if transaction is not None and transaction.flow.transport == UDP:
            self._learn(transaction.flow, response)
        status = response.status
        hops = attempt.hops
        if status < 200:
            if hops is not None:
                hops.heard()
        elif not attempt.over:
            if hops is not None and transaction is attempt.transaction:
                following = hops.responded(status, now, _retry_after(response))
                if following is not None:
                    self._transports.count("failovers")
                    self._try(attempt, now)
                    return
            if 200 <= status < 300 and attempt.request.method == "INVITE":
                self._remember_way(attempt)
            self._end(attempt, None)
        self._deliver(attempt.user, event._replace(sender=attempt.sender))

    def timed_out(self, event: RequestTimedOut, now: float) -> None:
        """Timer B or F: the next hop, or the end."""
        attempt = event.sender
        assert isinstance(attempt, Attempt)
        if attempt.over:
            return
        if attempt.hops is not None and attempt.hops.timed_out(now) is not None:
            self._transports.count("failovers")
            self._try(attempt, now)
            return
        self._end(attempt, event._replace(sender=attempt.sender))

    def failed(self, event: RequestFailed, now: float) -> None:
        """The transport failed: the next hop, or the end."""
        attempt = event.sender
        assert isinstance(attempt, Attempt)
        if not attempt.over:
            self._hop_failed(attempt, event.error, event.transaction, now)

    # -- from the order to the wire -----------------------------------------------------------------------------------

    def _locator(self, request: Request, uri: Uri) -> Locator:
        target = Target.from_uri(uri, secure=_is_sips(request.uri))
        supported = self._transports.supported
        if target.transport in _WEBSOCKET:
            supported = (*supported, WS, WSS)
        large = False
        if UDP in supported and target.transport in (None, UDP):
            # §18.1.1: "within 200 bytes of the path MTU, or [...] larger than 1300 bytes and the path MTU is unknown"
            large = len(request.encode()) + _VIA_SIZE > self._limits.datagram_request
            if large and target.transport == UDP and TCP not in supported:
                large = False
        policy = LocatingPolicy(families=self._transports.families)
        return Locator(target, supported, self._identifiers, policy=policy, large=large)

    def _ask_cache(self, locator: Locator, now: float) -> list[Question]:
        """Answer what the cache knows; returns the questions that remain."""
        unknown: list[Question] = []
        while not locator.done:
            questions = locator.take_questions()
            if not questions:
                break
            for question in questions:
                answer = self._dns.known(question)
                if answer is None:
                    unknown.append(question)
                else:
                    locator.answer(question, answer, now)
        return unknown

    async def _ask_resolver(self, locator: Locator, unknown: list[Question]) -> None:
        while not locator.done:
            questions = unknown or locator.take_questions()
            unknown = []
            answers: list[tuple[Record, ...] | LookupFailed]
            answers = await asyncio.gather(*(self._dns.ask(question) for question in questions))
            for question, answer in zip(questions, answers, strict=True):
                locator.answer(question, answer, self._loop.time())

    async def _locate(self, attempt: Attempt, locator: Locator, unknown: list[Question]) -> None:
        await self._ask_resolver(locator, unknown)
        attempt.work = None
        if not attempt.over:
            self._located(attempt, locator, self._loop.time())

    def _located(self, attempt: Attempt, locator: Locator, now: float) -> None:
        if not locator.hops:
            error = TransportError(f"no way to {attempt.target}: {locator.reason}")
            self._end(attempt, RequestFailed(None, error, attempt.sender))
            return
        attempt.hops = HopSequence(locator.hops, self._dead, now)
        self._try(attempt, now)

    def _try(self, attempt: Attempt, now: float) -> None:
        """Send to the current hop; while that fails at once, to the next."""
        hops = attempt.hops
        assert hops is not None
        attempt.transaction = None
        while True:
            hop = hops.current
            try:
                flow = self._transports.flow_at_once(hop.transport, (hop.host, hop.port), hop.name)
            except TransportError as error:
                if hops.failed(str(error), now) is None:
                    self._end(attempt, RequestFailed(None, error, attempt.sender))
                    return
                continue
            if flow is None:
                self._work(attempt, partial(self._open, attempt, hop.transport, (hop.host, hop.port), hop.name))
            else:
                self._send_on(attempt, flow, now)
            return

    async def _open(self, attempt: Attempt, transport: str, remote: tuple[str, int], name: str) -> None:
        try:
            flow = await self._transports.open_flow(transport, remote, name)
        except TransportError as error:
            attempt.work = None
            if not attempt.over:
                self._hop_failed(attempt, error, None, self._loop.time())
            return
        attempt.work = None
        if not attempt.over:
            self._send_on(attempt, flow, self._loop.time())

    def _send_on(self, attempt: Attempt, flow: Flow, now: float) -> None:
        attempt.flow = flow
        try:
            attempt.transaction = self._layer.send_request(
                self._filled(attempt.request, flow), flow, now, sender=attempt
            )
        except LocalProtocolError as error:  # an ACK: not the hop's fault
            self._end(attempt, RequestFailed(None, error, attempt.sender))

    def _hop_failed(self, attempt: Attempt, error: SipError, transaction: ClientTransaction | None, now: float) -> None:
        hops = attempt.hops
        if hops is not None and hops.failed(str(error), now) is not None:
            self._transports.count("failovers")
            self._try(attempt, now)
            return
        if hops is not None and len(hops.failures) > 1:
            error = TransportError(f"no hop could be reached: {hops.reason}")
        self._end(attempt, RequestFailed(transaction, error, attempt.sender))

    def _end(self, attempt: Attempt, outcome: Event | None) -> None:
        """The one outcome; None when it is delivered by the caller."""
        if attempt.over:
            return
        attempt.over = True
        self._count -= 1
        key = (attempt.user, attempt.sender)
        there = self._attempts[key]
        there.remove(attempt)
        if not there:
            del self._attempts[key]
        if outcome is not None:
            self._deliver(attempt.user, outcome)

    async def _send_stateless_later(
        self,
        request: Request,
        locator: Locator,
        unknown: list[Question],
        failed: Callable[[SipError], object],
    ) -> None:
        try:
            await self._ask_resolver(locator, unknown)
            now = self._loop.time()
            hop = _first(locator, self._dead, now)
            flow = await self._transports.open_flow(hop.transport, (hop.host, hop.port), hop.name)
            self._layer.send(self._filled(request, flow), flow, self._loop.time())
        except SipError as error:
            self._transports.count("stateless_failures")
            failed(error)
        except Exception as error:  # as in `_guard`
            self._transports.count("internal_errors")
            self._transports.log_mistake("sending", f"sending {request.method} failed")
            failed(TransportError(f"internal error: {error}"))

    def _filled(self, request: Request, flow: Flow) -> Request:
        if not has_placeholder(request):
            return request
        request = request.copy()
        fill_contact(request, flow, self.public_address(flow))
        return request

    # -- the ways of calls --------------------------------------------------------------------------------------------

    def _remember_way(self, attempt: Attempt) -> None:
        if attempt.target is None or attempt.flow is None:
            return
        if len(self._ways) >= self._limits.remembered:
            del self._ways[next(iter(self._ways))]
        self._ways[attempt.request.call_id, str(attempt.target)] = attempt.flow

    def _way(self, request: Request, uri: Uri) -> Flow | None:
        if request.method != "ACK":
            return None
        flow = self._ways.get((request.call_id, str(uri)))
        if flow is None or not self._transports.is_open(flow):
            return None
        return flow

    # -- the address that others see ----------------------------------------------------------------------------------

    @property
    def public_addresses(self) -> dict[tuple[str, tuple[str, int]], tuple[str, int]]:
        """Our address as each peer sees it, by (transport, remote): of those for whom it is not the one we used."""
        return dict(self._public)

    def public_address(self, flow: Flow) -> tuple[str, int] | None:
        """Our address as the peer of *flow* sees it, where that differs from our own."""
        return self._public.get((flow.transport, flow.remote)) if self._public else None

    def _learn(self, flow: Flow, response: Response) -> None:
        """Read `received` and `rport` of our own Via (RFC 3581 §4).

        What a peer says is believed for requests to that very peer only.
        """
        via = response.via
        try:
            received, rport = via.received, via.rport
        except RemoteProtocolError:
            return
        if received is None and rport is None:
            return
        seen = (received or via.host, rport or via.port or 5060)
        if canonical_address(seen[0]) is None:
            return  # a peer that calls us by a name tells nothing
        key = (flow.transport, flow.remote)
        if seen == flow.local:
            self._public.pop(key, None)
        elif self._public.get(key) != seen:
            if len(self._public) >= self._limits.remembered:
                del self._public[next(iter(self._public))]
            self._public[key] = seen
            self._learned(flow, seen)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _work(self, attempt: Attempt, work: Work) -> None:
        guarded = partial(self._guard, attempt, work)
        attempt.work = self._spawn(guarded, f"send {attempt.request.method} {attempt.target or ''}")

    async def _guard(self, attempt: Attempt, work: Work) -> None:
        """A resolver or an event loop of somebody else may raise anything: the sender gets its outcome all the same."""
        try:
            await work()
        except Exception as error:
            self._transports.count("internal_errors")
            self._transports.log_mistake("sending", f"sending {attempt.request.method} failed")
            failure = TransportError(f"internal error: {error}")
            self._end(attempt, RequestFailed(None, failure, attempt.sender))

    def _spawn(self, work: Work, name: str) -> asyncio.Task[None]:
        # The coroutine is made by the task: one that is cancelled before its first step leaves none behind.
        task = self._loop.create_task(self._then_flush(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _then_flush(self, work: Work) -> None:
        try:
            await work()
        finally:
            self._flush()


def _first(locator: Locator, dead: DeadHops, now: float) -> Hop:
    hops = dead.choose(locator.hops, now)
    if not hops:
        raise TransportError(f"no next hop: {locator.reason}")
    return hops[0]


def _name(flow: Flow) -> str:
    return flow.peer_names[0] if flow.peer_names else ""


def _is_sips(uri: Uri) -> bool:
    return uri.scheme == "sips"


def _retry_after(response: Response) -> float | None:
    try:
        value = response.headers.one(RETRY_AFTER)
    except RemoteProtocolError:
        return None
    return None if value is None else float(value.seconds)
