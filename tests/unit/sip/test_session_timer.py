"""Session timers: RFC 4028, the negotiation and the clock alone, then between two user agents."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.sip.pump import Node, Pump

from switchroom.sip import session_timer as module
from switchroom.sip.message import Request
from switchroom.sip.session_events import (
    EndReason,
    IncomingOffer,
    IncomingSession,
    ModificationCompleted,
    SessionAnswered,
    SessionEnded,
    SessionRefreshed,
)
from switchroom.sip.session_timer import (
    Grant,
    SessionTimer,
    SessionTimerSettings,
    TooSmall,
    grant,
    refused_min_se,
    request_headers,
)
from switchroom.sip.timers import NEVER, TimerQueue

STATES = {name: number for number, name in enumerate(module.STATE_NAMES)}
INPUTS = {name: number for number, name in enumerate(module.INPUT_NAMES)}

# Each 2xx winds the timer anew with whatever roles it says (§7.4); half-way the refresher refreshes (§7.2); near the
# end either side hangs up (§10).
EFFECTIVE = {
    ("off", "wind as refresher"): ("refresher", module.NOTHING),
    ("off", "wind as watcher"): ("watcher", module.NOTHING),
    ("refresher", "wind as watcher"): ("watcher", module.NOTHING),
    ("refresher", "stop"): ("off", module.NOTHING),
    ("refresher", "retry"): ("refresher", module.REFRESH),
    ("refresher", "expire"): ("off", module.HANG_UP),
    ("watcher", "wind as refresher"): ("refresher", module.NOTHING),
    ("watcher", "stop"): ("off", module.NOTHING),
    ("watcher", "expire"): ("off", module.HANG_UP),
}


@pytest.mark.parametrize("input_", INPUTS)
@pytest.mark.parametrize("before", STATES)
def test_each_row(before: str, input_: str) -> None:
    after, do = EFFECTIVE.get((before, input_), (before, module.NOTHING))
    assert module.TABLE[STATES[before], INPUTS[input_]] == (STATES[after], do)


def update(supported: str = "", **headers: str) -> Request:
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if supported:
        lines.append(("Supported", supported))
    return Request.build(
        "UPDATE", "sip:b@b.example", from_="<sip:a@a.example>;tag=1", to="<sip:b@b.example>;tag=2", call_id="c", cseq=7,
        headers=lines,
    )  # fmt: skip


class TestGrant:
    @pytest.mark.parametrize(
        ("supported", "asked", "expected"),
        [
            ("", "", Grant(1800, "uas")),  # table 2: the caller does not know of it, so only the called can refresh
            ("timer", "", Grant(1800, "uac", True)),
            ("timer", ";refresher=uac", Grant(1800, "uac", True)),
            ("timer", ";refresher=uas", Grant(1800, "uas")),
        ],
    )
    def test_table_2(self, supported: str, asked: str, expected: Grant) -> None:
        request = update(supported, Session_Expires=f"1800{asked}")
        assert grant(request, SessionTimerSettings()) == expected

    def test_the_interval_may_be_reduced_but_not_below_min_se(self) -> None:
        settings = SessionTimerSettings(interval=300)
        assert grant(update("timer", Session_Expires="1800"), settings) == Grant(300, "uac", True)
        assert grant(update("timer", Session_Expires="1800", Min_SE="600"), settings) == Grant(600, "uac", True)
        assert grant(update("timer", Session_Expires="200"), settings) == Grant(200, "uac", True)

    def test_too_small(self) -> None:
        """§9: 422, but only to a caller that knows of session timers; for others it is raised."""
        settings = SessionTimerSettings(min_se=120)
        assert grant(update("timer", Session_Expires="100"), settings) == TooSmall(120)
        assert grant(update("", Session_Expires="100"), settings) == Grant(120, "uas")

    def test_nothing_asked(self) -> None:
        assert grant(update("timer"), SessionTimerSettings()) == Grant(1800, "uac", True)
        assert grant(update("timer", Min_SE="3600"), SessionTimerSettings()) == Grant(3600, "uac", True)
        assert grant(update("timer"), SessionTimerSettings(refresher="uas")) == Grant(1800, "uas")
        assert grant(update("timer"), SessionTimerSettings(interval=None)) == Grant(None)

    def test_what_is_asked_for_is_granted_even_when_we_ask_for_none(self) -> None:
        settings = SessionTimerSettings(interval=None)
        assert grant(update("timer", Session_Expires="1800"), settings) == Grant(1800, "uac", True)

    def test_requiring_it_is_supporting_it(self) -> None:
        assert grant(update("", Session_Expires="1800", Require="timer"), SessionTimerSettings()).__class__ is Grant


class TestRequestHeaders:
    def test_none(self) -> None:
        assert request_headers(SessionTimerSettings(interval=None)) == []

    def test_plain(self) -> None:
        """§5: Min-SE is meant to be 90 when it is not said."""
        assert request_headers(SessionTimerSettings()) == [("Session-Expires", "1800")]

    def test_refresher_and_min_se(self) -> None:
        settings = SessionTimerSettings(interval=100, min_se=120, refresher="uas")
        assert request_headers(settings) == [("Session-Expires", "120;refresher=uas"), ("Min-SE", "120")]
        assert request_headers(settings, min_se=300, refresher="uac") == [
            ("Session-Expires", "300;refresher=uac"),
            ("Min-SE", "300"),
        ]

    def test_min_se_of_a_422(self) -> None:
        assert refused_min_se(update().create_response(422, headers=[("Min-SE", "600")])) == 600
        assert refused_min_se(update().create_response(422)) is None


class Recorder:
    def __init__(self) -> None:
        self.refreshed: list[float] = []
        self.expired: list[float] = []

    def refresh(self, now: float) -> None:
        self.refreshed.append(now)

    def session_expired(self, now: float) -> None:
        self.expired.append(now)


def run(queue: TimerQueue, until: float = 1e6) -> None:
    while (now := queue.next_at()) <= until:
        while (item := queue.pop_due(now)) is not None:
            assert isinstance(item, SessionTimer)
            item.fire(now)
            queue.touch(item)


class TestClock:
    @pytest.mark.parametrize(("interval", "expiry"), [(1800, 1768.0), (90, 60.0), (96, 64.0), (120, 88.0)])
    def test_refresh_at_half_and_bye_before_the_end(self, interval: int, expiry: float) -> None:
        """§10: min(32, interval / 3) seconds before the session expires."""
        recorder, queue = Recorder(), TimerQueue()
        timer = SessionTimer(queue, recorder)
        timer.wind(interval, True, 1000.0)
        assert timer.refreshing
        run(queue)
        assert recorder.refreshed == [1000.0 + interval / 2]
        assert recorder.expired == [1000.0 + expiry]
        assert queue.next_at() == NEVER

    def test_the_watcher_only_watches(self) -> None:
        recorder, queue = Recorder(), TimerQueue()
        timer = SessionTimer(queue, recorder)
        timer.wind(90, False, 0.0)
        timer.again_at(1.0)
        assert not timer.refreshing
        run(queue)
        assert (recorder.refreshed, recorder.expired) == ([], [60.0])

    def test_each_refresh_winds_it_up_again(self) -> None:
        recorder, queue = Recorder(), TimerQueue()
        timer = SessionTimer(queue, recorder)
        timer.wind(90, False, 0.0)
        timer.wind(90, True, 45.0)
        run(queue, 100.0)
        assert (recorder.refreshed, recorder.expired) == ([90.0], [])
        timer.again_at(95.0)
        run(queue, 96.0)
        assert recorder.refreshed == [90.0, 95.0]
        timer.wind(None, True, 97.0)
        run(queue)
        assert recorder.expired == []
        assert not timer.running


def pair(alice: SessionTimerSettings, bob: SessionTimerSettings, **settings: object) -> tuple[Pump, Node, Node]:
    pump = Pump()
    return (
        pump,
        pump.node("alice", session_timer=alice, **settings),
        pump.node("bob", session_timer=bob, **settings),
    )


def talk(pump: Pump, alice: Node, bob: Node) -> None:
    alice.agent.invite(pump.now, bob.aor.uri, from_=alice.aor, body=b"v=0 offer")
    pump.run(pump.now + 0.1)
    bob.last(IncomingSession).session.answer(pump.now, b"v=0 answer")
    pump.run(pump.now + 0.1)


class TestBetweenTwoUserAgents:
    def test_the_caller_refreshes_by_update(self) -> None:
        pump, alice, bob = pair(SessionTimerSettings(interval=90), SessionTimerSettings(interval=90))
        talk(pump, alice, bob)
        answered = alice.last(SessionAnswered).response
        assert answered.headers.get("Session-Expires") == "90;refresher=uac"
        assert "timer" in answered.require
        pump.run(200.0)
        assert [round(at) for at, _ in pump.sent("alice", "UPDATE")] == [45, 90, 135, 180]
        first = pump.sent("alice", "UPDATE")[0][1]
        assert first.headers.get("Session-Expires") == "90;refresher=uac"
        assert first.body == b""
        assert not pump.sent("bob", "UPDATE")
        assert {event.by_us for event in alice.heard(SessionRefreshed)} == {True}
        assert {event.by_us for event in bob.heard(SessionRefreshed)} == {False}
        assert not alice.heard(SessionEnded)
        assert not alice.heard(ModificationCompleted)

    def test_the_called_refreshes_when_told_so(self) -> None:
        settings = SessionTimerSettings(interval=90, refresher="uas")
        pump, alice, bob = pair(settings, SessionTimerSettings())
        talk(pump, alice, bob)
        pump.run(200.0)
        assert [round(at) for at, _ in pump.sent("bob", "UPDATE")] == [45, 90, 135, 180]
        first = pump.sent("bob", "UPDATE")[0][1]
        assert first.headers.get("Session-Expires") == "90;refresher=uac"  # the roles are those of this transaction
        assert not pump.sent("alice", "UPDATE")

    def test_by_reinvite_where_the_peer_takes_no_update(self) -> None:
        allow = ("INVITE", "ACK", "CANCEL", "BYE")
        settings = SessionTimerSettings(interval=90)
        pump, alice, bob = pair(settings, settings, allow=allow)
        talk(pump, alice, bob)
        pump.run(46.0)
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 answer")
        pump.run(50.0)
        refresh = pump.sent("alice", "INVITE")[-1][1]
        assert refresh.body == b"v=0 offer"  # the description that holds, so that nothing changes
        assert alice.last(SessionRefreshed).by_us
        assert not bob.last(SessionRefreshed).by_us
        assert not alice.heard(SessionEnded)
        caller = alice.last(SessionAnswered).session
        caller.hang_up(pump.now)
        pump.run()
        pump.assert_clean()

    def test_expiry_when_the_refresher_is_gone(self) -> None:
        settings = SessionTimerSettings(interval=90)
        pump, alice, bob = pair(settings, settings)
        talk(pump, alice, bob)
        pump.drop = lambda source, target, message: source == "alice.example"
        pump.run()
        assert [end.reason for end in bob.heard(SessionEnded)] == [EndReason.SESSION_EXPIRED]
        assert round(pump.sent("bob", "BYE")[0][0]) == 60
        assert len(alice.heard(SessionEnded)) == 1
        pump.assert_clean()

    def test_422_is_answered_with_a_longer_interval(self) -> None:
        """§7.4: same Call-ID, next CSeq, the Min-SE of the 422."""
        pump, alice, bob = pair(SessionTimerSettings(interval=100), SessionTimerSettings(min_se=300))
        talk(pump, alice, bob)
        first, second = (message for _, message in pump.sent("alice", "INVITE"))
        assert pump.sent("bob", 422)[0][1].headers.get("Min-SE") == "300"
        assert (second.call_id, second.cseq.number) == (first.call_id, first.cseq.number + 1)
        assert second.headers.get("Session-Expires") == "300"
        assert second.headers.get("Min-SE") == "300"
        caller = alice.last(SessionAnswered).session
        assert caller.min_se == 300
        caller.update(pump.now)
        pump.run(pump.now + 0.1)
        assert pump.sent("alice", "UPDATE")[-1][1].headers.get("Min-SE") == "300"

    def test_422_within_the_dialog(self) -> None:
        pump, alice, bob = pair(SessionTimerSettings(interval=None), SessionTimerSettings(interval=None, min_se=300))
        talk(pump, alice, bob)
        caller = alice.last(SessionAnswered).session
        handle = caller.update(pump.now, headers=[("Session-Expires", "90")]).handle
        pump.run(pump.now + 0.1)
        assert [message.status for _, message in pump.sent("bob", 422)] == [422]  # type: ignore[union-attr]
        assert handle is not None
        assert handle.request.headers.get("Session-Expires") == "300"
        assert caller.timer.interval == 300

    def test_an_answer_without_session_expires_turns_it_off(self) -> None:
        """§7.2."""
        pump, alice, bob = pair(SessionTimerSettings(interval=90), SessionTimerSettings(interval=None))
        alice.agent.invite(pump.now, bob.aor.uri, from_=alice.aor, body=b"v=0 offer")
        pump.run(pump.now + 0.1)
        invite = bob.last(IncomingSession).request
        invite.headers.remove("Session-Expires")
        bob.last(IncomingSession).session.answer(pump.now, b"v=0 answer")
        pump.run(pump.now + 0.1)
        assert not alice.last(SessionAnswered).session.timer.running
        pump.run(1000.0)
        assert not alice.heard(SessionEnded)

    def test_a_refused_refresh_is_tried_again(self) -> None:
        settings = SessionTimerSettings(interval=90)
        pump, alice, bob = pair(settings, settings, allow=("INVITE", "ACK", "CANCEL", "BYE"))
        talk(pump, alice, bob)
        pump.run(45.5)
        bob.last(IncomingOffer).modification.reject(pump.now, 500, headers=[("Retry-After", "7")])
        pump.run(53.5)
        assert [round(at) for at, _ in pump.sent("alice", "INVITE")] == [0, 45, 53]
        bob.last(IncomingOffer).modification.reject(pump.now)
        pump.run(58.6)
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 answer")
        pump.run(62.0)
        assert alice.heard(SessionRefreshed)
        assert not alice.heard(SessionEnded)

    @pytest.mark.parametrize("status", [405, 501, 488, 420])
    def test_a_refresh_by_update_that_is_refused_is_tried_by_reinvite(self, status: int) -> None:
        """RFC 4028 §7.4: as the response asks; what UPDATE is not good for, a re-INVITE may be (§7.2)."""
        settings = SessionTimerSettings(interval=90)
        pump, alice, bob = pair(settings, settings)
        talk(pump, alice, bob)
        bob.agent.settings = replace(bob.agent.settings, allow=("INVITE", "ACK", "CANCEL", "BYE"))
        if status not in (405, 501):
            receive = alice.receive

            def other(data: bytes, source: str, now: float) -> None:
                receive(data.replace(b"SIP/2.0 405 ", b"SIP/2.0 %d " % status), source, now)

            alice.receive = other  # type: ignore[method-assign]
        pump.run(46.0)
        assert [round(at) for at, _ in pump.sent("alice", "UPDATE")] == [45]
        assert [round(at) for at, _ in pump.sent("alice", "INVITE")] == [0, 45]
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 answer")
        pump.run(50.0)
        assert alice.last(SessionRefreshed).by_us
        assert not alice.heard(ModificationCompleted)
        pump.run(92.0)
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 answer")
        pump.run(95.0)
        assert len(alice.heard(SessionRefreshed)) == 2
        assert not alice.heard(SessionEnded)

    @pytest.mark.parametrize("status", [500, 503])
    def test_a_refresh_by_update_that_came_at_the_wrong_time_is_tried_again(self, status: int) -> None:
        settings = SessionTimerSettings(interval=90)
        pump, alice, bob = pair(settings, settings)
        talk(pump, alice, bob)
        pump.run(44.0)
        bob.agent.settings = replace(bob.agent.settings, allow=("INVITE", "ACK", "CANCEL", "BYE"))
        receive = alice.receive

        def other(data: bytes, source: str, now: float) -> None:
            receive(data.replace(b"SIP/2.0 405 ", b"SIP/2.0 %d " % status), source, now)

        alice.receive = other  # type: ignore[method-assign]
        pump.run(46.0)
        bob.agent.settings = replace(bob.agent.settings, allow=(*bob.agent.settings.allow, "UPDATE"))
        pump.run(60.0)
        assert [round(at) for at, _ in pump.sent("alice", "UPDATE")] == [45, 53]
        assert len(alice.heard(SessionRefreshed)) == 1

    def test_a_refresh_that_is_always_refused_is_not_tried_for_ever(self) -> None:
        """Less and less often, until the session expires (§10)."""
        pump, alice, bob = pair(SessionTimerSettings(), SessionTimerSettings())
        talk(pump, alice, bob)
        bob.agent.settings = replace(bob.agent.settings, allow=("ACK", "CANCEL", "BYE"))
        pump.run()
        assert EndReason.SESSION_EXPIRED in {end.reason for node in (alice, bob) for end in node.heard(SessionEnded)}
        assert len(pump.sent("alice", "UPDATE")) == 1
        assert 5 < len(pump.sent("alice", "INVITE")) < 15
        pump.assert_clean()

    def test_an_update_that_overtakes_the_ack_is_granted_its_interval(self) -> None:
        """A 2xx without Session-Expires would end the timer at the peer, and at the peer alone (§7.2)."""
        settings = SessionTimerSettings(interval=90)
        pump, alice, bob = pair(settings, settings)
        alice.agent.invite(pump.now, bob.aor.uri, from_=alice.aor, body=b"v=0 offer")
        pump.run(pump.now + 0.1)
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "ACK" and pump.now < 3.0
        )
        bob.last(IncomingSession).session.answer(pump.now, b"v=0 answer")
        pump.run(pump.now + 0.1)
        alice.last(SessionAnswered).session.update(pump.now)
        pump.run(200.0)
        assert not alice.heard(SessionEnded)
        assert not bob.heard(SessionEnded)

    def test_the_min_se_of_the_peer_holds_for_our_refresh(self) -> None:
        """§7.4: the largest Min-SE of any request or 422 of the dialog."""
        pump, alice, bob = pair(SessionTimerSettings(300, 300, "uas"), SessionTimerSettings(interval=90))
        talk(pump, alice, bob)
        pump.run(160.0)
        refresh = pump.sent("bob", "UPDATE")[0][1]
        assert refresh.headers.get("Min-SE") == "300"
        assert refresh.headers.get("Session-Expires") == "300;refresher=uac"

    def test_without_the_extension_nothing_is_asked_for_or_granted(self) -> None:
        """§7.1, §9: who does not list `timer` neither asks for an interval nor grants one."""
        pump, alice, bob = pair(SessionTimerSettings(), SessionTimerSettings(), supported=("100rel",))
        talk(pump, alice, bob)
        (_, invite) = pump.sent("alice", "INVITE")[0]
        assert "Session-Expires" not in invite.headers
        assert "Session-Expires" not in alice.last(SessionAnswered).response.headers
        assert not alice.last(SessionAnswered).session.timer.running

    def test_who_does_not_have_the_extension_ignores_the_others_wish(self) -> None:
        for supported in (("100rel",), ("timer",)):
            pump = Pump()
            alice = pump.node("alice", supported=supported)
            bob = pump.node("bob", supported=("100rel", "timer") if supported == ("100rel",) else ("100rel",))
            talk(pump, alice, bob)
            caller = alice.last(SessionAnswered).session
            assert not caller.timer.running
            caller.update(pump.now)
            pump.run(pump.now + 0.1)
            assert pump.sent("bob", 200, "UPDATE")
            assert not caller.timer.running

    def test_a_refresh_waits_for_a_change_that_is_under_way(self) -> None:
        settings = SessionTimerSettings(interval=90)
        pump, alice, bob = pair(settings, settings)
        talk(pump, alice, bob)
        pump.run(44.0)
        caller = alice.last(SessionAnswered).session
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(47.0)
        assert not pump.sent("alice", "UPDATE")
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 held")
        pump.run(140.0)
        assert [round(at) for at, _ in pump.sent("alice", "UPDATE")] == [92, 137]
