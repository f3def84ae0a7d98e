"""Losing just the messages on which a call hangs: ACK, 2xx, PRACK."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.lab.scenario import Call, Party, links, lose, over, request_of, response_to

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.sip.session_events import EndReason

ALL = float("inf")


async def two_parties(lab: Lab, *, rings: bool | None = None) -> tuple[Party, Party, Call, Call | None]:
    """Alice calls bob and would talk for a minute; the end as each of them was told it."""
    alice, bob = Party(lab, "alice", "192.0.2.1"), Party(lab, "bob", "192.0.2.2", rings=rings)
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob)
        await asyncio.sleep(60)
        alice.hang_up()
        await over(lab, alice, bob)
    return alice, bob, alice.calls[session], next(iter(bob.calls.values()), None)


async def lost_ack(lab: Lab, count: float) -> None:
    lose(lab, request_of("ACK"), count)
    _, _, caller, called = await two_parties(lab)
    if lab.network.link.loss:
        return
    assert called is not None
    assert caller.answered
    if count == ALL:
        # §13.3.1.4: after 64*T1 without ACK the called side ends the session with BYE.
        assert (called.confirmed, called.reason) == (False, EndReason.NO_ACK)
        assert caller.reason is EndReason.REMOTE_BYE
    else:
        assert (called.confirmed, called.reason) == (True, EndReason.REMOTE_BYE)
        assert caller.reason is EndReason.LOCAL_BYE


@links
@pytest.mark.parametrize("count", [1, 3, ALL])
def test_a_lost_ack(over_seeds: OverSeeds, link: Link, count: float) -> None:
    over_seeds(partial(lost_ack, count=count), link=link)


async def lost_success(lab: Lab, count: float) -> None:
    lose(lab, response_to("INVITE", 200), count)
    _, _, caller, called = await two_parties(lab)
    if lab.network.link.loss:
        return
    assert called is not None
    if count == ALL:
        assert not caller.answered
        assert called.reason is EndReason.NO_ACK
        # Bob's BYE reaches alice within the early dialog, which she still had.
        assert caller.reason in (EndReason.REMOTE_BYE, EndReason.LOCAL_CANCEL, EndReason.TIMEOUT)
    else:
        assert caller.answered
        assert called.confirmed


@links
@pytest.mark.parametrize("count", [1, 4, ALL])
def test_a_lost_success(over_seeds: OverSeeds, link: Link, count: float) -> None:
    over_seeds(partial(lost_success, count=count), link=link)


async def lost_prack(lab: Lab, count: float, what: str) -> None:
    which = request_of("PRACK") if what == "PRACK" else response_to("PRACK", 200)
    lose(lab, which, count)
    _, _, caller, called = await two_parties(lab, rings=True)
    if lab.network.link.loss:
        return
    assert called is not None
    if count == ALL and what == "PRACK":
        # RFC 3262 §3: a reliable provisional response without PRACK for 64*T1 rejects the INVITE with 5xx.
        assert called.reason is EndReason.NO_PRACK
        assert caller.ends[0].status is not None
        assert caller.ends[0].status // 100 == 5
    elif count < ALL:
        assert called.confirmed
        assert caller.reason is EndReason.LOCAL_BYE


@links
@pytest.mark.parametrize("what", ["PRACK", "200"])
@pytest.mark.parametrize("count", [1, 3, ALL])
def test_a_lost_prack(over_seeds: OverSeeds, link: Link, count: float, what: str) -> None:
    over_seeds(partial(lost_prack, count=count, what=what), link=link)


async def lost_bye(lab: Lab) -> None:
    """The one who hangs up gets no answer; the other's session timer ends the call."""
    lose(lab, request_of("BYE"), sender="alice")
    _, _, caller, called = await two_parties(lab)
    if lab.network.link.loss:
        return
    assert called is not None
    assert caller.reason is EndReason.LOCAL_BYE
    assert called.reason in (EndReason.SESSION_EXPIRED, EndReason.LOST)


@links
def test_a_lost_bye(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(lost_bye, link=link)
