"""Changes during a call: glare, refreshes, and session timers that run out."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.lab.scenario import INTERVAL, OFFER, Party, links, over

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.sip.session_events import EndReason, ModificationCompleted, SessionRefreshed
from switchroom.sip.session_timer import SessionTimerSettings


async def glare(lab: Lab, *, method: str) -> None:
    """Both change the session at the same moment; both changes come about, one after the other (§14.1)."""
    alice, bob = Party(lab, "alice", "192.0.2.1"), Party(lab, "bob", "192.0.2.2")
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob)
        await asyncio.sleep(30)
        done = []
        for party in (alice, bob):
            for call in party.calls.values():
                change = call.session.reinvite if method == "INVITE" else call.session.update
                done.append(party.attempt(lambda now, change=change: change(now, OFFER)))
        await asyncio.sleep(60)
        alice.hang_up()
        await over(lab, alice, bob)
        if lab.network.link.loss:
            return
        assert done == [True, True]
        for party in (alice, bob):
            changes = [e for e in party.told(ModificationCompleted) if not e.modification.refresh]
            assert [e.response.status for e in changes if e.response is not None] == [200], party.name
        assert alice.calls[session].reason is EndReason.LOCAL_BYE
        if method == "INVITE":
            assert any(b"SIP/2.0 491 " in passage.data for passage in lab.trace.passages)


@links
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_glare(over_seeds: OverSeeds, link: Link, method: str) -> None:
    over_seeds(partial(glare, method=method), link=link)


async def refreshed(lab: Lab, *, refresher: str | None) -> None:
    """A long call goes on as long as it is refreshed, whoever does it."""
    timer = SessionTimerSettings(interval=INTERVAL, refresher=refresher)
    alice = Party(lab, "alice", "192.0.2.1", session_timer=timer)
    bob = Party(lab, "bob", "192.0.2.2", session_timer=timer)
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob)
        await asyncio.sleep(20 * INTERVAL)
        ended = session.ended
        bob.hang_up()
        await over(lab, alice, bob)
        if lab.network.link.loss:
            return
        assert not ended
        by_us = [event.by_us for event in alice.told(SessionRefreshed)]
        assert len(by_us) >= 30
        assert set(by_us) == {refresher != "uas"}


@links
@pytest.mark.parametrize("refresher", [None, "uac", "uas"])
def test_refreshes(over_seeds: OverSeeds, link: Link, refresher: str | None) -> None:
    over_seeds(partial(refreshed, refresher=refresher), link=link)


async def cut_off(lab: Lab, *, one_way: str) -> None:
    """The network breaks during the call: each side finds out by its session timer, and nothing is left."""
    alice, bob = Party(lab, "alice", "192.0.2.1"), Party(lab, "bob", "192.0.2.2")
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob)
        await asyncio.sleep(10 + 60 * lab.identifiers.random())
        if one_way:
            lab.network.partition({one_way}, both_ways=False)
        else:
            lab.network.partition({"alice"})
        cut_at = lab.time()
        await over(lab, alice, bob)
        if lab.network.link.loss:
            return
        gone = {EndReason.SESSION_EXPIRED, EndReason.TIMEOUT, EndReason.REMOTE_BYE}
        for party in (alice, bob):
            (call,) = party.calls.values()
            assert call.reason in gone, (party.name, call.reason)
        assert alice.calls[session].answered
        assert cut_at < 100


@links
@pytest.mark.parametrize("one_way", ["", "alice", "bob"])
def test_session_expiry(over_seeds: OverSeeds, link: Link, one_way: str) -> None:
    over_seeds(partial(cut_off, one_way=one_way), link=link)


async def too_brief(lab: Lab) -> None:
    """Bob wants longer session intervals: 422, and the second attempt meets his wish (RFC 4028 §7.4)."""
    alice = Party(lab, "alice", "192.0.2.1")
    timer = SessionTimerSettings(interval=1800, min_se=300)
    bob = Party(lab, "bob", "192.0.2.2", session_timer=timer)
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob)
        await asyncio.sleep(60)
        alice.hang_up()
        await over(lab, alice, bob, wait=900)
        if not lab.network.link.loss:
            assert alice.calls[session].answered
            assert any(p.data.startswith(b"SIP/2.0 422 ") for p in lab.trace.passages)


@links
def test_an_interval_that_is_too_small(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(too_brief, link=link)
