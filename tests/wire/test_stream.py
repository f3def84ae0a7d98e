"""Streams: framing, time-outs, limits, back-pressure, keep-alive, reuse and reconnection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from switchroom.net import Endpoint, IncomingRequest, TransportLimits
from switchroom.sip.errors import TransportError
from switchroom.sip.flow import Flow

LISTEN = "tcp:127.0.0.1:0"


def answering(*listen: str, **options: Any) -> Endpoint:
    endpoint = Endpoint(listen or [LISTEN], **options)

    @endpoint.on("OPTIONS", "MESSAGE")
    def answer(incoming: IncomingRequest) -> None:
        incoming.respond(200)

    return endpoint


def endings(endpoint: Endpoint) -> asyncio.Queue[Flow]:
    """The flows of the endpoint that end from now on."""
    ended: asyncio.Queue[Flow] = asyncio.Queue()
    endpoint.on_flow_ended(lambda flow, _: ended.put_nowait(flow))
    return ended


async def connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)


async def end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):  # the other side may have reset it
        await writer.wait_closed()


async def silent_server() -> tuple[asyncio.Server, asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """A TCP server that does nothing by itself."""
    clients: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.put_nowait((reader, writer))

    return await asyncio.start_server(connected, "127.0.0.1", 0), clients


def response_to(head: bytes, status: bytes = b"200 OK") -> bytes:
    wanted = (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
    lines = [line for line in head.split(b"\r\n") if line.partition(b":")[0] in wanted]
    return b"\r\n".join([b"SIP/2.0 " + status, *lines, b"Content-Length: 0", b"", b""])


def test_a_stream_fed_one_byte_at_a_time(run: Any, wire: Any) -> None:
    async def main() -> None:
        async with answering() as endpoint:
            reader, writer = await connect(endpoint)
            for octet in wire.raw("MESSAGE", body=b"a body"):
                writer.write(bytes((octet,)))
                await writer.drain()
                await asyncio.sleep(0)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 ")
            await end(writer)

    run(main)


def test_pipelined_requests_are_all_answered_in_order(run: Any, wire: Any) -> None:
    async def main() -> None:
        async with answering() as endpoint:
            reader, writer = await connect(endpoint)
            requests = [wire.raw(body=b"x" * size) for size in range(50)]
            writer.write(b"".join(requests))
            for request in requests:
                head = await reader.readuntil(b"\r\n\r\n")
                [call_id] = [line for line in request.split(b"\r\n") if line.startswith(b"Call-ID")]
                assert head.startswith(b"SIP/2.0 200 ")
                assert call_id in head
            await end(writer)

    run(main)


def test_garbage_closes_the_stream_with_one_line_in_the_log(run: Any, caplog: Any) -> None:
    async def main() -> None:
        async with answering() as endpoint:
            for _ in range(3):
                reader, writer = await connect(endpoint)
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(range(256)) * 300)
                async with asyncio.timeout(5):
                    await reader.read()
                await end(writer)
            assert endpoint.counters["flows_rejected"] == 3
            assert endpoint.connections == 0
            lines = [record.getMessage() for record in caplog.records if record.name == "switchroom.net"]
            assert len(lines) == 1  # of one source, within a second
            assert "127.0.0.1" in lines[0]

    run(main)


def test_a_malformed_request_is_answered_400_and_the_stream_goes_on(run: Any, wire: Any) -> None:
    async def main() -> None:
        async with answering() as endpoint:
            reader, writer = await connect(endpoint)
            writer.write(wire.raw().replace(b"From: <sip:alice@example.test>", b"From: <sip:alice"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 400 ")
            writer.write(wire.raw())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 ")
            assert endpoint.counters["malformed_requests"] == 1
            await end(writer)

    run(main)


def test_a_message_that_is_never_finished(run: Any, wire: Any) -> None:
    """A client that feeds a byte now and then keeps its connection for `message_timeout`, not for ever."""

    async def main() -> None:
        limits = TransportLimits(message_timeout=0.3)
        async with answering(limits=limits) as endpoint:
            reader, writer = await connect(endpoint)
            patient, other = await connect(endpoint)
            gone = asyncio.ensure_future(reader.read())
            request = wire.raw()
            sent = 0
            while not gone.done():
                writer.write(request[sent : sent + 1])
                sent += 1
                await asyncio.wait([gone], timeout=0.02)
            assert sent < len(request)
            assert endpoint.counters["message_timeouts"] == 1
            other.write(request)  # whoever sends nothing is no slow client
            assert (await patient.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 ")
            await end(writer)
            await end(other)

    run(main)


def test_an_idle_client_is_dropped(run: Any, wire: Any) -> None:
    async def main() -> None:
        async with answering(limits=TransportLimits(idle_timeout=0.2)) as endpoint:
            reader, writer = await connect(endpoint)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            assert endpoint.counters["idle_timeouts"] == 1
            await end(writer)

    run(main)


def test_limits_on_connections(run: Any, wire: Any) -> None:
    async def main() -> None:
        for limits, counter in (
            (TransportLimits(connections=3), "refused_connections"),
            (TransportLimits(connections_per_source=3), "refused_connections_per_source"),
        ):
            async with answering(limits=limits) as endpoint:
                clients = []
                for _ in range(3):
                    reader, writer = await connect(endpoint)
                    writer.write(wire.raw())
                    await reader.readuntil(b"\r\n\r\n")
                    clients.append(writer)
                reader, writer = await connect(endpoint)
                async with asyncio.timeout(5):
                    with contextlib.suppress(ConnectionResetError):
                        assert await reader.read() == b""
                assert endpoint.counters[counter] == 1
                await end(clients.pop())
                reader, again = await connect(endpoint)  # a place became free
                again.write(wire.raw())
                assert await reader.readuntil(b"\r\n\r\n")
                for each in (*clients, again):
                    await end(each)
                writer.close()

    run(main)


def test_limits_on_connections_that_we_open(run: Any, wire: Any) -> None:
    async def main() -> None:
        for limits, counter in (
            (TransportLimits(connections=1), "refused_connections"),
            (TransportLimits(connections_per_source=1), "refused_connections_per_source"),
        ):
            async with answering() as one, answering() as other, Endpoint([LISTEN], limits=limits) as caller:
                uris = [wire.uri(each.listeners[0]) for each in (one, other)]
                ended = endings(caller)
                assert (await caller.request(wire.request("OPTIONS", uris[0]))).status == 200
                with pytest.raises(TransportError, match="too many are open"):
                    await caller.request(wire.request("OPTIONS", uris[1]))
                assert caller.counters[counter] == 1
                await one.close()
                await ended.get()
                assert (await caller.request(wire.request("OPTIONS", uris[1]))).status == 200  # a place became free

    run(main)


def test_vias_of_one_peer_make_us_open_a_few_connections_at_a_time(run: Any, wire: Any) -> None:
    """Who sends requests, each with another port in its Via, and leaves, gets no connection to each of them."""

    async def main() -> None:
        server, clients = await silent_server()
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint([LISTEN], limits=TransportLimits(reconnecting=3))
        waiting: asyncio.Queue[IncomingRequest] = asyncio.Queue()
        endpoint.on("OPTIONS")(waiting.put_nowait)
        ended = endings(endpoint)
        async with endpoint:
            _, writer = await connect(endpoint)
            sent = [*range(1, 10), port]
            for each in sent:
                writer.write(wire.raw().replace(b"127.0.0.1:9;", b"127.0.0.1:%d;" % each))
            requests = [await waiting.get() for _ in sent]
            await end(writer)
            await ended.get()
            for incoming in requests[:-1]:
                incoming.respond(200)
            assert endpoint.counters["reconnections_refused"] == len(sent) - 1 - 3
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 — nobody is told that these responses are lost
                await asyncio.sleep(0)
            requests[-1].respond(200)  # those were refused, and the next may be tried
            reader, other = await clients.get()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 ")
            other.close()
        server.close()

    run(main)


def test_a_peer_that_does_not_read_is_not_read_from_and_then_dropped(run: Any, wire: Any) -> None:
    async def main() -> None:
        limits = TransportLimits(write_high=4096, write_queue=20_000_000, write_timeout=0.3)
        endpoint = Endpoint([LISTEN], limits=limits)
        answered = 0

        @endpoint.on("MESSAGE")
        def answer(incoming: IncomingRequest) -> None:
            nonlocal answered
            answered += 1
            incoming.respond(200, body=b"x" * 40_000, content_type="text/plain")

        ended = endings(endpoint)
        async with endpoint:
            reader, writer = await connect(endpoint)
            writer.transport.pause_reading()
            flood = b"".join(wire.raw("MESSAGE") for _ in range(2_000))
            writer.write(flood)
            await ended.get()
            assert endpoint.counters["back_pressure"] >= 1
            assert endpoint.counters["write_timeouts"] == 1
            assert answered < 2_000  # what was not read yet was never answered
            writer.transport.abort()
            del reader

    run(main)


def test_too_much_queued_for_a_peer_drops_it(run: Any, wire: Any) -> None:
    async def main() -> None:
        limits = TransportLimits(write_queue=100_000)
        endpoint = Endpoint([LISTEN], limits=limits)
        flows: asyncio.Queue[Flow] = asyncio.Queue()
        endpoint.on("OPTIONS")(lambda incoming: flows.put_nowait(incoming.flow))
        ended = endings(endpoint)
        async with endpoint:
            reader, writer = await connect(endpoint)
            writer.transport.pause_reading()
            writer.write(wire.raw())
            flow = await flows.get()
            message = wire.request("MESSAGE", "sip:bob@example.test", b"x" * 40_000)
            while "write_queue_overflows" not in endpoint.counters:
                endpoint.send_stateless(message, flow)
            assert await ended.get() == flow
            assert endpoint.connections == 0
            writer.transport.abort()
            del reader
            await endpoint.close(grace=0.0)

    run(main)


def test_ping_is_answered_by_pong(run: Any) -> None:
    """RFC 5626 §3.5.1."""

    async def main() -> None:
        async with answering() as endpoint:
            reader, writer = await connect(endpoint)
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"
            await end(writer)

    run(main)


def test_a_peer_that_stops_answering_pings_has_failed(run: Any, wire: Any) -> None:
    async def main() -> None:
        server, clients = await silent_server()
        port = server.sockets[0].getsockname()[1]
        limits = TransportLimits(keepalive_interval=0.1, pong_timeout=0.2)
        caller = Endpoint([LISTEN], limits=limits)
        async with caller:
            asking = asyncio.create_task(
                caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{port};transport=tcp"))
            )
            reader, writer = await clients.get()
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(4) == b"\r\n\r\n"
            writer.write(b"\r\n")  # who has answered once ...
            assert await reader.readexactly(4) == b"\r\n\r\n"
            with pytest.raises(TransportError, match="no answer to a keep-alive ping"):  # ... is held to it
                await asking
            assert caller.counters["pong_timeouts"] == 1
            assert caller.connections == 0
            writer.close()
        server.close()

    run(main)


def test_a_peer_that_knows_no_pings_is_left_alone_unless_agreed(run: Any, wire: Any) -> None:
    """RFC 5626 §4.4: without agreement a missing pong means nothing."""

    async def main() -> None:
        server, clients = await silent_server()
        port = server.sockets[0].getsockname()[1]
        limits = TransportLimits(keepalive_interval=0.05, pong_timeout=0.1)
        caller = Endpoint([LISTEN], limits=limits)
        flows: list[Flow] = []
        caller.tap.subscribe(lambda record: flows.append(record.flow))
        async with caller:
            asking = asyncio.create_task(
                caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{port};transport=tcp"))
            )
            reader, writer = await clients.get()
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(5):
                assert await reader.readexactly(4) == b"\r\n\r\n"
            assert caller.connections == 1
            caller.keep_alive(flows[0])
            with pytest.raises(TransportError, match="keep-alive"):
                await asking
            writer.close()
        server.close()

    run(main)


def test_after_a_lost_connection_the_next_request_opens_another(run: Any, wire: Any) -> None:
    async def main() -> None:
        server, clients = await silent_server()
        uri = f"sip:bob@127.0.0.1:{server.sockets[0].getsockname()[1]};transport=tcp"
        caller = Endpoint([LISTEN])
        ended = endings(caller)
        async with caller:
            for _ in range(2):
                asking = asyncio.create_task(caller.request(wire.request("OPTIONS", uri)))
                reader, writer = await clients.get()
                writer.write(response_to(await reader.readuntil(b"\r\n\r\n")))
                assert (await asking).status == 200
                await end(writer)
                await ended.get()
                assert caller.connections == 0
            asking = asyncio.create_task(caller.request(wire.request("OPTIONS", uri)))
            reader, writer = await clients.get()
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()  # before any answer: the request has failed
            with pytest.raises(TransportError):
                await asking
        server.close()

    run(main)


def test_requests_at_the_same_time_share_one_connection(run: Any, wire: Any) -> None:
    async def main() -> None:
        async with answering() as called, Endpoint([LISTEN]) as caller:
            uri = wire.uri(called.listeners[0])
            responses = await asyncio.gather(*(caller.request(wire.request("OPTIONS", uri)) for _ in range(20)))
            assert {response.status for response in responses} == {200}
            assert called.counters["connections_accepted"] == 1

    run(main)


def test_a_response_finds_another_way_when_its_connection_is_gone(run: Any, wire: Any) -> None:
    """RFC 3261 §18.2.2: a new connection to the address in `received` and the port of the sent-by."""

    async def main() -> None:
        server, clients = await silent_server()
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint([LISTEN])
        waiting: asyncio.Queue[IncomingRequest] = asyncio.Queue()
        endpoint.on("OPTIONS")(waiting.put_nowait)
        ended = endings(endpoint)
        async with endpoint:
            _, writer = await connect(endpoint)
            writer.write(wire.raw().replace(b"127.0.0.1:9;", b"127.0.0.1:%d;" % port))
            incoming = await waiting.get()
            await end(writer)
            await ended.get()
            incoming.respond(200)
            reader, other = await clients.get()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 ")
            other.close()
        server.close()

    run(main)


def test_nobody_there_is_refused_at_once(run: Any, wire: Any) -> None:
    async def main() -> None:
        server, _ = await silent_server()
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with Endpoint([LISTEN]) as caller:
            with pytest.raises(TransportError, match="refused: nothing listens on that port there"):
                await caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{port};transport=tcp"))

    run(main)
