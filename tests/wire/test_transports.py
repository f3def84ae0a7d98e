"""Two endpoints on loopback, over each transport and both address families."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from switchroom.net import Endpoint, IncomingRequest, TapRecord
from switchroom.sip.errors import TransportError
from switchroom.sip.flow import Flow

HOSTS = {"IPv4": "127.0.0.1", "IPv6": "[::1]"}


@contextlib.asynccontextmanager
async def both_on_one_port(pair: Any) -> AsyncIterator[Endpoint]:
    """An endpoint whose UDP and TCP listeners have one port; the system may have given one of them away."""
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        endpoint = pair(f"tcp:127.0.0.1:{port}", f"udp:127.0.0.1:{port}")
        try:
            await endpoint.start()
        except TransportError:
            continue
        yield endpoint
        await endpoint.close()
        return
    pytest.fail("no port is free for both UDP and TCP")


@pytest.mark.parametrize("family", list(HOSTS))
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "ws", "wss"])
def test_options_and_message_over_every_transport(run: Any, wire: Any, pair: Any, transport: str, family: str) -> None:
    async def main() -> None:
        host = HOSTS[family]
        caller, called = pair(f"udp:{host}:0", f"tcp:{host}:0"), pair(f"{transport}:{host}:0")
        flows: list[Flow] = []
        bodies: list[bytes] = []

        @called.on("OPTIONS", "MESSAGE")
        def answer(incoming: IncomingRequest) -> None:
            flows.append(incoming.flow)
            bodies.append(incoming.request.body)
            incoming.respond(200, headers=[("Contact", "<sip:bob@0.0.0.0>")])

        async with caller, called:
            [address] = called.listeners
            response = await caller.request(wire.request("OPTIONS", wire.uri(address)))
            assert response.status == 200
            contact = response.contacts[0].uri
            assert (contact.host, contact.port) == (address.host, address.port)
            assert contact.transport == (None if transport == "udp" else transport)
            body = "Grüße".encode() * 100 + bytes(range(256))
            response = await caller.request(wire.request("MESSAGE", wire.uri(address), body))
            assert response.status == 200
            assert bodies == [b"", body]
            assert {flow.transport for flow in flows} == {transport.upper()}
            assert caller.connections == (0 if transport == "udp" else 1)  # the second request reused it

    run(main)


def test_a_request_too_large_for_a_datagram_goes_by_tcp(run: Any, wire: Any, pair: Any) -> None:
    """RFC 3261 §18.1.1."""

    async def main() -> None:
        caller = pair()
        transports: list[str] = []

        def answer(incoming: IncomingRequest) -> None:
            transports.append(incoming.flow.transport)
            incoming.respond(200)

        async with both_on_one_port(pair) as called, caller:
            called.on("MESSAGE")(answer)
            for size in (800, 3000):
                uri = f"sip:bob@127.0.0.1:{called.listeners[0].port}"
                assert (await caller.request(wire.request("MESSAGE", uri, b"x" * size))).status == 200
            assert transports == ["UDP", "TCP"]

    run(main)


def test_where_tcp_is_refused_a_large_request_goes_by_udp_after_all(run: Any, wire: Any, pair: Any) -> None:
    async def main() -> None:
        caller, called = pair(), pair("udp:127.0.0.1:0")
        vias: list[str] = []

        @called.on("MESSAGE")
        def answer(incoming: IncomingRequest) -> None:
            vias.append(incoming.request.via.transport)
            incoming.respond(200)

        async with caller, called:
            uri = f"sip:bob@127.0.0.1:{called.listeners[0].port}"
            for _ in range(2):
                assert (await caller.request(wire.request("MESSAGE", uri, b"x" * 3000))).status == 200
            assert vias == ["UDP", "UDP"]
            assert caller.counters["failovers"] == 1  # the second knew that TCP is refused there

    run(main)


def test_the_tap_shows_every_message_at_both_ends(run: Any, wire: Any, pair: Any) -> None:
    async def main() -> None:
        caller, called = pair(wall=lambda: 1234.5), pair("udp:127.0.0.1:0")
        seen: list[TapRecord] = []
        unsubscribe = caller.tap.subscribe(seen.append)
        called.on("OPTIONS")(lambda incoming: incoming.respond(200))
        async with caller, called:
            await caller.request(wire.request("OPTIONS", wire.uri(called.listeners[0])))
            assert [(record.time, record.direction) for record in seen] == [(1234.5, "out"), (1234.5, "in")]
            assert seen[0].data.startswith(b"OPTIONS ")
            assert seen[1].data.startswith(b"SIP/2.0 200 ")
            assert seen[0].flow.remote == ("127.0.0.1", called.listeners[0].port)
            unsubscribe()
            await caller.request(wire.request("OPTIONS", wire.uri(called.listeners[0])))
            assert len(seen) == 2

    run(main)


def test_a_listener_on_all_addresses_shows_the_one_that_the_peer_reaches(run: Any, wire: Any, pair: Any) -> None:
    async def main() -> None:
        caller, called = pair("udp:0.0.0.0:0", "udp:[::]:0"), pair("udp:127.0.0.1:0", "udp:[::1]:0")
        seen: list[str] = []

        @called.on("OPTIONS")
        def answer(incoming: IncomingRequest) -> None:
            seen.append(incoming.request.via.host)
            incoming.respond(200)

        async with caller, called:
            for address in called.listeners:
                request = wire.request("OPTIONS", wire.uri(address), Contact="<sip:alice@0.0.0.0>")
                assert (await caller.request(request)).status == 200
            assert seen == ["127.0.0.1", "::1"]
            assert caller.public_addresses == {}  # nobody saw another address than ours

    run(main)


def test_an_advertised_address_is_shown_and_the_real_one_learned(run: Any, wire: Any, pair: Any) -> None:
    async def main() -> None:
        caller = pair("udp:127.0.0.1:0", advertise="192.0.2.33:7060")
        called = pair("udp:127.0.0.1:0")
        learned: list[tuple[str, int]] = []
        contacts: list[str] = []
        caller.on_public_address(lambda flow, seen: learned.append(seen))

        @called.on("OPTIONS")
        def answer(incoming: IncomingRequest) -> None:
            contacts.append(str(incoming.request.contacts[0].uri))
            assert incoming.request.via.sent_by == "192.0.2.33:7060"
            incoming.respond(200)

        async with caller, called:
            mine, theirs = caller.listeners[0], called.listeners[0]
            for _ in range(2):
                request = wire.request("OPTIONS", wire.uri(theirs), Contact="<sip:alice@0.0.0.0>")
                assert (await caller.request(request)).status == 200
            assert contacts[0] == "sip:alice@192.0.2.33:7060"
            assert learned == []  # received= is our own address: no NAT, and what is advertised stands
            assert contacts[1] == contacts[0]
            assert mine.host == "127.0.0.1"

    run(main)


def test_a_port_in_use_says_what_to_do(run: Any, pair: Any) -> None:
    async def main() -> None:
        async with pair("udp:127.0.0.1:0", "tcp:127.0.0.1:0") as first:
            for address in first.listeners:
                second = pair("udp:127.0.0.1:0", str(address))
                with pytest.raises(Exception, match=r"port is in use.*choose another port"):
                    await second.start()
                assert second.listeners == () or second.connections == 0

    run(main)


def test_spiral_through_one_endpoint(run: Any, wire: Any, pair: Any) -> None:
    """A request that comes back to the element that sent it is another transaction (RFC 3261 §16.3, spiral)."""

    async def main() -> None:
        both = pair()

        @both.on("OPTIONS")
        async def answer(incoming: IncomingRequest) -> None:
            hops = incoming.request.max_forwards
            assert hops is not None
            if hops == 68:
                incoming.respond(200)
                return
            onward = incoming.request.copy()
            onward.headers.set("Max-Forwards", str(hops - 1))
            response = await both.request(onward)
            incoming.respond(response.status)

        async with both:
            for address in both.listeners:
                response = await both.request(wire.request("OPTIONS", wire.uri(address)))
                assert response.status == 200
            assert both.counters["requests"] == 6

    run(main)


def test_a_stateless_request_is_sent_once_and_forgotten(run: Any, wire: Any, pair: Any) -> None:
    async def main() -> None:
        caller, called = pair(), pair("tcp:127.0.0.1:0")
        came = asyncio.Event()

        @called.on("MESSAGE")
        def answer(incoming: IncomingRequest) -> None:
            came.set()
            incoming.respond(200)

        async with caller, called:
            caller.send_stateless(wire.request("MESSAGE", wire.uri(called.listeners[0]), b"hello"))
            await came.wait()
            assert caller.layer.client_transactions == 0

    run(main)
