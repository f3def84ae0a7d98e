"""Servers found by SRV: the first of them down, refusing, busy or nowhere: the next takes over (RFC 3263 §4.3)."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.lab.scenario import Party, links, over

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.net.endpoint import Endpoint
from switchroom.net.incoming import IncomingRequest
from switchroom.sip.session_events import EndReason

FIRST, SECOND = "192.0.2.11", "192.0.2.12"


def zones(lab: Lab, transport: str) -> None:
    """One domain with two servers, the first of them preferred."""
    name = f"_sip._{transport}.example.com"
    lab.dns.naptr("example.com", "SIP+D2U" if transport == "udp" else "SIP+D2T", name)
    lab.dns.srv(name, "first.example.com", 5060, priority=1)
    lab.dns.srv(name, "second.example.com", 5060, priority=2)
    lab.dns.a("first.example.com", FIRST)
    lab.dns.a("second.example.com", SECOND)


async def fail_over(lab: Lab, *, trouble: str, transport: str) -> None:
    """Alice calls bob@example.com twice; his first server has some trouble."""
    zones(lab, transport)
    alice = Party(lab, "alice", "192.0.2.1", transports=["udp", "tcp"], invite_wait=300.0)
    bob = Party(lab, "bob", SECOND, transports=["udp", "tcp"])
    broken: Endpoint | None = None
    if trouble == "no address":
        lab.dns.remove("first.example.com")
    elif trouble == "no answer from the zone":
        lab.dns.fail("first.example.com", "timeout")
    else:
        host = lab.host("first", FIRST)
        host.up = trouble != "down"
        host.refuses = trouble != "silent"
        if trouble == "503":
            broken = lab.endpoint(host)

            @broken.on("INVITE")
            def unavailable(incoming: IncomingRequest) -> None:
                incoming.respond(503)

            await broken.start()
    lab.network.connect_timeout = 20.0
    async with alice.endpoint, bob.endpoint:
        sessions = []
        for _ in range(2):
            sessions.append(alice.call("sip:bob@example.com"))
            await asyncio.sleep(100)
            alice.hang_up()
            await asyncio.sleep(5)
        await over(lab, alice, bob, wait=700.0)
        if broken is not None:
            await broken.close(grace=0.0)
        if lab.network.link.loss:
            return
        for session in sessions:
            assert alice.calls[session].answered
            assert alice.calls[session].reason is EndReason.LOCAL_BYE
        assert [call.confirmed for call in bob.calls.values()] == [True, True]
        if broken is not None:
            # The one that said 503 is left alone for a while: the second call goes to the other at once.
            assert broken.counters["requests"] == 2  # INVITE and ACK


TROUBLES = ["down", "silent", "503", "no address", "no answer from the zone"]


@links
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_fail_over(over_seeds: OverSeeds, link: Link, trouble: str, transport: str) -> None:
    over_seeds(partial(fail_over, trouble=trouble, transport=transport), link=link)


@links
def test_a_refused_connection(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(partial(fail_over, trouble="refused", transport="tcp"), link=link)


async def nobody(lab: Lab) -> None:
    """Every server of the domain is down: one definite end."""
    zones(lab, "udp")
    lab.host("first", FIRST).up = False
    lab.host("second", SECOND).up = False
    alice = Party(lab, "alice", "192.0.2.1", invite_wait=300.0)
    async with alice.endpoint:
        session = alice.call("sip:bob@example.com")
        await over(lab, alice)
        assert alice.calls[session].reason in (EndReason.TIMEOUT, EndReason.TRANSPORT)


def test_nobody_there(over_seeds: OverSeeds) -> None:
    over_seeds(nobody)
