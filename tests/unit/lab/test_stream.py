"""Streams: order, loss, windows, ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.unit.lab.conftest import StreamRecorder

from switchroom.lab import Lab, LabError, Link

ALICE, BOB = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def hosts(lab: Lab) -> None:
    lab.host("alice", ALICE, "2001:db8::1")
    lab.host("bob", BOB, "2001:db8::2")


class Pair:
    """A server on bob, and connections to it from alice."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.accepted: list[StreamRecorder] = []
        self.server: Any = None

    async def listen(self, **options: Any) -> None:
        self.server = await self.lab.loop.create_server(self._accept, BOB, 5060, **options)

    def _accept(self) -> StreamRecorder:
        self.accepted.append(StreamRecorder(self.lab))
        return self.accepted[-1]

    async def connect(self, **options: Any) -> tuple[StreamRecorder, StreamRecorder]:
        client = await connect(self.lab, BOB, 5060, **options)
        await asyncio.sleep(1)
        return client, self.accepted[-1]


async def connect(lab: Lab, host: str, port: int, **options: Any) -> StreamRecorder:
    with lab.network.hosts["alice"]:
        _, client = await lab.loop.create_connection(lambda: StreamRecorder(lab), host, port, **options)
    return client  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def pair(lab: Lab, **options: Any) -> AsyncIterator[Pair]:
    made = Pair(lab)
    await made.listen(**options)
    yield made
    made.server.close()


async def test_connecting_takes_a_round_trip(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        assert (client.opened_at, server.opened_at) == (0.02, 0.03)
        assert server.transport.get_extra_info("peername") == (ALICE, 49152)
        assert client.transport.get_extra_info("sockname") == (ALICE, 49152)
        assert client.transport.get_extra_info("peername") == (BOB, 5060)
        assert client.transport.get_extra_info("nothing", 5) == 5
        assert not client.transport.is_closing()


async def test_no_data_come_before_the_connection(lab: Lab) -> None:
    """What the client writes at once arrives in the same instant as the end of the handshake."""
    order: list[str] = []

    class Server(StreamRecorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            order.append("made")

        def data_received(self, data: bytes) -> None:
            order.append(data.decode())

    server = await lab.loop.create_server(lambda: Server(lab), BOB, 5060)
    client = await connect(lab, BOB, 5060)
    client.transport.write(b"INVITE")
    await asyncio.sleep(1)
    assert order == ["made", "INVITE"]
    server.close()


async def test_bytes_arrive_in_order_both_ways(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        client.transport.write(b"one")
        client.transport.writelines([b"two", bytearray(b"three")])
        server.transport.write(memoryview(b"back"))
        await asyncio.sleep(1)
        assert (server.data, client.data) == (b"onetwothree", b"back")
        assert [(p.transport, p.to_host, p.data) for p in lab.trace.passages] == [
            ("TCP", "bob", b"one"), ("TCP", "bob", b"twothree"), ("TCP", "alice", b"back")
        ]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_loss_costs_time_but_no_data(seed: int) -> None:
    async def main(lab: Lab) -> float:
        lab.host("alice", ALICE)
        lab.host("bob", BOB)
        async with pair(lab) as made:
            client, server = await made.connect()
            sent = bytes(range(256)) * 800
            for at in range(0, len(sent), 5000):
                client.transport.write(sent[at : at + 5000])
            await asyncio.sleep(900)
            assert server.data == sent
            client.transport.close()
            await server.gone.wait()
            assert (client.error, server.error) == (None, None)
            return max(p.outcomes[-1].time - p.time for p in lab.trace.passages)

    with Lab(seed, link=Link(loss=0.3, jitter=0.02, duplication=0.2, reordering=0.3)) as lab:
        assert lab.run(main(lab)) > 0.2
    with Lab(seed) as lab:
        assert lab.run(main(lab)) < 1.0


async def test_every_byte_may_come_alone(lab: Lab) -> None:
    lab.network.segment_size = 1
    async with pair(lab) as made:
        client, server = await made.connect()
        client.transport.write(b"INVITE")
        await asyncio.sleep(1)
        assert server.pieces == [b"I", b"N", b"V", b"I", b"T", b"E"]


async def test_a_reader_that_pauses_stops_the_writer(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        client.transport.write(bytes(lab.network.window))
        assert client.told == ["made"]
        client.transport.write(bytes(65536))
        assert client.told == ["made"]
        client.transport.write(b"x")
        assert client.told == ["made", "pause"]
        assert client.transport.get_write_buffer_size() == 65537
        await asyncio.sleep(3600)  # longer than any time-out: the peer acknowledges, it only does not read
        assert server.data == b""
        assert client.told == ["made", "pause"]
        server.transport.resume_reading()
        assert server.transport.is_reading()
        await asyncio.sleep(1)
        assert client.told == ["made", "pause", "resume"]
        assert len(server.data) == lab.network.window + 65537


async def test_write_buffer_limits(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        server.transport.pause_reading()
        client.transport.set_write_buffer_limits(high=10)
        assert client.transport.get_write_buffer_limits() == (2, 10)
        client.transport.set_write_buffer_limits(low=5)
        assert client.transport.get_write_buffer_limits() == (5, 20)
        client.transport.set_write_buffer_limits()
        assert client.transport.get_write_buffer_limits() == (16384, 65536)
        with pytest.raises(ValueError, match="high"):
            client.transport.set_write_buffer_limits(high=1, low=2)
        client.transport.set_write_buffer_limits(high=0)
        client.transport.write(bytes(lab.network.window + 1))
        assert client.told[-1] == "pause"


async def test_closing_sends_what_is_buffered(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        client.transport.write(bytes(300_000))
        client.transport.close()
        client.transport.close()
        client.transport.write(b"too late")
        assert client.transport.is_closing()
        assert client.told == ["made", "pause"]
        await asyncio.sleep(5)
        assert len(server.data) == 300_000
        assert (client.told, server.told) == (["made", "pause", "resume", "lost"], ["made", "eof", "lost"])
        assert (client.error, server.error) == (None, None)
        assert lab.network.hosts["alice"].connections == {}
        assert lab.network.hosts["bob"].connections == {}


async def test_half_closed_streams_go_on(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        server.eof_received = lambda: True  # type: ignore[method-assign]
        assert client.transport.can_write_eof()
        client.transport.write(b"question")
        client.transport.write_eof()
        client.transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            client.transport.write(b"x")
        await asyncio.sleep(1)
        server.transport.write(b"answer")
        await asyncio.sleep(1)
        assert (server.data, client.data) == (b"question", b"answer")
        server.transport.close()
        await asyncio.sleep(1)
        assert (client.error, server.error) == (None, None)
        assert client.told == ["made", "eof", "lost"]


async def test_writing_to_a_closed_peer_is_answered_by_a_reset(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        client.eof_received = lambda: True  # type: ignore[method-assign]
        server.transport.close()
        await asyncio.sleep(1)
        client.transport.write(b"anybody there?")
        await asyncio.sleep(1)
        assert isinstance(client.error, ConnectionResetError)
        assert server.error is None


async def test_aborting_resets(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        client.transport.write(bytes(200_000))
        client.transport.abort()
        client.transport.abort()
        await asyncio.sleep(1)
        assert (client.error, client.told.count("lost")) == (None, 1)
        assert isinstance(server.error, ConnectionResetError)
        assert len(server.data) < 200_000


async def test_what_cannot_be_written(lab: Lab) -> None:
    async with pair(lab) as made:
        client, _ = await made.connect()
        with pytest.raises(TypeError, match="bytes-like"):
            client.transport.write("text")  # type: ignore[arg-type]
        client.transport.write(b"")
        assert len(lab.trace) == 0


async def test_another_protocol_may_take_over(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        other = StreamRecorder(lab)
        client.transport.set_protocol(other)
        assert client.transport.get_protocol() is other
        server.transport.write(b"x")
        await asyncio.sleep(1)
        assert (client.data, other.data) == (b"", b"x")


# -- failures --------------------------------------------------------------------------------------------------------


async def test_a_port_without_a_listener_refuses(lab: Lab) -> None:
    with pytest.raises(ConnectionRefusedError):
        await connect(lab, BOB, 9)
    assert lab.time() == pytest.approx(0.02)
    assert "alice: connection to 192.0.2.2 port 9 failed" in lab.trace.notes[0].text


@pytest.mark.parametrize("silence", ["firewall", "down", "partition", "no host"])
async def test_a_silent_peer_times_the_attempt_out(lab: Lab, silence: str) -> None:
    bob = lab.network.hosts["bob"]
    if silence == "firewall":
        bob.refuses = False
    elif silence == "down":
        bob.up = False
    elif silence == "partition":
        lab.network.partition({"alice"})
    target = "203.0.113.77" if silence == "no host" else BOB
    with pytest.raises(TimeoutError):
        await connect(lab, target, 9)
    assert lab.time() == 127.0


async def test_a_cancelled_attempt_leaves_nothing(lab: Lab) -> None:
    lab.network.partition({"alice"})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await connect(lab, BOB, 9)
    assert lab.time() == 5.0
    assert lab.network.hosts["alice"].connections == {}


async def test_a_partition_that_heals_in_time_costs_time_only(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        lab.network.partition({"alice"})
        client.transport.write(b"x")
        await asyncio.sleep(300)
        assert server.data == b""
        lab.network.heal()
        await asyncio.sleep(300)
        assert server.data == b"x"
        assert client.error is None


async def test_a_partition_that_stays_ends_the_stream_of_who_writes(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        lab.network.partition({"alice"})
        written_at = lab.time()
        client.transport.write(b"x")
        await asyncio.sleep(2000)
        assert isinstance(client.error, TimeoutError)
        assert client.lost_at == written_at + 924.0
        assert server.told == ["made"]  # half open: bob does not know
        assert [what for _, what in lab.trace.passages[0].outcomes] == []


async def test_a_one_way_partition_ends_it_too(lab: Lab) -> None:
    """Data arrive, but nothing comes back that acknowledges them."""
    async with pair(lab) as made:
        client, server = await made.connect()
        lab.network.partition({"bob"}, both_ways=False)
        client.transport.write(b"x")
        await asyncio.sleep(2000)
        assert server.data == b"x"
        assert isinstance(client.error, TimeoutError)


async def test_a_crashed_host_is_noticed_by_who_writes(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        lab.network.hosts["bob"].crash()
        await asyncio.sleep(3600)
        assert isinstance(server.error, ConnectionAbortedError)
        assert client.told == ["made"]
        client.transport.write(b"x")
        await asyncio.sleep(1)
        assert isinstance(client.error, ConnectionResetError)
        assert not made.server.is_serving()


async def test_resetting_every_stream_of_a_host(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect()
        lab.network.reset_streams("bob")
        await asyncio.sleep(1)
        assert isinstance(client.error, ConnectionResetError)
        assert server.error is None
        again, _ = await made.connect()
        lab.network.reset_streams()
        await asyncio.sleep(1)
        assert again.told[-1] == "lost"


async def test_addresses_of_the_client(lab: Lab) -> None:
    async with pair(lab) as made:
        client, server = await made.connect(local_addr=(ALICE, 5070))
        assert server.transport.get_extra_info("peername") == (ALICE, 5070)
        with pytest.raises(OSError, match="already in use"):
            await made.connect(local_addr=(ALICE, 5070))
        wild, _ = await made.connect(local_addr=("0.0.0.0", 5071))
        assert wild.transport.get_extra_info("sockname") == (ALICE, 5071)
        for end in (client, wild):
            end.transport.abort()


async def test_without_a_host_nobody_can_connect(lab: Lab) -> None:
    with pytest.raises(LabError, match="on which host"):
        await lab.loop.create_connection(asyncio.Protocol, BOB, 5060)


async def test_several_addresses_are_tried_in_turn(lab: Lab) -> None:
    lab.dns.a("bob.example", "192.0.2.99", BOB)
    lab.dns.a("nobody.example", BOB, "192.0.2.2")
    lab.network.connect_timeout = 3.0
    async with pair(lab) as made:
        client = await connect(lab, "bob.example", 5060)
        assert client.transport.get_extra_info("peername") == (BOB, 5060)
        with pytest.raises(OSError, match="Multiple exceptions"):
            await connect(lab, "nobody.example", 9)
        with pytest.raises(ValueError, match="host and port"):
            await lab.loop.create_connection(asyncio.Protocol)
        assert made.accepted[0].transport.get_extra_info("peername")[0] == ALICE
        client.transport.abort()


async def test_loopback_streams(lab: Lab) -> None:
    with lab.network.hosts["alice"]:
        server = await lab.loop.create_server(lambda: StreamRecorder(lab), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = await connect(lab, "127.0.0.1", port)
    assert client.transport.get_extra_info("sockname")[0] == "127.0.0.1"
    assert lab.time() == 0.0
    server.close()


# -- servers ---------------------------------------------------------------------------------------------------------


async def test_a_server_shows_its_sockets(lab: Lab) -> None:
    with lab.network.hosts["bob"]:
        server = await lab.loop.create_server(lambda: StreamRecorder(lab), None, 5060)
        only6 = await lab.loop.create_server(lambda: StreamRecorder(lab), None, 5061, family=socket.AF_INET6)
        two = await lab.loop.create_server(lambda: StreamRecorder(lab), [BOB, "2001:db8::2", BOB], 5062)
    assert [s.getsockname() for s in server.sockets] == [("0.0.0.0", 5060), ("::", 5060, 0, 0)]
    assert [s.family for s in server.sockets] == [socket.AF_INET, socket.AF_INET6]
    assert [s.getsockname()[:2] for s in only6.sockets] == [("::", 5061)]
    assert [s.getsockname()[:2] for s in two.sockets] == [(BOB, 5062), ("2001:db8::2", 5062)]
    assert server.sockets[0].fileno() == -1
    assert server.get_loop() is lab.loop
    assert server.is_serving()
    client = await connect(lab, "2001:db8::2", 5060)
    assert client.transport.get_extra_info("peername") == ("2001:db8::2", 5060, 0, 0)
    for each in (server, only6, two):
        each.close()
        assert each.sockets == ()
    with pytest.raises(RuntimeError, match="closed"):
        await server.start_serving()


async def test_a_port_is_taken_once_and_given_back(lab: Lab) -> None:
    async with pair(lab):
        with pytest.raises(OSError, match="in use") as caught:
            await lab.loop.create_server(asyncio.Protocol, [("2001:db8::2"), BOB], 5060)
        assert caught.value.errno == errno.EADDRINUSE
    async with pair(lab) as made:  # and the failed one kept nothing
        await made.connect()
        server = await lab.loop.create_server(asyncio.Protocol, "2001:db8::2", 5060)
        server.close()


async def test_a_closed_server_refuses_but_keeps_its_connections(lab: Lab) -> None:
    made = Pair(lab)
    await made.listen()
    client, server = await made.connect()
    made.server.close()
    with pytest.raises(ConnectionRefusedError):
        await connect(lab, BOB, 5060)
    client.transport.write(b"still here")
    closed = asyncio.create_task(made.server.wait_closed())
    await asyncio.sleep(1)
    assert server.data == b"still here"
    assert not closed.done()
    client.transport.close()
    await closed
    assert server.told[-1] == "lost"
    await made.server.wait_closed()


@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_a_server_ends_its_connections(lab: Lab, how: str) -> None:
    made = Pair(lab)
    await made.listen()
    client, _ = await made.connect()
    made.server.close()
    getattr(made.server, how)()
    await made.server.wait_closed()
    await asyncio.sleep(1)
    assert type(client.error) is (type(None) if how == "close_clients" else ConnectionResetError)


async def test_serving_for_ever_ends_by_cancelling(lab: Lab) -> None:
    made = Pair(lab)
    await made.listen(start_serving=False)
    assert not made.server.is_serving()
    task = asyncio.create_task(made.server.serve_forever())
    await asyncio.sleep(1)
    assert made.server.is_serving()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.server.sockets == ()


# -- on top ----------------------------------------------------------------------------------------------------------


def echo(lab: Lab) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(10_000):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    return serve


async def test_the_streams_of_asyncio_work(lab: Lab) -> None:
    lab.network.link = Link(loss=0.2, jitter=0.01)
    server = await asyncio.start_server(echo(lab), BOB, 5060)
    with lab.network.hosts["alice"]:
        reader, writer = await asyncio.open_connection(BOB, 5060)

    async def send() -> None:
        for _ in range(50):
            writer.write(bytes(10_000))
            await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    assert len(await reader.read()) == 500_000
    await sending
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
