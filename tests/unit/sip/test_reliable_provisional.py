"""Reliable provisional responses: RFC 3262, the machine alone and between two user agents."""

from __future__ import annotations

import pytest
from tests.unit.sip.pump import Node, Pump

from switchroom.sip import reliable_provisional as module
from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.headers import RACK, RSEQ
from switchroom.sip.message import Request, Response
from switchroom.sip.reliable_provisional import ProvisionalOrder, ReliableProvisionals, is_reliable
from switchroom.sip.session_events import (
    Carries,
    EndReason,
    IncomingOffer,
    IncomingSession,
    ModificationCompleted,
    ProvisionalAcknowledged,
    SessionAnswered,
    SessionConfirmed,
    SessionEnded,
    SessionProgress,
)
from switchroom.sip.session_server import ServerSession
from switchroom.sip.session_timer import SessionTimerSettings
from switchroom.sip.timers import TimerQueue, TimerValues

STATES = {name: number for number, name in enumerate(module.STATE_NAMES)}
INPUTS = {name: number for number, name in enumerate(module.INPUT_NAMES)}

# §3: one at a time; repeated until its PRACK, at most 64*T1; a final response stops the repetition but not the PRACK.
EFFECTIVE = {
    ("idle", "queue"): ("sending", module.SEND),
    ("idle", "final"): ("closed", module.NOTHING),
    ("sending", "queue"): ("sending", module.WAIT),
    ("sending", "PRACK"): ("idle", module.CONFIRM),
    ("sending", "retry"): ("sending", module.REPEAT),
    ("sending", "expire"): ("closed", module.GIVE_UP),
    ("sending", "final"): ("stopped", module.NOTHING),
    ("stopped", "PRACK"): ("closed", module.CONFIRM),
}


@pytest.mark.parametrize("input_", INPUTS)
@pytest.mark.parametrize("before", STATES)
def test_each_row(before: str, input_: str) -> None:
    after, do = EFFECTIVE.get((before, input_), (before, module.NOTHING))
    assert module.TABLE[STATES[before], INPUTS[input_]] == (STATES[after], do)


class Recorder:
    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, int]] = []
        self.abandoned: list[float] = []

    def transmit_provisional(self, response: Response) -> None:
        self.sent.append((self.now, response.headers.one(RSEQ) or 0))

    def provisional_abandoned(self, response: Response, now: float) -> None:
        self.abandoned.append(now)


def invite() -> Request:
    return Request.build(
        "INVITE", "sip:b@b.example", from_="<sip:a@a.example>;tag=1", to="<sip:b@b.example>", call_id="c", cseq=7
    )


def prack(rack: str | None) -> Request:
    lines = [("RAck", rack)] if rack else []
    return Request.build(
        "PRACK", "sip:b@b.example", from_="<sip:a@a.example>;tag=1", to="<sip:b@b.example>;tag=2", call_id="c", cseq=8,
        headers=lines,
    )  # fmt: skip


def ringing(body: bytes = b"") -> Response:
    return invite().create_response(180, to_tag="2", body=body, content_type="application/sdp" if body else None)


def machine(first: int = 100) -> tuple[ReliableProvisionals, Recorder, TimerQueue]:
    recorder, queue = Recorder(), TimerQueue()
    return ReliableProvisionals(queue, recorder, first, TimerValues()), recorder, queue


def run(queue: TimerQueue, recorder: Recorder, until: float = 1000.0) -> None:
    while (now := queue.next_at()) <= until:
        recorder.now = now
        while (item := queue.pop_due(now)) is not None:
            assert isinstance(item, ReliableProvisionals)
            item.fire(now)
            queue.touch(item)


class TestMachine:
    def test_intervals_double_without_a_cap_for_64_t1(self) -> None:
        """§3: it starts at T1 and doubles, unlike the 2xx, which stops at T2."""
        provisionals, recorder, queue = machine()
        provisionals.send(ringing(), 0.0)
        run(queue, recorder)
        assert [at for at, _ in recorder.sent] == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        assert recorder.abandoned == [32.0]
        assert provisionals.acknowledge(prack("100 7 INVITE"), 33.0) is None

    def test_one_at_a_time_with_numbers_that_follow_each_other(self) -> None:
        provisionals, recorder, queue = machine(first=2**31 - 1)
        responses = [ringing(), ringing(), ringing()]
        for response in responses:
            provisionals.send(response, 0.0)
        assert len(recorder.sent) == 1
        for number, response in enumerate(responses):
            rseq = 2**31 - 1 + number
            assert recorder.sent[-1][1] == rseq
            assert "100rel" in response.require
            assert provisionals.acknowledge(prack(f"{rseq} 7 INVITE"), 1.0) is response
        assert provisionals.state == module.IDLE
        run(queue, recorder)
        assert recorder.abandoned == []

    @pytest.mark.parametrize("rack", [None, "101 7 INVITE", "100 6 INVITE", "100 7 UPDATE"])
    def test_a_prack_must_match_in_all_three(self, rack: str | None) -> None:
        provisionals, _, _ = machine()
        provisionals.send(ringing(), 0.0)
        assert provisionals.acknowledge(prack(rack), 1.0) is None
        assert provisionals.acknowledge(prack("100 7 INVITE"), 1.0) is not None
        assert provisionals.acknowledge(prack("100 7 INVITE"), 1.0) is None

    def test_a_final_response_stops_the_repetition_but_not_the_prack(self) -> None:
        provisionals, recorder, queue = machine()
        provisionals.send(ringing(), 0.0)
        provisionals.send(ringing(), 0.0)
        provisionals.finish()
        run(queue, recorder)
        assert len(recorder.sent) == 1
        assert provisionals.acknowledge(prack("100 7 INVITE"), 1.0) is not None
        provisionals.send(ringing(), 2.0)  # §3: no new ones after a final response
        assert len(recorder.sent) == 1

    def test_a_description_that_is_not_acknowledged_holds_the_2xx(self) -> None:
        provisionals, _, _ = machine()
        assert not provisionals.holds_success
        provisionals.send(ringing(), 0.0)
        assert not provisionals.holds_success
        provisionals.send(ringing(b"v=0"), 0.0)
        assert provisionals.holds_success
        provisionals.acknowledge(prack("100 7 INVITE"), 1.0)
        assert provisionals.holds_success
        provisionals.acknowledge(prack("101 7 INVITE"), 1.0)
        assert not provisionals.holds_success

    def test_the_order_at_the_caller(self) -> None:
        """§4: the first number is taken, then each next one; repetitions and gaps are not processed."""
        order = ProvisionalOrder()

        def arrives(rseq: str | None) -> bool:
            response = ringing()
            if rseq:
                response.headers.add("RSeq", rseq)
            return order.accept(response)

        assert [arrives(text) for text in ("776", "776", "778", "777", "778", "776", None)] == [
            True, False, False, True, True, False, False
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("status", "require", "expected"),
        [
            (180, "100rel", True),
            (183, "foo, 100rel", True),
            (100, "100rel", False),
            (180, "foo", False),
            (200, "100rel", False),
        ],
    )
    def test_which_responses_are_reliable(self, status: int, require: str, expected: bool) -> None:
        response = invite().create_response(status, to_tag="2", headers=[("Require", require)])
        assert is_reliable(response) is expected


def pair(**settings: object) -> tuple[Pump, Node, Node]:
    pump = Pump()
    settings.setdefault("session_timer", SessionTimerSettings(interval=None))
    return pump, pump.node("alice", **settings), pump.node("bob", **settings)


def call(pump: Pump, alice: Node, bob: Node, body: bytes = b"v=0 offer", *, require: bool = False) -> ServerSession:
    lines = [("Require", "100rel")] if require else []
    alice.agent.invite(pump.now, bob.aor.uri, from_=alice.aor, body=body, headers=lines)
    pump.run(pump.now + 0.05)
    return bob.last(IncomingSession).session


class TestBetweenTwoUserAgents:
    def test_ringing_is_acknowledged(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        called.progress(pump.now)
        pump.run(pump.now + 0.05)
        ((at, sent),) = pump.sent("alice", "PRACK")
        response = alice.last(SessionProgress).response
        assert sent.headers.one(RACK) == (response.headers.one(RSEQ), response.cseq.number, "INVITE")
        assert pump.sent("bob", 200, "PRACK")
        assert bob.last(ProvisionalAcknowledged).carries is Carries.NOTHING
        assert at < 0.2

    def test_repeated_until_the_prack_arrives(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        pump.drop = lambda source, target, message: isinstance(message, Request) and pump.now < 2.0
        start = pump.now
        called.progress(start)
        pump.run(20.0)
        times = [round(at - start, 3) for at, _ in pump.sent("bob", 180)]
        assert times[:3] == [0.0, 0.5, 1.5]
        assert len(alice.heard(SessionProgress)) == 1
        assert len(bob.heard(ProvisionalAcknowledged)) == 1

    def test_no_prack_for_64_t1_rejects_the_invite(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "PRACK"
        called.progress(pump.now)
        pump.run()
        assert [(end.reason, end.status) for end in bob.heard(SessionEnded)] == [(EndReason.NO_PRACK, 504)]
        assert [(end.reason, end.status) for end in alice.heard(SessionEnded)] == [(EndReason.REMOTE_REJECT, 504)]
        pump.assert_clean()

    def test_an_answer_in_a_reliable_response_holds_the_2xx_back(self) -> None:
        """§3, §5."""
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        pump.drop = lambda source, target, message: isinstance(message, Request) and pump.now < 1.0
        called.progress(pump.now, 183, body=b"v=0 early answer")
        called.answer(pump.now)
        with pytest.raises(LocalProtocolError, match="PRACK"):
            called.answer(pump.now)
        with pytest.raises(LocalProtocolError, match="PRACK"):
            called.progress(pump.now)
        pump.run(0.9)
        assert not pump.sent("bob", 200, "INVITE")
        pump.run(5.0)
        prack_at = pump.sent("bob", 200, "PRACK")[0][0]
        assert pump.sent("bob", 200, "INVITE")[0][0] >= prack_at
        progress = alice.last(SessionProgress)
        assert (progress.carries, progress.response.body) == (Carries.ANSWER, b"v=0 early answer")
        assert alice.last(SessionAnswered).carries is Carries.NOTHING
        assert bob.heard(SessionConfirmed)

    def test_a_2xx_need_not_wait_for_one_without_description(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        called.progress(pump.now)
        called.answer(pump.now, b"v=0 answer")
        pump.run(pump.now + 0.05)
        assert bob.heard(SessionConfirmed)
        assert len(pump.sent("alice", "PRACK")) == 1
        assert pump.sent("bob", 200, "PRACK")  # §3: still prepared to process it

    def test_delayed_offer_in_a_reliable_response_and_answer_in_the_prack(self) -> None:
        """§5."""
        pump, alice, bob = pair()
        called = call(pump, alice, bob, body=b"")
        called.progress(pump.now, 183, body=b"v=0 offer of bob")
        pump.run(pump.now + 0.05)
        progress = alice.last(SessionProgress)
        assert progress.carries is Carries.OFFER
        assert not pump.sent("alice", "PRACK")
        progress.session.prack(pump.now, progress.response, b"v=0 answer of alice")
        with pytest.raises(LocalProtocolError):
            progress.session.prack(pump.now, progress.response, b"v=0 again")
        pump.run(pump.now + 0.05)
        acknowledged = bob.last(ProvisionalAcknowledged)
        assert (acknowledged.carries, acknowledged.request.body) == (Carries.ANSWER, b"v=0 answer of alice")
        called.answer(pump.now)
        pump.run(pump.now + 0.05)
        assert alice.last(SessionAnswered).carries is Carries.NOTHING

    def test_an_offer_that_the_prack_does_not_answer_is_withdrawn(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob, body=b"")
        called.progress(pump.now, 183, body=b"v=0 offer of bob")
        pump.run(pump.now + 0.05)
        progress = alice.last(SessionProgress)
        progress.session.prack(pump.now, progress.response)
        pump.run(pump.now + 0.05)
        assert called.exchange is not None
        assert not called.exchange.pending
        assert bob.last(ProvisionalAcknowledged).carries is Carries.NOTHING

    def test_without_an_offer_ringing_goes_out_unreliably(self) -> None:
        """§5: a reliable first message would have to carry the offer."""
        pump, alice, bob = pair()
        called = call(pump, alice, bob, body=b"")
        called.progress(pump.now)
        pump.run(pump.now + 0.05)
        assert alice.last(SessionProgress).response.status == 180
        assert not pump.sent("alice", "PRACK")
        with pytest.raises(LocalProtocolError, match="offer"):
            called.progress(pump.now, reliable=True)

    def test_a_caller_that_requires_it_must_get_the_offer(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob, body=b"", require=True)
        with pytest.raises(LocalProtocolError, match="offer"):
            called.progress(pump.now)
        pump.run(100.0)
        assert not pump.sent("bob", 183)  # not even by itself, after a minute
        called.progress(pump.now, body=b"v=0 offer", reliable=False)
        pump.run(pump.now + 0.05)
        assert is_reliable(alice.last(SessionProgress).response)

    def test_not_to_a_caller_without_support(self) -> None:
        pump, alice, bob = pair(supported=("timer",))
        called = call(pump, alice, bob)
        with pytest.raises(LocalProtocolError, match="100rel"):
            called.progress(pump.now, reliable=True)
        called.progress(pump.now)
        pump.run(pump.now + 0.05)
        assert not is_reliable(alice.last(SessionProgress).response)

    @pytest.mark.parametrize("status", [100, 200, 486])
    def test_progress_is_101_to_199(self, status: int) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        with pytest.raises(LocalProtocolError):
            called.progress(pump.now, status)

    def test_a_prack_that_matches_nothing_gets_481(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        called.progress(pump.now)
        pump.run(pump.now + 0.05)
        (dialog,) = (leg.dialog for leg in alice.heard(SessionProgress)[-1].session.legs.values())
        stray = dialog.create_request("PRACK", headers=[("RAck", "1 1 INVITE")])
        handle = alice.agent.send(stray, pump.now)
        pump.run(pump.now + 0.05)
        assert handle.done
        assert pump.sent("bob", 481, "PRACK")

    def test_nobody_pracks_a_caller(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        called.answer(pump.now, b"v=0")
        pump.run(pump.now + 0.05)
        assert called.dialog is not None
        bob.agent.send(called.dialog.create_request("PRACK", headers=[("RAck", "1 1 INVITE")]), pump.now)
        pump.run(pump.now + 0.05)
        assert pump.sent("alice", 481, "PRACK")

    def test_long_ringing_is_repeated_reliably_every_two_and_a_half_minutes(self) -> None:
        """§3."""
        pump, alice, bob = pair(invite_wait=1000.0, ring_wait=1000.0)
        called = call(pump, alice, bob)
        called.progress(0.05)
        pump.run(400.0)
        assert [round(at) for at, _ in pump.sent("bob", 180)] == [0, 150, 300]
        assert len(pump.sent("bob", 200, "PRACK")) == 3

    def test_update_in_the_early_dialog(self) -> None:
        """RFC 3311 §8: offer and answer in INVITE and 183, then an UPDATE from each side, then the bare 200."""
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        called.progress(pump.now, 183, body=b"v=0 answer 1")
        with pytest.raises(LocalProtocolError, match=r"5\.1"):
            called.update(pump.now, b"v=0 too early")  # §5.1: no PRACK yet
        pump.run(pump.now + 0.05)
        caller = alice.last(SessionProgress).session
        (leg,) = caller.legs.values()
        assert "UPDATE" in leg.allow
        caller.send(pump.now, "INFO", leg=leg)
        caller.update(pump.now, b"v=0 offer 2", leg=leg)
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 answer 2")
        pump.run(pump.now + 0.05)
        done = alice.last(ModificationCompleted)
        assert (done.carries, done.response.body if done.response else None) == (Carries.ANSWER, b"v=0 answer 2")
        called.update(pump.now, b"v=0 offer 3")
        pump.run(pump.now + 0.05)
        alice.last(IncomingOffer).modification.accept(pump.now, b"v=0 answer 3")
        pump.run(pump.now + 0.05)
        assert bob.last(ModificationCompleted).carries is Carries.ANSWER
        called.answer(pump.now)
        pump.run(pump.now + 0.05)
        assert bob.heard(SessionConfirmed)
        caller.hang_up(pump.now)
        pump.run()
        pump.assert_clean()

    def test_a_prack_overtaken_by_a_later_request_is_said_again(self) -> None:
        """§12.2.2 of RFC 3261 refuses it with 500; the response still waits for its acknowledgement."""
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        called.progress(pump.now)
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "PRACK" and pump.now < 0.4
        )
        pump.run(pump.now + 0.05)
        caller = alice.last(SessionProgress).session
        (leg,) = caller.legs.values()
        alice.agent.send(leg.dialog.create_request("OPTIONS"), pump.now)
        pump.run(5.0)
        assert pump.sent("bob", 500, "PRACK")
        assert bob.heard(ProvisionalAcknowledged)

    def test_a_prack_is_not_repeated_on_a_branch_that_is_gone(self) -> None:
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        called.progress(pump.now)
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "PRACK" and pump.now < 0.4
        )
        pump.run(pump.now + 0.05)
        caller = alice.last(SessionProgress).session
        (leg,) = caller.legs.values()
        alice.agent.send(leg.dialog.create_request("OPTIONS"), pump.now)
        pump.run(pump.now + 0.05)
        ended = called.request.create_response(199, to_tag=called.local_tag)
        pump.inject("bob.example", "alice.example", ended)
        pump.run(5.0)
        assert len({message.cseq.number for _, message in pump.sent("alice", "PRACK")}) == 1
        pump.run()
        pump.assert_clean()

    def test_an_offer_in_the_prack(self) -> None:
        """§5: after an answer in the response, the PRACK may offer anew; its 2xx must answer."""
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "PRACK" and not message.body
        )
        called.progress(pump.now, 183, body=b"v=0 answer")
        pump.run(pump.now + 0.05)
        progress = alice.last(SessionProgress)
        assert progress.dialog is not None
        rack = f"{progress.response.headers.get('RSeq')} 1 INVITE"
        prack = progress.dialog.create_request(
            "PRACK", headers=[("RAck", rack)], body=b"v=0 new offer", content_type="application/sdp"
        )
        alice.agent.send(prack, pump.now)
        pump.run(pump.now + 0.05)
        assert bob.last(ProvisionalAcknowledged).carries is Carries.OFFER
        with pytest.raises(LocalProtocolError, match="offer"):
            bob.last(IncomingOffer).modification.accept(pump.now)
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 new answer")
        pump.run(pump.now + 0.05)
        ((_, response),) = pump.sent("bob", 200, "PRACK")
        assert response.body == b"v=0 new answer"
        assert "Contact" not in response.headers  # RFC 3262 table 1: neither in PRACK nor in its 2xx
        called.answer(pump.now)
        pump.run(pump.now + 0.05)
        assert bob.heard(SessionConfirmed)

    def test_no_repetition_while_a_2xx_waits_for_the_prack(self) -> None:
        timers = TimerValues(t1=2.0)
        pump, alice, bob = pair(timers=timers)
        called = call(pump, alice, bob)
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "PRACK"
        called.progress(pump.now, 182, reliable=False)
        called.progress(pump.now, 183, body=b"v=0 answer")
        called.answer(pump.now)
        called._repeat.set(retry_at=pump.now + 1.0)
        pump.run(100.0)
        assert len(pump.sent("bob", 182)) == 1
        pump.run()
        pump.assert_clean()

    def test_the_answer_may_be_repeated_but_offers_nothing_new(self) -> None:
        """RFC 3261 §13.2.1: after the answer, no response to the INVITE makes an offer."""
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        for status in (183, 180):
            called.progress(pump.now, status, body=b"v=0 answer")
            pump.run(pump.now + 0.05)
        assert called.exchange is not None
        assert not called.exchange.pending
        assert [event.carries for event in alice.heard(SessionProgress)] == [Carries.ANSWER, Carries.NOTHING]
        called.answer(pump.now, b"v=0 answer")
        pump.run(pump.now + 0.05)
        assert bob.last(SessionConfirmed).carries is Carries.NOTHING

    def test_an_offer_in_the_prack_crosses_an_update(self) -> None:
        """As RFC 3311 §5.2 has it: 491; the response is acknowledged all the same."""
        pump, alice, bob = pair()
        called = call(pump, alice, bob)
        called.progress(pump.now, 183, body=b"v=0 answer")
        pump.run(pump.now + 0.05)
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method in ("PRACK", "UPDATE") and not message.body
        )
        called.update(pump.now, b"v=0 offer of bob")
        pump.run(pump.now + 0.05)
        called.progress(pump.now, 180)
        pump.run(pump.now + 0.05)
        progress = alice.last(SessionProgress)
        assert progress.dialog is not None
        rack = f"{progress.response.headers.get('RSeq')} 1 INVITE"
        prack = progress.dialog.create_request(
            "PRACK", headers=[("RAck", rack)], body=b"v=0 offer of alice", content_type="application/sdp"
        )
        alice.agent.send(prack, pump.now)
        pump.run(pump.now + 0.05)
        assert pump.sent("bob", 491, "PRACK")
        assert len(bob.heard(ProvisionalAcknowledged)) == 2
        alice.last(IncomingOffer).modification.accept(pump.now, b"v=0 answer of alice")
        pump.run(pump.now + 0.05)
        assert bob.last(ModificationCompleted).carries is Carries.ANSWER
