"""Calls that are answered and hung up, over links of every quality."""

from __future__ import annotations

import asyncio

from tests.lab.scenario import OFFER, Party, links, over

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.sip.session_events import EndReason


async def basic_call(lab: Lab, *, offer: bytes = OFFER, rings: bool | None = None, transport: str = "udp") -> None:
    """Alice calls bob, who rings and answers; after a while one of them hangs up."""
    alice = Party(lab, "alice", "192.0.2.1", transports=[transport])
    bob = Party(lab, "bob", "192.0.2.2", transports=[transport], rings=rings)
    async with alice.endpoint, bob.endpoint:
        target = f"sip:bob@192.0.2.2;transport={transport}"
        session = alice.call(target, offer)
        await asyncio.sleep(20 + 100 * lab.identifiers.random())
        who = alice if lab.identifiers.random() < 0.5 else bob
        who.hang_up()
        await over(lab, alice, bob)
        if not lab.network.link.loss:
            assert alice.calls[session].answered
            (called,) = bob.calls.values()
            assert called.confirmed
            assert {alice.calls[session].reason, called.reason} == {EndReason.LOCAL_BYE, EndReason.REMOTE_BYE}


@links
def test_a_call(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(basic_call, link=link)
