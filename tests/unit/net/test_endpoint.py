"""The endpoint in virtual time: what takes minutes, and what needs a NAT or a network that misbehaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from switchroom.lab import Lab
from switchroom.net import Endpoint, IncomingRequest, RequestTimeout, TransportLimits
from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.flow import Flow
from switchroom.sip.layer import Event, RequestFailed
from switchroom.sip.message import Request
from switchroom.sip.orders import Order, SendAck, SendRequest
from switchroom.sip.timers import NEVER


def request(method: str, uri: str, *, call: str = "call", body: bytes = b"", **headers: str) -> Request:
    return Request.build(
        method,
        uri,
        from_="<sip:alice@example.com>;tag=a",
        to="<sip:bob@example.com>",
        call_id=call,
        cseq=1,
        headers=[(name.replace("_", "-"), value) for name, value in headers.items()],
        body=body,
    )


def answering(endpoint: Endpoint) -> list[IncomingRequest]:
    seen: list[IncomingRequest] = []

    @endpoint.on("OPTIONS", "MESSAGE")
    def answer(incoming: IncomingRequest) -> None:
        seen.append(incoming)
        incoming.respond(200)

    return seen


class Orders:
    """A transaction user that gives prepared orders."""

    def __init__(self, *orders: Order) -> None:
        self.orders = list(orders)
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def receive(self, event: Event, now: float) -> None:
        self.events.put_nowait(event)

    async def next_event(self) -> Event:
        return await self.events.get()

    def handle_timers(self, now: float) -> None: ...

    def next_timer(self) -> float:
        return NEVER

    def take_orders(self) -> list[Order]:
        orders, self.orders = self.orders, []
        return orders

    def take_events(self) -> list[object]:
        return []


async def test_behind_a_nat_the_contact_becomes_the_address_that_the_peer_sees(lab: Lab) -> None:
    """RFC 3581 §4: `received` and `rport` of the first response; believed for that peer only."""
    box = lab.network.nat("box", "198.51.100.1")
    inside = box.host("alice", "10.0.0.2")
    caller = lab.endpoint(inside, ("udp",))
    peers = [lab.endpoint(f"192.0.2.{number}", ("udp",)) for number in (1, 2)]
    seen = [answering(peer) for peer in peers]
    learned: list[tuple[Flow, tuple[str, int]]] = []
    caller.on_public_address(lambda flow, address: learned.append((flow, address)))
    async with caller, peers[0], peers[1]:
        for _ in range(2):
            await caller.request(request("OPTIONS", "sip:192.0.2.1", Contact="<sip:alice@0.0.0.0>"))
        await caller.request(request("OPTIONS", "sip:192.0.2.2", Contact="<sip:alice@0.0.0.0>"))
        contacts = [[each.request.contacts[0].uri.host for each in requests] for requests in seen]  # type: ignore[union-attr]
        assert contacts == [["10.0.0.2", "198.51.100.1"], ["10.0.0.2"]]
        assert [flow.remote[0] for flow, _ in learned] == ["192.0.2.1", "192.0.2.2"]
        assert {address[0] for address in caller.public_addresses.values()} == {"198.51.100.1"}


async def test_a_response_that_lies_about_our_address(lab: Lab) -> None:
    caller, peer = lab.endpoint("192.0.2.1", ("udp",)), lab.endpoint("192.0.2.2", ("udp",))

    @peer.on("OPTIONS")
    def answer(incoming: IncomingRequest) -> None:
        response = incoming.request.create_response(200, to_tag="b")
        via, _, _ = (response.headers.get("Via") or "").partition(";rport")
        response.headers.set("Via", f"{via};received=198.51.100.9;rport=1")
        assert incoming.transaction is not None
        peer.send_response(incoming.transaction, response)

    honest = lab.endpoint("192.0.2.3", ("udp",))
    seen = answering(honest)
    async with caller, peer, honest:
        assert (await caller.request(request("OPTIONS", "sip:192.0.2.2"))).status == 200
        assert caller.public_addresses == {("UDP", ("192.0.2.2", 5060)): ("198.51.100.9", 1)}
        await caller.request(request("OPTIONS", "sip:192.0.2.3", Contact="<sip:alice@0.0.0.0>"))
        assert str(seen[0].request.contacts[0].uri) == "sip:alice@192.0.2.1:5060"  # the lie is the liar's own loss


async def test_idle_clients_and_quiet_servers_at_the_default_times(lab: Lab) -> None:
    caller, called = lab.endpoint("192.0.2.1", ("tcp",)), lab.endpoint("192.0.2.2", ("tcp",))
    answering(called)
    ended: asyncio.Queue[Flow] = asyncio.Queue()
    called.on_flow_ended(lambda flow, _: ended.put_nowait(flow))
    async with caller, called:
        await caller.request(request("OPTIONS", "sip:192.0.2.2;transport=tcp"))
        await asyncio.sleep(86_400)
        assert (caller.connections, called.connections) == (1, 1)  # the pings keep it
        assert called.counters["keep_alives"] >= 720
        assert caller.counters["keep_alives"] >= 720  # each was answered
        loop = asyncio.get_running_loop()
        _, silent = await loop.create_connection(asyncio.Protocol, "192.0.2.2", 5060, local_addr=("192.0.2.1", 0))
        begun = lab.time()
        await ended.get()
        assert lab.time() - begun == pytest.approx(3_900, abs=1)
        assert called.connections == 1
        del silent


async def test_a_partition_ends_a_connection_that_is_pinged(lab: Lab) -> None:
    caller, called = lab.endpoint("192.0.2.1", ("tcp",), name="a"), lab.endpoint("192.0.2.2", ("tcp",), name="b")
    answering(called)
    errors: asyncio.Queue[TransportError | None] = asyncio.Queue()
    caller.on_flow_ended(lambda _, error: errors.put_nowait(error))
    async with caller, called:
        await caller.request(request("OPTIONS", "sip:192.0.2.2;transport=tcp"))
        await asyncio.sleep(130)  # one pong, so that the peer is known to answer
        lab.network.partition(["a"], ["b"])
        begun = lab.time()
        assert "no answer to a keep-alive ping" in str(await errors.get())
        assert lab.time() - begun <= 130
        lab.network.heal()
        assert (await caller.request(request("OPTIONS", "sip:192.0.2.2;transport=tcp", call="again"))).status == 200


async def test_a_connection_that_is_not_answered_times_out(lab: Lab) -> None:
    caller = lab.endpoint("192.0.2.1", ("tcp",))
    host = lab.host("firewalled", "192.0.2.2")
    host.refuses = False
    async with caller:
        begun = lab.time()
        with pytest.raises(TransportError, match=r"cannot connect to TCP 192\.0\.2\.2:5060: no answer in time"):
            await caller.request(request("OPTIONS", "sip:192.0.2.2;transport=tcp"))
        assert lab.time() - begun == pytest.approx(5.0)


async def test_a_destination_that_is_a_flow(lab: Lab) -> None:
    caller, called = lab.endpoint("192.0.2.1"), lab.endpoint("192.0.2.2")
    seen = answering(called)
    async with caller, called:
        for transport in ("UDP", "TCP"):
            wanted = Flow(transport, ("192.0.2.2", 5060), ("192.0.2.1", 5060), "192.0.2.1:5060")
            for _ in range(2):
                response = await caller.request(request("OPTIONS", "sip:elsewhere.test", call=transport), wanted)
                assert response.status == 200
        assert [each.flow.transport for each in seen] == ["UDP", "UDP", "TCP", "TCP"]
        assert seen[2].flow.connection == seen[3].flow.connection
        back = seen[2].flow  # the connection that the caller opened, from its other end
        answering(caller)
        assert (await called.request(request("OPTIONS", "sip:nat.test", call="back"), back)).status == 200
        gone = back._replace(connection=99)
        with pytest.raises(TransportError, match="is gone"):
            await called.request(request("OPTIONS", "sip:nat.test", call="gone"), gone)
        nobody = Flow("TCP", ("192.0.2.3", 5060), ("192.0.2.1", 5060), "192.0.2.1:5060")
        with pytest.raises(TransportError, match="cannot connect"):
            await caller.request(request("OPTIONS", "sip:nat.test", call="nobody"), nobody)
        with pytest.raises(LocalProtocolError, match="no such connection"):
            caller.keep_alive(gone)


async def test_stateless_requests_over_a_name_and_over_nothing(lab: Lab) -> None:
    caller, called = lab.endpoint("192.0.2.1"), lab.endpoint("192.0.2.2")
    came: asyncio.Queue[Request] = asyncio.Queue()
    called.on("ACK")(lambda incoming: came.put_nowait(incoming.request))
    lab.dns.a("b.test", "192.0.2.2")
    user = Orders()
    caller.run_user(user)
    async with caller, called:
        for _ in range(2):
            caller.send_stateless(request("ACK", "sip:b.test;transport=tcp"))
            assert (await came.get()).uri_text == "sip:b.test;transport=tcp"
        for uri in ("sip:nowhere.test", "tel:+49", "sip:192.0.2.2;transport=sctp", "sip:[2001:db8::2]"):
            user.orders += [SendAck(request("ACK", uri), "mine"), SendAck(request("ACK", uri))]
            caller.flush()
            event = await user.next_event()
            assert isinstance(event, RequestFailed)
            assert (event.sender, event.transaction) == ("mine", None)
        assert user.events.empty()
        assert caller.counters["stateless_failures"] == 8


async def test_an_ack_cannot_be_ordered_as_a_request(lab: Lab) -> None:
    user = Orders(SendRequest(request("ACK", "sip:192.0.2.2"), "mine"))
    async with lab.endpoint("192.0.2.1", users=[user]):
        event = await user.next_event()
        assert isinstance(event, RequestFailed)
        assert "an ACK has no transaction" in str(event.error)


async def test_no_socket_of_that_family(lab: Lab) -> None:
    async with lab.endpoint("192.0.2.1", ("udp",)) as caller:
        with pytest.raises(TransportError, match="no UDP listener of that address family"):
            await caller.request(request("OPTIONS", "sip:[2001:db8::2]"))


async def test_responses_wait_for_their_new_connection_within_a_bound(lab: Lab) -> None:
    """RFC 3261 §18.2.2, when many answers want the same connection."""
    limits = TransportLimits(waiting_messages=2)
    called, caller = lab.endpoint("192.0.2.2", ("tcp",), limits=limits), lab.endpoint("192.0.2.1", ("tcp",))
    waiting: list[IncomingRequest] = []
    arrived = asyncio.Event()

    @called.on("OPTIONS")
    def later(incoming: IncomingRequest) -> None:
        waiting.append(incoming)
        if len(waiting) == 4:
            arrived.set()

    async with called, caller:
        asking = [
            asyncio.create_task(caller.request(request("OPTIONS", "sip:192.0.2.2;transport=tcp", call=f"{number}")))
            for number in range(4)
        ]
        await arrived.wait()
        ended: asyncio.Queue[Flow] = asyncio.Queue()
        called.on_flow_ended(lambda flow, _: ended.put_nowait(flow))
        lab.network.reset_streams()
        await ended.get()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(result, TransportError) for result in results)
        for incoming in waiting:
            incoming.respond(200)
        await asyncio.sleep(1)
        assert called.counters["waiting_dropped"] == 2
        assert called.counters["connections_opened"] == 1
        assert caller.counters["stray_responses"] == 2


async def test_one_address_two_sockets(lab: Lab) -> None:
    """With several listeners of a family the one that the peer can reach is chosen; here the first."""
    host = lab.network.host("two", "192.0.2.1", "192.0.2.9")
    async with lab.endpoint(host, ("udp",)) as caller, lab.endpoint("192.0.2.2", ("udp",)) as called:
        seen = answering(called)
        assert (await caller.request(request("OPTIONS", "sip:192.0.2.2"))).status == 200
        assert seen[0].flow.remote == ("192.0.2.1", 5060)


async def test_an_advertised_address_for_one_listener(lab: Lab) -> None:
    caller = lab.endpoint("192.0.2.1", advertise={"UDP:192.0.2.1:5060": "pbx.example.com"})
    called = lab.endpoint("192.0.2.2")
    seen = answering(called)
    async with caller, called:
        for transport in ("udp", "tcp"):
            await caller.request(request("OPTIONS", f"sip:192.0.2.2;transport={transport}", call=transport))
        assert [each.request.via.sent_by for each in seen] == ["pbx.example.com:5060", "192.0.2.1:5060"]


@pytest.mark.parametrize("advertise", ["", ":5060", "host:port", {"udp:192.0.2.1:5060": "host:0"}])
async def test_what_cannot_be_advertised(lab: Lab, advertise: Any) -> None:
    with pytest.raises(LocalProtocolError, match="write host or host:port"):
        await lab.endpoint("192.0.2.1", advertise=advertise).start()


async def test_an_endpoint_is_started_once(lab: Lab) -> None:
    endpoint = lab.endpoint("192.0.2.1")
    assert endpoint.listeners == ()
    assert endpoint.connections == 0
    assert endpoint.public_addresses == {}
    async with endpoint:
        with pytest.raises(LocalProtocolError, match="started once"):
            await endpoint.start()


async def test_users_that_make_mistakes_are_logged_and_stop_nobody(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Orders):
        due = 1.0

        def next_timer(self) -> float:
            return self.due

        def handle_timers(self, now: float) -> None:
            self.due = NEVER
            raise ZeroDivisionError

        def take_orders(self) -> list[Order]:
            if 2.0 < asyncio.get_running_loop().time() < 3.0:
                raise ZeroDivisionError
            return []

    broken = Broken()
    async with lab.endpoint("192.0.2.1", users=[broken]) as endpoint, lab.endpoint("192.0.2.2") as caller:
        answering(endpoint)
        for _ in range(4):
            assert (await caller.request(request("OPTIONS", "sip:192.0.2.1"))).status == 200
            await asyncio.sleep(0.8)
        assert endpoint.counters["user_errors"] >= 2
        assert any(record.exc_info for record in caplog.records)


async def test_a_busy_connection_whose_reads_never_end_where_a_message_does(lab: Lab) -> None:
    """Each message has its own time-out; that of one which is complete says nothing about the next."""

    def options(number: int) -> bytes:
        return (
            f"OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.2;branch=z9hG4bK{number}\r\n"
            f"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: busy\r\n"
            f"CSeq: {number} OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ).encode()

    called = lab.endpoint("192.0.2.1", ("tcp",))
    seen = answering(called)
    async with called:
        with lab.host("phone", "192.0.2.2"):
            _, writer = await asyncio.open_connection("192.0.2.1", 5060)
        writer.write(options(0)[:50])
        for number in range(20):
            await asyncio.sleep(10)
            writer.write(options(number)[50:] + options(number + 1)[:50])
        await asyncio.sleep(10)
        assert len(seen) == 20
        await asyncio.sleep(30)  # this one is never finished
        assert called.counters["message_timeouts"] == 1
        writer.close()


async def test_a_user_that_orders_without_end_leaves_the_loop_its_turns(lab: Lab) -> None:
    class Restless(Orders):
        rounds = 0

        def receive(self, event: Event, now: float) -> None:
            if isinstance(event, RequestFailed) and self.rounds < 1_000:
                self.rounds += 1
                self.orders.append(SendRequest(request("OPTIONS", "tel:+49"), "mine"))

    user = Restless(SendRequest(request("OPTIONS", "tel:+49"), "mine"))
    async with lab.endpoint("192.0.2.1", users=[user]):
        assert 0 < user.rounds < 1_000  # the start returned long before
        await asyncio.sleep(1)
        assert user.rounds == 1_000


async def test_provisional_responses_are_shown(lab: Lab) -> None:
    caller, called = lab.endpoint("192.0.2.1"), lab.endpoint("192.0.2.2")

    @called.on("INVITE")
    async def ring(incoming: IncomingRequest) -> None:
        incoming.respond(180)
        await asyncio.sleep(5)
        incoming.respond(486)

    async with caller, called:
        seen: list[int] = []
        response = await caller.request(
            request("INVITE", "sip:192.0.2.2"), on_provisional=lambda each: seen.append(each.status)
        )
        assert (seen, response.status) == ([180], 486)


async def test_a_request_into_the_void_takes_64_t1(lab: Lab) -> None:
    lab.host("void", "192.0.2.2").refuses = False
    async with lab.endpoint("192.0.2.1") as caller:
        with pytest.raises(RequestTimeout):
            await caller.request(request("OPTIONS", "sip:192.0.2.2"))
        assert lab.time() == pytest.approx(32.0)
