"""Calls that are answered and hung up, over links of every quality."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from functools import partial

import pytest
from tests.lab.scenario import OFFER, Party, links, over

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.sip.session_events import EndReason


async def basic_call(lab: Lab, *, offer: bytes = OFFER, rings: bool | None = None, transport: str = "udp") -> None:
    """Alice calls bob, who rings and answers; after a while one of them hangs up."""
    alice = Party(lab, "alice", "192.0.2.1", transports=[transport])
    bob = Party(lab, "bob", "192.0.2.2", transports=[transport], rings=rings)
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob, offer)
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
@pytest.mark.parametrize("rings", [True, False])
@pytest.mark.parametrize("offer", [OFFER, b""], ids=["offer in the INVITE", "delayed offer"])
def test_a_call(over_seeds: OverSeeds, link: Link, offer: bytes, rings: bool) -> None:
    over_seeds(partial(basic_call, offer=offer, rings=rings), link=link)


@links
@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss"])
def test_a_call_over_a_stream(over_seeds: OverSeeds, link: Link, transport: str) -> None:
    """Segments are lost and late, too, but the streams make good for it."""
    over_seeds(partial(basic_call, transport=transport), link=link)


async def many_calls(lab: Lab) -> None:
    """Three parties call each other all the time."""
    parties = [Party(lab, name, f"192.0.2.{n}") for n, name in enumerate(("alice", "bob", "carol"), 1)]
    for party in parties:
        await party.endpoint.start()
    for _ in range(12):
        caller, called, who = (parties[int(lab.identifiers.random() * 3)] for _ in range(3))
        if caller is not called:
            caller.call(called)
        await asyncio.sleep(5 * lab.identifiers.random())
        if lab.identifiers.random() < 0.3:
            who.hang_up()
    await asyncio.sleep(30)
    for party in parties:
        party.hang_up()
    await over(lab, *parties)


@links
def test_many_calls(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(many_calls, link=link)


def trace(link: Link, seed: int) -> str:
    with Lab(seed, link=link) as lab:
        lab.run(many_calls(lab))
        return str(lab.trace)


@links
def test_a_seed_repeats_its_run_to_the_last_byte(link: Link) -> None:
    runs = [trace(link, 5), trace(link, 5), trace(link, 6)]
    assert runs[0] == runs[1] != runs[2]


SCRIPT = """
from tests.lab.scenario import LINKS
from tests.lab.test_call import trace
print(trace(LINKS["30 percent"], 5))
"""


def test_a_seed_means_the_same_in_every_process() -> None:
    outputs = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert "INVITE" in outputs.pop()
