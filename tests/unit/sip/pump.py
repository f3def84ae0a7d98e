"""User agents on real transaction layers, joined by a deterministic network of datagrams in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from random import Random
from typing import TypeVar

from switchroom.sip.errors import TransportError
from switchroom.sip.flow import Flow
from switchroom.sip.headers import Address
from switchroom.sip.layer import RequestFailed, RequestTimedOut, ResponseReceived, TransactionLayer
from switchroom.sip.message import Request, Response, parse
from switchroom.sip.orders import CancelRequest, Order, SendAck, SendRequest, SendResponse
from switchroom.sip.session_events import SessionEnded
from switchroom.sip.timers import NEVER
from switchroom.sip.transaction import ClientTransaction
from switchroom.sip.uri import SipUri, parse_uri
from switchroom.sip.user_agent import UserAgent
from switchroom.sip.user_agent_settings import UserAgentSettings

T = TypeVar("T")
SDP = "application/sdp"


def address(text: str) -> Address:
    """An address of just that URI."""
    return Address("", parse_uri(text))


class SeededIdentifiers:
    """Identifiers that repeat from run to run."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def token(self, bits: int = 64) -> str:
        return f"{self._random.getrandbits(bits):0{bits // 4}x}"

    def random(self) -> float:
        return self._random.random()


class Node:
    """One user agent with its layer; `on_event` plays the application."""

    def __init__(self, pump: Pump, name: str, /, **settings: object) -> None:
        self.pump = pump
        self.name = name
        self.host = f"{name}.example"
        ids = SeededIdentifiers(f"{name}/{pump.seed}")
        authenticator = settings.pop("authenticator", None)
        fork_policy = settings.pop("fork_policy", None)
        agent_settings = UserAgentSettings(contact=address(f"sip:{name}@{self.host}"), **settings)  # type: ignore[arg-type]
        self.layer = TransactionLayer(ids, timers=agent_settings.timers)
        if callable(authenticator):
            authenticator = authenticator(ids)
        self.agent = UserAgent(
            agent_settings,
            ids,
            authenticator=authenticator,  # type: ignore[arg-type]
            fork_policy=fork_policy,  # type: ignore[arg-type]
        )
        self.events: list[object] = []
        self.on_event: Callable[[object, float], None] | None = None
        self._pending: dict[Hashable, ClientTransaction] = {}

    @property
    def aor(self) -> Address:
        return address(f"sip:{self.name}@{self.host}")

    def heard(self, kind: type[T]) -> list[T]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type[T]) -> T:
        """The latest event of that kind."""
        return self.heard(kind)[-1]

    def flow_to(self, host: str) -> Flow:
        return Flow("UDP", (host, 5060), (self.host, 5060), f"{self.host}:5060")

    def next_timer(self) -> float:
        return min(self.layer.next_timer(), self.agent.next_timer())

    def receive(self, data: bytes, source: str, now: float) -> None:
        self.layer.receive(data, self.flow_to(source), now)

    def settle(self, now: float) -> None:
        """Events up, orders down, datagrams out, until nothing moves."""
        while True:
            moved = False
            for event in self.layer.take_events():
                moved = True
                if isinstance(event, RequestTimedOut | RequestFailed) or (
                    isinstance(event, ResponseReceived) and event.response.status >= 200
                ):
                    self._pending.pop(event.sender, None)
                self.agent.receive(event, now)
            for told in self.agent.take_events():
                moved = True
                self.events.append(told)
                if self.on_event is not None:
                    self.on_event(told, now)
            for order in self.agent.take_orders():
                moved = True
                self._carry_out(order, now)
            for flow, data in self.layer.take_output():
                moved = True
                self.pump.carry(self.host, flow.remote[0], bytes(data))
            if not moved:
                return

    def _carry_out(self, order: Order, now: float) -> None:
        if isinstance(order, SendResponse):
            self.layer.send_response(order.transaction, order.response, now)
        elif isinstance(order, CancelRequest):
            transaction = self._pending.get(order.sender)
            if transaction is not None:
                self.layer.cancel(transaction, now, order.headers)
        elif isinstance(order, SendAck):
            self.layer.send(order.request, self._locate(order), now)
        else:
            flow = self._locate(order)
            if flow.remote[0] in self.pump.unreachable:
                error = TransportError("refused")
                self.agent.receive(RequestFailed(None, error, order.sender), now)  # type: ignore[arg-type]
                return
            self._pending[order.sender] = self.layer.send_request(order.request, flow, now, sender=order.sender)

    def _locate(self, order: SendRequest | SendAck) -> Flow:
        if isinstance(order.destination, Flow):
            return order.destination
        uri = order.destination or order.request.next_hop
        assert isinstance(uri, SipUri)
        return self.flow_to(uri.host)


class Pump:
    """The network: seeded loss, duplication and jitter (which reorders), and one clock for all nodes."""

    def __init__(
        self, seed: int = 0, *, loss: float = 0.0, duplication: float = 0.0, jitter: float = 0.0, delay: float = 0.01
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.loss = loss
        self.duplication = duplication
        self.jitter = jitter
        self.delay = delay
        self.nodes: dict[str, Node] = {}
        self.groups: dict[str, list[str]] = {}
        """A host whose datagrams reach several nodes: what a forking proxy does to an INVITE."""
        self.unreachable: set[str] = set()
        self.drop: Callable[[str, str, Request | Response], bool] | None = None
        """Loses the messages that it returns True for."""
        self.wire: list[tuple[float, str, str, Request | Response]] = []
        self._random = Random(seed)
        self._queue: list[tuple[float, int, str, str, bytes]] = []
        self._acts: list[tuple[float, int, Callable[[float], object]]] = []
        self._count = 0

    def node(self, name: str, /, **settings: object) -> Node:
        node = Node(self, name, **settings)
        self.nodes[node.host] = node
        return node

    def carry(self, source: str, target: str, data: bytes) -> None:
        if not data.strip():
            return
        message = parse(data)
        for host in self.groups.get(target, [target]):
            self.wire.append((self.now, source, host, message))
            if self.drop is not None and self.drop(source, host, message):
                continue
            copies = 2 if self._random.random() < self.duplication else 1
            for _ in range(copies):
                if self._random.random() < self.loss:
                    continue
                at = self.now + self.delay + self._random.random() * self.jitter
                self._count += 1
                heappush(self._queue, (at, self._count, source, host, data))

    def inject(self, source: str, target: str, message: Request | Response) -> None:
        """Put a message on the wire by hand."""
        self._count += 1
        heappush(self._queue, (self.now, self._count, source, target, message.encode()))

    def at(self, time: float, act: Callable[[float], object]) -> None:
        """Let the application do something at *time*."""
        self._count += 1
        heappush(self._acts, (time, self._count, act))

    def after(self, delay: float, act: Callable[[float], object]) -> None:
        """Let the application do something in *delay* seconds."""
        self.at(self.now + delay, act)

    def settle(self) -> None:
        for node in self.nodes.values():
            node.settle(self.now)

    def run(self, until: float = NEVER) -> float:
        """Let everything happen up to *until*, or until nothing is left to happen; returns the time."""
        self.settle()
        while True:
            at = self._queue[0][0] if self._queue else NEVER
            at = min(at, self._acts[0][0] if self._acts else NEVER)
            for node in self.nodes.values():
                at = min(at, node.next_timer())
            if at > until or at == NEVER:
                if until != NEVER:
                    self.now = max(self.now, until)
                return self.now
            assert at < 1_000_000, "runs for ever"
            self.now = max(self.now, at)
            while self._queue and self._queue[0][0] <= self.now:
                _, _, source, target, data = heappop(self._queue)
                node_at = self.nodes.get(target)
                if node_at is not None:
                    node_at.receive(data, source, self.now)
                    node_at.settle(self.now)
            while self._acts and self._acts[0][0] <= self.now:
                heappop(self._acts)[2](self.now)
                self.settle()
            for node in self.nodes.values():
                if node.next_timer() <= self.now:
                    node.layer.handle_timers(self.now)
                    node.settle(self.now)
                    node.agent.handle_timers(self.now)
                    node.settle(self.now)

    # -- what a test asks afterwards -----------------------------------------------------------------------------

    def sent(self, source: str, what: str | int, method: str | None = None) -> list[tuple[float, Request | Response]]:
        """What *source* put on the wire: requests of a method, or responses of a status (to a method)."""
        host = f"{source}.example"
        return [
            (at, message)
            for at, sender, _, message in self.wire
            if sender == host
            and (
                (isinstance(message, Request) and message.method == what)
                or (isinstance(message, Response) and message.status == what and method in (None, message.cseq.method))
            )
        ]

    def ladder(self) -> list[str]:
        """One short line per message, for assertions and for reading a failure."""
        lines = []
        for at, source, target, message in self.wire:
            what = message.method if isinstance(message, Request) else f"{message.status} {message.cseq.method}"
            lines.append(f"{at:.3f} {source.partition('.')[0]}>{target.partition('.')[0]} {what}")
        return lines

    def assert_clean(self) -> None:
        """Each side of each session was told exactly one end, and nothing is left anywhere."""
        for node in self.nodes.values():
            ended = [event.session for event in node.heard(SessionEnded)]
            assert len(ended) == len(set(ended)), f"{node.name} was told an end twice"
            assert node.agent.idle, f"{node.name} keeps something: {node.agent.__dict__}"
            assert node.next_timer() == NEVER, f"{node.name} has timers left"
