"""Datagram sockets of both kinds: batches, errors, a full queue."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys

import pytest

from switchroom.net.address import ListenAddress
from switchroom.net.udp import BATCH, AsyncioDatagramSocket, DatagramSocket, RawDatagramSocket, open_datagram_socket
from switchroom.sip.errors import TransportError

ANY = ListenAddress("UDP", "127.0.0.1", 0)


class Receiver:
    """Writes down what a socket tells."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.batches: list[int] = []
        self.failures: asyncio.Queue[tuple[tuple[str, int] | None, int | None]] = asyncio.Queue()
        self.counted: list[str] = []
        self.came = asyncio.Event()
        self._batch = 0

    def datagram_received(self, source: DatagramSocket, data: bytes, remote: tuple[str, int]) -> None:
        self.data.append(data)
        self._batch += 1

    def datagrams_read(self) -> None:
        self.batches.append(self._batch)
        self._batch = 0
        self.came.set()

    def datagram_failed(self, source: DatagramSocket, remote: tuple[str, int] | None, error: OSError) -> None:
        self.failures.put_nowait((remote, error.errno))

    def count(self, name: str) -> None:
        self.counted.append(name)

    async def wait_for(self, number: int) -> None:
        async with asyncio.timeout(5):
            while len(self.data) < number:
                self.came.clear()
                await self.came.wait()


def closed_port() -> tuple[str, int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        host, port = taken.getsockname()
        return host, port


async def test_many_datagrams_are_read_in_few_batches() -> None:
    receiver = Receiver()
    made = await open_datagram_socket(ANY, receiver, queue=10)
    assert isinstance(made, RawDatagramSocket)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(150):
            sender.sendto(b"%d" % number, (made.address.host, made.address.port))
    await receiver.wait_for(150)
    assert receiver.data == [b"%d" % number for number in range(150)]
    assert max(receiver.batches) == BATCH  # which it grows to, as there is always more
    assert len(receiver.batches) < 30
    made.close()
    made.close()


async def test_datagrams_that_come_one_by_one_are_handed_on_one_by_one() -> None:
    receiver = Receiver()
    made = await open_datagram_socket(ANY, receiver, queue=10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(50):
            sender.sendto(b"%d" % number, (made.address.host, made.address.port))
            await receiver.wait_for(number + 1)
    assert receiver.data == [b"%d" % number for number in range(50)]
    assert [count for count in receiver.batches if count] == [1] * 50
    made.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells an unconnected socket of ICMP errors")
async def test_icmp_errors_name_their_destination_and_stop_nothing() -> None:
    receiver = Receiver()
    made = await open_datagram_socket(ANY, receiver, queue=10)
    closed = closed_port()
    own = (made.address.host, made.address.port)
    for _ in range(3):
        made.send(b"nobody reads this", closed)
        made.send(b"to myself", own)  # the pending error of the first must not eat the second
        assert await receiver.failures.get() == (closed, errno.ECONNREFUSED)
    await receiver.wait_for(3)
    with pytest.raises(OSError, match="Message too long"):
        made.send(bytes(70_000), own)
    made.close()


async def test_while_the_system_takes_none_datagrams_wait_within_a_bound() -> None:
    receiver = Receiver()
    made = await open_datagram_socket(ANY, receiver, queue=2)
    assert isinstance(made, RawDatagramSocket)
    own = (made.address.host, made.address.port)
    made._enqueue(b"first", own)  # as if the system had refused it: loopback never does
    asyncio.get_running_loop().add_writer(made._socket, made._writable)
    made.send(b"second", own)
    made.send(b"third", own)
    assert receiver.counted == ["datagrams_dropped"]
    await receiver.wait_for(2)
    assert receiver.data == [b"first", b"second"]
    made.send(b"fourth", own)
    await receiver.wait_for(3)
    made.close()


async def test_through_asyncios_own_transport() -> None:
    receiver = Receiver()
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: AsyncioDatagramSocket(ANY, receiver), local_addr=("127.0.0.1", 0)
    )
    own = transport.get_extra_info("sockname")
    protocol.send(b"hello", own)
    await receiver.wait_for(1)
    protocol.pause_writing()
    protocol.send(b"dropped", own)
    protocol.resume_writing()
    protocol.send(b"again", own)
    await receiver.wait_for(2)
    assert receiver.data == [b"hello", b"again"]
    assert receiver.counted == ["datagrams_dropped"]
    protocol.error_received(OSError(errno.EMSGSIZE, "too long"))
    protocol.error_received(ValueError("no error of the network"))
    assert receiver.failures.get_nowait() == (None, errno.EMSGSIZE)
    assert receiver.failures.empty()
    protocol.close()
    with pytest.raises(OSError, match="closed"):
        protocol.send(b"too late", own)


async def test_a_port_that_cannot_be_had() -> None:
    made = await open_datagram_socket(ANY, Receiver(), queue=2)
    with pytest.raises(TransportError, match=r"cannot listen on udp:127\.0\.0\.1:\d+: the port is in use"):
        await open_datagram_socket(made.address, Receiver(), queue=2)
    with pytest.raises(TransportError, match="this machine has no such address"):
        await open_datagram_socket(ListenAddress("UDP", "192.0.2.1", 0), Receiver(), queue=2)
    shared = await open_datagram_socket(ANY, Receiver(), queue=2, reuse_port=True)
    again = await open_datagram_socket(shared.address, Receiver(), queue=2, reuse_port=True)
    for each in (made, shared, again):
        each.close()
