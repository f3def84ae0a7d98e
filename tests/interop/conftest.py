"""Real peers: found by name, started on ports of their own, ended by their own process id."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

FULL_MATRIX = os.environ.get("SWITCHROOM_PEER_MATRIX") == "full"


def need(program: str) -> str:
    """The path of *program*; without it the test skips by name, or fails where peers must be there (CI)."""
    path = shutil.which(program)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed, and with CI=true a missing peer is a failure")
        pytest.skip(f"{program} is not installed")
    return path


def free_port(count: int = 1) -> int:
    """A port of 127.0.0.1 that is free now for UDP and TCP, as are the *count* - 1 after it."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            first = int(probe.getsockname()[1])
        held: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    held.append(socket.socket(socket.AF_INET, kind))
                    held[-1].bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for taken in held:
                taken.close()
        return first
    raise AssertionError("no free ports")


class PeerProcess:
    """A peer that runs; its output is kept so that a failing test can show it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    async def finished(self, within: float) -> int:
        """Wait for it to end by itself; its exit code."""
        try:
            async with asyncio.timeout(within):
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name} did not end within {within} s; it printed:\n{self.output}") from None

    async def printed(self, text: str, within: float) -> None:
        """Wait until it has printed *text*."""
        deadline = asyncio.get_running_loop().time() + within
        while text not in self.output:
            if asyncio.get_running_loop().time() > deadline or self.process.returncode is not None:
                raise AssertionError(f"{self.name} never printed {text!r}; it printed:\n{self.output}")
            await asyncio.sleep(0.02)  # its output is a file: nothing to wait on but the file

    def write(self, line: str) -> None:
        """Type *line* at it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    async def end(self) -> None:
        """End it, gently first."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(3):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


Start = Callable[..., "asyncio.Future[PeerProcess]"]


@pytest.fixture
async def start_peer(tmp_path: Path) -> AsyncIterator[Callable[[Sequence[str]], object]]:
    """`await start_peer([program, argument, ...])` starts a peer that is ended with the test."""
    running: list[PeerProcess] = []

    async def start(command: Sequence[str], name: str | None = None) -> PeerProcess:
        program = need(command[0])
        log = tmp_path / f"{Path(program).name}-{len(running)}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                program, *command[1:], stdin=asyncio.subprocess.PIPE, stdout=out, stderr=out, cwd=tmp_path
            )
        peer = PeerProcess(name or Path(program).name, process, log)
        running.append(peer)
        return peer

    yield start
    for peer in running:
        await peer.end()
