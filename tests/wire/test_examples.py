"""The examples do what they say."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from switchroom.net import Endpoint, IncomingRequest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["parse_message", "options_responder", "echo_message"])
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60


def test_parse_message(capsys: pytest.CaptureFixture[str]) -> None:
    load("parse_message").main()
    first, second = capsys.readouterr().out.splitlines()
    assert first == "INVITE from sip:alice@atlanta.example.com to 'Bob, at his desk', CSeq 314159"
    assert second.startswith("malformed, to be answered 400: ")


def test_options_responder(run: Any, wire: Any, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        responder = load("options_responder").responder(["udp:127.0.0.1:0", "tcp:127.0.0.1:0"])
        async with responder, Endpoint() as caller:
            for address in responder.listeners:
                response = await caller.request(wire.request("OPTIONS", wire.uri(address)))
                assert (response.status, response.allow) == (200, ("OPTIONS",))
                assert (await caller.request(wire.request("MESSAGE", wire.uri(address)))).status == 405

    run(main)


def test_echo_message(run: Any, wire: Any) -> None:
    async def main() -> None:
        echo = load("echo_message").echo(["udp:127.0.0.1:0", "tcp:127.0.0.1:0"])
        caller = Endpoint(["udp:127.0.0.1:0", "tcp:127.0.0.1:0"])
        echoes: asyncio.Queue[bytes] = asyncio.Queue()

        @caller.on("MESSAGE")
        def heard(incoming: IncomingRequest) -> None:
            echoes.put_nowait(incoming.request.body)
            incoming.respond(200)

        async with echo, caller:
            for address in echo.listeners:
                response = await caller.request(wire.request("MESSAGE", wire.uri(address), "Hallo, Wörld".encode()))
                assert response.status == 200
                assert await echoes.get() == "Hallo, Wörld".encode()

    run(main)


@pytest.mark.parametrize("name", ["options_responder", "echo_message"])
def test_a_servers_main_runs_until_it_is_stopped(run: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await load(name).main(["udp:127.0.0.1:0"])
        assert capsys.readouterr().out.startswith("listening on udp:127.0.0.1:")

    run(main)
