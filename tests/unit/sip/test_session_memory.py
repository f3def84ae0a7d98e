"""What is over leaves memory by itself: no cycle of objects waits for the collector."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from tests.unit.sip.calls import ANSWER, NO_TIMER, OFFER
from tests.unit.sip.pump import Node, Pump

from switchroom.sip.client_request import ClientRequest
from switchroom.sip.clock import Clock
from switchroom.sip.dialog import Dialog
from switchroom.sip.invite_dialog import InviteDialog
from switchroom.sip.message import Request, Response
from switchroom.sip.modification import IncomingModification, OutgoingModification
from switchroom.sip.session import Session
from switchroom.sip.session_events import IncomingOffer, IncomingSession, SessionAnswered
from switchroom.sip.session_timer import SessionTimerSettings

KINDS = (Session, InviteDialog, Dialog, ClientRequest, Clock, IncomingModification, OutgoingModification)


def left() -> list[str]:
    return [type(each).__name__ for each in gc.get_objects() if isinstance(each, KINDS)]


def answered(pump: Pump, alice: Node, bob: Node) -> None:
    called = bob.last(IncomingSession).session
    called.progress(pump.now, 183, body=ANSWER)
    pump.run(pump.now + 0.1)
    called.answer(pump.now, ANSWER)
    pump.run(pump.now + 0.1)


def hung_up(pump: Pump, alice: Node, bob: Node) -> None:
    answered(pump, alice, bob)
    alice.last(SessionAnswered).session.hang_up(pump.now)


def hung_up_by_the_called(pump: Pump, alice: Node, bob: Node) -> None:
    answered(pump, alice, bob)
    bob.last(IncomingSession).session.hang_up(pump.now)


def both_hung_up(pump: Pump, alice: Node, bob: Node) -> None:
    answered(pump, alice, bob)
    bob.last(IncomingSession).session.hang_up(pump.now)
    alice.last(SessionAnswered).session.hang_up(pump.now)


def changed(pump: Pump, alice: Node, bob: Node) -> None:
    answered(pump, alice, bob)
    caller = alice.last(SessionAnswered).session
    caller.reinvite(pump.now, OFFER)
    pump.run(pump.now + 0.1)
    bob.last(IncomingOffer).modification.accept(pump.now, ANSWER)
    pump.run(pump.now + 0.1)
    caller.update(pump.now, OFFER)
    pump.run(pump.now + 0.1)
    bob.last(IncomingOffer).modification.reject(pump.now)
    caller.send(pump.now, "INFO")
    pump.run(pump.now + 0.1)
    caller.reinvite(pump.now, OFFER)
    pump.run(pump.now + 0.1)
    bob.last(IncomingSession).session.hang_up(pump.now)


def refreshed_until_silent(pump: Pump, alice: Node, bob: Node) -> None:
    answered(pump, alice, bob)
    pump.run(pump.now + 100.0)
    pump.drop = lambda source, target, message: True


def cancelled(pump: Pump, alice: Node, bob: Node) -> None:
    bob.last(IncomingSession).session.progress(pump.now)
    pump.run(pump.now + 0.1)
    (caller,) = alice.agent.sessions
    caller.hang_up(pump.now)


def cancelled_too_late(pump: Pump, alice: Node, bob: Node) -> None:
    bob.last(IncomingSession).session.answer(pump.now, ANSWER)
    (caller,) = alice.agent.sessions
    caller.hang_up(pump.now)


def rejected(pump: Pump, alice: Node, bob: Node) -> None:
    bob.last(IncomingSession).session.progress(pump.now)
    pump.run(pump.now + 0.1)
    bob.last(IncomingSession).session.reject(pump.now, 486)


def ringing_for_ever(pump: Pump, alice: Node, bob: Node) -> None:
    bob.last(IncomingSession).session.progress(pump.now)


def never_acknowledged(pump: Pump, alice: Node, bob: Node) -> None:
    bob.last(IncomingSession).session.answer(pump.now, ANSWER)
    pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "ACK"


def never_heard_of(pump: Pump, alice: Node, bob: Node) -> None:
    pump.drop = lambda source, target, message: isinstance(message, Response)
    bob.last(IncomingSession).session.progress(pump.now, 183, body=ANSWER, reliable=True)


@pytest.mark.parametrize(
    "story",
    [
        hung_up, hung_up_by_the_called, both_hung_up, changed, refreshed_until_silent, cancelled, cancelled_too_late,
        rejected, ringing_for_ever, never_acknowledged, never_heard_of,
    ],
)  # fmt: skip
@pytest.mark.parametrize("supported", [("timer",), ("timer", "100rel")])
def test_a_session_that_is_over_is_freed(story: Callable[[Pump, Node, Node], None], supported: tuple[str, ...]) -> None:
    if story is never_heard_of and "100rel" not in supported:
        supported = ("100rel",)
    gc.collect()
    assert not left()
    gc.disable()
    try:
        pump = Pump()
        timer = SessionTimerSettings(interval=90) if story is refreshed_until_silent else NO_TIMER
        alice, bob = (
            pump.node(name, session_timer=timer, supported=supported, invite_wait=60.0, ring_wait=90.0)
            for name in ("alice", "bob")
        )
        pump.groups["bob.example"] = ["bob.example", "bob.example"] if story is cancelled else ["bob.example"]
        alice.agent.invite(0.0, bob.aor.uri, from_=alice.aor, body=OFFER)
        pump.run(0.1)
        story(pump, alice, bob)
        pump.run()
        pump.assert_clean()
        alice.events.clear()
        bob.events.clear()
        assert not left()
    finally:
        gc.enable()
