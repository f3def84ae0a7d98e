"""Sessions between two user agents: RFC 3261 §13 to §15, RFC 3311, step by step."""

from __future__ import annotations

from tests.unit.sip.pump import Node, Pump

from switchroom.sip.message import Request
from switchroom.sip.session_client import ClientSession
from switchroom.sip.session_events import (
    Carries,
    EndReason,
    IncomingSession,
    SessionAnswered,
    SessionConfirmed,
    SessionEnded,
    SessionProgress,
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


class TestBasicCall:
    def test_the_messages_of_a_call(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        called.progress(pump.now)
        pump.run(pump.now + 0.05)
        assert alice.last(SessionProgress).response.status == 180
        assert alice.last(SessionProgress).carries is Carries.NOTHING
        called.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        answered = alice.last(SessionAnswered)
        assert (answered.session, answered.carries, answered.response.body) == (caller, Carries.ANSWER, ANSWER)
        caller.hang_up(pump.now, [("Reason", 'Q.850;cause=16;text="Terminated"')])
        pump.run()
        assert [line.partition(" ")[2] for line in pump.ladder()] == [
            "alice>bob INVITE",
            "bob>alice 180 INVITE",
            "bob>alice 200 INVITE",
            "alice>bob ACK",
            "alice>bob BYE",
            "bob>alice 200 BYE",
        ]
        assert ends(alice) == [(EndReason.LOCAL_BYE, None)]
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        bye = bob.last(SessionEnded).message
        assert isinstance(bye, Request)
        assert bye.headers.get("Reason") == 'Q.850;cause=16;text="Terminated"'
        pump.assert_clean()
