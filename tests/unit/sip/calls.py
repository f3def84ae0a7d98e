"""Alice calls Bob: the first steps of most tests of sessions."""

from __future__ import annotations

from tests.unit.sip.pump import Node, Pump

from switchroom.sip.session_client import ClientSession
from switchroom.sip.session_events import (
    EndReason,
    IncomingSession,
    SessionAnswered,
    SessionConfirmed,
    SessionEnded,
)
from switchroom.sip.session_server import ServerSession
from switchroom.sip.session_timer import SessionTimerSettings

OFFER = b"v=0 offer"
ANSWER = b"v=0 answer"
NO_TIMER = SessionTimerSettings(interval=None)


def pair(seed: int = 0, **settings: object) -> tuple[Pump, Node, Node]:
    """Alice and Bob, without session timers and without reliable provisional responses unless asked for."""
    settings.setdefault("session_timer", NO_TIMER)
    settings.setdefault("supported", ("timer", "replaces"))
    pump = Pump(seed)
    return pump, pump.node("alice", **settings), pump.node("bob", **settings)


def call(pump: Pump, alice: Node, bob: Node, body: bytes = OFFER, **options: object) -> ClientSession:
    """Alice's INVITE has reached Bob."""
    session = alice.agent.invite(pump.now, bob.aor.uri, from_=alice.aor, body=body, **options)  # type: ignore[arg-type]
    pump.run(pump.now + 0.05)
    return session


def talk(pump: Pump, alice: Node, bob: Node) -> tuple[ClientSession, ServerSession]:
    """An answered and acknowledged call."""
    caller = call(pump, alice, bob)
    called = bob.last(IncomingSession).session
    called.answer(pump.now, ANSWER)
    pump.run(pump.now + 0.05)
    assert len(bob.heard(SessionConfirmed)) == len(alice.heard(SessionAnswered)) > 0
    return caller, called


def ends(node: Node) -> list[tuple[EndReason, int | None]]:
    return [(event.reason, event.status) for event in node.heard(SessionEnded)]
