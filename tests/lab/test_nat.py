"""Calls through NAT boxes: the address in Contact is the one that the peer sees, as long as the box keeps it."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.lab.scenario import Party, links, over

from switchroom.lab import ADDRESS_RESTRICTED, FULL_CONE, PORT_RESTRICTED, SYMMETRIC, Lab, Link, NatBehaviour
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.sip.headers import Address
from switchroom.sip.session_events import EndReason
from switchroom.sip.session_timer import SessionTimerSettings
from switchroom.sip.uri import parse_uri

KINDS = {
    "full cone": FULL_CONE,
    "address-restricted": ADDRESS_RESTRICTED,
    "port-restricted": PORT_RESTRICTED,
    "symmetric": SYMMETRIC,
}


async def call_from_behind(lab: Lab, *, behaviour: NatBehaviour, rebind: bool) -> None:
    """Alice, behind a NAT box, calls bob; he hangs up."""
    box = lab.network.nat("home", "203.0.113.2", behaviour=behaviour)
    # Another phone has the port that alice would like to have outside.
    box.host("other", "192.168.7.11")
    other = lab.endpoint(lab.network.hosts["other"], ("udp",))
    box.host("alice", "192.168.7.10")
    timer = SessionTimerSettings(interval=90, refresher="uas")
    alice = Party(lab, "alice", "192.168.7.10", session_timer=timer)
    alice.agent.contact = Address("", parse_uri("sip:alice@0.0.0.0"))
    bob = Party(lab, "bob", "192.0.2.2", session_timer=timer)
    async with other, alice.endpoint, bob.endpoint:
        # Whatever comes first teaches the endpoints their outside addresses (RFC 3581 §4).
        other_user = Address("", parse_uri("sip:other@192.168.7.11"))
        first = alice.agent.create_request("OPTIONS", "sip:192.0.2.2", from_=other_user)
        try:
            async with asyncio.timeout(40):
                await other.request(first)
        except TimeoutError:
            assert lab.network.link.loss
        alice.agent.send(alice.agent.create_request("OPTIONS", "sip:192.0.2.2", from_=alice.aor), alice.now)
        alice.endpoint.flush()
        await asyncio.sleep(40)
        session = alice.call(bob)
        await asyncio.sleep(30)
        ours, theirs = (box.bindings.get(("UDP", (address, 5060))) for address in ("192.168.7.10", "192.168.7.11"))
        if rebind:
            box.rebind()
        bob.hang_up()
        await over(lab, alice, bob)
        if lab.network.link.loss:
            return
        (called,) = bob.calls.values()
        assert called.confirmed
        assert called.reason is EndReason.LOCAL_BYE
        assert None is not ours != theirs
        # After a reboot of the box bob's BYE finds no way in: alice's session timer ends the call.
        expected = EndReason.SESSION_EXPIRED if rebind else EndReason.REMOTE_BYE
        assert alice.calls[session].reason is expected


@links
@pytest.mark.parametrize("rebind", [False, True], ids=["kept", "rebound"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_from_behind_a_box(over_seeds: OverSeeds, link: Link, kind: str, rebind: bool) -> None:
    over_seeds(partial(call_from_behind, behaviour=KINDS[kind], rebind=rebind), 10, link=link)
