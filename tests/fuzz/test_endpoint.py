"""Mutated messages, frames and connections against a running endpoint on each of the five transports.

Whatever comes: nothing reaches the loop's exception handler, no request gets a second final response, the log stays
short, the next good request is answered, and after the end no connection and no task is left.  Runs for a few seconds;
`SWITCHROOM_FUZZ_SECONDS` makes it longer.  A failure prints its seed; `SWITCHROOM_FUZZ_SEED` starts from that seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from tests.fuzz.test_parser import SEED, mutate
from tests.wire.conftest import LOOPS, Authority, new_request, raw_request, uri_of

from switchroom.net import Endpoint, IncomingRequest, ListenAddress, TapRecord, TransportLimits

SECONDS = float(os.environ.get("SWITCHROOM_FUZZ_SECONDS", "3")) / len(LOOPS)
TOGETHER = 25
"""Attackers at the same time, each with its own seed."""
LIMITS = TransportLimits(message_timeout=0.2, handshake_timeout=0.5, idle_timeout=0.5, write_timeout=0.5)
"""Short, so that an attacker that waits to be dropped need not wait for long."""
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
HELLO = bytes.fromhex("16030100a5010000a10303") + bytes(range(160))


def target(listen: list[str], authority: Authority) -> Endpoint:
    """What is attacked: it answers, late or not at all, fails, and is cancelled."""
    endpoint = Endpoint(listen, tls=authority.settings(authority.issue("fuzz", "127.0.0.1")), limits=LIMITS)

    @endpoint.on("OPTIONS")
    def at_once(incoming: IncomingRequest) -> None:
        incoming.respond(200)

    @endpoint.on("MESSAGE", "INVITE")
    async def late(incoming: IncomingRequest) -> None:
        if incoming.request.method == "INVITE":
            incoming.respond(183)
        await asyncio.sleep(0.05)
        incoming.respond(486)

    @endpoint.on("REGISTER", "BYE")
    async def fail(incoming: IncomingRequest) -> None:
        raise ZeroDivisionError("a handler's mistake")

    @endpoint.on("SUBSCRIBE", "INFO")
    async def never(incoming: IncomingRequest) -> None:
        await asyncio.Event().wait()

    return endpoint


# -- what attackers send ---------------------------------------------------------------------------------------------


def message(dice: random.Random, seed: int) -> bytes:
    """A mutated message that is no retransmission of another one, with a Via by which its answer finds the way."""
    data = mutate(dice) if dice.random() < 0.8 else raw_request(dice.choice(("INVITE", "INFO", "CANCEL", "ACK", "BYE")))
    branch = b"127.0.0.1:%d;rport;branch=z9hG4bKf%d.%x"
    data = data.replace(
        b"host.example.com;branch=z9hG4bKcorpus", branch % (dice.randrange(1, 65536), seed, dice.getrandbits(64))
    )
    if dice.random() < 0.2:
        data = data.replace(b"OPTIONS", dice.choice((b"INVITE", b"MESSAGE", b"REGISTER", b"SUBSCRIBE", b"ACK")))
    return data


def frame(dice: random.Random, payload: bytes) -> bytes:
    """A WebSocket frame that is mostly right."""
    first = 0x80 | dice.choice((1, 1, 1, 2, 0, 8, 9, 10))
    if dice.random() < 0.2:
        first ^= 1 << dice.randrange(8)
    mask = dice.randbytes(4) if dice.random() < 0.95 else b""
    flag = 0x80 if mask else 0
    size = len(payload) if dice.random() < 0.95 else dice.choice((0, 125, 126, 65_535, 1 << 40, (1 << 64) - 1))
    if size < 126:
        head = bytes((first, flag | size))
    elif size < 65_536:
        head = bytes((first, flag | 126)) + struct.pack("!H", size)
    else:
        head = bytes((first, flag | 127)) + struct.pack("!Q", size)
    return head + mask + bytes(octet ^ mask[at % 4] if mask else octet for at, octet in enumerate(payload))


def stream(dice: random.Random, seed: int, websocket: bool) -> bytes:
    """Everything that one client says on its connection."""
    match dice.randrange(12):
        case 0:
            return dice.randbytes(dice.randrange(2_000))
        case 1:
            return HELLO
        case 2:
            return b"\r\n\r\n" * dice.randrange(2_000)
    said = [message(dice, seed) for _ in range(dice.randint(1, 6))]
    if dice.random() < 0.3:
        said.append(said[-1][: dice.randrange(len(said[-1]) + 1)])
    if not websocket:
        return b"".join(said)
    handshake = bytearray(HANDSHAKE)
    if dice.random() < 0.3:
        at = dice.randrange(len(handshake))
        handshake[at : at + dice.randrange(3)] = dice.choice(
            (b"\r\n", b"\x00", b"\xff", b":", b"\r\nContent-Length: 5\r\n", b"\r\nTransfer-Encoding: chunked\r\n")
        )
    flood = frame(dice, b"?") * dice.choice((0, 0, 0, 1_000))
    return bytes(handshake) + b"".join(frame(dice, each) for each in said) + flood


def pieces(dice: random.Random, data: bytes) -> list[bytes]:
    """The data, cut at some places."""
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 0, 1, 5))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


class Datagrams(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: Any) -> None: ...

    def error_received(self, exc: Exception) -> None: ...


async def attack(seed: int, addresses: tuple[ListenAddress, ...], context: ssl.SSLContext) -> None:
    """One attacker, from its first octet to its last."""
    dice = random.Random(seed)
    address = dice.choice(addresses)
    loop = asyncio.get_running_loop()
    if address.transport == "UDP":
        transport, _ = await loop.create_datagram_endpoint(Datagrams, remote_addr=(address.host, address.port))
        for _ in range(20):
            transport.sendto(message(dice, seed) if dice.random() < 0.9 else dice.randbytes(dice.randrange(100)))
        await asyncio.sleep(dice.choice((0.0, 0.1)))
        transport.close()
        return
    speaks_tls = (address.transport in ("TLS", "WSS")) != (dice.random() < 0.1)
    with contextlib.suppress(OSError, EOFError):  # it is dropped in the middle of something: as it deserves
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(
                address.host,
                address.port,
                ssl=context if speaks_tls else None,
                server_hostname="127.0.0.1" if speaks_tls else None,
            )
            try:
                for piece in pieces(dice, stream(dice, seed, address.transport in ("WS", "WSS"))):
                    writer.write(piece)
                    await asyncio.sleep(dice.choice((0, 0, 0.02)))
                if dice.random() < 0.5:
                    while await reader.read(65_536):
                        pass
            finally:
                if dice.random() < 0.5:
                    writer.transport.abort()
                writer.close()
                await writer.wait_closed()


# -- what must hold --------------------------------------------------------------------------------------------------


class Answers:
    """Every answer that leaves: a final one to a transaction is repeated octet for octet, or not at all."""

    def __init__(self) -> None:
        self.final: dict[bytes, bytes] = {}
        self.sent = 0
        self.wrong: list[tuple[bytes, bytes]] = []

    def record(self, record: TapRecord) -> None:
        data = record.data
        if record.direction == "in" or not data.startswith(b"SIP/2.0 ") or data[8:9] == b"1":
            return
        self.sent += 1
        head = data.split(b"\r\n")
        via = next((line for line in head if line[:4].lower() in (b"via:", b"v: ")), b"")
        if b"branch=z9hG4bKf" in via:
            # Malformed requests are answered without a transaction, and each change of one is another request.
            key = b"\n".join(line for line in head if line[:3] not in (b"SIP", b"To:"))
            status = self.final.setdefault(key, data[8:11])
            if status != data[8:11]:
                self.wrong.append((status, data))


@pytest.mark.parametrize("loop", LOOPS)
def test_endpoint(loop: str, tmp_path: Path, caplog: Any) -> None:
    authority = Authority(tmp_path, "Fuzz")
    context = ssl.create_default_context(cafile=str(authority.file))
    listen = [f"{each}:127.0.0.1:0" for each in ("udp", "tcp", "tls", "ws", "wss")]
    problems: list[dict[str, Any]] = []

    async def good(caller: Endpoint, called: Endpoint) -> None:
        for address in called.listeners:
            response = await caller.request(new_request("OPTIONS", uri_of(address)))
            assert response.status == 200, address

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        called, answers = target(listen, authority), Answers()
        called.tap.subscribe(answers.record)
        begun = time.monotonic()
        seed = SEED
        async with called, Endpoint(tls=authority.settings()) as caller:
            while time.monotonic() < begun + SECONDS or seed == SEED:
                seeds = range(seed, seed + TOGETHER)
                try:
                    await asyncio.gather(*(attack(each, called.listeners, context) for each in seeds))
                    await good(caller, called)
                    counters = called.counters
                    assert "internal_errors" not in counters
                    assert [(each["message"], each.get("exception")) for each in problems] == []
                    assert answers.wrong == []
                    asked = counters["requests"] + counters["malformed_requests"]
                    assert answers.sent <= asked + counters["retransmissions_sent"]
                except Exception as error:
                    error.add_note(f"SWITCHROOM_FUZZ_SEED={seed}")
                    raise
                seed += TOGETHER
            await called.close(grace=0.0)
            assert called.connections == 0
        lines = [record for record in caplog.records if record.name.startswith("switchroom")]
        assert len(lines) <= 4 * (time.monotonic() - begun + 2)  # of one address, two handlers, Switchroom itself
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    assert problems == []
