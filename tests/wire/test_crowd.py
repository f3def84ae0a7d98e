"""Many idle clients and a slow one do not delay the others."""

from __future__ import annotations

import asyncio
import resource
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from switchroom.net import Endpoint, IncomingRequest

CLIENTS = 2_000


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CLIENTS + 512
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"at most {hard} open files are allowed here, and {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_two_thousand_idle_clients_and_a_slow_writing_one(
    run: Any, wire: Any, authority: Any, many_files: None
) -> None:
    async def main() -> None:
        called = Endpoint(
            ["tcp:127.0.0.1:0", "tls:127.0.0.1:0", "udp:127.0.0.1:0"],
            tls=authority.settings(authority.issue("crowd", "127.0.0.1")),
        )

        @called.on("OPTIONS")
        def answer(incoming: IncomingRequest) -> None:
            incoming.respond(200)

        context = ssl.create_default_context(cafile=str(authority.file))
        async with called, Endpoint(tls=authority.settings()) as caller:
            plain, secure, datagrams = called.listeners
            idle: list[asyncio.StreamWriter] = []
            for _ in range(CLIENTS // 50):
                opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", plain.port) for _ in range(50)))
                idle += [writer for _, writer in opened]
            reader, slow = await asyncio.open_connection("127.0.0.1", secure.port, ssl=context)
            message = wire.raw(transport="TLS")

            async def drip() -> None:
                for octet in message:
                    slow.write(bytes((octet,)))
                    await slow.drain()

            dripping = asyncio.create_task(drip())
            # Every transport answers meanwhile, and none of them waits for the slow one.
            took: list[float] = []
            for address in (plain, secure, datagrams) * 20:
                begun = time.perf_counter()
                response = await caller.request(wire.request("OPTIONS", wire.uri(address)))
                took.append(time.perf_counter() - begun)
                assert response.status == 200
            assert called.connections == CLIENTS + 3
            assert sorted(took)[len(took) // 2] < 0.25
            await dripping
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200 ")
            slow.close()
            for writer in idle:
                writer.transport.abort()

    run(main, debug=False)
