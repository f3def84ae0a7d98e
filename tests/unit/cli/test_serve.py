"""`switchroom serve`, run as a user runs it."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys

from typer.testing import CliRunner

from switchroom import __version__
from switchroom.cli import app
from switchroom.cli.serve import printable

OPTIONS = (
    "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKserve\r\n"
    "From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: serve\r\nCSeq: 1 OPTIONS\r\n"
    "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"switchroom {__version__}\n"


def test_a_terminal_obeys_nothing_that_came_from_the_network() -> None:
    assert printable("a\x1b[2Jb\r\nc\td\x9b") == "a\\x1b[2Jb\nc\td\\x9b"


async def test_serve_answers_options_shows_them_and_ends_on_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "switchroom", "serve", "--listen", "udp:127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found is not None, line
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind(("127.0.0.1", 0))
                client.setblocking(False)
                text = OPTIONS.format(port=client.getsockname()[1])
                client.sendto(text.encode(), ("127.0.0.1", int(found[1])))
                answer = await asyncio.get_running_loop().sock_recv(client, 2000)
            assert answer.startswith(b"SIP/2.0 200 OK\r\n")
            process.send_signal(signal.SIGTERM)
            output = (await process.stdout.read()).decode()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert f"<--- Received SIP request ({len(text)} bytes) from UDP:127.0.0.1:" in output
    assert re.search(
        r"<--- Transmitting SIP response \(\d+ bytes\) to UDP:127\.0\.0\.1:\d+ --->\nSIP/2\.0 200 OK", output
    )


def test_a_port_in_use_is_said_plainly() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--listen", f"udp:127.0.0.1:{port}"])
    assert result.exit_code == 1
    assert "in use" in result.output
    assert str(port) in result.output
