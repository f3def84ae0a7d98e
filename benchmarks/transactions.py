"""Transactions and calls in memory: time, bytes and timer entries, without a socket.

Two elements hand each other datagrams.  The clock is an argument, so the 32 s for which a transaction lingers pass as
fast as the calls do: every figure is taken with as many lingering ones as RATE calls per second leave behind.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Hashable

import report

from switchroom.net.identifiers import SystemIdentifiers
from switchroom.sip.flow import Flow
from switchroom.sip.headers import Address
from switchroom.sip.layer import CancelReceived, RequestReceived, ResponseReceived, TransactionLayer
from switchroom.sip.message import Request
from switchroom.sip.orders import CancelRequest, SendAck, SendRequest, SendResponse
from switchroom.sip.session_events import IncomingRequest, IncomingSession, SessionAnswered
from switchroom.sip.timers import NEVER, Timed, TimerQueue
from switchroom.sip.transaction import ClientTransaction, ServerTransaction
from switchroom.sip.uri import parse_uri
from switchroom.sip.user_agent import UserAgent
from switchroom.sip.user_agent_settings import UserAgentSettings

RATE = 250.0  # per second of the elements' own clock
LINGER = 40.0  # seconds after which nothing of a transaction is left
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def flow(host: str, peer: str) -> Flow:
    """The flow between two hosts, as *host* sees it."""
    return Flow("UDP", (peer, 5060), (host, 5060), f"{host}:5060")


class Clock:
    """The time of both elements."""

    def __init__(self) -> None:
        self.now = 1000.0


# -- the transaction layer alone ---------------------------------------------------------------------------------------


class Layers:
    """A client's and a server's transaction layer, and as little of a transaction user as can be."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ids = SystemIdentifiers()
        self.client = TransactionLayer(self.ids)
        self.server = TransactionLayer(self.ids)
        self.to_server = flow("192.0.2.1", "192.0.2.2")
        self.to_client = flow("192.0.2.2", "192.0.2.1")
        self.uri = parse_uri("sip:bob@192.0.2.2")
        self.last_client: ClientTransaction | None = None
        self.last_server: ServerTransaction | None = None
        self.final: dict[str, int] = {}

    def request(self, method: str) -> None:
        """Send one request; the server answers as `serve` says."""
        clock = self.clock
        clock.now += 1 / RATE
        request = Request.build(
            method,
            self.uri,
            from_=f"<sip:alice@192.0.2.1>;tag={self.ids.token()}",
            to="<sip:bob@192.0.2.2>",
            call_id=self.ids.token(128),
            cseq=1,
            headers=(("Contact", "<sip:alice@192.0.2.1>"),),
        )
        self.last_client = self.client.send_request(request, self.to_server, clock.now)
        self.exchange()
        self.client.handle_timers(clock.now)
        self.server.handle_timers(clock.now)

    def exchange(self) -> None:
        """Hand over datagrams until there are none."""
        now = self.clock.now
        client, server = self.client, self.server
        while True:
            output = client.take_output()
            for _, data in output:
                server.receive(data, self.to_client, now)
            self.serve(now)
            answers = server.take_output()
            for _, data in answers:
                client.receive(data, self.to_server, now)
            client.take_events()
            if not output and not answers:
                return

    def serve(self, now: float) -> None:
        """Answer OPTIONS 200 and INVITE 180; a cancelled one 487."""
        for event in self.server.take_events():
            if isinstance(event, RequestReceived):
                self.last_server = event.transaction
                status = self.final.get(event.request.method, 200)
                response = event.request.create_response(status, to_tag=self.ids.token())
                self.server.send_response(event.transaction, response, now)
            elif isinstance(event, CancelReceived) and event.transaction.request is not None:
                response = event.transaction.request.create_response(487, to_tag=self.ids.token())
                self.server.send_response(event.transaction, response, now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        for _ in range(int(seconds)):
            self.clock.now += 1.0
            self.client.handle_timers(self.clock.now)
            self.server.handle_timers(self.clock.now)
            self.exchange()

    def options(self) -> None:
        """One OPTIONS and its 200."""
        self.request("OPTIONS")

    def cancelled_invite(self) -> None:
        """INVITE, 180, CANCEL, 200, 487, ACK."""
        self.request("INVITE")
        assert self.last_client is not None
        self.client.cancel(self.last_client, self.clock.now)
        self.exchange()


# -- user agents -------------------------------------------------------------------------------------------------------


class Element:
    """A user agent on its layer, driven as an endpoint drives it."""

    def __init__(self, clock: Clock, name: str, host: str, peer: str) -> None:
        ids = SystemIdentifiers()
        self.clock = clock
        self.address = Address("", parse_uri(f"sip:{name}@{host}"))
        self.layer = TransactionLayer(ids)
        # Without 100rel: its PRACK would make eight datagrams of the six of a basic call.
        self.agent = UserAgent(UserAgentSettings(contact=self.address, supported=("timer", "replaces")), ids)
        self.flow = flow(host, peer)
        self.on_event: Callable[[object], None] | None = None
        self.pending: dict[Hashable, ClientTransaction] = {}

    def receive(self, data: bytes) -> None:
        """A datagram from the other element."""
        self.layer.receive(data, self.flow, self.clock.now)

    def handle_timers(self) -> None:
        """Time has passed."""
        self.layer.handle_timers(self.clock.now)
        self.agent.handle_timers(self.clock.now)

    def settle(self) -> list[bytes]:
        """Events up, orders down; what is to be sent."""
        layer, agent, now = self.layer, self.agent, self.clock.now
        while True:
            events = layer.take_events()
            for event in events:
                if isinstance(event, ResponseReceived) and event.response.status >= 200:
                    self.pending.pop(event.sender, None)
                agent.receive(event, now)
            for told in agent.take_events():
                if self.on_event is not None:
                    self.on_event(told)
            orders = agent.take_orders()
            for order in orders:
                if isinstance(order, SendRequest):
                    self.pending[order.sender] = layer.send_request(order.request, self.flow, now, order.sender)
                elif isinstance(order, SendResponse):
                    layer.send_response(order.transaction, order.response, now)
                elif isinstance(order, SendAck):
                    layer.send(order.request, self.flow, now)
                elif isinstance(order, CancelRequest):
                    layer.cancel(self.pending[order.sender], now, order.headers)
            if not events and not orders:
                return [data for _, data in layer.take_output()]


class Agents:
    """Two user agents; the one called rings, answers, and says 200 to everything."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.caller = Element(self.clock, "alice", "192.0.2.1", "192.0.2.2")
        self.callee = Element(self.clock, "bob", "192.0.2.2", "192.0.2.1")
        self.caller.on_event = self.caller_told
        self.callee.on_event = self.callee_told
        self.hang_up = True
        self.datagrams = 0
        self.answered = 0
        self.target = parse_uri("sip:bob@192.0.2.2")

    def callee_told(self, event: object) -> None:
        """What the called application does."""
        if isinstance(event, IncomingSession):
            event.session.progress(self.clock.now, 180)
            event.session.answer(self.clock.now, SDP)
        elif isinstance(event, IncomingRequest):
            self.callee.agent.respond(event, 200)

    def caller_told(self, event: object) -> None:
        """What the calling application does."""
        if isinstance(event, SessionAnswered):
            self.answered += 1
            if self.hang_up:
                event.session.hang_up(self.clock.now)

    def exchange(self) -> None:
        """Hand over datagrams until there are none."""
        while True:
            out = self.caller.settle()
            for data in out:
                self.callee.receive(data)
            back = self.callee.settle()
            for data in back:
                self.caller.receive(data)
            self.datagrams += len(out) + len(back)
            if not out and not back:
                return

    def call(self) -> None:
        """INVITE, 180, 200, ACK, and unless `hang_up` is off BYE, 200."""
        self.clock.now += 1 / RATE
        self.caller.agent.invite(self.clock.now, self.target, from_=self.caller.address, body=SDP)
        self.exchange()
        self.caller.handle_timers()
        self.callee.handle_timers()

    def options(self) -> None:
        """One OPTIONS and its 200."""
        self.clock.now += 1 / RATE
        request = self.caller.agent.create_request("OPTIONS", self.target, from_=self.caller.address)
        self.caller.agent.send(request, self.clock.now)
        self.exchange()
        self.caller.handle_timers()
        self.callee.handle_timers()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        for _ in range(int(seconds)):
            self.clock.now += 1.0
            self.caller.handle_timers()
            self.callee.handle_timers()
            self.exchange()


# -- the figures -------------------------------------------------------------------------------------------------------


def time_each(call: Callable[[], None], *, rounds: int = 10, number: int = 1000) -> dict[str, float]:
    """Microseconds per call, once as many transactions linger as there will ever be."""
    for _ in range(int(RATE * LINGER)):
        call()
    samples = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(number):
            call()
        samples.append((time.process_time() - start) / number * 1e6)
    samples.sort()
    return {"best": round(samples[0], 1), "median": round(samples[len(samples) // 2], 1)}


def cyclic_garbage(call: Callable[[], None], pass_time: Callable[[float], None], number: int = 1000) -> float:
    """Objects per call that only the cyclic collector can free."""
    pass_time(LINGER * 2)
    gc.collect()
    gc.disable()
    try:
        for _ in range(number):
            call()
        pass_time(LINGER * 2)
        return round(gc.collect() / number, 2)
    finally:
        gc.enable()


def bytes_each(call: Callable[[], None], number: int, settle: Callable[[], None] = lambda: None) -> int:
    """What one more call leaves behind in memory."""
    call()
    settle()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(number):
        call()
    settle()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return round((after - before) / number)


def memory() -> dict[str, int]:
    """Bytes per live transaction and per dialog, over 10,000 of each; a client's and a server's together."""
    figures: dict[str, int] = {}
    calm = 1 / RATE / 10_000  # no timer may fire meanwhile

    def still(method: str, status: int) -> int:
        pair = Layers()
        pair.final[method] = status

        def one() -> None:
            pair.request(method)
            pair.clock.now -= 1 / RATE - calm

        size = bytes_each(one, 10_000)
        assert pair.client.client_transactions + pair.server.server_transactions >= 10_000
        return size

    figures["INVITE client and server transaction, ringing"] = still("INVITE", 180)
    figures["INVITE client and server transaction, accepted, lingering"] = still("INVITE", 200)
    figures["OPTIONS client and server transaction, completed, lingering"] = still("OPTIONS", 200)

    agents = Agents()
    agents.hang_up = False
    total = bytes_each(agents.call, 10_000, lambda: agents.pass_time(LINGER))
    assert len(agents.callee.agent.sessions) == 10_001
    assert agents.callee.layer.server_transactions == 0
    figures["dialog with its session, per end"] = round(total / 2)
    return figures


def timer_heap(number: int) -> dict[str, int]:
    """The timer heap before, during and after transactions that are opened and cancelled."""
    layers = Layers()
    layers.final["INVITE"] = 180
    queue = layers.client._queue
    before = len(queue)
    peak = most = 0
    for _ in range(number):
        layers.cancelled_invite()
        peak = max(peak, len(queue))
        most = max(most, layers.client.client_transactions)
    layers.pass_time(2 * LINGER)
    assert layers.client.client_transactions == layers.server.server_transactions == 0
    return {"transactions": number, "before": before, "peak": peak, "most live": most, "after": len(queue)}


def bare_heap(number: int) -> dict[str, int]:
    """The same for the queue alone: *number* items queued at once, then all cancelled."""
    queue = TimerQueue()
    items = [Timed() for _ in range(number)]
    for index, item in enumerate(items):
        item.retry_at = 1.0 + index
        queue.touch(item)
    peak = len(queue)
    for item in items:
        item.retry_at = NEVER
        queue.discard(item)
    return {"items": number, "before": 0, "peak": peak, "after": len(queue)}


def main() -> None:
    """Print the figures, and keep them."""
    quick = "--quick" in sys.argv
    layers = Layers()
    agents = Agents()
    rounds = 3 if quick else 15
    times = {
        "OPTIONS, two transaction layers": time_each(layers.options, rounds=rounds),
        "OPTIONS, two user agents": time_each(agents.options, rounds=rounds),
        "call, two user agents": time_each(agents.call, rounds=rounds),
    }
    agents.datagrams = agents.answered = 0
    agents.call()
    assert (agents.datagrams, agents.answered) == (6, 1), f"{agents.datagrams} datagrams, {agents.answered} answers"
    print("µs, both ends, best round (median)")
    for name, timing in times.items():
        print(f"  {name:50}{timing['best']:8.1f} ({timing['median']:.1f})")
    garbage = {
        "OPTIONS": cyclic_garbage(agents.options, agents.pass_time),
        "call": cyclic_garbage(agents.call, agents.pass_time),
    }
    print("objects that only the cyclic collector frees")
    for name, count in garbage.items():
        print(f"  {name:50}{count:8.2f}")
    sizes = memory()
    print("bytes each, over 10,000")
    for name, size in sizes.items():
        print(f"  {name:62}{size:8,}")
    number = 20_000 if quick else 200_000
    heaps = {"layer": timer_heap(number), "queue": bare_heap(200_000)}
    for name, heap in heaps.items():
        print(f"timer heap of the {name}: " + ", ".join(f"{key} {value:,}" for key, value in heap.items()))
        assert heap["after"] <= 64, "the heap did not shrink"
    report.keep(
        "transactions",
        {"us": times, "cyclic_garbage": garbage, "bytes": sizes, "timer_heap": heaps},
        {},
        final="--final" in sys.argv,
    )


if __name__ == "__main__":
    main()
