"""Whole calls over a network that loses, doubles and reorders: one definite end at each side, and nothing left."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from tests.unit.sip.pump import Node, Pump

from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.session import Session
from switchroom.sip.session_client import ClientSession
from switchroom.sip.session_events import (
    Carries,
    IncomingOffer,
    IncomingRequest,
    IncomingSession,
    ModificationCompleted,
    SessionAnswered,
    SessionConfirmed,
    SessionEnded,
    SessionProgress,
)
from switchroom.sip.session_timer import SessionTimerSettings

LOSSES = [0.0, 0.1, 0.3]
SEEDS = range(6)


class Party:
    """Answers whatever the session asks for; keeps account of ends."""

    def __init__(self, pump: Pump, node: Node, *, ring_reliably: bool | None = None, answer_after: float = 3.0) -> None:
        self.pump = pump
        self.node = node
        self.ring_reliably = ring_reliably
        self.answer_after = answer_after
        self.sessions: list[Session] = []
        self.ended: dict[Session, int] = {}
        node.on_event = self.on_event

    def on_event(self, event: object, now: float) -> None:
        if isinstance(event, IncomingSession):
            session = event.session
            self.sessions.append(session)
            answered_early = self.ring_reliably is True
            session.progress(now, 183, body=b"v=0 early" if answered_early else b"", reliable=self.ring_reliably)
            body = b"" if answered_early else b"v=0 answer"
            if self.answer_after < 1e6:
                self.pump.after(self.answer_after, lambda now: session.ended or session.answer(now, body))
        elif isinstance(event, IncomingOffer):
            event.modification.accept(now, b"v=0 other")
        elif isinstance(event, IncomingRequest):
            self.node.agent.respond(event, 200)
        elif isinstance(event, SessionProgress) and event.carries is Carries.OFFER:
            event.session.prack(now, event.response, b"v=0 pracked")
        elif isinstance(event, SessionAnswered) and event.carries is Carries.OFFER:
            event.session.acknowledge(now, b"v=0 late")
        elif isinstance(event, SessionEnded):
            self.ended[event.session] = self.ended.get(event.session, 0) + 1

    def call(self, other: Node, body: bytes = b"v=0 offer", **options: object) -> Session:
        session = self.node.agent.invite(
            self.pump.now,
            other.aor.uri,
            from_=self.node.aor,
            body=body,
            **options,  # type: ignore[arg-type]
        )
        self.sessions.append(session)
        return session

    def assert_each_ended_once(self) -> None:
        assert self.ended == {session: 1 for session in self.sessions}


def parties(loss: float, seed: int, **settings: object) -> tuple[Pump, Node, Node]:
    pump = Pump(seed, loss=loss, duplication=loss / 2, jitter=0.3 if loss else 0.0)
    settings.setdefault("session_timer", SessionTimerSettings(interval=90))
    settings.setdefault("ring_wait", 120.0)
    return pump, pump.node("alice", **settings), pump.node("bob", **settings)


def finish(pump: Pump, *parties: Party) -> None:
    pump.run()
    for party in parties:
        party.assert_each_ended_once()
    pump.assert_clean()


def try_it(act: object) -> None:
    """The application may find the session in a state where its wish is refused: that is what the error is for."""
    try:
        act()  # type: ignore[operator]
    except LocalProtocolError:
        return


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reliable", [None, True, False])
@pytest.mark.parametrize("offer", [b"v=0 offer", b""])
def test_a_call(loss: float, seed: int, reliable: bool | None, offer: bytes) -> None:
    pump, alice, bob = parties(loss, seed)
    caller, called = Party(pump, alice), Party(pump, bob, ring_reliably=reliable)
    session = caller.call(bob, offer)
    pump.at(60.0, lambda now: session.ended or session.hang_up(now))
    finish(pump, caller, called)
    if not loss:
        assert len(bob.heard(SessionConfirmed)) == 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("at", [0.0, 0.005, 0.015, 0.5, 2.99, 3.0, 3.005, 3.02, 4.0])
def test_giving_up_at_any_time(loss: float, seed: int, at: float) -> None:
    pump, alice, bob = parties(loss, seed)
    caller, called = Party(pump, alice), Party(pump, bob)
    session = caller.call(bob)
    pump.at(at, lambda now: session.ended or session.hang_up(now))
    finish(pump, caller, called)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_changes_from_both_sides_at_once(loss: float, seed: int) -> None:
    pump, alice, bob = parties(loss, seed)
    caller, called = Party(pump, alice), Party(pump, bob)
    session = caller.call(bob)

    def both(now: float) -> None:
        for each in (session, *called.sessions):
            try_it(lambda each=each: each.reinvite(now, b"v=0 new"))

    def updates(now: float) -> None:
        for each in (session, *called.sessions):
            try_it(lambda each=each: each.update(now, b"v=0 newer"))

    def both_hang_up(now: float) -> None:
        for each in (session, *called.sessions):
            if not each.ended:
                each.hang_up(now)

    pump.at(10.0, both)
    pump.at(30.0, updates)
    pump.at(30.0, lambda now: session.ended or session.send(now, "INFO", body=b"x", content_type="text/plain"))
    pump.at(70.0, both_hang_up)
    finish(pump, caller, called)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cut_at", [0.02, 3.005, 10.0])
def test_a_partition_ends_every_session(loss: float, seed: int, cut_at: float) -> None:
    pump, alice, bob = parties(loss, seed)
    caller, called = Party(pump, alice), Party(pump, bob)
    caller.call(bob)
    pump.drop = lambda source, target, message: pump.now > cut_at
    finish(pump, caller, called)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_forked_call(loss: float, seed: int) -> None:
    pump, alice, bob = parties(loss, seed)
    carol = pump.node("carol", session_timer=SessionTimerSettings(interval=90), ring_wait=120.0)
    pump.groups["home.example"] = ["bob.example", "carol.example"]
    caller = Party(pump, alice)
    first, second = Party(pump, bob), Party(pump, carol, ring_reliably=True)
    session = alice.agent.invite(0.0, "sip:home@home.example", from_=alice.aor, body=b"v=0 offer")
    caller.sessions.append(session)
    pump.at(60.0, lambda now: session.ended or session.hang_up(now))
    finish(pump, caller, first, second)


@pytest.mark.parametrize("seed", range(120))
def test_anything_at_any_time(seed: int) -> None:
    """Parties that do whatever comes to their mind, often the wrong thing, on a network that is no better."""
    whim = Random(seed)
    loss = whim.choice([0.0, 0.1, 0.3, 0.5])
    pump = Pump(seed, loss=loss, duplication=loss / 2, jitter=whim.choice([0.05, 0.5, 3.0]) if loss else 0.0)
    alice, bob, carol = (
        pump.node(
            name,
            session_timer=SessionTimerSettings(90, whim.choice([90, 100]), whim.choice([None, "uac", "uas"])),
            supported=whim.choice([("100rel", "timer"), ("timer",)]),
            ring_wait=150.0,
            invite_wait=100.0,
        )
        for name in ("alice", "bob", "carol")
    )
    pump.groups["home.example"] = ["bob.example", "carol.example"]
    sessions: list[Session] = []
    told: list[Session] = []

    def body() -> bytes:
        return b"v=0" if whim.random() < 0.8 else b""

    def soon(most: float, act: Callable[[float], object]) -> None:
        pump.after(whim.random() * most, lambda now: try_it(lambda: act(now)))

    def play(node: Node, event: object) -> None:
        if isinstance(event, IncomingSession):
            session = event.session
            sessions.append(session)
            for _ in range(whim.randrange(4)):
                status, reliable = whim.choice([180, 183, 199]), whim.choice([None, True, False])
                soon(8.0, lambda now, s=status, r=reliable: session.progress(now, s, body=body(), reliable=r))
            end = whim.choice([session.answer, session.answer, session.answer, session.reject, session.hang_up])
            soon(8.0, lambda now: end(now, b"v=0") if end == session.answer else end(now))
        elif isinstance(event, IncomingOffer):
            change = event.modification
            soon(5.0, lambda now: change.accept(now, body()) if whim.random() < 0.8 else change.reject(now))
        elif isinstance(event, IncomingRequest):
            node.agent.respond(event, 200)
        elif isinstance(event, SessionProgress) and event.carries is Carries.OFFER:
            soon(1.0, lambda now: event.session.prack(now, event.response, body()))
        elif isinstance(event, SessionAnswered) and event.carries is Carries.OFFER:
            soon(1.0, lambda now: event.session.acknowledge(now, body()))
        elif isinstance(event, ModificationCompleted) and event.carries is Carries.OFFER:
            soon(1.0, lambda now: event.modification.acknowledge(now, body()))
        elif isinstance(event, SessionEnded):
            told.append(event.session)

    for node in (alice, bob, carol):
        node.on_event = lambda event, now, node=node: play(node, event)
    target = whim.choice(["sip:bob@bob.example", "sip:home@home.example"])
    sessions.append(alice.agent.invite(0.0, target, from_=alice.aor, body=whim.choice([b"v=0", b"v=0", b""])))

    def do(now: float) -> None:
        session = whim.choice(sessions)
        legs = list(session.legs.values()) if isinstance(session, ClientSession) else []
        what = whim.randrange(6)
        if what < 2:
            session.reinvite(now, body())
        elif what < 4:
            session.update(now, body(), leg=legs[0] if legs else None)
        elif what == 4:
            session.send(now, "INFO")
        else:
            session.hang_up(now)

    for _ in range(whim.randrange(12)):
        soon(40.0, do)
    if whim.random() < 0.1:
        cut_at = whim.random() * 60
        pump.drop = lambda source, target, message: pump.now > cut_at
    pump.at(200.0, lambda now: [session.hang_up(now) for session in sessions if not session.ended])
    pump.run()
    assert sorted(map(id, told)) == sorted(map(id, sessions))
    pump.assert_clean()
