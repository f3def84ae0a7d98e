"""REFER, both sides: outside a dialog, within a session's, and without a subscription."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.sip.calls import call, pair, talk
from tests.unit.sip.pump import Node, Pump, address

from switchroom.sip.dialog import CONFIRMED, TERMINATED
from switchroom.sip.errors import LocalProtocolError, ParseError
from switchroom.sip.event import Notified, Subscriber, SubscriberSettings, SubscriptionEnded
from switchroom.sip.headers import Event
from switchroom.sip.message import Request
from switchroom.sip.notifier import NotifierSettings, PackageSettings, SubscriptionClosed
from switchroom.sip.refer import (
    Fragment,
    ReferAccepted,
    Referee,
    ReferRequested,
    Referrer,
    parse_sipfrag,
    sipfrag,
)
from switchroom.sip.session_events import IncomingRequest, IncomingSession
from switchroom.sip.timers import NEVER


class TestFragment:
    def test_write_and_read(self) -> None:
        assert sipfrag(100) == b"SIP/2.0 100 Trying\r\n"
        assert sipfrag(486, "Busy") == b"SIP/2.0 486 Busy\r\n"
        assert parse_sipfrag(b"SIP/2.0 603 Declined\r\nContact: <sip:x>\r\n") == Fragment(603, "Declined")
        assert parse_sipfrag(b"sip/2.0 200 ") == Fragment(200, "")
        assert parse_sipfrag(b"SIP/2.0 200 OK\n") == Fragment(200, "OK")

    @pytest.mark.parametrize("body", [b"", b"OK", b"SIP/2.0 20 OK", b"SIP/2.0 2x0 OK", b"SIP/3.0 200 OK", b"\xff"])
    def test_what_is_none(self, body: bytes) -> None:
        with pytest.raises(ParseError):
            parse_sipfrag(body)


def referee(node: Node, **settings: Any) -> Referee:
    """Make *node* take REFER requests, those within its sessions included."""
    taker = Referee(
        NotifierSettings(node.agent.contact, **settings), node.agent.identifiers, find_dialog=node.agent.dialog_of
    )
    node.agent.attach(taker)
    return taker


def referrer(node: Node, target: Node, **more: Any) -> Referrer:
    settings = SubscriberSettings(
        target.aor.uri, Event("any"), node.aor, node.agent.contact, headers=(("Referred-By", str(node.aor)),),
        accept=("message/sipfrag",),
    )  # fmt: skip
    sender = Referrer(settings, address("sip:carol@carol.example"), node.agent.identifiers, **more)
    node.agent.attach(sender)
    return sender


def fragments(node: Node) -> list[int]:
    return [parse_sipfrag(event.request.body).status for event in node.heard(Notified)]


class TestOutsideADialog:
    def scene(self, **more: Any) -> tuple[Pump, Node, Node, Referee, Referrer]:
        pump = Pump(**{key: more.pop(key) for key in ("seed", "loss", "jitter") if key in more})
        alice, bob = pump.node("alice"), pump.node("bob")
        return pump, alice, bob, referee(bob), referrer(alice, bob, **more)

    def test_from_beginning_to_end(self) -> None:
        pump, alice, bob, taker, sender = self.scene()
        sender.start(0.0)
        pump.run(1.0)
        asked = bob.last(ReferRequested)
        assert str(asked.refer_to.uri) == "sip:carol@carol.example"
        assert asked.referred_by is not None
        assert str(asked.referred_by.uri) == "sip:alice@alice.example"
        taker.accept_refer(asked.subscription, pump.now)
        pump.run(2.0)
        accepted = alice.last(ReferAccepted)
        assert (accepted.response.status, accepted.subscribed) == (202, True)
        for status, reason in ((180, None), (200, "Fine")):
            taker.progress(asked.subscription, pump.now, status, reason)
            pump.run(pump.now + 1.0)
        pump.run()
        assert fragments(alice) == [100, 180, 200]
        last = alice.last(Notified).request
        assert last.headers.get("Event") == "refer"
        assert last.headers.get("Content-Type") == "message/sipfrag;version=2.0"
        assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
        ended = alice.last(SubscriptionEnded)
        assert (ended.reason, ended.retry_at) == ("noresource", None)
        assert bob.last(SubscriptionClosed).reason == "noresource"
        taker.progress(asked.subscription, pump.now, 200)  # nobody listens any more
        assert taker.take_orders() == []
        assert alice.next_timer() == bob.next_timer() == NEVER

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_with_loss(self, seed: int) -> None:
        pump, alice, bob, taker, sender = self.scene(seed=seed, loss=0.3, jitter=0.3)

        def act(event: object, now: float) -> None:
            if isinstance(event, ReferRequested):
                taker.accept_refer(event.subscription, now)
                taker.progress(event.subscription, now, 486)

        bob.on_event = act
        sender.start(0.0)
        pump.run()
        assert len(alice.heard(SubscriptionEnded)) == 1
        assert 486 in fragments(alice)

    def test_only_once(self) -> None:
        _, _, _, _, sender = self.scene()
        sender.start(0.0)
        with pytest.raises(LocalProtocolError):
            sender.start(0.0)

    def test_refused(self) -> None:
        pump, alice, bob, taker, sender = self.scene()
        sender.start(0.0)
        pump.run(1.0)
        taker.reject(bob.last(ReferRequested).subscription, pump.now, 603)
        pump.run()
        assert alice.last(SubscriptionEnded).status == 603
        assert alice.heard(ReferAccepted) == []

    def test_423_makes_no_sense(self) -> None:
        pump, alice, bob, taker, sender = self.scene()
        sender.start(0.0)
        pump.run(1.0)
        taker.reject(bob.last(ReferRequested).subscription, pump.now, 423, [("Min-Expires", "9999")])
        pump.run()
        assert alice.last(SubscriptionEnded).status == 423
        assert {message.cseq.number for _, message in pump.sent("alice", "REFER")} == {1}

    def test_without_a_subscription(self) -> None:
        pump, alice, bob, taker, sender = self.scene(quiet=True)
        sender.start(0.0)
        pump.run(1.0)
        (asked,) = bob.heard(ReferRequested)
        assert asked.request.headers.get("Refer-Sub") == "false"
        assert "norefersub" in asked.request.supported
        taker.accept_refer(asked.subscription, pump.now)
        taker.progress(asked.subscription, pump.now, 200)
        pump.run()
        accepted = alice.last(ReferAccepted)
        assert (accepted.response.status, accepted.subscribed) == (202, False)
        assert accepted.response.headers.get("Refer-Sub") == "false"
        assert len(alice.heard(SubscriptionEnded)) == 1
        assert pump.sent("bob", "NOTIFY") == []
        assert alice.next_timer() == bob.next_timer() == NEVER

    def test_a_notify_that_overtakes_the_202(self) -> None:
        pump, alice, bob, taker, sender = self.scene()
        sender.start(0.0)
        pump.run(1.0)
        pump.drop = lambda source, target, message: not isinstance(message, Request) and message.status == 202
        taker.accept_refer(bob.last(ReferRequested).subscription, pump.now)
        taker.progress(bob.last(ReferRequested).subscription, pump.now, 200)
        pump.run(pump.now + 0.3)
        assert alice.last(SubscriptionEnded).reason == "noresource"
        pump.drop = None
        pump.run()
        assert alice.last(ReferAccepted).subscribed

    def test_left_early(self) -> None:
        pump, alice, bob, taker, sender = self.scene()
        sender.start(0.0)
        pump.run(1.0)
        taker.accept_refer(bob.last(ReferRequested).subscription, pump.now)
        pump.run(2.0)
        sender.stop(pump.now)
        pump.run()
        assert alice.last(SubscriptionEnded).reason == "timeout"
        assert bob.last(SubscriptionClosed).reason == "timeout"

    def test_it_is_refreshed_as_long_as_nothing_comes_of_it(self) -> None:
        pump, alice, bob, _, sender = self.scene()
        bob.agent.detach(bob.agent._usages[0])
        taker = referee(bob, packages={"refer": PackageSettings(default_expires=60, min_expires=1)})
        sender.start(0.0)
        pump.run(1.0)
        taker.accept_refer(bob.last(ReferRequested).subscription, pump.now)
        pump.run(500.0)
        assert alice.heard(SubscriptionEnded) == []
        taker.progress(bob.last(ReferRequested).subscription, pump.now, 408)
        pump.run()
        assert fragments(alice)[-1] == 408

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [("Refer-To", "<sip:a@b>"), ("Refer-To", "<sip:c@d>")],
            [("Refer-To", "<sip:")],
            [("Refer-To", "<sip:a@b>"), ("Refer-Sub", "maybe")],
            [("Refer-To", "<sip:a@b>"), ("Referred-By", "<")],
        ],
    )
    def test_malformed(self, headers: list[tuple[str, str]]) -> None:
        pump, alice, bob, _, _ = self.scene()
        request = alice.agent.create_request("REFER", bob.aor.uri, from_=alice.aor, headers=headers)
        alice.agent.send(request, 0.0)
        pump.run()
        assert len(pump.sent("bob", 400)) == 1
        assert bob.heard(ReferRequested) == []

    def test_what_is_not_for_the_referee(self) -> None:
        pump, alice, bob, _, _ = self.scene()
        for event in ("refer", ".."):
            for to in (bob.aor, bob.aor.with_tag("x")):
                request = alice.agent.create_request(
                    "SUBSCRIBE", bob.aor.uri, from_=alice.aor, to=to, headers=[("Event", event)]
                )
                alice.agent.send(request, 0.0)
        pump.run()
        assert bob.heard(ReferRequested) == []

    def test_a_notify_of_another_kind(self) -> None:
        pump, alice, bob, taker, sender = self.scene()
        sender.start(0.0)
        pump.run(1.0)
        taker.accept_refer(bob.last(ReferRequested).subscription, pump.now)
        pump.run(2.0)
        (subscription,) = taker.subscriptions.values()
        for event in ("presence", "refer;id=99", ".."):
            wrong = subscription.dialog.create_request(
                "NOTIFY", contact=bob.agent.contact, headers=[("Event", event), ("Subscription-State", "active")]
            )
            bob.agent.send(wrong, pump.now)
        pump.run(3.0)
        assert len(pump.sent("alice", 481)) == 2
        assert len(pump.sent("alice", 400)) == 1
        assert fragments(alice) == [100]


class TestWithinASession:
    def test_the_referrer_hangs_up_before_it_hears_the_end(self) -> None:
        pump, alice, bob = pair()
        taker = referee(bob)
        caller, _ = talk(pump, alice, bob)
        assert caller.dialog is not None
        sender = referrer(alice, bob, dialog=caller.dialog)
        sender.start(pump.now)
        pump.run(pump.now + 0.5)
        asked = bob.last(ReferRequested)
        assert asked.request.to.tag
        taker.accept_refer(asked.subscription, pump.now)
        pump.run(pump.now + 0.5)
        assert fragments(alice) == [100]
        caller.hang_up(pump.now)
        pump.run(pump.now + 1.0)
        assert alice.agent.sessions == bob.agent.sessions == set()
        taker.progress(asked.subscription, pump.now, 180)
        pump.run(pump.now + 1.0)
        taker.progress(asked.subscription, pump.now, 200)
        pump.run()
        assert fragments(alice) == [100, 180, 200]
        (_, refer), *_ = pump.sent("alice", "REFER")
        assert alice.last(Notified).request.headers.get("Event") == f"refer;id={refer.cseq.number}"
        assert alice.last(SubscriptionEnded).reason == "noresource"
        assert alice.next_timer() == bob.next_timer() == NEVER

    def test_the_dialog_lasts_as_long_as_the_last_of_its_usages(self) -> None:
        """RFC 5057 §4.2."""
        pump, alice, bob = pair()
        taker = referee(bob)
        caller, called = talk(pump, alice, bob)
        dialogs = (caller.dialog, called.dialog)
        assert dialogs[0] is not None
        assert dialogs[1] is not None
        senders = [referrer(alice, bob, dialog=caller.dialog) for _ in range(2)]
        for sender in senders:
            sender.start(pump.now)
            pump.run(pump.now + 0.5)
        first, second = (event.subscription for event in bob.heard(ReferRequested))
        taker.accept_refer(first, pump.now)
        taker.reject(second, pump.now, 603)
        pump.run(pump.now + 0.5)
        assert [dialog.usages for dialog in dialogs if dialog] == [2, 2]
        caller.hang_up(pump.now)
        pump.run(pump.now + 0.5)
        assert [dialog.state for dialog in dialogs if dialog] == [CONFIRMED, CONFIRMED]
        taker.progress(first, pump.now, 200)
        pump.run()
        assert [dialog.state for dialog in dialogs if dialog] == [TERMINATED, TERMINATED]
        assert fragments(alice) == [100, 200]
        late = referrer(alice, bob, dialog=caller.dialog)
        with pytest.raises(LocalProtocolError):
            late.start(pump.now)
        assert not late.subscriptions
        assert late.next_timer() == NEVER

    def test_in_an_early_dialog_whose_invite_fails(self) -> None:
        """§12.3 ends the dialog with its only usage; here the subscription goes on."""
        pump, alice, bob = pair()
        taker = referee(bob)
        caller = call(pump, alice, bob)
        called = bob.last(IncomingSession).session
        called.progress(pump.now)
        pump.run(pump.now + 0.1)
        (leg,) = caller.legs.values()
        referrer(alice, bob, dialog=leg.dialog).start(pump.now)
        pump.run(pump.now + 0.1)
        asked = bob.last(ReferRequested).subscription
        taker.accept_refer(asked, pump.now)
        pump.run(pump.now + 0.1)
        called.reject(pump.now, 486)
        pump.run(pump.now + 0.1)
        assert caller.ended
        taker.progress(asked, pump.now, 180)
        pump.run(pump.now + 0.1)
        taker.progress(asked, pump.now, 200)
        pump.run()
        assert fragments(alice) == [100, 180, 200]
        assert leg.dialog.state == TERMINATED
        pump.assert_clean()

    def test_a_subscription_that_would_begin_anew_in_a_dialog_that_is_over(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        settings = SubscriberSettings(bob.aor.uri, Event("any"), alice.aor, alice.agent.contact)
        subscriber = Subscriber(settings, alice.agent.identifiers, dialog=caller.dialog)
        alice.agent.attach(subscriber)
        subscriber.start(pump.now)
        pump.run(pump.now + 0.1)
        bob.agent.respond(bob.last(IncomingRequest), 480)
        pump.run(pump.now + 0.1)
        assert alice.last(SubscriptionEnded).retry_at is not None
        caller.hang_up(pump.now)
        pump.run()
        assert len(pump.sent("alice", "SUBSCRIBE")) == 1
        assert subscriber.next_timer() == NEVER

    def test_in_an_early_dialog_of_a_fork(self) -> None:
        """The REFER belongs to the dialog that it came in, not to that of the session."""
        pump = Pump()
        alice, bob, carol = (pump.node(name) for name in ("alice", "bob", "carol"))
        pump.groups["home.example"] = ["bob.example", "carol.example"]
        taker = referee(alice)
        caller = alice.agent.invite(0.0, "sip:home@home.example", from_=alice.aor, body=b"v=0 offer")
        pump.run(0.1)
        early = bob.last(IncomingSession).session
        early.progress(pump.now)
        pump.run(pump.now + 0.1)
        carol.last(IncomingSession).session.answer(pump.now, b"v=0 answer")
        pump.run(pump.now + 0.1)
        referrer(bob, alice, dialog=early.dialog).start(pump.now)
        pump.run(pump.now + 0.1)
        asked = alice.last(ReferRequested).subscription
        taker.accept_refer(asked, pump.now)
        pump.run(pump.now + 0.1)
        assert asked.dialog is not caller.dialog
        assert caller.dialog is not None
        assert str(caller.dialog.remote_target) == "sip:carol@carol.example"
        assert fragments(bob) == [100]

    def test_two_at_a_time_and_one_is_left(self) -> None:
        pump, alice, bob = pair()
        taker = referee(bob)
        caller, _ = talk(pump, alice, bob)
        senders = [referrer(alice, bob, dialog=caller.dialog) for _ in range(2)]
        for sender in senders:
            sender.start(pump.now)
            pump.run(pump.now + 0.5)
        first, second = (event.subscription for event in bob.heard(ReferRequested))
        for subscription in (first, second):
            taker.accept_refer(subscription, pump.now)
        pump.run(pump.now + 0.5)
        senders[0].stop(pump.now)
        pump.run(pump.now + 1.0)
        assert bob.last(SubscriptionClosed).subscription is first
        assert [event.subscription.subscriber for event in alice.heard(SubscriptionEnded)] == [senders[0]]
        taker.progress(second, pump.now, 404)
        pump.run(pump.now + 1.0)
        assert [event.subscription.subscriber for event in alice.heard(SubscriptionEnded)] == senders
        assert fragments(alice)[-1] == 404
        assert len(alice.agent.sessions) == 1
        caller.hang_up(pump.now)
        pump.run()

    def test_in_a_dialog_that_is_over(self) -> None:
        """What finds dialogs may know them longer than they last."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        dialog = called.dialog
        assert caller.dialog is not None
        refer = caller.dialog.create_request("REFER", contact=alice.agent.contact, headers=[("Refer-To", "<sip:a@b>")])
        taker = Referee(NotifierSettings(bob.agent.contact), bob.agent.identifiers, find_dialog=lambda wanted: dialog)
        assert taker.owns(refer)
        caller.hang_up(pump.now)
        pump.run()
        assert not taker.owns(refer)

    def test_in_a_dialog_that_is_none(self) -> None:
        pump, alice, bob = pair()
        referee(bob)
        request = alice.agent.create_request(
            "REFER", bob.aor.uri, from_=alice.aor, to=bob.aor.with_tag("x"), headers=[("Refer-To", "<sip:a@b>")]
        )
        alice.agent.send(request, 0.0)
        pump.run()
        assert len(pump.sent("bob", 481)) == 1
