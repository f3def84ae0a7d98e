"""Our user agent, client and server, against SIPp's built-in scenarios over UDP and TCP."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from switchroom.sip.headers import Address
from switchroom.sip.session_events import (
    EndReason,
    IncomingRequest,
    IncomingSession,
    RequestCompleted,
    SessionAnswered,
    SessionConfirmed,
    SessionEnded,
)
from switchroom.sip.uri import parse_uri

from .agent import SDP, running_agent
from .conftest import FULL_MATRIX, free_port

TRANSPORTS = ["udp", "tcp"]
CALLS = 50 if FULL_MATRIX else 5
MODES = {"udp": "u1", "tcp": "t1"}

pytestmark = pytest.mark.interop("sipp")


def sipp(scenario: str, transport: str, port: int, *more: str) -> list[str]:
    return [
        *("sipp", "-sn", scenario, "-i", "127.0.0.1", "-p", str(port), "-t", MODES[transport], "-nostdin"),
        *("-timeout", "40", "-timeout_error", *more),
    ]


def address(user: str, host: str) -> Address:
    return Address("", parse_uri(f"sip:{user}@{host}"))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_sipp_uac_calls_us(transport: str, start_peer: Any) -> None:
    async with running_agent(transport) as agent:
        peer = await start_peer(
            [*sipp("uac", transport, free_port(), "-m", str(CALLS), "-r", "5", "-d", "100"), agent.address]
        )
        for _ in range(CALLS):
            incoming = await agent.expect(IncomingSession, 30)
            session = incoming.session
            agent.do(session.progress, agent.now, 180)
            agent.do(session.answer, agent.now, SDP.format(port=free_port()).encode())
        assert await peer.finished(30) == 0, peer.output
        ended = [event for event in agent.events if isinstance(event, SessionEnded)]
        assert [event.reason for event in ended] == [EndReason.REMOTE_BYE] * CALLS
        assert agent.core.idle


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_we_call_sipp_uas(transport: str, start_peer: Any) -> None:
    port = free_port()
    peer = await start_peer(sipp("uas", transport, port, "-m", str(CALLS)))
    async with running_agent(transport) as agent:
        await listening(port, transport)
        for _ in range(CALLS):
            session = agent.do(
                agent.core.invite,
                agent.now,
                f"sip:service@127.0.0.1:{port};transport={transport}",
                from_=address("us", agent.address),
                body=SDP.format(port=free_port()).encode(),
            )
            reply = await agent.expect(SessionAnswered)
            assert reply.response.status == 200
            assert b"m=audio" in reply.response.body
            agent.do(session.hang_up, agent.now)
            ended = await agent.expect(SessionEnded)
            assert ended.reason is EndReason.LOCAL_BYE
        # SIPp lingers, and takes a connection that closes meanwhile for a failure
        assert await peer.finished(30) == 0, peer.output


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_sipp_branchc_registers_and_calls_us(transport: str, start_peer: Any) -> None:
    async with running_agent(transport) as agent:
        peer = await start_peer([*sipp("branchc", transport, free_port(), "-m", "1"), agent.address])
        register = await agent.expect(IncomingRequest, 20)
        assert register.request.method == "REGISTER"
        contact = register.request.headers.get("Contact")
        agent.do(agent.core.respond, register, 200, headers=[("Contact", f"{contact}"), ("Expires", "300")])
        incoming = await agent.expect(IncomingSession)
        agent.do(incoming.session.progress, agent.now, 180)
        agent.do(incoming.session.answer, agent.now, SDP.format(port=free_port()).encode())
        await agent.expect(SessionConfirmed)
        ended = await agent.expect(SessionEnded, 20)
        assert ended.reason is EndReason.REMOTE_BYE
        assert await peer.finished(30) == 0, peer.output


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_we_register_at_and_call_sipp_branchs(transport: str, start_peer: Any) -> None:
    port = free_port()
    peer = await start_peer(sipp("branchs", transport, port, "-m", "1"))
    async with running_agent(transport) as agent:
        await listening(port, transport)
        target = f"sip:127.0.0.1:{port};transport={transport}"
        us = address("ua2", agent.address)
        register = agent.core.create_request("REGISTER", target, from_=us, to=us, call_id="1-switchroom@127.0.0.1")
        agent.do(agent.core.send, register, agent.now)
        outcome = await agent.expect(RequestCompleted)
        assert outcome.response is not None
        assert outcome.response.status == 200
        # the scenario is one "call" to SIPp, which it finds by the Call-ID
        session = agent.do(
            agent.core.invite,
            agent.now,
            f"sip:ua1@127.0.0.1:{port};transport={transport}",
            from_=us,
            body=SDP.format(port=free_port()).encode(),
            call_id="1-switchroom@127.0.0.1",
        )
        reply = await agent.expect(SessionAnswered)
        assert reply.response.status == 200
        agent.do(session.hang_up, agent.now)
        assert (await agent.expect(SessionEnded)).reason is EndReason.LOCAL_BYE
        assert await peer.finished(30) == 0, peer.output


async def listening(port: int, transport: str) -> None:
    """Wait until a peer has bound its port: as the kernel lists it."""
    table = {"udp": "/proc/net/udp", "tcp": "/proc/net/tcp"}[transport]
    wanted = re.compile(rf":{port:04X} [0-9A-F]{{8}}:0000 {'07' if transport == 'udp' else '0A'}")
    for _ in range(500):
        with open(table) as file:  # noqa: ASYNC230  # procfs does not block
            if wanted.search(file.read()):
                return
        await asyncio.sleep(0.02)  # there is nothing to wait on but the table
    raise AssertionError(f"nobody listens on {transport} port {port}")
