"""Sessions between two user agents, from INVITE to the end: RFC 3261 §13 and §15."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.sip.calls import ANSWER, NO_TIMER, OFFER, call, ends, pair, talk
from tests.unit.sip.pump import Node, Pump

from switchroom.sip.dialog import TERMINATED
from switchroom.sip.digest import DigestClient, Login
from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.layer import CancelReceived, ResponseFailed
from switchroom.sip.message import Request, Response, parse
from switchroom.sip.session_client import ClientSession
from switchroom.sip.session_events import (
    Carries,
    EarlyDialogEnded,
    EndReason,
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
from switchroom.sip.uri import SipUri


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

    def test_the_called_hangs_up(self) -> None:
        pump, alice, bob = pair()
        _, called = talk(pump, alice, bob)
        called.hang_up(pump.now)
        assert bob.agent.take_events()  # told at once: the session is over when the BYE is sent (§15.1.1)
        bob.events.append(SessionEnded(called, EndReason.LOCAL_BYE))
        pump.run()
        assert ends(alice) == [(EndReason.REMOTE_BYE, None)]
        pump.assert_clean()
        with pytest.raises(LocalProtocolError, match="ended"):
            called.hang_up(pump.now)

    def test_bye_crosses_bye(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.hang_up(pump.now)
        called.hang_up(pump.now)
        pump.run()
        assert ends(alice) == ends(bob) == [(EndReason.LOCAL_BYE, None)]
        assert len(pump.sent("alice", 200, "BYE")) == len(pump.sent("bob", 200, "BYE")) == 1
        pump.assert_clean()

    def test_a_bye_that_nobody_answers_ends_all_the_same(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        pump.drop = lambda source, target, message: source == "alice.example"
        caller.hang_up(pump.now)
        pump.run(100.0)
        assert ends(alice) == [(EndReason.LOCAL_BYE, None)]
        assert alice.agent.idle
        assert not ends(bob)

    def test_delayed_offer(self) -> None:
        """§13.2.1: no offer in the INVITE, so it is in the 2xx, and the answer in the ACK."""
        pump, alice, bob = pair()
        caller = call(pump, alice, bob, body=b"")
        bob.last(IncomingSession).session.answer(pump.now, OFFER)
        pump.run(pump.now + 0.1)
        assert alice.last(SessionAnswered).carries is Carries.OFFER
        assert not pump.sent("alice", "ACK")
        caller.acknowledge(pump.now, ANSWER)
        pump.run(pump.now + 0.1)
        confirmed = bob.last(SessionConfirmed)
        assert (confirmed.carries, confirmed.request.body) == (Carries.ANSWER, ANSWER)
        with pytest.raises(LocalProtocolError):
            caller.acknowledge(pump.now, ANSWER)

    def test_a_delayed_offer_left_without_an_answer(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob, body=b"")
        called = bob.last(IncomingSession).session
        called.answer(pump.now, OFFER)
        pump.run(pump.now + 0.1)
        caller.acknowledge(pump.now)
        pump.run(pump.now + 0.1)
        assert bob.last(SessionConfirmed).carries is Carries.NOTHING
        for session in (caller, called):
            assert session.exchange is not None
            assert not session.exchange.pending

    def test_hanging_up_instead_of_answering_a_delayed_offer(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob, body=b"")
        bob.last(IncomingSession).session.answer(pump.now, OFFER)
        pump.run(pump.now + 0.1)
        caller.hang_up(pump.now)
        pump.run()
        assert [line.split()[-1] for line in pump.ladder()][-3:] == ["ACK", "BYE", "BYE"]
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        pump.assert_clean()

    def test_an_answer_without_the_answer_is_a_local_error(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        with pytest.raises(LocalProtocolError, match="offer"):
            called.answer(pump.now)
        called.answer(pump.now, ANSWER)
        with pytest.raises(LocalProtocolError):
            called.answer(pump.now, ANSWER)
        with pytest.raises(LocalProtocolError):
            called.reject(pump.now)
        with pytest.raises(LocalProtocolError):
            called.progress(pump.now)

    def test_early_media_in_an_unreliable_response(self) -> None:
        """§13.2.1: a copy of the answer may stand in any provisional response; the 2xx still holds the answer."""
        pump, alice, bob = pair()
        call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        called.progress(pump.now, 183, body=ANSWER)
        pump.run(pump.now + 0.1)
        progress = alice.last(SessionProgress)
        assert (progress.carries, progress.response.body) == (Carries.PREVIEW, ANSWER)
        called.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.1)
        assert alice.last(SessionAnswered).carries is Carries.ANSWER

    def test_a_2xx_with_no_answer_leaves_the_exchange_open(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob)
        request = bob.last(IncomingSession)
        response = request.request.create_response(200, to_tag="x", headers=[("Contact", "<sip:bob@bob.example>")])
        pump.inject("bob.example", "alice.example", response)
        pump.run(pump.now + 0.1)
        assert alice.last(SessionAnswered).carries is Carries.NOTHING
        assert caller.exchange is not None
        assert not caller.exchange.pending

    def test_sips_asks_for_sips_contacts(self) -> None:
        """§12.1.1, §12.1.2."""
        pump, alice, bob = pair()
        caller = alice.agent.invite(0.0, "sips:bob@bob.example", from_=alice.aor, body=OFFER)
        pump.run(0.05)
        called = bob.last(IncomingSession).session
        called.progress(pump.now)
        called.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        for session in (caller, called):
            assert session.dialog is not None
            assert isinstance(session.dialog.remote_target, SipUri)
            assert session.dialog.remote_target.secure
        caller.update(pump.now)
        pump.run(pump.now + 0.05)
        assert str(pump.sent("alice", "UPDATE")[0][1].contacts[0].uri) == "sips:alice@alice.example"


class TestAcknowledgement:
    def test_each_repeated_2xx_gets_the_same_ack(self) -> None:
        """§13.2.2.4."""
        pump, alice, bob = pair()
        call(pump, alice, bob)
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "ACK" and pump.now < 3.0
        )
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(20.0)
        oks = pump.sent("bob", 200, "INVITE")
        acks = pump.sent("alice", "ACK")
        assert len(oks) == len(acks) == 4  # at 0, 0.5, 1.5 and 3.5 s; the last ACK gets through
        assert {message.cseq.number for _, message in acks} == {1}
        assert len(bob.heard(SessionConfirmed)) == len(alice.heard(SessionAnswered)) == 1

    def test_no_ack_for_64_t1_ends_with_bye(self) -> None:
        """§13.3.1.4."""
        pump, alice, bob = pair()
        call(pump, alice, bob)
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "ACK"
        start = pump.now
        bob.last(IncomingSession).session.answer(start, ANSWER)
        pump.run()
        ((at, _),) = pump.sent("bob", "BYE")
        assert at - start == pytest.approx(32.0)
        assert ends(bob) == [(EndReason.NO_ACK, None)]
        assert ends(alice) == [(EndReason.REMOTE_BYE, None)]
        pump.assert_clean()

    def test_a_bye_waits_for_the_ack(self) -> None:
        """§15: the called side must not send BYE before the ACK; the application need not know."""
        pump, alice, bob = pair()
        call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "ACK" and pump.now < 3.0
        )
        called.answer(pump.now, ANSWER)
        called.hang_up(pump.now, [("Reason", "SIP;cause=200")])
        assert called.ended
        pump.run(2.0)
        assert not pump.sent("bob", "BYE")
        pump.run()
        ((_, bye),) = pump.sent("bob", "BYE")
        assert bye.headers.get("Reason") == "SIP;cause=200"
        assert ends(bob) == [(EndReason.LOCAL_BYE, None)]
        pump.assert_clean()

    def test_a_bye_that_waited_in_vain(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "ACK"
        called.answer(pump.now, ANSWER)
        called.hang_up(pump.now, [("Reason", "SIP;cause=200")])
        pump.run()
        assert [bye.headers.get("Reason") for _, bye in pump.sent("bob", "BYE")] == ["SIP;cause=200"]
        assert ends(bob) == [(EndReason.LOCAL_BYE, None)]
        pump.assert_clean()

    def test_a_bye_before_the_ack_ends_the_repetition(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob)
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "ACK"
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.1)
        caller.hang_up(pump.now)
        pump.run()
        assert len(pump.sent("bob", 200, "INVITE")) == 1
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        pump.assert_clean()

    def test_an_ack_out_of_nowhere_is_never_answered(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        assert caller.dialog is not None
        before = len(pump.wire)
        for number, tag in ((1, "unknown"), (99, caller.dialog.remote_tag)):
            ack = Request.build(
                "ACK", "sip:bob@bob.example", from_=caller.dialog.local, call_id=caller.dialog.call_id, cseq=number,
                to=f"<sip:bob@bob.example>;tag={tag}",
                headers=[("Via", f"SIP/2.0/UDP alice.example;branch=z9hG4bKstray{number}")],
            )  # fmt: skip
            pump.inject("alice.example", "bob.example", ack)
        pump.run(pump.now + 1.0)
        assert len(pump.wire) == before
        assert len(bob.heard(SessionConfirmed)) == 1

    def test_a_repeated_2xx_with_an_offer_waits_for_the_application(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob, body=b"")
        bob.last(IncomingSession).session.answer(pump.now, OFFER, headers=[("X-Mark", "1")])
        pump.run(pump.now + 1.0)
        assert alice.last(SessionAnswered).response.headers.get("X-Mark") == "1"
        assert not pump.sent("alice", "ACK")
        caller.acknowledge(pump.now, ANSWER)
        pump.run(pump.now + 5.0)
        assert bob.last(SessionConfirmed).carries is Carries.ANSWER

    def test_a_2xx_gets_its_ack_whatever_ends_the_session(self) -> None:
        """§13.2.2.4: also when the answer to its offer was not given yet."""
        pump, alice, bob = pair()
        caller = call(pump, alice, bob, body=b"")
        called = bob.last(IncomingSession).session
        called.answer(pump.now, OFFER)
        pump.run(pump.now + 0.05)
        assert alice.last(SessionAnswered).carries is Carries.OFFER
        assert not pump.sent("alice", "ACK")
        caller.send(pump.now, "INFO")
        pump.run(pump.now + 0.05)
        bob.agent.respond(bob.last(IncomingRequest), 481)
        pump.run()
        assert len(pump.sent("alice", "ACK")) == 1
        assert ends(alice) == [(EndReason.LOST, 481)]
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        pump.assert_clean()

    def test_a_bye_that_was_overtaken_is_said_again(self) -> None:
        """§12.2.2: 500 to what comes late, such as after the NOTIFY of a subscription that shares the dialog."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        assert caller.dialog is not None
        caller.dialog.share()
        first = pump.now
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "BYE" and pump.now == first
        )
        caller.hang_up(pump.now, headers=[("Reason", "Q.850;cause=16")])
        pump.settle()
        notify = caller.dialog.create_request("NOTIFY", contact=alice.agent.contact)
        alice.agent.send(notify, pump.now)
        pump.run(pump.now + 5.0)
        assert len(pump.sent("bob", 500, "BYE")) == 1
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        assert bob.last(SessionEnded).message is not None
        assert bob.last(SessionEnded).message.headers.get("Reason") == "Q.850;cause=16"  # type: ignore[union-attr]
        pump.run()
        pump.assert_clean()

    def test_a_bye_that_is_refused_each_time(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        bob.agent.settings = replace(bob.agent.settings, allow=("INVITE", "ACK", "CANCEL"))
        receive = alice.receive
        alice.receive = (  # type: ignore[method-assign]
            lambda data, source, now: receive(data.replace(b"SIP/2.0 405 ", b"SIP/2.0 500 "), source, now)
        )
        caller.hang_up(pump.now)
        pump.run(pump.now + 1.0)
        assert len(pump.sent("alice", "BYE")) == 5
        pump.run()
        assert alice.agent.idle

    def test_nothing_is_sent_in_a_session_that_has_ended(self) -> None:
        """A request that overtakes the BYE would keep the peer from understanding it."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        (leg,) = caller.legs.values()
        caller.hang_up(pump.now)
        with pytest.raises(LocalProtocolError):
            caller.update(pump.now, leg=leg)
        with pytest.raises(LocalProtocolError):
            caller.send(pump.now, "INFO", leg=leg)
        pump.run()
        assert not pump.sent("alice", "INFO")

    def test_a_success_is_a_2xx(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        with pytest.raises(LocalProtocolError):
            bob.last(IncomingSession).session.answer(pump.now, ANSWER, status=486)
        bob.last(IncomingSession).session.answer(pump.now, ANSWER, status=202)


class TestNotAnswered:
    @pytest.mark.parametrize(("body", "repeated"), [(OFFER, [60, 210]), (b"", [])])
    def test_something_is_heard_of_a_callee_that_must_be_heard_reliably(self, body: bytes, repeated: list[int]) -> None:
        """§13.3.1.1, RFC 3262 §3, §5: unless what is told would have to make the offer."""
        pump, alice, bob = pair(supported=("100rel",), ring_wait=250.0, invite_wait=250.0)
        call(pump, alice, bob, body=body, headers=[("Require", "100rel")])
        pump.run()
        assert [round(at) for at, _ in pump.sent("bob", 183)] == repeated
        assert len(pump.sent("alice", "PRACK")) == len(repeated)

    def test_rejected(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        called.reject(pump.now, 486, headers=[("Retry-After", "60")])
        pump.run()
        assert ends(bob) == [(EndReason.LOCAL_REJECT, 486)]
        assert ends(alice) == [(EndReason.REMOTE_REJECT, 486)]
        message = alice.last(SessionEnded).message
        assert message is not None
        assert message.headers.get("Retry-After") == "60"
        assert len(pump.sent("alice", "ACK")) == 1
        pump.assert_clean()

    def test_rejection_is_300_to_699(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        with pytest.raises(LocalProtocolError):
            bob.last(IncomingSession).session.reject(pump.now, 200)

    def test_redirected(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        bob.last(IncomingSession).session.redirect(pump.now, [alice.aor])
        pump.run()
        assert ends(alice) == [(EndReason.REDIRECTED, 302)]
        message = alice.last(SessionEnded).message
        assert message is not None
        assert [str(contact.uri) for contact in message.contacts] == ["sip:alice@alice.example"]
        pump.assert_clean()

    def test_hanging_up_while_it_rings_rejects(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        bob.last(IncomingSession).session.hang_up(pump.now)
        pump.run()
        assert ends(alice) == [(EndReason.REMOTE_REJECT, 480)]
        pump.assert_clean()

    def test_cancelled(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob)
        bob.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.1)
        caller.cancel(pump.now, [("Reason", "SIP;cause=200;text=elsewhere")])
        caller.cancel(pump.now)
        pump.run()
        assert len(pump.sent("alice", "CANCEL")) == 1
        assert ends(alice) == [(EndReason.LOCAL_CANCEL, 487)]
        assert ends(bob) == [(EndReason.REMOTE_CANCEL, 487)]
        cancel = bob.last(SessionEnded).message
        assert isinstance(cancel, Request)
        assert cancel.headers.get("Reason") == "SIP;cause=200;text=elsewhere"
        pump.assert_clean()
        with pytest.raises(LocalProtocolError):
            caller.cancel(pump.now)

    def test_cancelled_before_any_response_waits_for_one(self) -> None:
        """§9.1: no CANCEL before a provisional response."""
        pump, alice, bob = pair()
        caller = alice.agent.invite(0.0, bob.aor.uri, from_=alice.aor, body=OFFER)
        pump.run(0.005)
        caller.hang_up(pump.now)
        caller.hang_up(pump.now)
        pump.run()
        assert [line.split()[-1] for line in pump.ladder()[:3]] == ["INVITE", "INVITE", "CANCEL"]
        assert pump.ladder()[1].endswith("bob>alice 100 INVITE")
        assert ends(alice) == [(EndReason.LOCAL_CANCEL, 487)]
        pump.assert_clean()

    def test_the_2xx_crosses_the_cancel(self) -> None:
        """§15: a session established all the same is ended by BYE."""
        pump, alice, bob = pair()
        caller = call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        called.progress(pump.now)
        pump.run(pump.now + 0.1)
        called.answer(pump.now, ANSWER)
        caller.cancel(pump.now)
        pump.run()
        assert ends(alice) == [(EndReason.LOCAL_CANCEL, 200)]
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        assert len(pump.sent("alice", "ACK")) == 1
        assert len(pump.sent("alice", "BYE")) == 1
        pump.assert_clean()

    def test_no_response_at_all(self) -> None:
        pump, alice, bob = pair()
        pump.drop = lambda source, target, message: True
        call(pump, alice, bob)
        pump.run()
        assert ends(alice) == [(EndReason.TIMEOUT, 408)]
        assert pump.now == pytest.approx(32.0)
        pump.assert_clean()

    def test_a_transport_that_refuses(self) -> None:
        pump, alice, bob = pair()
        pump.unreachable.add("bob.example")
        call(pump, alice, bob)
        pump.run()
        assert ends(alice) == [(EndReason.TRANSPORT, 503)]
        assert alice.last(SessionEnded).error is not None
        pump.assert_clean()

    def test_the_expires_of_the_invite(self) -> None:
        """§13.2.1, §13.3.1: either side may be first to notice."""
        pump, alice, bob = pair()
        call(pump, alice, bob, expires=30)
        bob.last(IncomingSession).session.progress(pump.now)
        pump.run()
        assert ends(alice) == [(EndReason.EXPIRED, 487)]
        assert [reason for reason, _ in ends(bob)] in ([EndReason.REMOTE_CANCEL], [EndReason.EXPIRED])
        pump.assert_clean()

    def test_an_invitation_expires_at_the_called_side(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob, headers=[("Expires", "20")])
        pump.run()
        assert ends(bob) == [(EndReason.EXPIRED, 487)]
        assert ends(alice) == [(EndReason.REMOTE_REJECT, 487)]
        assert pump.sent("bob", 487)[0][0] == pytest.approx(20.01)

    def test_patience_of_either_side(self) -> None:
        pump, alice, bob = pair(invite_wait=40.0)
        call(pump, alice, bob)
        pump.run()
        assert ends(alice) == [(EndReason.EXPIRED, 487)]
        assert ends(bob) == [(EndReason.REMOTE_CANCEL, 487)]
        pump, alice, bob = pair(ring_wait=40.0)
        call(pump, alice, bob)
        pump.run()
        assert ends(bob) == [(EndReason.EXPIRED, 480)]
        assert ends(alice) == [(EndReason.REMOTE_REJECT, 480)]
        pump, alice, bob = pair(invite_wait=float("inf"), ring_wait=float("inf"))
        call(pump, alice, bob)
        pump.run(3600.0)
        assert not ends(alice)
        assert not ends(bob)

    def test_ringing_is_repeated_every_minute(self) -> None:
        """§13.3.1.1."""
        pump, alice, bob = pair()
        call(pump, alice, bob)
        bob.last(IncomingSession).session.progress(pump.now, 182)
        pump.run(170.0)
        assert [round(at) for at, _ in pump.sent("bob", 182)] == [0, 60, 120]
        assert len(alice.heard(SessionProgress)) == 3

    def test_an_application_that_says_nothing_still_progresses(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        pump.run(170.0)
        assert [round(at) for at, _ in pump.sent("bob", 183)] == [60, 120]

    def test_bye_on_the_early_dialog(self) -> None:
        """§15: the caller may; the INVITE gets its 487 (§15.1.2)."""
        pump, alice, bob = pair()
        caller = call(pump, alice, bob)
        bob.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.1)
        (leg,) = caller.legs.values()
        alice.agent.send(leg.dialog.create_request("BYE"), pump.now)
        pump.run()
        assert ends(bob) == [(EndReason.REMOTE_BYE, 487)]
        assert ends(alice) == [(EndReason.REMOTE_REJECT, 487)]
        pump.assert_clean()

    def test_a_response_that_cannot_be_carried(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        bob.agent.receive(ResponseFailed(called.transaction, TransportError("reset")), pump.now)
        pump.run(pump.now + 0.05)
        assert ends(bob) == [(EndReason.TRANSPORT, 503)]
        assert bob.agent.idle

    def test_a_cancel_after_the_answer_changes_nothing(self) -> None:
        """§9.2."""
        pump, alice, bob = pair()
        talk(pump, alice, bob)
        bob.agent.receive(CancelReceived(bob.last(IncomingSession).session.transaction, alice_cancel()), pump.now)
        pump.run(pump.now + 0.05)
        assert not ends(bob)


def alice_cancel() -> Request:
    return Request.build(
        "CANCEL",
        "sip:bob@bob.example",
        from_="<sip:a@a.example>;tag=a",
        to="<sip:bob@bob.example>",
        call_id="c",
        cseq=1,
    )


def bye_from(node: Node, tag: str) -> Request:
    """A BYE on the early dialog of a called session, which its own verbs would refuse (§15)."""
    session = node.last(IncomingSession).session
    assert session.local_tag == tag
    assert session.dialog is not None
    return session.dialog.create_request("BYE")


class TestMalformed:
    """A 2xx that cannot be understood ends the request, before half of it was acted on (§8.1.3)."""

    @staticmethod
    def spoil(pump: Pump, alice: Node, name: str) -> None:
        receive = alice.receive

        def spoiled(data: bytes, source: str, now: float) -> None:
            message = parse(data)
            if isinstance(message, Response) and message.status == 200 and message.cseq.method in ("INVITE", "UPDATE"):
                message.headers.set(name, "<<<,")
            receive(message.encode(), source, now)

        alice.receive = spoiled  # type: ignore[method-assign]

    @pytest.mark.parametrize("name", ["Contact", "Record-Route", "Session-Expires", "Allow", "Content-Type"])
    def test_2xx_to_the_invite(self, name: str) -> None:
        pump, alice, bob = pair()
        self.spoil(pump, alice, name)
        caller = call(pump, alice, bob)
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run()
        assert ends(alice) == [(EndReason.TRANSPORT, 503)]
        assert ends(bob) == [(EndReason.NO_ACK, None)]
        assert not caller.legs
        assert not alice.heard(SessionAnswered)
        pump.assert_clean()

    @pytest.mark.parametrize("name", ["Contact", "Session-Expires", "Allow", "Content-Type"])
    @pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
    def test_2xx_to_a_change(self, method: str, name: str) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        self.spoil(pump, alice, name)
        change = caller.reinvite(pump.now, OFFER) if method == "INVITE" else caller.update(pump.now, OFFER)
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.accept(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert alice.heard(ModificationCompleted) == [ModificationCompleted(caller, change, None, Carries.NOTHING)]
        assert caller.outgoing is None
        assert caller.exchange is not None
        assert not caller.exchange.pending


class TestForks:
    def fork(self, **settings: object) -> tuple[Pump, Node, Node, Node, ClientSession]:
        settings.setdefault("session_timer", NO_TIMER)
        settings.setdefault("supported", ("timer",))
        pump = Pump()
        alice, bob, carol = (pump.node(name, **settings) for name in ("alice", "bob", "carol"))
        pump.groups["home.example"] = ["bob.example", "carol.example"]
        caller = alice.agent.invite(0.0, "sip:home@home.example", from_=alice.aor, body=OFFER)
        pump.run(0.05)
        return pump, alice, bob, carol, caller

    def test_early_dialogs_and_the_first_2xx(self) -> None:
        pump, alice, bob, carol, caller = self.fork()
        for node in (bob, carol):
            node.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.05)
        assert len(caller.legs) == 2
        assert len({event.dialog for event in alice.heard(SessionProgress)}) == 2
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        bob.last(IncomingSession).session.answer(pump.now, b"v=0 other")
        pump.run(pump.now + 0.05)
        assert len(alice.heard(SessionAnswered)) == 1
        assert alice.last(SessionAnswered).response.body == ANSWER
        # §13.2.2.4: the second is acknowledged, then ended
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        assert not ends(alice)
        assert not ends(carol)
        caller.hang_up(pump.now)
        pump.run()
        assert len(ends(alice)) == len(ends(carol)) == 1
        pump.assert_clean()

    def test_an_unconfirmed_branch_is_forgotten_64_t1_after_the_first_2xx(self) -> None:
        pump, _, bob, carol, caller = self.fork()
        for node in (bob, carol):
            node.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.05)
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        answered_at = pump.now
        pump.run(answered_at + 32.0)
        assert len(caller.legs) == 2
        pump.run(answered_at + 32.1)
        assert len(caller.legs) == 1

    @pytest.mark.parametrize("method", ["follow", "authenticate"])
    def test_early_dialogs_end_with_the_attempt_that_made_them(self, method: str) -> None:
        """§12.3: with its non-2xx final response, also where that leads to another attempt."""
        pump, alice, bob = pair(
            follow_redirects=True, authenticator=lambda ids: DigestClient(lambda realm: Login("alice", "secret"), ids)
        )
        carol = pump.node("carol", session_timer=NO_TIMER)
        caller = call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        called.progress(pump.now)
        pump.run(pump.now + 0.05)
        (leg,) = caller.legs.values()
        if method == "follow":
            called.redirect(pump.now, [carol.aor])
        else:
            called.reject(pump.now, 401, headers=[("WWW-Authenticate", 'Digest realm="r", nonce="n"')])
        pump.run(pump.now + 0.05)
        assert leg.dialog.state == TERMINATED
        assert alice.last(EarlyDialogEnded).dialog is leg.dialog
        assert not caller.legs
        again = (carol if method == "follow" else bob).last(IncomingSession).session
        assert again is not called
        again.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert alice.last(SessionAnswered)
        caller.hang_up(pump.now)
        pump.run()
        pump.assert_clean()

    def test_a_policy_chooses_the_branch(self) -> None:
        pump, alice, bob, carol, _ = self.fork(fork_policy=lambda session, response: response.body == b"v=0 wanted")
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert not alice.heard(SessionAnswered)
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        carol.last(IncomingSession).session.answer(pump.now, b"v=0 wanted")
        pump.run(pump.now + 0.05)
        assert alice.last(SessionAnswered).response.body == b"v=0 wanted"

    def test_a_policy_that_takes_none(self) -> None:
        pump, alice, bob, carol, _ = self.fork(fork_policy=lambda session, response: False)
        for node in (bob, carol):
            node.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run()
        assert ends(alice) == [(EndReason.TIMEOUT, 408)]
        pump.assert_clean()

    def test_a_branch_ends_by_199(self) -> None:
        """RFC 6228."""
        pump, alice, bob, carol, caller = self.fork()
        for node in (bob, carol):
            node.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.05)
        bob.last(IncomingSession).session.progress(pump.now, 199)
        pump.run(pump.now + 0.05)
        assert len(caller.legs) == 1
        ended = alice.last(EarlyDialogEnded)
        assert ended.dialog.remote_tag == bob.last(IncomingSession).session.local_tag
        assert not ends(alice)
        bob.last(IncomingSession).session.progress(pump.now, 199)  # of a branch that is not known any more
        pump.run(pump.now + 0.05)
        assert len(alice.heard(EarlyDialogEnded)) == 1

    def test_a_branch_that_hangs_up_early(self) -> None:
        """The callee must not (§15), but may have waited 64*T1 for an ACK to a 2xx that never arrived."""
        pump, alice, bob, carol, _ = self.fork()
        for node in (bob, carol):
            node.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.05)
        pump.drop = lambda source, target, message: isinstance(message, Response) and message.status == 200
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 33.0)
        assert len(alice.heard(EarlyDialogEnded)) == 1
        assert not ends(alice)
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run()
        assert ends(alice) == [(EndReason.REMOTE_BYE, None)]
        pump.assert_clean()

    def test_a_branch_that_hangs_up_after_another_was_taken(self) -> None:
        pump, alice, bob, carol, caller = self.fork()
        for node in (bob, carol):
            node.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.05)
        early = next(
            leg for leg in caller.legs.values() if leg.dialog.remote_tag == bob.last(IncomingSession).session.local_tag
        )
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        bob.agent.send(bye_from(bob, early.dialog.remote_tag), pump.now)
        pump.run(pump.now + 0.05)
        assert pump.sent("alice", 200, "BYE")
        assert len(caller.legs) == 1
        assert not ends(alice)

    def test_an_unwanted_branch_is_ended_whatever_the_taken_one_waits_for(self) -> None:
        """§15: the ACK that a BYE waits for is that of its own dialog."""
        pump, alice, bob, carol, _ = self.fork()
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        bob.last(IncomingSession).session.reinvite(pump.now, b"v=0 new")
        pump.run(pump.now + 0.02)
        pump.drop = lambda source, target, message: (
            source == "bob.example" and isinstance(message, Request) and message.method == "ACK"
        )
        alice.last(IncomingOffer).modification.accept(pump.now, b"v=0 fine")
        pump.run(pump.now + 0.02)
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert ends(carol) == [(EndReason.REMOTE_BYE, None)]
        pump.drop = None
        pump.run(pump.now + 5.0)
        assert not ends(alice)

    def test_no_change_is_made_on_a_branch_that_was_not_taken(self) -> None:
        pump, alice, bob, carol, caller = self.fork()
        for node in (carol, bob):
            node.last(IncomingSession).session.answer(pump.now, ANSWER)
            pump.drop = lambda source, target, message: (
                target == "bob.example" and isinstance(message, Request) and message.method == "BYE"
            )
            pump.run(pump.now + 0.05)
        unwanted = bob.last(IncomingSession).session
        unwanted.update(pump.now, b"v=0 new")
        pump.run(pump.now + 0.05)
        assert not alice.heard(IncomingOffer)
        assert ends(bob) == [(EndReason.LOST, 481)]
        assert not ends(alice)
        assert caller.exchange is not None
        assert not caller.exchange.pending

    def test_an_unwanted_branch_hangs_up_by_itself(self) -> None:
        pump, alice, bob, carol, caller = self.fork()
        pump.drop = lambda source, target, message: (
            target == "bob.example" and isinstance(message, Request) and message.method == "BYE"
        )
        for node in (carol, bob):
            node.last(IncomingSession).session.answer(pump.now, ANSWER)
            pump.run(pump.now + 0.05)
        bob.last(IncomingSession).session.hang_up(pump.now)
        caller.hang_up(pump.now)
        pump.run(pump.now + 0.5)
        assert pump.sent("alice", 200, "BYE")
        assert len(ends(alice)) == len(ends(bob)) == 1

    def test_too_many_branches(self) -> None:
        pump, alice, bob, carol, caller = self.fork(max_early_dialogs=1)
        for node in (bob, carol):
            node.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.05)
        assert len(caller.legs) == len(alice.heard(SessionProgress)) == 1
        ignored = next(node for node in (bob, carol) if node.last(IncomingSession).session.local_tag not in caller.legs)
        ignored.last(IncomingSession).session.answer(pump.now, ANSWER)  # a 2xx is never ignored
        pump.run(pump.now + 0.05)
        assert alice.heard(SessionAnswered)

    def test_a_change_that_waits_on_a_dead_branch(self) -> None:
        """491 on an early dialog, which is gone before the random time is over."""
        pump, alice, bob, carol, caller = self.fork(supported=("100rel",))
        for node in (bob, carol):
            node.last(IncomingSession).session.progress(pump.now, 183, body=ANSWER)
        pump.run(pump.now + 0.05)
        leg = caller.legs[bob.last(IncomingSession).session.local_tag]
        caller.update(pump.now, b"v=0 new", leg=leg)
        pump.run(pump.now + 0.02)
        bob.last(IncomingOffer).modification.reject(pump.now, 491)
        pump.run(pump.now + 0.05)
        assert not alice.heard(ModificationCompleted)
        bob.last(IncomingSession).session.progress(pump.now, 199)
        pump.run(pump.now + 10.0)
        assert alice.last(ModificationCompleted).response is None
        assert len(pump.sent("alice", "UPDATE")) == 1
        assert caller.outgoing is None

    def test_an_update_on_an_early_dialog_that_is_unknown_there(self) -> None:
        """Its 481 is no end of the INVITE."""
        pump, alice, bob, carol, caller = self.fork(supported=("100rel",))
        bob.last(IncomingSession).session.progress(pump.now, 183, body=ANSWER)
        pump.run(pump.now + 0.05)
        (leg,) = caller.legs.values()
        caller.update(pump.now, b"v=0 new", leg=leg)
        pump.run(pump.now + 0.02)
        bob.last(IncomingOffer).modification.reject(pump.now, 481)
        pump.run(pump.now + 0.05)
        assert not ends(alice)
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert alice.heard(SessionAnswered)

    def test_an_update_on_an_early_dialog_that_is_never_answered(self) -> None:
        """Its silence is no end of the INVITE either."""
        pump, alice, bob, carol, caller = self.fork(supported=("100rel",))
        bob.last(IncomingSession).session.progress(pump.now, 183, body=ANSWER)
        pump.run(pump.now + 0.05)
        (leg,) = caller.legs.values()
        pump.drop = lambda source, target, message: message.cseq.method == "UPDATE"
        caller.update(pump.now, b"v=0 new", leg=leg)
        pump.run(pump.now + 33.0)
        assert alice.last(ModificationCompleted).response is None
        assert not ends(alice)
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert alice.heard(SessionAnswered)

    def test_the_2xx_arrives_while_an_update_is_open(self) -> None:
        """What a 2xx carries after the first answer is ignored (§13.2.1): it answers no UPDATE."""
        pump, alice, bob, _, caller = self.fork(supported=("100rel",))
        called = bob.last(IncomingSession).session
        called.progress(pump.now, 183, body=ANSWER)
        pump.run(pump.now + 0.05)
        (leg,) = caller.legs.values()
        caller.update(pump.now, b"v=0 new", leg=leg)
        pump.run(pump.now + 0.02)
        called.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert alice.last(SessionAnswered).carries is Carries.NOTHING
        assert leg.exchange.offer_is_ours
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 fine")
        pump.run(pump.now + 0.05)
        assert alice.last(ModificationCompleted).carries is Carries.ANSWER

    def test_progress_without_tag_makes_no_dialog(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob)
        pump.inject("bob.example", "alice.example", bob.last(IncomingSession).request.create_response(180))
        pump.run(pump.now + 0.05)
        assert alice.last(SessionProgress).dialog is None
        assert not caller.legs

    @pytest.mark.parametrize("outcome", ["481", "timeout", "200"])
    @pytest.mark.parametrize("method", ["UPDATE", "INFO"])
    def test_what_becomes_of_a_request_on_another_branch_is_no_matter_of_the_taken_one(
        self, method: str, outcome: str
    ) -> None:
        """§12.2.1.2: a 481 ends the dialog that it was sent in, and so does silence."""
        timer = SessionTimerSettings(interval=90)
        pump, alice, bob, carol, caller = self.fork(supported=("100rel", "timer"), session_timer=timer)
        bob.last(IncomingSession).session.progress(pump.now, 183, body=ANSWER)
        pump.run(pump.now + 0.05)
        (leg,) = caller.legs.values()
        if outcome == "timeout":
            pump.drop = lambda source, target, message: message.cseq.method == method
        if method == "UPDATE":
            caller.update(pump.now, b"v=0 new", leg=leg)
        else:
            caller.send(pump.now, "INFO", leg=leg)
        pump.run(pump.now + 0.02)
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        if method == "UPDATE":
            # RFC 3311 §5.1 speaks of one UPDATE within a dialog: that of the other branch is in nobody's way
            assert alice.last(ModificationCompleted).response is None
            assert alice.last(ModificationCompleted).modification.leg is leg
            caller.update(pump.now, b"v=0 other")
        wound = caller.timer.expire_at
        if outcome != "timeout":
            status = int(outcome)
            if method == "UPDATE":
                modification = bob.last(IncomingOffer).modification
                if status == 200:
                    modification.accept(pump.now, b"v=0 fine", headers=[("Session-Expires", "4000;refresher=uac")])
                else:
                    modification.reject(pump.now, status)
            else:
                bob.agent.respond(bob.last(IncomingRequest), status)
        pump.run(pump.now + 0.05)
        assert caller.timer.expire_at == wound
        assert len(alice.heard(ModificationCompleted)) == (1 if method == "UPDATE" else 0)
        pump.drop = None
        if method == "UPDATE":
            pump.run(pump.now + 5.0)
            carol.last(IncomingOffer).modification.accept(pump.now, b"v=0 yes")
            pump.run(pump.now + 0.05)
            assert alice.last(ModificationCompleted).carries is Carries.ANSWER
        if outcome == "timeout":
            pump.drop = lambda source, target, message: target == "bob.example" or source == "bob.example"
        pump.run(pump.now + 34.0)
        assert not ends(alice)
        assert not ends(carol)

    def test_cancelled_after_every_2xx_was_turned_down(self) -> None:
        """§9.1: too late for a CANCEL, so that only the end of the branches ends it (§13.2.2.4)."""
        pump, alice, bob, _, caller = self.fork(fork_policy=lambda session, response: False)
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        caller.cancel(pump.now)
        pump.run()
        assert [reason for reason, _ in ends(alice)] == [EndReason.LOCAL_CANCEL]
        pump.assert_clean()
