"""One port, several users: who gets what, and what nobody wants is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from switchroom.net import Endpoint, IncomingRequest, TransportLimits
from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.flow import Flow
from switchroom.sip.layer import AckReceived, CancelReceived, Event, RequestReceived, ResponseFailed
from switchroom.sip.message import Request
from switchroom.sip.orders import Order, SendResponse
from switchroom.sip.timers import NEVER, TimerValues

LISTEN = "udp:127.0.0.1:0"


class Answering:
    """A transaction user that answers everything with one status, and owns the dialogs of one Call-ID."""

    def __init__(self, status: int, *, owned: str = "") -> None:
        self.status = status
        self.owned = owned
        self.events: list[Event] = []
        self.came = asyncio.Event()
        self.due = NEVER
        self.timed = asyncio.Event()
        self.happened: list[object] = []
        self._orders: list[Order] = []

    def owns(self, request: Request) -> bool:
        return request.call_id == self.owned

    def receive(self, event: Event, now: float) -> None:
        self.events.append(event)
        self.came.set()
        if isinstance(event, RequestReceived) and self.status:
            self.happened.append(f"answered {event.request.method}")
            self._orders.append(SendResponse(event.transaction, event.request.create_response(self.status, to_tag="t")))
        elif isinstance(event, CancelReceived):
            invite = event.transaction.request
            assert invite is not None
            self._orders.append(SendResponse(event.transaction, invite.create_response(487, to_tag="t")))

    def handle_timers(self, now: float) -> None:
        if self.due <= now:
            self.due = NEVER
            self.timed.set()

    def next_timer(self) -> float:
        return self.due

    def take_orders(self) -> list[Order]:
        orders, self._orders = self._orders, []
        return orders

    def take_events(self) -> list[object]:
        happened, self.happened = self.happened, []
        return happened


async def status_of(caller: Endpoint, wire: Any, called: Endpoint, method: str = "OPTIONS", **headers: str) -> int:
    response = await caller.request(wire.request(method, wire.uri(called.listeners[0]), **headers))
    return response.status


def test_dialog_before_chooser_before_handler(run: Any, wire: Any) -> None:
    async def main() -> None:
        by_dialog, chosen = Answering(201), Answering(202)

        def choose(request: Request, flow: Flow) -> Answering | None:
            return chosen if request.method == "MESSAGE" else None

        called = Endpoint([LISTEN], [by_dialog, chosen], chooser=choose)
        called.on("OPTIONS", "MESSAGE")(lambda incoming: incoming.respond(200))
        async with called, Endpoint([LISTEN]) as caller:
            assert await status_of(caller, wire, called, "MESSAGE") == 202
            assert await status_of(caller, wire, called, "OPTIONS") == 200
            request = wire.request("OPTIONS", wire.uri(called.listeners[0]))
            by_dialog.owned = request.call_id
            assert (await caller.request(request)).status == 201
            assert await status_of(caller, wire, called, "SUBSCRIBE") == 405

    run(main)


def test_without_a_chooser_the_first_user_has_what_no_handler_has(run: Any, wire: Any) -> None:
    async def main() -> None:
        first, second = Answering(201), Answering(202)
        called = Endpoint([LISTEN], [first, second])
        called.on("OPTIONS")(lambda incoming: incoming.respond(200))
        async with called, Endpoint([LISTEN]) as caller:
            assert await status_of(caller, wire, called, "OPTIONS") == 200
            assert await status_of(caller, wire, called, "MESSAGE") == 201
            called.remove_user(first)
            assert await status_of(caller, wire, called, "MESSAGE") == 202

    run(main)


def test_what_nobody_wants(run: Any, wire: Any) -> None:
    """RFC 3261 §8.2.1, §9.2, §12.2.2, §8.2.2.3."""

    async def main() -> None:
        called = Endpoint([LISTEN], supported=["path"])
        called.on("MESSAGE")(lambda incoming: incoming.respond(200))
        async with called, Endpoint([LISTEN]) as caller:
            response = await caller.request(wire.request("INVITE", wire.uri(called.listeners[0])))
            assert (response.status, response.allow) == (405, ("MESSAGE",))
            assert response.to.tag
            assert await status_of(caller, wire, called, "DANCE") == 501
            request = wire.request("BYE", wire.uri(called.listeners[0]))
            request.headers.set("To", "<sip:bob@example.test>;tag=unknown")
            assert (await caller.request(request)).status == 481
            assert await status_of(caller, wire, called, "CANCEL") == 481
            assert await status_of(caller, wire, called, "MESSAGE", Require="path") == 200
            response = await caller.request(
                wire.request("MESSAGE", wire.uri(called.listeners[0]), Require="path, 100rel")
            )
            assert (response.status, response.headers.get("Unsupported")) == (420, "100rel")
            assert await status_of(caller, wire, called, "MESSAGE", Require=",;,") == 400

    run(main)


def test_a_user_hears_of_the_ack_the_cancel_and_the_missing_ack(run: Any, wire: Any) -> None:
    async def main() -> None:
        user = Answering(0)
        called = Endpoint([LISTEN], [user], timers=TimerValues(t1=0.01, t2=0.02, t4=0.02))
        async with called, Endpoint([LISTEN]) as caller:
            uri = wire.uri(called.listeners[0])
            asking = asyncio.create_task(caller.request(wire.request("INVITE", uri)))
            await user.came.wait()
            asking.cancel()  # which cancels the INVITE
            await asyncio.wait([asking])
            while not any(isinstance(event, CancelReceived) for event in user.events):
                user.came.clear()
                await user.came.wait()
            user.status = 200
            response = await caller.request(wire.request("INVITE", uri))
            ack = wire.request("INVITE", uri)
            ack.method = "ACK"
            ack.headers.set("CSeq", f"{response.cseq.number} ACK")
            caller.send_stateless(ack)
            while not any(isinstance(event, AckReceived) for event in user.events):
                user.came.clear()
                await user.came.wait()
            user.status = 600
            caller.tap.subscribe(lambda record: None)
            raw = wire.raw("INVITE", transport="UDP")
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=("127.0.0.1", called.listeners[0].port)
            )
            transport.sendto(raw)  # and never an ACK for the 600
            while not any(isinstance(event, ResponseFailed) for event in user.events):
                user.came.clear()
                await user.came.wait()
            transport.close()

    run(main)


def test_timers_and_events_of_a_user(run: Any, wire: Any) -> None:
    async def main() -> None:
        user = Answering(200)
        told: asyncio.Queue[object] = asyncio.Queue()

        async def later(happened: object) -> None:
            await told.put(happened)

        called = Endpoint([LISTEN])
        called.run_user(user, later)
        async with called, Endpoint([LISTEN]) as caller:
            assert await status_of(caller, wire, called) == 200
            assert await told.get() == "answered OPTIONS"
            user.due = asyncio.get_running_loop().time() + 0.02
            called.flush()
            await user.timed.wait()

    run(main)


def test_exceptions_are_answered_500_logged_once_and_stop_nobody(run: Any, wire: Any, caplog: Any) -> None:
    class Broken(Answering):
        def receive(self, event: Event, now: float) -> None:
            raise ZeroDivisionError("a user's mistake")

    async def main() -> None:
        called = Endpoint([LISTEN], [Broken(0)])

        @called.on("OPTIONS")
        def plain(incoming: IncomingRequest) -> None:
            raise ZeroDivisionError("a handler's mistake")

        @called.on("MESSAGE")
        async def coroutine(incoming: IncomingRequest) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError("a coroutine's mistake")

        @called.on("INFO")
        def afterwards(incoming: IncomingRequest) -> None:
            incoming.respond(200)
            raise ZeroDivisionError("a mistake after the answer")

        called.tap.subscribe(lambda record: 1 / 0)  # type: ignore[arg-type, return-value]  # the mistake is the point
        async with called, Endpoint([LISTEN]) as caller:
            for method, status in (("OPTIONS", 500), ("MESSAGE", 500), ("INFO", 200), ("SUBSCRIBE", 500)):
                caplog.clear()
                assert await status_of(caller, wire, called, method) == status
                await asyncio.sleep(0)
                mistakes = [record for record in caplog.records if "tap listener" not in record.getMessage()]
                assert len(mistakes) == 1
                assert mistakes[0].exc_info is not None
            assert called.counters["handler_errors"] == 3
            assert called.counters["user_errors"] == 1

    run(main)


def test_a_mistake_that_every_message_provokes_does_not_flood_the_log(run: Any, wire: Any, caplog: Any) -> None:
    async def main() -> None:
        called = Endpoint([LISTEN])

        @called.on("OPTIONS")
        async def fail(incoming: IncomingRequest) -> None:
            raise ZeroDivisionError("a handler's mistake")

        async with called, Endpoint([LISTEN]) as caller:
            statuses = await asyncio.gather(*(status_of(caller, wire, called) for _ in range(50)))
        assert set(statuses) == {500}
        assert called.counters["handler_errors"] == 50
        lines = [record for record in caplog.records if record.exc_info]
        assert 1 <= len(lines) <= 2  # one per second

    run(main)


def test_a_chooser_that_fails(run: Any, wire: Any, caplog: Any) -> None:
    async def main() -> None:
        def choose(request: Request, flow: Flow) -> None:
            raise ZeroDivisionError

        called = Endpoint([LISTEN], chooser=choose)
        async with called, Endpoint([LISTEN]) as caller:
            assert await status_of(caller, wire, called) == 500

    run(main)


def test_answers_that_are_no_answers(run: Any, wire: Any) -> None:
    async def main() -> None:
        called = Endpoint([LISTEN])
        errors: list[str] = []
        acks: asyncio.Queue[IncomingRequest] = asyncio.Queue()
        called.on("ACK")(acks.put_nowait)

        @called.on("OPTIONS")
        def twice(incoming: IncomingRequest) -> None:
            incoming.respond(200)
            with pytest.raises(LocalProtocolError) as caught:
                incoming.respond(500)
            errors.append(str(caught.value))

        async with called, Endpoint([LISTEN]) as caller:
            assert await status_of(caller, wire, called) == 200
            assert errors == ["the request has its final response already"]
            caller.send_stateless(wire.request("ACK", wire.uri(called.listeners[0])))
            ack = await acks.get()
            with pytest.raises(LocalProtocolError, match="an ACK is not answered"):
                ack.respond(200)
            with pytest.raises(LocalProtocolError, match="give that as destination"):
                called.send_stateless(ack.request.create_response(200))

    run(main)


def test_too_many_coroutine_handlers_are_answered_503(run: Any, wire: Any) -> None:
    async def main() -> None:
        called = Endpoint([LISTEN], limits=TransportLimits(handlers=1))
        proceed, started = asyncio.Event(), asyncio.Event()

        @called.on("OPTIONS")
        async def slow(incoming: IncomingRequest) -> None:
            started.set()
            await proceed.wait()
            incoming.respond(200)

        async with called, Endpoint([LISTEN]) as caller:
            first = asyncio.create_task(status_of(caller, wire, called))
            await started.wait()
            assert await status_of(caller, wire, called) == 503
            proceed.set()
            assert await first == 200

    run(main)


def test_closing_waits_for_what_is_under_way_and_refuses_what_is_new(run: Any, wire: Any) -> None:
    async def main() -> None:
        called = Endpoint([LISTEN, "tcp:127.0.0.1:0"])
        proceed, started = asyncio.Event(), asyncio.Event()

        @called.on("OPTIONS")
        async def slow(incoming: IncomingRequest) -> None:
            started.set()
            await proceed.wait()
            incoming.respond(200)

        async with Endpoint([LISTEN]) as caller:
            await called.start()
            first = asyncio.create_task(status_of(caller, wire, called))
            await started.wait()
            closing = asyncio.create_task(called.close(grace=10.0))
            await asyncio.sleep(0)
            assert await status_of(caller, wire, called, "MESSAGE") == 503
            uri = wire.uri(called.listeners[1])
            with pytest.raises(TransportError):
                await caller.request(wire.request("OPTIONS", uri))
            proceed.set()
            assert await first == 200
            async with asyncio.timeout(0.4):  # at once, not with the next retransmission
                await closing
            await called.close()  # once more does nothing
            with pytest.raises(LocalProtocolError, match="closed"):
                await called.request(wire.request("OPTIONS", "sip:127.0.0.1"))

    run(main)


def test_closing_without_grace_answers_what_is_under_way(run: Any, wire: Any) -> None:
    async def main() -> None:
        called = Endpoint([LISTEN])
        started = asyncio.Event()

        @called.on("OPTIONS")
        async def never(incoming: IncomingRequest) -> None:
            started.set()
            await asyncio.Event().wait()

        async with Endpoint([LISTEN]) as caller:
            await called.start()
            asking = asyncio.create_task(status_of(caller, wire, called))
            await started.wait()
            await called.close(grace=0.0)
            assert await asking == 503

    run(main)


def test_whoever_waits_for_a_response_hears_of_the_close(run: Any, wire: Any) -> None:
    async def main() -> None:
        caller, silent = Endpoint([LISTEN]), Endpoint([LISTEN])
        came = asyncio.Event()
        silent.on("OPTIONS")(lambda incoming: came.set())
        async with silent:
            await caller.start()
            asking = asyncio.create_task(status_of(caller, wire, silent))
            await came.wait()
            await caller.close(grace=0.0)
            with pytest.raises(TransportError, match="the endpoint was closed"):
                await asking
            await silent.close(grace=0.0)

    run(main)


@pytest.mark.parametrize("use", [Endpoint.flush, Endpoint.counters.fget])
def test_before_the_start_nothing_happens(use: Callable[[Endpoint], object]) -> None:
    endpoint = Endpoint([LISTEN])
    use(endpoint)
    with pytest.raises(LocalProtocolError, match="not started"):
        endpoint.send_stateless(Request.build("ACK", "sip:x", from_="<sip:a>", to="<sip:b>", call_id="c", cseq=1))
