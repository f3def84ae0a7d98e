"""Our user agent answers sipsak: OPTIONS as a ping, MESSAGE, and a traceroute that we end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from switchroom.sip.session_events import IncomingRequest

from .agent import running_agent

pytestmark = pytest.mark.interop("sipsak")


async def test_options_ping(start_peer: Any) -> None:
    async with running_agent("udp") as agent:
        peer = await start_peer(["sipsak", "-vv", "-s", f"sip:switchroom@{agent.address}"])
        incoming = await agent.expect(IncomingRequest)
        assert incoming.request.method == "OPTIONS"
        agent.do(agent.core.respond, incoming, 200, headers=[("Accept", "application/sdp")])
        assert await peer.finished(10) == 0, peer.output
        assert "200 OK" in peer.output


async def test_traceroute_ends_at_us(start_peer: Any) -> None:
    """Max-Forwards 0 is no obstacle for a request that has arrived."""
    async with running_agent("udp") as agent:
        peer = await start_peer(["sipsak", "-T", "-vv", "-s", f"sip:switchroom@{agent.address}"])
        incoming = await agent.expect(IncomingRequest)
        assert incoming.request.max_forwards == 0
        agent.do(agent.core.respond, incoming, 200)
        assert await peer.finished(10) == 0, peer.output


def message(method: str, target: str, body: str = "") -> str:
    return (
        f"{method} sip:switchroom@{target} SIP/2.0\nFrom: <sip:tester@127.0.0.1>;tag=1\n"
        f"To: <sip:switchroom@{target}>\nCall-ID: {method.lower()}@127.0.0.1\nCSeq: 1 {method}\n"
        f"Max-Forwards: 70\nContent-Type: text/plain\nContent-Length: {len(body)}\n\n{body}"
    )


async def test_message(start_peer: Any, tmp_path: Path) -> None:
    async with running_agent("udp") as agent:
        (tmp_path / "message.sip").write_text(message("MESSAGE", agent.address, "Hello, exchange"))
        peer = await start_peer(["sipsak", "-vv", "-f", "message.sip", "-s", f"sip:switchroom@{agent.address}"])
        incoming = await agent.expect(IncomingRequest)
        assert incoming.request.method == "MESSAGE"
        assert incoming.request.body == b"Hello, exchange"
        agent.do(agent.core.respond, incoming, 200)
        assert await peer.finished(10) == 0, peer.output


async def test_an_unknown_method_is_refused(start_peer: Any, tmp_path: Path) -> None:
    """A message of the tester's own, sent by sipsak -f: 501 with Allow (RFC 4475 §3.1.1.2)."""
    async with running_agent("udp") as agent:
        (tmp_path / "unknown.sip").write_text(message("UNKNOWN", agent.address))
        peer = await start_peer(["sipsak", "-vv", "-f", "unknown.sip", "-s", f"sip:switchroom@{agent.address}"])
        await peer.finished(10)
        assert "501" in peer.output
        assert "Allow: INVITE" in peer.output
