"""A call that rings at several places: early dialogs from each, one winner, and the others told."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.lab.forking_proxy import ForkingProxy
from tests.lab.scenario import Party, check_nothing_left, links, over

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.sip.session_events import EndReason, SessionProgress


async def forked(lab: Lab, *, winners: int, give_up_at: float | None = None) -> None:
    """Bob has three phones; *winners* of them answer, at about the same time when there are several."""
    alice = Party(lab, "alice", "192.0.2.1")
    phones = []
    for number in range(3):
        after = 3.0 + 0.05 * lab.identifiers.random() if number < winners else None
        rings = (True, False, None)[number]
        phones.append(Party(lab, f"bob{number}", f"192.0.2.{20 + number}", rings=rings, answers_after=after))
    proxy = ForkingProxy(lab, "192.0.2.10", *(str(phone.aor.uri) for phone in phones))
    for party in (alice, *phones, proxy):
        await party.endpoint.start()
    session = alice.call("sip:bob@192.0.2.10")
    if give_up_at is not None:
        await asyncio.sleep(give_up_at)
        alice.hang_up()
    await asyncio.sleep(60)
    alice.hang_up()
    await over(lab, alice, *phones)
    check_nothing_left("proxy", proxy.endpoint)
    assert all(context.done for context in proxy.contexts.values())
    await proxy.endpoint.close(grace=0)

    ended = alice.calls[session]
    if lab.network.link.loss:
        return
    assert all(len(phone.calls) == 1 for phone in phones)
    reasons = [call.reason for phone in phones for call in phone.calls.values()]
    if give_up_at is not None:
        early = give_up_at < 3
        assert ended.reason is EndReason.LOCAL_CANCEL or not early
        # An answer that crossed the CANCEL is acknowledged and hung up.
        assert set(reasons) <= {EndReason.REMOTE_CANCEL} if early else {EndReason.REMOTE_CANCEL, EndReason.REMOTE_BYE}
        return
    assert len({event.response.to.tag for event in alice.told(SessionProgress)}) == 3
    if winners == 0:
        assert ended.reason is EndReason.LOCAL_CANCEL
        assert set(reasons) == {EndReason.REMOTE_CANCEL}
        return
    assert ended.answered
    assert ended.reason is EndReason.LOCAL_BYE
    # Whoever answered gets a BYE, at once or at the end; whoever did not is cancelled.
    assert reasons.count(EndReason.REMOTE_CANCEL) == 3 - winners or winners > 1
    assert set(reasons) <= {EndReason.REMOTE_BYE, EndReason.REMOTE_CANCEL}
    assert EndReason.REMOTE_BYE in reasons


@links
@pytest.mark.parametrize("winners", [0, 1, 2, 3])
def test_a_forked_call(over_seeds: OverSeeds, link: Link, winners: int) -> None:
    over_seeds(partial(forked, winners=winners), link=link)


@links
@pytest.mark.parametrize("give_up_at", [0.05, 2.0, 3.06])
def test_giving_up_a_forked_call(over_seeds: OverSeeds, link: Link, give_up_at: float) -> None:
    over_seeds(partial(forked, winners=2, give_up_at=give_up_at), link=link)
