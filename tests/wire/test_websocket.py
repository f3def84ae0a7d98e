"""SIP over WebSocket (RFC 7118) against the frames of RFC 6455 themselves."""

from __future__ import annotations

import asyncio
import os
import struct
from typing import Any

import pytest

from switchroom.net import Endpoint, IncomingRequest, TransportLimits
from switchroom.sip.errors import TransportError

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def upgrade(subprotocol: str | None = "sip", more: str = "") -> bytes:
    line = (f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else "") + more
    return (
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{line}\r\n"
    ).encode()


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A masked frame, as clients send them."""
    size = len(payload)
    head = bytes(((0x80 if final else 0) | opcode,))
    head += bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126,)) + struct.pack("!H", size)
    mask = os.urandom(4)
    return head + mask + bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload))


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    if size == 126:
        [size] = struct.unpack("!H", await reader.readexactly(2))
    return first & 15, await reader.readexactly(size)


def answering(**options: Any) -> Endpoint:
    endpoint = Endpoint(["ws:127.0.0.1:0"], **options)

    @endpoint.on("OPTIONS", "MESSAGE")
    def answer(incoming: IncomingRequest) -> None:
        incoming.respond(200, body=incoming.request.body, content_type="text/plain" if incoming.request.body else None)

    return endpoint


async def connect(
    endpoint: Endpoint, subprotocol: str | None = "sip"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)
    writer.write(upgrade(subprotocol))
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


def test_the_upgrade_agrees_on_the_subprotocol(run: Any) -> None:
    async def main() -> None:
        async with answering() as endpoint:
            _, writer, head = await connect(endpoint)
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"Sec-WebSocket-Protocol: sip\r\n" in head
            writer.close()

    run(main)


@pytest.mark.parametrize("subprotocol", [None, "chat"])
def test_an_upgrade_without_the_subprotocol_sip_is_refused(run: Any, subprotocol: str | None) -> None:
    """RFC 7118 §4."""

    async def main() -> None:
        async with answering() as endpoint:
            reader, writer, head = await connect(endpoint, subprotocol)
            assert head.startswith(b"HTTP/1.1 400 ")
            await reader.read()
            assert endpoint.counters["websocket_refused"] == 1
            writer.close()

    run(main)


@pytest.mark.parametrize(
    ("origins", "allowed", "status"),
    [
        (["https://localhost"], (), 101),  # a page of the host that it connects to
        (["https://LocalHost:8443"], (), 101),  # whatever its port
        (["https://evil.example"], (), 403),
        (["https://localhost.evil.example"], (), 403),
        (["null"], (), 403),  # a file, or a page in a sandbox
        ([""], (), 403),
        (["https://localhost", "https://evil.example"], (), 403),
        (["https://phone.example"], ("https://Phone.example",), 101),
        (["https://phone.example:444"], ("https://phone.example",), 403),
        (["https://evil.example"], ("*",), 101),
    ],
)
def test_pages_of_foreign_origin_are_refused(
    run: Any, origins: list[str], allowed: tuple[str, ...], status: int
) -> None:
    """RFC 6455 §10.2: any page that a browser inside the network shows could speak SIP to us otherwise."""

    async def main() -> None:
        async with answering(websocket_origins=allowed) as endpoint:
            reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)
            writer.write(upgrade(more="".join(f"Origin: {origin}\r\n" for origin in origins)))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 %d " % status)
            assert endpoint.counters.get("websocket_refused", 0) == (status == 403)
            writer.close()

    run(main)


def test_a_server_that_does_not_take_the_subprotocol_is_refused(run: Any, wire: Any) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Sec-WebSocket-Protocol: sip" in head
            from websockets.utils import accept_key

            [key] = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key")]
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept_key(key.decode()).encode() + b"\r\n\r\n"
            )
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Endpoint() as caller:
            with pytest.raises(TransportError, match="does not speak SIP over WebSocket"):
                await caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{port};transport=ws"))
        server.close()
        await server.wait_closed()

    run(main)


def test_a_server_that_is_no_websocket_server(run: Any, wire: Any) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Endpoint() as caller:
            with pytest.raises(TransportError, match="404"):
                await caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{port};transport=ws"))
        server.close()
        await server.wait_closed()

    run(main)


def test_text_binary_and_fragments(run: Any, wire: Any) -> None:
    """RFC 7118 §5: either kind of frame; what is not UTF-8 comes back as binary."""

    async def main() -> None:
        async with answering() as endpoint:
            reader, writer, _ = await connect(endpoint)
            writer.write(frame(TEXT, wire.raw(transport="WS")))
            opcode, data = await read_frame(reader)
            assert opcode == TEXT
            assert data.startswith(b"SIP/2.0 200 ")
            writer.write(frame(BINARY, wire.raw("MESSAGE", transport="WS", body=b"\xff\xfe")))
            opcode, data = await read_frame(reader)
            assert opcode == BINARY
            assert data.endswith(b"\r\n\r\n\xff\xfe")
            whole = wire.raw("MESSAGE", transport="WS", body=b"in three")
            for octet in frame(TEXT, whole[:10], final=False) + frame(PING, b"?"):
                writer.write(bytes((octet,)))
            assert await read_frame(reader) == (PONG, b"?")
            writer.write(frame(CONTINUATION, whole[10:50], final=False) + frame(CONTINUATION, whole[50:]))
            assert (await read_frame(reader))[1].endswith(b"in three")
            writer.write(frame(CLOSE, struct.pack("!H", 1000)))
            assert await read_frame(reader) == (CLOSE, struct.pack("!H", 1000))
            assert await reader.read() == b""
            writer.close()

    run(main)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x83\x80\x00\x00\x00\x00", 1002),  # an opcode that does not exist
        (frame(CONTINUATION, b"of nothing"), 1002),
        (frame(TEXT, b"\xff\xfe not UTF-8"), 1007),
        (b"\x82\xff" + struct.pack("!Q", 1 << 40) + bytes(4), 1009),
        (b"\x81\x05hello", 1002),  # not masked
    ],
)
def test_frames_that_break_the_rules_close_the_connection(run: Any, data: bytes, code: int) -> None:
    async def main() -> None:
        async with answering() as endpoint:
            reader, writer, _ = await connect(endpoint)
            writer.write(data)
            opcode, payload = await read_frame(reader)
            assert opcode == CLOSE
            assert struct.unpack("!H", payload[:2]) == (code,)
            assert await reader.read() == b""
            assert endpoint.counters["websocket_errors"] == 1
            writer.close()

    run(main)


@pytest.mark.parametrize("subprotocol", ["sip", "chat"])
@pytest.mark.parametrize("opcode", [CLOSE, PING, 3])
def test_frames_that_come_with_the_upgrade_wait_for_its_answer(run: Any, subprotocol: str, opcode: int) -> None:
    """A client has to wait for the 101 (RFC 6455 §4.1); one that does not gets its answers in order all the same."""

    async def main() -> None:
        async with answering() as endpoint:
            reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)
            writer.write(upgrade(subprotocol) + frame(opcode, b""))
            head = await reader.readuntil(b"\r\n\r\n")
            if subprotocol == "sip":
                assert head.startswith(b"HTTP/1.1 101 ")
                assert (await read_frame(reader))[0] == (PONG if opcode == PING else CLOSE)
            else:
                assert head.startswith(b"HTTP/1.1 400 ")
            writer.close()
            assert "internal_errors" not in endpoint.counters

    run(main)


def test_garbage_instead_of_an_upgrade(run: Any) -> None:
    async def main() -> None:
        async with answering() as endpoint:
            for data in (b"\x16\x03\x01\x02\x00" * 100 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"A" * 20_000):
                reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)
                writer.write(data)
                async with asyncio.timeout(5):
                    try:
                        await reader.read()
                    except ConnectionResetError:
                        assert data[:1] == b"A"  # it was still writing
                writer.close()
            assert endpoint.counters["websocket_refused"] == 3
            assert endpoint.connections == 0

    run(main)


def test_a_client_that_never_finishes_the_upgrade(run: Any) -> None:
    async def main() -> None:
        async with answering(limits=TransportLimits(handshake_timeout=0.2)) as endpoint:
            reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.listeners[0].port)
            writer.write(upgrade()[:40])
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            assert endpoint.counters["handshake_timeouts"] == 1
            writer.close()

    run(main)


def test_a_message_in_endless_fragments(run: Any, wire: Any) -> None:
    async def main() -> None:
        async with answering(limits=TransportLimits(message_timeout=0.2)) as endpoint:
            reader, writer, _ = await connect(endpoint)
            writer.write(frame(TEXT, wire.raw(transport="WS")[:20], final=False))
            gone = asyncio.ensure_future(reader.read())
            while not gone.done():
                writer.write(frame(CONTINUATION, b"", final=False))
                await asyncio.wait([gone], timeout=0.02)
            gone.exception()
            assert endpoint.counters["message_timeouts"] == 1
            writer.close()

    run(main)


def test_a_server_that_answers_no_ping_has_failed(run: Any, wire: Any) -> None:
    async def main() -> None:
        called, caller = answering(), Endpoint(limits=TransportLimits(keepalive_interval=0.1, pong_timeout=0.2))
        lost: asyncio.Queue[object] = asyncio.Queue()
        caller.on_flow_ended(lambda _, error: lost.put_nowait(error))
        silent = asyncio.Event()

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65_536):
                if not silent.is_set():
                    writer.write(data)
            writer.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", called.listeners[0].port)
            await asyncio.gather(pump(reader, back), pump(there, writer))

        middle = await asyncio.start_server(relay, "127.0.0.1", 0)
        async with called, caller:
            port = middle.sockets[0].getsockname()[1]
            response = await caller.request(wire.request("OPTIONS", f"sip:bob@127.0.0.1:{port};transport=ws"))
            assert response.status == 200
            with pytest.raises(TimeoutError):  # it answers by itself, time and again
                async with asyncio.timeout(0.5):
                    await lost.get()
            silent.set()
            assert "no answer to a keep-alive ping" in str(await lost.get())
            middle.close()
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 — the relay's own tasks end with their connections
            await asyncio.sleep(0)

    run(main)
