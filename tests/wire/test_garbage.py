"""Any bytes on any transport: the owed response or silence, a counter, one line in the log, nothing in the loop."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from switchroom.net import Endpoint, IncomingRequest


class Datagrams(asyncio.DatagramProtocol):
    """Everything that comes back."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.came.put_nowait(data)


def garbage(seed: int, count: int, good: bytes) -> list[bytes]:
    """Random bytes, and a good message with some of its bytes changed, cut or doubled."""
    dice = random.Random(seed)
    made = [b"", b"\0", b"\r\n", b"\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", b"\xff" * 3000]
    for _ in range(count):
        data = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            match dice.randrange(4):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    del data[at : at + dice.randint(1, 40)]
                case 2:
                    data[at:at] = data[at : at + dice.randint(1, 40)]
                case _:
                    data[at:at] = dice.randbytes(dice.randint(1, 10))
        made.append(bytes(data))
        made.append(dice.randbytes(dice.randrange(200)))
    return made


def answering(*listen: str, **options: Any) -> Endpoint:
    endpoint = Endpoint(listen, **options)

    @endpoint.on("OPTIONS")
    def answer(incoming: IncomingRequest) -> None:
        incoming.respond(200)

    return endpoint


def logged(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("switchroom")]


def test_datagrams(run: Any, wire: Any, caplog: Any) -> None:
    async def main() -> None:
        async with answering("udp:127.0.0.1:0") as endpoint:
            transport, datagrams = await asyncio.get_running_loop().create_datagram_endpoint(
                Datagrams, remote_addr=("127.0.0.1", endpoint.listeners[0].port)
            )
            sent = garbage(1, 150, wire.raw(transport="UDP", body=b"v=0"))
            for data in sent:
                transport.sendto(data)
            last = wire.raw(transport="UDP")
            transport.sendto(last)
            [wanted] = [line for line in last.split(b"\r\n") if line.startswith(b"Call-ID")]
            answers = []
            while not answers or wanted not in answers[-1]:
                answers.append(await datagrams.came.get())
            assert len(answers) <= len(sent) + 1  # never more than one response to one request
            assert all(data.startswith(b"SIP/2.0 ") for data in answers)
            counters = endpoint.counters
            assert counters["malformed_requests"] + counters["malformed_other"] > 100
            assert "internal_errors" not in counters
            assert len(logged(caplog)) <= 3  # a second or two have passed at most
            transport.close()

    run(main)


@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_streams(run: Any, wire: Any, caplog: Any, transport: str) -> None:
    async def main() -> None:
        async with answering(f"{transport}:127.0.0.1:0") as endpoint:
            for data in garbage(2, 40, wire.raw(body=b"v=0")):
                reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)
                writer.write(data + b"\r\n\r\n")
                writer.write_eof()
                try:
                    async with asyncio.timeout(5):
                        await reader.read()
                except ConnectionResetError:
                    pass
                writer.close()
            assert "internal_errors" not in endpoint.counters
            assert len(logged(caplog)) <= 4

    run(main)


def test_tls_garbage(run: Any, wire: Any, loopback_tls: Any, caplog: Any) -> None:
    async def main() -> None:
        async with answering("tls:127.0.0.1:0", tls=loopback_tls) as endpoint:
            for data in (*garbage(3, 10, wire.raw()), b"\x16\x03\x01\x40\x00" + b"\1" * 100, b"GET / HTTP/1.1\r\n\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)
                writer.write(data)
                writer.write_eof()
                try:
                    async with asyncio.timeout(5):
                        await reader.read()
                except ConnectionResetError:
                    pass
                writer.close()
            assert endpoint.counters["handshake_failures"] > 10
            assert len(logged(caplog)) <= 4

    run(main)


def test_a_client_that_leaves_without_a_word(run: Any, wire: Any, loopback_tls: Any) -> None:
    async def main() -> None:
        for transport in ("tcp", "ws", "tls"):
            async with answering(f"{transport}:127.0.0.1:0", tls=loopback_tls) as endpoint:
                for _ in range(20):
                    _, writer = await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)
                    writer.write(wire.raw())
                    writer.transport.abort()

    run(main)
