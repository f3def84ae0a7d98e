"""A caller who gives up: before, while and after the call is answered."""

from __future__ import annotations

import asyncio

from tests.lab.scenario import Party, links, over

from switchroom.lab import Lab, Link
from switchroom.lab.pytest_plugin import OverSeeds
from switchroom.sip.session_events import EndReason

# Around the moments at which something is under way: the INVITE, the 180, the 200.
MOMENTS = (0.0, 0.01, 0.021, 0.03, 0.041, 0.05, 1.0, 2.99, 3.03, 3.041, 3.059, 3.07, 3.09, 4.0)


async def give_up(lab: Lab) -> None:
    """Alice cancels her INVITE at some moment; if it has been answered by then, she hangs up."""
    alice, bob = Party(lab, "alice", "192.0.2.1"), Party(lab, "bob", "192.0.2.2")
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob)
        moment = MOMENTS[int(lab.identifiers.random() * len(MOMENTS))] if lab.identifiers.random() < 0.7 else None
        await asyncio.sleep(5 * lab.identifiers.random() if moment is None else moment)
        if not alice.attempt(session.cancel):
            alice.hang_up()
        await asyncio.sleep(40)
        alice.hang_up()  # the answer crossed the CANCEL: an INVITE that was answered is a call (§9.1)
        await over(lab, alice, bob)
        call = alice.calls[session]
        assert call.reason in (
            EndReason.LOCAL_CANCEL, EndReason.LOCAL_BYE, EndReason.REMOTE_BYE, EndReason.TIMEOUT, EndReason.LOST
        )  # fmt: skip
        if not lab.network.link.loss:
            expected = {
                # An answer that crossed the CANCEL is acknowledged and hung up at once.
                EndReason.LOCAL_CANCEL: {EndReason.REMOTE_CANCEL, EndReason.REMOTE_BYE},
                EndReason.LOCAL_BYE: {EndReason.REMOTE_BYE},
            }
            assert {called.reason for called in bob.calls.values()} <= expected[call.reason]


@links
def test_giving_up(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(give_up, 40, link=link)


async def busy(lab: Lab) -> None:
    """Bob is busy; alice may give up in the same moment."""
    alice, bob = Party(lab, "alice", "192.0.2.1"), Party(lab, "bob", "192.0.2.2", status=486)
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob)
        alice.later(0.1 * lab.identifiers.random(), session.cancel)
        await over(lab, alice, bob)
        if not lab.network.link.loss:
            assert alice.calls[session].ends[0].status == 486
            assert [call.reason for call in bob.calls.values()] == [EndReason.LOCAL_REJECT]


@links
def test_busy(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(busy, link=link)


async def nobody_answers(lab: Lab) -> None:
    """Bob rings until somebody loses patience."""
    alice, bob = Party(lab, "alice", "192.0.2.1"), Party(lab, "bob", "192.0.2.2", answers_after=None)
    async with alice.endpoint, bob.endpoint:
        session = alice.call(bob)
        await over(lab, alice, bob)
        assert not alice.calls[session].answered
        if not lab.network.link.loss:
            assert alice.calls[session].ends[0].status == 480


@links
def test_nobody_answers(over_seeds: OverSeeds, link: Link) -> None:
    over_seeds(nobody_answers, link=link)
