"""From the order to its one outcome: locating, failover, cancelling, time-outs."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest

from switchroom.net import Endpoint, IncomingRequest, RequestTimeout, SystemIdentifiers, TransportLimits
from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.identifiers import Identifiers
from switchroom.sip.layer import Event, RequestFailed, RequestTimedOut, ResponseReceived
from switchroom.sip.orders import CancelRequest, Order, SendRequest
from switchroom.sip.timers import NEVER, TimerValues

FAST = TimerValues(t1=0.01, t2=0.04, t4=0.05)
LISTEN = "udp:127.0.0.1:0"


class Recorder:
    """A transaction user that only gives the orders it is told to, and writes down what comes back."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def receive(self, event: Event, now: float) -> None:
        self.events.put_nowait(event)

    def handle_timers(self, now: float) -> None: ...

    def next_timer(self) -> float:
        return NEVER

    def take_orders(self) -> list[Order]:
        orders, self.orders = self.orders, []
        return orders

    def take_events(self) -> list[object]:
        return []


def answering(status: int, *listen: str, **headers: str) -> tuple[Endpoint, list[str]]:
    endpoint = Endpoint(listen or [LISTEN])
    seen: list[str] = []

    @endpoint.on("OPTIONS")
    def answer(incoming: IncomingRequest) -> None:
        seen.append(incoming.request.via.branch or "")
        incoming.respond(status, headers=[(name.replace("_", "-"), value) for name, value in headers.items()])

    return endpoint, seen


@pytest.fixture
def dead_port() -> Any:
    """A UDP port where nobody listens: it is bound for a moment only, but to no use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return port


@pytest.fixture
def silent_port() -> Any:
    """A UDP port that takes everything and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def two_hops(wire: Any, first: int, second: int) -> Any:
    resolver = wire.resolver()
    resolver.srv("_sip._udp.example.test", (1, "one.test", first), (2, "two.test", second))
    resolver.a("one.test", "127.0.0.1")
    resolver.a("two.test", "127.0.0.1")
    return resolver


def test_a_refused_hop_is_passed_over_and_set_aside(run: Any, wire: Any, dead_port: int) -> None:
    """ICMP port unreachable ends the attempt at once (RFC 3261 §18.4), and RFC 3263 §4.3 goes to the next hop."""

    async def main() -> None:
        called, seen = answering(200)
        async with called:
            resolver = two_hops(wire, dead_port, called.listeners[0].port)
            async with Endpoint([LISTEN], resolver=resolver) as caller:
                for _ in range(3):
                    assert (await caller.request(wire.request("OPTIONS", "sip:example.test"))).status == 200
                assert caller.counters["failovers"] == 1
                assert caller.counters["icmp_errors"] == 1
                assert len(seen) == 3
                assert len(set(resolver.asked)) == len(resolver.asked)  # the cache answered the rest

    run(main)


def test_a_silent_hop_is_passed_over_after_timer_f(run: Any, wire: Any, silent_port: int) -> None:
    async def main() -> None:
        called, _ = answering(200)
        async with called:
            resolver = two_hops(wire, silent_port, called.listeners[0].port)
            async with Endpoint([LISTEN], resolver=resolver, timers=FAST) as caller:
                assert (await caller.request(wire.request("OPTIONS", "sip:example.test"))).status == 200
                assert caller.counters["failovers"] == 1

    run(main)


def test_503_goes_to_the_next_hop_and_each_attempt_has_its_own_branch(run: Any, wire: Any) -> None:
    async def main() -> None:
        busy, first = answering(503, Retry_After="60")
        called, second = answering(200)
        async with busy, called:
            resolver = two_hops(wire, busy.listeners[0].port, called.listeners[0].port)
            async with Endpoint([LISTEN], resolver=resolver) as caller:
                for _ in range(2):
                    assert (await caller.request(wire.request("OPTIONS", "sip:example.test"))).status == 200
                assert len(first) == 1  # its Retry-After is respected
                assert len(second) == 2
                assert len({*first, *second}) == 3

    run(main)


def test_the_last_503_is_the_outcome(run: Any, wire: Any) -> None:
    async def main() -> None:
        busy, seen = answering(503)
        async with busy, Endpoint([LISTEN]) as caller:
            assert (await caller.request(wire.request("OPTIONS", wire.uri(busy.listeners[0])))).status == 503
            assert len(seen) == 1

    run(main)


def test_nobody_answers(run: Any, wire: Any, silent_port: int) -> None:
    async def main() -> None:
        async with Endpoint([LISTEN], timers=FAST) as caller:
            with pytest.raises(RequestTimeout, match="no final response"):
                await caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{silent_port}"))

    run(main)


def test_every_hop_fails(run: Any, wire: Any, dead_port: int) -> None:
    async def main() -> None:
        resolver = two_hops(wire, dead_port, dead_port)
        resolver.records["two.test", "A"] = ["127.0.0.2"]
        async with Endpoint([LISTEN], resolver=resolver) as caller:
            with pytest.raises(TransportError, match=r"no hop could be reached: .*127\.0\.0\.1.*127\.0\.0\.2"):
                await caller.request(wire.request("OPTIONS", "sip:example.test"))

    run(main)


def test_a_name_that_leads_nowhere_and_a_resolver_that_fails(run: Any, wire: Any) -> None:
    async def main() -> None:
        resolver = wire.resolver()
        async with Endpoint([LISTEN], resolver=resolver) as caller:
            with pytest.raises(TransportError, match=r"no way to sip:nowhere\.test.*no address"):
                await caller.request(wire.request("OPTIONS", "sip:nowhere.test"))
            resolver.broken.add("broken.test")
            with pytest.raises(TransportError, match=r"no way to sip:broken\.test:5060.*SERVFAIL"):
                await caller.request(wire.request("OPTIONS", "sip:broken.test:5060"))
            with pytest.raises(LocalProtocolError, match="cannot locate a server for tel"):
                await caller.request(wire.request("OPTIONS", "tel:+4930123"))

    run(main)


def test_a_resolver_that_crashes_ends_the_request_all_the_same(run: Any, wire: Any, caplog: Any) -> None:
    class Crashing:
        async def resolve(self, name: str, kind: str) -> Any:
            raise ZeroDivisionError("a mistake in somebody's resolver")

    async def main() -> None:
        async with Endpoint([LISTEN], resolver=Crashing()) as caller:
            with pytest.raises(TransportError, match="internal error: a mistake"):
                await caller.request(wire.request("OPTIONS", "sip:example.test"))
            assert caller.counters["internal_errors"] == 1

    run(main)


def test_a_resolver_that_crashes_under_a_stateless_request_is_nobodys_end(run: Any, wire: Any, caplog: Any) -> None:
    class Crashing:
        async def resolve(self, name: str, kind: str) -> Any:
            raise ZeroDivisionError("a mistake in somebody's resolver")

    async def main() -> None:
        async with Endpoint([LISTEN], resolver=Crashing()) as caller:
            for _ in range(5):
                caller.send_stateless(wire.request("OPTIONS", "sip:example.test"))
            while caller.counters.get("internal_errors", 0) < 5:  # noqa: ASYNC110 — nothing else tells
                await asyncio.sleep(0)
        assert [record.getMessage() for record in caplog.records if record.exc_info] == ["sending OPTIONS failed"]

    run(main)


def test_nobody_waits_any_more_for_a_resolver_that_crashes(run: Any, wire: Any) -> None:
    resolving = asyncio.Event()

    class Crashing:
        async def resolve(self, name: str, kind: str) -> Any:
            resolving.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise ZeroDivisionError("a mistake in somebody's resolver")

    async def main() -> None:
        async with Endpoint([LISTEN], resolver=Crashing()) as caller:
            waiting = asyncio.create_task(caller.request(wire.request("OPTIONS", "sip:example.test")))
            await resolving.wait()
            waiting.cancel()
            await asyncio.wait([waiting])
            for _ in range(5):
                await asyncio.sleep(0)
            gc.collect()

    run(main)


def test_what_is_cancelled_before_it_was_sent_never_is(run: Any, wire: Any) -> None:
    async def main() -> None:
        called, seen = answering(200)
        user = Recorder()
        resolver = wire.resolver()
        resolver.gate.clear()
        async with called, Endpoint([LISTEN], [user], resolver=resolver) as caller:
            user.orders.append(SendRequest(wire.request("INVITE", "sip:example.test"), "call"))
            caller.flush()
            user.orders.append(CancelRequest("call"))
            caller.flush()
            event = await user.events.get()
            assert isinstance(event, ResponseReceived)
            assert (event.sender, event.response.status, event.transaction) == ("call", 487, None)
            resolver.gate.set()
            assert (await caller.request(wire.request("OPTIONS", wire.uri(called.listeners[0])))).status == 200
            assert user.events.empty()
            assert len(seen) == 1

    run(main)


def test_cancelling_an_invite_ends_it_with_487(run: Any, wire: Any) -> None:
    async def main() -> None:
        called, ringing = Endpoint([LISTEN]), asyncio.Event()
        cancelled: list[bool] = []

        @called.on("INVITE")
        async def ring(incoming: IncomingRequest) -> None:
            incoming.respond(180)
            ringing.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(incoming.answered)
                raise

        async with called, Endpoint([LISTEN]) as caller:
            provisional: list[int] = []
            uri = wire.uri(called.listeners[0])
            user = Recorder()
            caller.run_user(user)
            user.orders.append(SendRequest(wire.request("INVITE", uri), "call"))
            caller.flush()
            await ringing.wait()
            user.orders.append(CancelRequest("call", (("Reason", "SIP;cause=200"),)))
            caller.flush()
            while True:
                event = await user.events.get()
                assert isinstance(event, ResponseReceived)
                provisional.append(event.response.status)
                if event.response.status >= 200:
                    break
            assert provisional == [180, 487]
            assert cancelled == [True]

    run(main)


def test_giving_up_a_request_is_no_error(run: Any, wire: Any, silent_port: int) -> None:
    async def main() -> None:
        async with Endpoint([LISTEN]) as caller:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{silent_port}"))
            await caller.close(grace=0.0)

    run(main)


def test_each_sender_gets_exactly_one_outcome(run: Any, wire: Any, dead_port: int, silent_port: int) -> None:
    async def main() -> None:
        called, _ = answering(404)
        user = Recorder()
        async with called, Endpoint([LISTEN], [user], timers=FAST) as caller:
            wanted = {
                "answered": (wire.uri(called.listeners[0]), ResponseReceived),
                "refused": (f"sip:bob@127.0.0.1:{dead_port}", RequestFailed),
                "silent": (f"sip:bob@127.0.0.1:{silent_port}", RequestTimedOut),
                "nowhere": ("tel:+49", RequestFailed),
            }
            for sender, (uri, _) in wanted.items():
                user.orders.append(SendRequest(wire.request("OPTIONS", uri), sender))
            caller.flush()
            outcomes = {}
            for _ in wanted:
                event = await user.events.get()
                outcomes[event.sender] = type(event)
            assert outcomes == {sender: kind for sender, (_, kind) in wanted.items()}
            assert user.events.empty()

    run(main)


def test_too_many_requests_at_once_fail_instead_of_piling_up(run: Any, wire: Any, silent_port: int) -> None:
    async def main() -> None:
        user = Recorder()
        async with Endpoint([LISTEN], [user], limits=TransportLimits(attempts=3)) as caller:
            for number in range(4):
                request = wire.request("OPTIONS", f"sip:bob@127.0.0.1:{silent_port}")
                user.orders.append(SendRequest(request, number))
            caller.flush()
            event = await user.events.get()
            assert isinstance(event, RequestFailed)
            assert event.sender == 3
            await caller.close(grace=0.0)
            assert sorted(user.events.get_nowait().sender for _ in range(3)) == [0, 1, 2]  # told at the end

    run(main)


def test_the_ack_of_a_2xx_goes_the_way_of_its_invite(run: Any, wire: Any) -> None:
    """With several SRV hops of one weight, the ACK must not be drawn to another server."""

    async def main() -> None:
        acks: asyncio.Queue[int] = asyncio.Queue()
        invites: list[int] = []
        endpoints = [Endpoint([LISTEN]) for _ in range(4)]
        for number, endpoint in enumerate(endpoints):

            def invited(incoming: IncomingRequest, number: int = number) -> None:
                invites.append(number)
                incoming.respond(200, headers=[("Contact", "<sip:bob@0.0.0.0>")])

            endpoint.on("INVITE")(invited)
            endpoint.on("ACK")(lambda incoming, number=number: acks.put_nowait(number))
            await endpoint.start()
        resolver = wire.resolver()
        for endpoint in endpoints:
            resolver.srv("_sip._udp.example.test", (1, "host.test", endpoint.listeners[0].port))
        resolver.a("host.test", "127.0.0.1")
        async with Endpoint([LISTEN], resolver=resolver) as caller:
            for _ in range(8):
                invite = wire.request("INVITE", "sip:example.test")
                response = await caller.request(invite)
                ack = invite.copy()
                ack.method = "ACK"
                ack.headers.set("CSeq", f"{invite.cseq.number} ACK")
                ack.headers.set("To", str(response.to))
                caller.send_stateless(ack)
                assert await acks.get() == invites[-1]
        for endpoint in endpoints:
            await endpoint.close(grace=0.0)

    run(main)


def test_identifiers_are_the_systems() -> None:
    identifiers: Identifiers = SystemIdentifiers()
    tokens = {identifiers.token(bits) for bits in (8, 32, 64, 65, 128)}
    assert [len(token) for token in sorted(tokens, key=len)] == [2, 8, 16, 18, 32]
    assert 0 <= identifiers.random() < 1
