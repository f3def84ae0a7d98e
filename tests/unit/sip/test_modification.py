"""Changes to a session, and other requests within its dialog: RFC 3261 §12.2 and §14, RFC 3311."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.sip.calls import ANSWER, OFFER, call, ends, pair, talk

from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.layer import ResponseFailed
from switchroom.sip.message import Request
from switchroom.sip.session_events import (
    Carries,
    EndReason,
    IncomingOffer,
    IncomingRequest,
    IncomingSession,
    ModificationCompleted,
    ModificationConfirmed,
    ModificationWithdrawn,
    RequestCompleted,
    RequestProgress,
    SessionConfirmed,
)
from switchroom.sip.session_timer import SessionTimerSettings


class TestModification:
    def test_reinvite_from_each_side(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        for asker, other, theirs in ((caller, bob, alice), (called, alice, bob)):
            modification = asker.reinvite(pump.now, b"v=0 hold")
            pump.run(pump.now + 0.05)
            offer = other.last(IncomingOffer)
            assert (offer.carries, offer.modification.request.body) == (Carries.OFFER, b"v=0 hold")
            response = offer.modification.accept(pump.now, b"v=0 held", headers=[("X-Mark", "1")])
            assert response.headers.get("X-Mark") == "1"
            pump.run(pump.now + 0.05)
            done = theirs.last(ModificationCompleted)
            assert (done.modification, done.carries) == (modification, Carries.ANSWER)
            assert other.last(ModificationConfirmed).carries is Carries.NOTHING
            with pytest.raises(LocalProtocolError):
                offer.modification.accept(pump.now, b"v=0 again")
        assert not pump.sent("bob", 491)

    def test_reinvite_that_asks_for_an_offer(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        modification = caller.reinvite(pump.now)
        pump.run(pump.now + 0.05)
        assert bob.last(IncomingOffer).carries is Carries.NOTHING
        bob.last(IncomingOffer).modification.accept(pump.now, OFFER)
        pump.run(pump.now + 0.05)
        assert alice.last(ModificationCompleted).carries is Carries.OFFER
        with pytest.raises(LocalProtocolError):
            caller.reinvite(pump.now, b"v=0 meanwhile")
        modification.acknowledge(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        confirmed = bob.last(ModificationConfirmed)
        assert (confirmed.carries, confirmed.request.body) == (Carries.ANSWER, ANSWER)
        with pytest.raises(LocalProtocolError):
            modification.acknowledge(pump.now, ANSWER)
        for session in (caller, called):
            assert session.exchange is not None
            assert session.exchange.state == 3

    def test_hanging_up_while_an_offer_in_a_2xx_waits(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now)
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.accept(pump.now, OFFER)
        pump.run(pump.now + 0.05)
        caller.hang_up(pump.now)
        pump.run()
        assert len(pump.sent("alice", "ACK")) == 2
        pump.assert_clean()

    def test_a_repeated_2xx_to_a_reinvite_is_acknowledged_again(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.05)
        limit = pump.now + 1.0
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "ACK" and pump.now < limit
        )
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 held")
        pump.run(pump.now + 5.0)
        assert [message.cseq.number for _, message in pump.sent("alice", "ACK")] == [1, 2, 2, 2]
        assert len(bob.heard(ModificationConfirmed)) == 1

    def test_a_2xx_to_a_reinvite_without_ack_ends_the_session(self) -> None:
        """§14.2."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 hold")
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "ACK"
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 held")
        pump.run()
        assert ends(bob) == [(EndReason.NO_ACK, None)]
        assert ends(alice) == [(EndReason.REMOTE_BYE, None)]
        pump.assert_clean()

    def test_refused_the_session_goes_on(self) -> None:
        """§14.1."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 video")
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.reject(pump.now, 488, headers=[("Warning", '304 bob "no video"')])
        pump.run(pump.now + 0.05)
        done = alice.last(ModificationCompleted)
        assert done.response is not None
        assert (done.response.status, done.carries) == (488, Carries.NOTHING)
        assert not caller.ended
        assert caller.exchange is not None
        assert called.exchange is not None
        assert not caller.exchange.pending
        assert not called.exchange.pending
        caller.reinvite(pump.now, b"v=0 audio")

    @pytest.mark.parametrize(("method", "status"), [("INVITE", 481), ("UPDATE", 481), ("INFO", 481), ("INVITE", 408)])
    def test_481_and_408_end_the_session(self, method: str, status: int) -> None:
        """§12.2.1.2, §14.1; a 408 to other methods never travels (RFC 4320 §4.2)."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        if method == "INFO":
            caller.send(pump.now, method)
        elif method == "INVITE":
            caller.reinvite(pump.now, b"v=0 hold")
        else:
            caller.update(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.05)
        if method == "INFO":
            bob.agent.respond(bob.last(IncomingRequest), status)
        else:
            bob.last(IncomingOffer).modification.reject(pump.now, status)
        pump.run()
        assert ends(alice) == [(EndReason.LOST, status)]
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        pump.assert_clean()

    def test_481_to_a_refer_is_about_the_subscription(self) -> None:
        """RFC 5057 §5.1."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.send(pump.now, "REFER", headers=[("Refer-To", "<sip:carol@carol.example>")])
        pump.run(pump.now + 0.05)
        bob.agent.respond(bob.last(IncomingRequest), 481)
        pump.run(pump.now + 0.05)
        assert not ends(alice)

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO"])
    def test_silence_ends_the_session(self, method: str) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        pump.drop = lambda source, target, message: source == "alice.example"
        if method == "INFO":
            caller.send(pump.now, method)
        elif method == "INVITE":
            caller.reinvite(pump.now, b"v=0 hold")
        else:
            caller.update(pump.now)
        pump.run(100.0)
        assert ends(alice) == [(EndReason.TIMEOUT, 408)]
        assert alice.agent.idle

    @pytest.mark.parametrize("method", ["INVITE", "INFO"])
    def test_a_transport_error_does_not(self, method: str) -> None:
        """§8.1.3.1: it counts as 503, which leaves the session as it is (§14.1)."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        pump.unreachable.add("bob.example")
        if method == "INFO":
            caller.send(pump.now, method)
        else:
            caller.reinvite(pump.now, b"v=0 hold")
        pump.run(100.0)
        assert not ends(alice)
        event = alice.last(RequestCompleted if method == "INFO" else ModificationCompleted)  # type: ignore[arg-type]
        assert event.response is None  # type: ignore[attr-defined]

    def test_glare_of_two_reinvites(self) -> None:
        """§14.1, §14.2: both get 491; the owner of the Call-ID comes back in 2.1 to 4 s, the other in 0 to 2 s."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        start = pump.now
        caller.reinvite(start, b"v=0 by alice")
        called.reinvite(start, b"v=0 by bob")

        def agree(event: object, now: float) -> None:
            if isinstance(event, IncomingOffer):
                event.modification.accept(now, b"v=0 fine")

        alice.on_event = bob.on_event = agree
        pump.run(start + 10.0)
        assert len(pump.sent("alice", 491)) == len(pump.sent("bob", 491)) == 1
        (_, again_alice), (_, again_bob) = pump.sent("alice", "INVITE")[1:], pump.sent("bob", "INVITE")
        assert 2.1 <= again_alice[0] - start <= 4.1
        assert 0.0 <= again_bob[0] - start <= 2.1
        for node in (alice, bob):
            assert len(node.heard(ModificationCompleted)) == 1
            assert len(node.heard(ModificationConfirmed)) == 1

    def test_glare_of_two_updates(self) -> None:
        """RFC 3311 §5.2: an offer on top of our own offer gets 491."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.update(pump.now, b"v=0 by alice")
        called.update(pump.now, b"v=0 by bob")
        for node in (alice, bob):
            node.on_event = lambda event, now: (
                isinstance(event, IncomingOffer) and event.modification.accept(now, b"v=0 fine") and None
            )
        pump.run(pump.now + 10.0)
        assert len(pump.sent("alice", 491)) == len(pump.sent("bob", 491)) == 1
        assert len(alice.heard(ModificationCompleted)) == len(bob.heard(ModificationCompleted)) == 1

    def test_the_random_time_is_over_while_the_peer_is_at_it(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        start = pump.now
        caller.reinvite(start, b"v=0 by alice")
        called.reinvite(start, b"v=0 by bob")
        pump.run(start + 9.0)  # Bob's second try arrived first, and nobody answers it
        assert len(pump.sent("alice", "INVITE")) == 2
        alice.last(IncomingOffer).modification.accept(pump.now, b"v=0 fine")
        pump.run(start + 15.0)
        assert len(pump.sent("alice", "INVITE")) == 3
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 fine")
        caller.hang_up(pump.now)
        pump.run()
        pump.assert_clean()

    def test_hanging_up_after_a_491_forgets_the_change(self) -> None:
        """§14.1: "if the call was already hung up with a BYE, the re-INVITE would not take place"."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 by alice")
        called.reinvite(pump.now, b"v=0 by bob")
        pump.run(pump.now + 0.025)
        caller.hang_up(pump.now)
        pump.run()
        assert len(pump.sent("alice", "INVITE")) == 2
        pump.assert_clean()

    def test_a_second_invite_before_the_final_response_to_the_first(self) -> None:
        """§14.2: 500 with a Retry-After of 0 to 10 s."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 first")
        assert caller.dialog is not None
        second = caller.dialog.create_request("INVITE", contact=alice.agent.contact)
        second.headers.add("Via", "SIP/2.0/UDP alice.example;branch=z9hG4bKsecond")
        pump.run(pump.now + 0.05)
        pump.inject("alice.example", "bob.example", second)
        pump.run(pump.now + 0.05)
        ((_, refusal),) = pump.sent("bob", 500)
        assert 0 <= int(refusal.headers.get("Retry-After") or -1) <= 10

    def test_a_second_update_before_the_final_response_to_the_first(self) -> None:
        """RFC 3311 §5.2."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.update(pump.now, b"v=0 first")
        with pytest.raises(LocalProtocolError, match="UPDATE"):
            caller.update(pump.now)
        pump.run(pump.now + 0.05)
        assert caller.dialog is not None
        second = caller.dialog.create_request("UPDATE", contact=alice.agent.contact)
        alice.agent.send(second, pump.now)
        pump.run(pump.now + 0.05)
        ((_, refusal),) = pump.sent("bob", 500)
        assert "Retry-After" in refusal.headers

    def test_an_offer_on_top_of_an_offer_not_answered_yet(self) -> None:
        """RFC 3311 §5.2: a re-INVITE offered; an UPDATE with another offer gets 500, one without is fine."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 first")
        pump.run(pump.now + 0.05)
        assert caller.dialog is not None
        for body in (b"v=0 second", b""):
            request = caller.dialog.create_request(
                "UPDATE", contact=alice.agent.contact, body=body, content_type="application/sdp" if body else None
            )
            alice.agent.send(request, pump.now)
            pump.run(pump.now + 0.05)
        assert len(pump.sent("bob", 500, "UPDATE")) == 1
        assert len(pump.sent("bob", 200, "UPDATE")) == 1

    def test_the_peer_cancels_its_reinvite(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        modification = caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.3)
        assert modification.handle is not None
        alice.agent.cancel(modification.handle)
        pump.run(pump.now + 0.05)
        assert bob.last(ModificationWithdrawn).modification is bob.last(IncomingOffer).modification
        done = alice.last(ModificationCompleted)
        assert done.response is not None
        assert done.response.status == 487
        with pytest.raises(LocalProtocolError):
            bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 late")
        assert not called.ended

    def test_an_update_that_the_application_forgets(self) -> None:
        """The transaction ends without a response after 64*T1: the offer is void."""
        pump, alice, bob = pair(modification_wait=60.0)
        caller, called = talk(pump, alice, bob)
        caller.update(pump.now, b"v=0 hold")
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "BYE"
        pump.run(pump.now + 40.0)
        assert bob.heard(ModificationWithdrawn)
        assert called.exchange is not None
        assert not called.exchange.pending
        assert ends(alice) == [(EndReason.TIMEOUT, 408)]

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
    def test_a_change_that_the_application_leaves_unanswered(self, method: str) -> None:
        """`modification_wait`, then 504 (RFC 3311 §5.2): the session goes on, and other changes are possible again."""
        pump, alice, bob = pair(modification_wait=20.0)
        caller, called = talk(pump, alice, bob)
        asked_at = pump.now
        caller.reinvite(asked_at, b"v=0 hold") if method == "INVITE" else caller.update(asked_at, b"v=0 hold")
        pump.run(asked_at + 19.9)
        assert not bob.heard(ModificationWithdrawn)
        pump.run(asked_at + 20.1)
        assert pump.sent("bob", 504, method)
        assert bob.last(ModificationWithdrawn).modification.done
        done = alice.last(ModificationCompleted).response
        assert done is not None
        assert done.status == 504
        assert called.exchange is not None
        assert not called.exchange.pending
        called.reinvite(pump.now, b"v=0 mine")
        pump.run(pump.now + 0.05)
        alice.last(IncomingOffer).modification.accept(pump.now, b"v=0 yours")
        pump.run(pump.now + 60.0)
        assert not ends(alice)
        assert not ends(bob)

    def test_a_change_is_answered_by_a_final_response(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.05)
        with pytest.raises(LocalProtocolError):
            bob.last(IncomingOffer).modification.reject(pump.now, 183)
        bob.last(IncomingOffer).modification.reject(pump.now, 699)

    def test_an_answer_that_is_missing_leaves_all_as_it_was(self) -> None:
        pump, alice, bob = pair(session_timer=SessionTimerSettings(interval=90))
        caller, called = talk(pump, alice, bob)
        pump.run(20.0)
        expires = called.timer.expire_at
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.05)
        with pytest.raises(LocalProtocolError):
            bob.last(IncomingOffer).modification.accept(pump.now)
        assert called.timer.expire_at == expires
        bob.last(IncomingOffer).modification.accept(pump.now, ANSWER)
        assert called.timer.expire_at > expires

    def test_hanging_up_answers_what_is_pending(self) -> None:
        """§15.1.2: 487."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.3)
        called.hang_up(pump.now)
        pump.run()
        assert pump.sent("bob", 487, "INVITE")
        pump.assert_clean()

    def test_hanging_up_gives_up_our_own_reinvite(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.3)
        caller.hang_up(pump.now)
        pump.run()
        assert pump.sent("bob", 487, "INVITE")
        assert not alice.heard(ModificationCompleted)
        pump.assert_clean()

    def test_a_reinvite_accepted_while_we_hang_up_is_acknowledged(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 held")
        caller.hang_up(pump.now)
        pump.run()
        assert {message.cseq.number for _, message in pump.sent("alice", "ACK")} == {1, 2}
        pump.assert_clean()

    def test_when_a_change_may_be_asked_for(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        with pytest.raises(LocalProtocolError, match="no dialog"):
            caller.update(pump.now)
        with pytest.raises(LocalProtocolError, match="confirmed"):
            called.reinvite(pump.now, b"v=0")
        with pytest.raises(LocalProtocolError, match=r"5\.1"):
            called.update(pump.now, b"v=0")
        called.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.05)
        with pytest.raises(LocalProtocolError, match="in progress"):
            called.reinvite(pump.now, b"v=0")
        with pytest.raises(LocalProtocolError, match="awaits"):
            called.update(pump.now, b"v=0")
        with pytest.raises(LocalProtocolError, match="under way"):
            caller.reinvite(pump.now, b"v=0")
        offer = bob.last(IncomingOffer).modification
        with pytest.raises(LocalProtocolError, match="answered"):
            offer.accept(pump.now)
        offer.accept(pump.now, b"v=0 held")

    def test_the_target_moves_with_an_accepted_change_only(self) -> None:
        """§12.2.2: requests are atomic."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        assert called.dialog is not None
        alice.agent.contact = alice.agent.contact._replace(uri=alice.aor.uri.replace(user="moved"))  # type: ignore[union-attr]
        caller.reinvite(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.reject(pump.now)
        pump.run(pump.now + 0.05)
        assert str(called.dialog.remote_target) == "sip:alice@alice.example"
        caller.update(pump.now)
        pump.run(pump.now + 0.05)
        assert str(called.dialog.remote_target) == "sip:moved@alice.example"

    def test_a_refused_reinvite_that_asked_for_an_offer(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.reinvite(pump.now)
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.reject(pump.now)
        pump.run(pump.now + 0.05)
        assert alice.last(ModificationCompleted).carries is Carries.NOTHING
        assert called.exchange is not None
        assert called.exchange.state == 3

    def test_a_repeated_2xx_waits_with_its_ack_for_the_application(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        modification = caller.reinvite(pump.now)
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.accept(pump.now, OFFER)
        pump.run(pump.now + 1.0)
        assert len(pump.sent("alice", "ACK")) == 1
        modification.acknowledge(pump.now, ANSWER)
        pump.run(pump.now + 5.0)
        assert bob.last(ModificationConfirmed).carries is Carries.ANSWER

    def test_an_offer_that_comes_after_hanging_up_is_acknowledged(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now)
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.accept(pump.now, OFFER)
        caller.hang_up(pump.now)
        pump.run()
        assert {message.cseq.number for _, message in pump.sent("alice", "ACK")} == {1, 2}
        pump.assert_clean()

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
    def test_a_2xx_that_owed_an_answer_leaves_the_exchange_open(self, method: str) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        (caller.reinvite if method == "INVITE" else caller.update)(pump.now, b"v=0 hold")
        pump.run(pump.now + 0.05)
        response = bob.last(IncomingOffer).modification.request.create_response(200)
        pump.inject("bob.example", "alice.example", response)
        pump.run(pump.now + 0.05)
        assert alice.last(ModificationCompleted).carries is Carries.NOTHING
        assert caller.exchange is not None
        assert not caller.exchange.pending

    def test_two_changes_accepted_before_the_first_ack(self) -> None:
        """Each 2xx has its own ACK, and a BYE waits for both (§15)."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        limit = pump.now + 1.0
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "ACK" and pump.now < limit
        )
        for body in (b"v=0 one", b"v=0 two"):
            caller.reinvite(pump.now, body)
            pump.run(pump.now + 0.05)
            bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 fine")
            pump.run(pump.now + 0.05)
        with pytest.raises(LocalProtocolError, match="in progress"):
            called.reinvite(pump.now, b"v=0")
        called.hang_up(pump.now)
        pump.run(pump.now + 0.1)
        assert not pump.sent("bob", "BYE")
        pump.run()
        assert len(pump.sent("bob", "BYE")) == 1
        assert not bob.heard(ModificationConfirmed)
        pump.assert_clean()

    def test_the_later_ack_comes_first(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        limit = pump.now + 0.3
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "ACK" and pump.now < limit and message.cseq.number == 2
        )
        for body in (b"v=0 one", b"v=0 two"):
            caller.reinvite(pump.now, body)
            pump.run(pump.now + 0.05)
            bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 fine")
            pump.run(pump.now + 0.05)
        assert [event.request.cseq.number for event in bob.heard(ModificationConfirmed)] == [3]
        pump.run(pump.now + 5.0)
        assert [event.request.cseq.number for event in bob.heard(ModificationConfirmed)] == [3, 2]

    def test_an_update_of_the_called_side_before_the_ack(self) -> None:
        """The ACK of a 2xx that held the answer says nothing about the UPDATE's offer."""
        pump, alice, bob = pair()
        call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        limit = pump.now + 0.3
        pump.drop = lambda source, target, message: (
            isinstance(message, Request) and message.method == "ACK" and pump.now < limit
        )
        called.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        called.update(pump.now, b"v=0 newer")
        pump.run(pump.now + 1.0)
        assert bob.heard(SessionConfirmed)
        assert called.exchange is not None
        assert called.exchange.offer_is_ours
        alice.last(IncomingOffer).modification.accept(pump.now, b"v=0 fine")
        pump.run(pump.now + 0.05)
        assert bob.last(ModificationCompleted).carries is Carries.ANSWER

    def test_the_settings_change_while_the_application_thinks(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 hold", headers=[("Session-Expires", "90")])
        pump.run(pump.now + 0.05)
        bob.agent.settings = replace(bob.agent.settings, session_timer=SessionTimerSettings(min_se=600))
        bob.last(IncomingOffer).modification.accept(pump.now, b"v=0 held")
        pump.run(pump.now + 0.05)
        assert "Session-Expires" not in pump.sent("bob", 200, "INVITE")[-1][1].headers
        assert not called.timer.running

    def test_the_connection_of_a_reinvite_breaks(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.reinvite(pump.now)
        pump.run(pump.now + 0.05)
        bob.layer.flow_failed(bob.flow_to("alice.example"), TransportError("reset"), pump.now)
        pump.run(pump.now + 0.05)
        if bob.heard(ModificationWithdrawn):  # a datagram's failure may be told only when something is sent
            assert not called.ended

    def test_a_response_that_cannot_be_carried(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        caller.reinvite(pump.now)
        pump.run(pump.now + 0.05)
        modification = bob.last(IncomingOffer).modification
        bob.agent.receive(ResponseFailed(modification.transaction, TransportError("reset")), pump.now)
        pump.run(pump.now + 0.05)
        assert bob.last(ModificationWithdrawn).modification is modification
        with pytest.raises(LocalProtocolError):
            modification.accept(pump.now, OFFER)
        assert not called.ended


class TestWithinTheDialog:
    def test_info_both_ways(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        handle = caller.send(pump.now, "INFO", body=b"signal=1", content_type="application/dtmf-relay")
        pump.run(pump.now + 0.05)
        incoming = bob.last(IncomingRequest)
        assert (incoming.session, incoming.request.body) == (called, b"signal=1")
        bob.agent.respond(incoming, 200)
        pump.run(pump.now + 0.05)
        done = alice.last(RequestCompleted)
        assert done.handle is handle
        assert done.response is not None
        assert done.response.status == 200
        called.send(pump.now, "MESSAGE", body=b"hi", content_type="text/plain")
        pump.run(pump.now + 0.05)
        assert alice.last(IncomingRequest).session is caller

    def test_an_accepted_refer_moves_the_target(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        alice.agent.contact = alice.agent.contact._replace(uri=alice.aor.uri.replace(user="moved"))  # type: ignore[union-attr]
        caller.send(pump.now, "REFER", headers=[("Refer-To", "<sip:carol@carol.example>")])
        pump.run(pump.now + 0.05)
        bob.agent.respond(bob.last(IncomingRequest), 202, headers=[("Contact", "<sip:bob2@bob.example>")])
        pump.run(pump.now + 0.05)
        assert called.dialog is not None
        assert caller.dialog is not None
        assert str(called.dialog.remote_target) == "sip:moved@alice.example"
        assert str(caller.dialog.remote_target) == "sip:bob2@bob.example"

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE", "BYE", "PRACK"])
    def test_verbs_of_their_own(self, method: str) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        with pytest.raises(LocalProtocolError):
            caller.send(pump.now, method)

    def test_out_of_order(self) -> None:
        """§12.2.2: 500."""
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        dialog = caller.dialog
        assert dialog is not None
        requests = [dialog.create_request(method) for method in ("OPTIONS", "INVITE", "INFO")]
        for request in reversed(requests):
            request.headers.add("Contact", "<sip:alice@alice.example>")
            request.headers.add("Via", f"SIP/2.0/UDP alice.example;branch=z9hG4bK{request.method}")
            pump.inject("alice.example", "bob.example", request)
        pump.run(pump.now + 0.05)
        assert bob.last(IncomingRequest).request.method == "INFO"
        refused = {message.cseq.method: message for _, message in pump.sent("bob", 500)}
        assert set(refused) == {"OPTIONS", "INVITE"}
        assert "Retry-After" in refused["INVITE"].headers
        assert "Retry-After" not in refused["OPTIONS"].headers

    def test_requests_in_a_dialog_that_is_being_ended(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "BYE"
        called.hang_up(pump.now)
        caller.send(pump.now, "INFO")
        pump.run(pump.now + 0.05)
        assert pump.sent("bob", 481, "INFO")
        assert ends(alice) == [(EndReason.LOST, 481)]
        with pytest.raises(LocalProtocolError, match="ended"):
            caller.send(pump.now, "INFO")

    def test_provisional_responses_to_our_requests(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.send(pump.now, "INFO")
        pump.run(pump.now + 0.05)
        incoming = bob.last(IncomingRequest)
        pump.inject("bob.example", "alice.example", incoming.request.create_response(100))
        pump.inject("bob.example", "alice.example", incoming.request.create_response(183))
        pump.run(pump.now + 0.05)
        assert alice.last(RequestProgress).response.status == 183
        assert not alice.heard(RequestCompleted)

    def test_an_in_dialog_transaction_of_a_peer_without_tags(self) -> None:
        """RFC 2543: neither From tag nor To tag of the peer."""
        pump, _, bob = pair()
        invite = Request.build(
            "INVITE", "sip:bob@bob.example", from_="<sip:old@old.example>", to="<sip:bob@bob.example>", call_id="old",
            cseq=1, body=OFFER, content_type="application/sdp",
            headers=[
                ("Via", "SIP/2.0/UDP old.example;branch=z9hG4bKold1"),
                ("Contact", "<sip:old@old.example>"),
            ],
        )  # fmt: skip
        pump.inject("old.example", "bob.example", invite)
        pump.run(0.05)
        called = bob.last(IncomingSession).session
        called.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        for method, number in (("ACK", 1), ("BYE", 2)):
            request = Request.build(
                method, "sip:bob@bob.example", from_="<sip:old@old.example>", call_id="old", cseq=number,
                to=f"<sip:bob@bob.example>;tag={called.local_tag}",
                headers=[("Via", f"SIP/2.0/UDP old.example;branch=z9hG4bKold{method}")],
            )  # fmt: skip
            pump.inject("old.example", "bob.example", request)
            pump.run(pump.now + 0.05)
        assert ends(bob) == [(EndReason.REMOTE_BYE, None)]
        assert bob.heard(SessionConfirmed)
