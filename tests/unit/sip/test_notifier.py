"""The notifier: its table, its answers to SUBSCRIBE, its NOTIFYs; and both sides from end to end."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sip.pump import Node, Pump

from switchroom.sip.dialog import Dialog, DialogId
from switchroom.sip.digest import DigestClient, Login
from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.event import Notified, Subscriber, SubscriberSettings, SubscriptionEnded
from switchroom.sip.headers import SUBSCRIPTION_STATE, Address, Event
from switchroom.sip.layer import RequestReceived, RequestTimedOut, ResponseReceived
from switchroom.sip.message import Request, Response
from switchroom.sip.notifier import (
    ACCEPT,
    ACTIVE,
    ASKED,
    CLOSE,
    DEFER,
    END,
    EXPIRE,
    FORBIDDEN,
    INPUT_NAMES,
    LAST,
    LEAVE,
    NOTHING,
    NOTIFY,
    PENDING,
    REFRESH,
    REJECT,
    STATE_NAMES,
    TABLE,
    TERMINATED,
    UNREACHABLE,
    Notifier,
    NotifierSettings,
    PackageSettings,
    ServerSubscription,
    SubscriptionClosed,
    SubscriptionRequested,
)
from switchroom.sip.orders import SendRequest, SendResponse
from switchroom.sip.timers import NEVER
from switchroom.sip.uri import parse_uri


def address(text: str) -> Address:
    return Address("", parse_uri(text))


SETTINGS = NotifierSettings(address("sip:bob@192.0.2.2"), {"presence": PackageSettings(), "dialog": PackageSettings()})


class Counter:
    """Identifiers that count."""

    def __init__(self) -> None:
        self.count = 0

    def token(self, bits: int = 64) -> str:
        self.count += 1
        return f"t{self.count}"

    def random(self) -> float:
        return 0.0


class Bench:
    """A notifier, with the network and one subscriber played by the test."""

    def __init__(self, find_dialog: Any = None, authenticator: Any = None, **changes: Any) -> None:
        self.notifier = Notifier(
            replace(SETTINGS, **changes), Counter(), find_dialog=find_dialog, authenticator=authenticator
        )
        self.now = 0.0
        self.count = 0
        self.responses: list[Response] = []
        self.notifies: list[SendRequest] = []
        self.events: list[Any] = []

    def subscribe(
        self,
        *,
        event: str = "presence",
        expires: int | None = 600,
        to_tag: str = "",
        call_id: str = "1",
        number: int = 0,
    ) -> int:
        """Feed a SUBSCRIBE; the status of what it is answered at once, 0 when it is not yet."""
        self.count += 1
        headers = [("Contact", "<sip:alice@192.0.2.1>")]
        if event:
            headers.append(("Event", event))
        if expires is not None:
            headers.append(("Expires", str(expires)))
        request = Request.build(
            "SUBSCRIBE",
            "sip:bob@example.com",
            from_="<sip:alice@example.com>;tag=a",
            to="<sip:bob@example.com>" + (f";tag={to_tag}" if to_tag else ""),
            call_id=call_id,
            cseq=number or self.count,
            headers=headers,
        )
        assert self.notifier.owns(request)
        before = len(self.responses)
        self.notifier.receive(RequestReceived(None, request, None), self.now)  # type: ignore[arg-type]
        # a transaction that is None is as good as any to the machine, but for telling whether it was answered
        for subscription in self.notifier.subscriptions.values():
            if subscription.request is request:
                subscription.transaction = object()  # type: ignore[assignment]
        self.collect()
        return self.responses[-1].status if len(self.responses) > before else 0

    def collect(self) -> None:
        for order in self.notifier.take_orders():
            if isinstance(order, SendResponse):
                self.responses.append(order.response)
            else:
                assert isinstance(order, SendRequest)
                self.notifies.append(order)
        self.events += self.notifier.take_events()

    def asked(self, **more: Any) -> ServerSubscription:
        assert self.subscribe(**more) == 0
        event = self.events.pop()
        assert isinstance(event, SubscriptionRequested)
        return event.subscription

    def active(self, **more: Any) -> ServerSubscription:
        subscription = self.asked(**more)
        self.notifier.accept(subscription, self.now, b"state", "text/plain")
        self.collect()
        self.answer(200)
        self.notifies.clear()
        return subscription

    def state(self) -> str:
        """The Subscription-State of the one NOTIFY that was sent since the last look."""
        (order,) = self.notifies
        self.notifies.clear()
        self.last = order
        return str(order.request.headers.one(SUBSCRIPTION_STATE))

    def answer(self, status: int, order: SendRequest | None = None) -> None:
        order = order or self.notifies[-1]
        response = order.request.create_response(status)
        self.notifier.receive(ResponseReceived(None, response, order.sender), self.now)  # type: ignore[arg-type]
        self.collect()

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.notifier.handle_timers(self.now)
        self.collect()


# RFC 6665 §4.2 in words, by hand; what is not here changes and does nothing.
EXPECTED = {
    (ASKED, ACCEPT): (ACTIVE, NOTIFY),
    (ASKED, DEFER): (PENDING, NOTIFY),
    (ASKED, REJECT): (TERMINATED, NOTHING),
    (ASKED, EXPIRE): (TERMINATED, CLOSE),
    (ASKED, END): (ASKED, FORBIDDEN),
    (PENDING, ACCEPT): (ACTIVE, NOTIFY),
    (PENDING, REJECT): (PENDING, FORBIDDEN),
    (ACTIVE, REJECT): (ACTIVE, FORBIDDEN),
    (ACTIVE, DEFER): (ACTIVE, FORBIDDEN),
    (TERMINATED, ACCEPT): (TERMINATED, FORBIDDEN),
    (TERMINATED, DEFER): (TERMINATED, FORBIDDEN),
    (TERMINATED, REJECT): (TERMINATED, FORBIDDEN),
    **{
        (state, input_): row
        for state in (PENDING, ACTIVE)
        for input_, row in {
            REFRESH: (state, NOTIFY),
            LEAVE: (TERMINATED, LAST | CLOSE),
            EXPIRE: (TERMINATED, LAST | CLOSE),
            END: (TERMINATED, LAST | CLOSE),
            UNREACHABLE: (TERMINATED, CLOSE),
        }.items()
    },
}


@pytest.mark.parametrize(("state", "input_"), list(product(range(len(STATE_NAMES)), range(len(INPUT_NAMES)))))
def test_the_table(state: int, input_: int) -> None:
    assert TABLE[state, input_] == EXPECTED.get((state, input_), (state, NOTHING))


class TestSubscribe:
    def test_accepted(self) -> None:
        bench = Bench()
        subscription = bench.asked(expires=600)
        bench.notifier.accept(subscription, 0.0, b"state", "text/plain")
        bench.collect()
        response = bench.responses[-1]
        assert (response.status, response.expires, response.headers.get("Contact")) == (200, 600, "<sip:bob@192.0.2.2>")
        (order,) = bench.notifies
        request = order.request
        assert (request.method, request.uri_text) == ("NOTIFY", "sip:alice@192.0.2.1")
        assert request.from_.tag == response.to.tag
        assert request.to.tag == "a"
        assert request.headers.get("Event") == "presence"
        assert request.headers.get("Content-Type") == "text/plain"
        assert request.body == b"state"
        assert bench.state() == "active;expires=600"

    @pytest.mark.parametrize(("asked", "granted"), [(None, 3600), (60, 60), (3600, 3600), (7200, 3600)])
    def test_how_long(self, asked: int | None, granted: int) -> None:
        bench = Bench()
        bench.active(expires=asked)
        assert bench.responses[-1].expires == granted

    def test_too_brief(self) -> None:
        bench = Bench()
        assert bench.subscribe(expires=59) == 423
        assert bench.responses[-1].headers.get("Min-Expires") == "60"

    @pytest.mark.parametrize("event", ["", "winfo"])
    def test_an_event_that_is_not_offered(self, event: str) -> None:
        bench = Bench()
        assert bench.subscribe(event=event) == 489
        assert bench.responses[-1].headers.get("Allow-Events") == "presence, dialog"
        assert bench.responses[-1].to.tag

    def test_nothing_is_offered(self) -> None:
        bench = Bench(packages={})
        assert bench.subscribe() == 489
        assert "Allow-Events" not in bench.responses[-1].headers

    def test_malformed(self) -> None:
        assert Bench().subscribe(event="..") == 400
        assert Bench().subscribe(event="..", to_tag="b") == 400

    def test_a_dialog_that_is_over(self) -> None:
        bench = Bench()
        subscription = bench.active()
        tag = subscription.dialog.local_tag
        bench.notifier.end(subscription, 0.0)
        request = Request.build(
            "SUBSCRIBE", "sip:bob@example.com", from_="<sip:alice@example.com>;tag=a",
            to=f"<sip:bob@example.com>;tag={tag}", call_id="1", cseq=9, headers=[("Event", "presence")],
        )  # fmt: skip
        assert not bench.notifier.owns(request)
        bench.notifier.receive(RequestReceived(None, request, None), 0.0)  # type: ignore[arg-type]
        bench.collect()
        assert bench.responses[-1].status == 481

    def test_others_are_not_ours(self) -> None:
        request = Request.build("OPTIONS", "sip:x", from_="<sip:a@b>;tag=1", to="<sip:c@d>", call_id="3", cseq=1)
        assert not Bench().notifier.owns(request)

    def test_deferred_then_granted(self) -> None:
        bench = Bench()
        subscription = bench.asked()
        bench.notifier.defer(subscription, 0.0)
        bench.collect()
        assert bench.state() == "pending;expires=600"
        assert "Content-Type" not in bench.last.request.headers
        bench.answer(200, bench.last)
        bench.go(100.0)
        bench.notifier.accept(subscription, bench.now, b"state", "text/plain")
        bench.collect()
        assert bench.state() == "active;expires=500"
        assert bench.last.request.cseq.number == 2
        assert len(bench.responses) == 1

    def test_rejected(self) -> None:
        bench = Bench()
        subscription = bench.asked()
        bench.notifier.reject(subscription, 0.0, 403, [("Warning", '399 x "no"')])
        bench.collect()
        assert bench.responses[-1].status == 403
        assert bench.notifier.subscriptions == {}
        assert bench.notifier.next_timer() == NEVER
        assert bench.events == bench.notifies == []

    def test_undecided(self) -> None:
        bench = Bench()
        subscription = bench.asked()
        bench.go(30.0)
        assert bench.responses[-1].status == 480
        assert bench.events == [SubscriptionClosed(subscription, None)]

    def test_a_fetch(self) -> None:
        bench = Bench()
        subscription = bench.asked(expires=0)
        bench.notifier.accept(subscription, 0.0, b"state", "text/plain")
        bench.collect()
        assert bench.responses[-1].expires == 0
        assert bench.notifies[0].request.body == b"state"
        assert bench.state() == "terminated;reason=timeout"
        assert bench.events == [SubscriptionClosed(subscription, "timeout")]
        assert bench.notifier.next_timer() == NEVER

    def test_bounded(self) -> None:
        bench = Bench(max_subscriptions=1)
        bench.active()
        assert bench.subscribe(call_id="2") == 503
        assert bench.responses[-1].headers.get("Retry-After") == "60"

    def test_two_packages_and_two_ids_in_one_dialog(self) -> None:
        dialog = Dialog(
            "1", address("sip:bob@example.com").with_tag("b"), address("sip:alice@example.com").with_tag("a"),
            parse_uri("sip:alice@192.0.2.1"), remote_seq=1, initiator=False, state=1,
        )  # fmt: skip
        bench = Bench(lambda wanted: dialog if wanted == DialogId("1", "b", "a") else None)
        first = bench.active(to_tag="b")
        second = bench.active(event="presence;id=2", to_tag="b")
        third = bench.active(event="dialog", to_tag="b")
        assert len({first, second, third}) == 3
        assert first.dialog is dialog
        bench.notifier.end(first, 0.0)
        bench.collect()
        assert bench.state() == "terminated;reason=noresource"
        assert dialog.state == 1
        assert bench.subscribe(event="presence;id=2", to_tag="b", number=1) == 200  # the session looks after the order


class TestRefresh:
    def test_it_lasts_longer_and_the_state_is_told(self) -> None:
        bench = Bench()
        subscription = bench.active()
        tag = subscription.dialog.local_tag
        bench.go(500.0)
        assert bench.subscribe(expires=300, to_tag=tag) == 200
        assert bench.responses[-1].expires == 300
        assert bench.state() == "active;expires=300"
        assert bench.last.request.body == b"state"
        bench.answer(200, bench.last)
        bench.go(299.0)
        assert bench.notifies == []
        bench.go(1.0)
        assert bench.state() == "terminated;reason=timeout"
        assert bench.events == [SubscriptionClosed(subscription, "timeout")]

    def test_too_brief(self) -> None:
        bench = Bench()
        subscription = bench.active()
        assert bench.subscribe(expires=5, to_tag=subscription.dialog.local_tag) == 423

    def test_out_of_order(self) -> None:
        bench = Bench()
        subscription = bench.active()
        assert bench.subscribe(to_tag=subscription.dialog.local_tag, number=1) == 500

    def test_while_undecided(self) -> None:
        bench = Bench()
        subscription = bench.asked()
        assert bench.subscribe(to_tag=subscription.dialog.local_tag) == 200
        assert bench.notifies == []
        assert bench.notifier.next_timer() == 30.0

    def test_unsubscribed(self) -> None:
        bench = Bench()
        subscription = bench.active()
        assert bench.subscribe(expires=0, to_tag=subscription.dialog.local_tag) == 200
        assert bench.state() == "terminated;reason=timeout"
        assert bench.events == [SubscriptionClosed(subscription, "timeout")]


class TestNotify:
    def test_changes(self) -> None:
        bench = Bench()
        subscription = bench.active()
        bench.notifier.notify(subscription, 1.0, b"new", "text/plain", (("Subject", "x"),))
        bench.collect()
        assert bench.notifies[0].request.body == b"new"
        assert bench.notifies[0].request.headers.get("Subject") == "x"

    def test_one_at_a_time(self) -> None:
        bench = Bench()
        subscription = bench.active()
        for body in (b"1", b"2", b"3"):
            bench.notifier.notify(subscription, 0.0, body, "text/plain")
        bench.collect()
        assert bench.notifies[0].request.body == b"1"
        bench.answer(200)
        assert [order.request.body for order in bench.notifies] == [b"1", b"3"]
        bench.answer(200)
        assert len(bench.notifies) == 2

    def test_not_too_often(self) -> None:
        bench = Bench(min_interval=5.0)
        subscription = bench.active()
        bench.go(1.0)
        for body in (b"1", b"2"):
            bench.notifier.notify(subscription, bench.now, body, "text/plain")
        bench.collect()
        assert bench.notifies == []
        assert bench.notifier.next_timer() == 5.0
        bench.go(4.0)
        assert [order.request.body for order in bench.notifies] == [b"2"]

    @pytest.mark.parametrize("status", [404, 481, 489])
    def test_a_subscriber_that_is_gone(self, status: int) -> None:
        bench = Bench()
        subscription = bench.active()
        bench.notifier.notify(subscription, 0.0)
        bench.collect()
        bench.answer(status)
        assert bench.events == [SubscriptionClosed(subscription, None)]
        assert bench.notifier.subscriptions == {}
        with pytest.raises(LocalProtocolError, match="terminated"):
            bench.notifier.notify(subscription, 0.0)

    def test_a_subscriber_that_is_silent(self) -> None:
        bench = Bench()
        subscription = bench.active()
        bench.notifier.notify(subscription, 0.0)
        bench.collect()
        bench.notifier.receive(RequestTimedOut(None, bench.notifies[-1].sender), 32.0)  # type: ignore[arg-type]
        bench.collect()
        assert bench.events == [SubscriptionClosed(subscription, None)]

    @pytest.mark.parametrize("status", [403, 500])
    def test_a_failure_that_does_not_end_it(self, status: int) -> None:
        bench = Bench()
        subscription = bench.active()
        bench.notifier.notify(subscription, 0.0, b"1")
        bench.notifier.notify(subscription, 0.0, b"2")
        bench.collect()
        bench.answer(status)
        assert bench.notifies[-1].request.body == b"2"

    def test_a_challenge(self) -> None:
        bench = Bench(authenticator=DigestClient({"r": Login("bob", "x")}.get, Counter()))
        subscription = bench.active()
        bench.notifier.notify(subscription, 0.0, b"1")
        bench.collect()
        order = bench.notifies[-1]
        response = order.request.create_response(401, headers=[("WWW-Authenticate", 'Digest realm="r", nonce="n"')])
        bench.notifier.receive(ResponseReceived(None, response, order.sender), 0.0)  # type: ignore[arg-type]
        bench.collect()
        assert bench.notifies[-1].request.cseq.number == order.request.cseq.number + 1

    def test_the_end_while_a_notify_is_under_way(self) -> None:
        bench = Bench()
        subscription = bench.active()
        bench.notifier.notify(subscription, 0.0, b"1")
        bench.collect()
        first = bench.notifies.pop()
        bench.notifier.end(subscription, 0.0, "probation", 60)
        bench.collect()
        assert bench.state() == "terminated;reason=probation;retry-after=60"
        bench.answer(481, first)
        bench.answer(481, bench.last)
        assert bench.events == [SubscriptionClosed(subscription, "probation")]
        bench.notifier.end(subscription, 0.0)
        bench.collect()
        assert bench.notifies == []

    def test_the_end_without_a_reason(self) -> None:
        bench = Bench()
        bench.notifier.end(bench.active(), 0.0, "")
        bench.collect()
        assert bench.state() == "terminated"

    def test_what_the_application_must_not_do(self) -> None:
        bench = Bench()
        subscription = bench.asked()
        for wrong in (bench.notifier.notify, bench.notifier.end):
            with pytest.raises(LocalProtocolError, match="asked"):
                wrong(subscription, 0.0)
        bench.notifier.accept(subscription, 0.0)
        with pytest.raises(LocalProtocolError, match="reject: the subscription is active"):
            bench.notifier.reject(subscription, 0.0)


@given(
    st.lists(
        st.sampled_from(
            ["accept", "defer", "reject", "refresh", "leave", "end", "notify", "200", "481", "500", "timeout", "time"]
        ),
        max_size=15,
    )
)
def test_whatever_happens_it_is_closed_at_most_once_and_leaves_nothing(steps: list[str]) -> None:
    bench = Bench()
    subscription = bench.asked()
    tag = subscription.dialog.local_tag
    for step in steps:
        bench.now += 1
        try:
            if step in ("accept", "defer", "reject", "end", "notify"):
                getattr(bench.notifier, step)(subscription, bench.now)
        except LocalProtocolError:
            continue
        bench.collect()
        if step in ("refresh", "leave") and bench.notifier.subscriptions:
            bench.subscribe(expires=0 if step == "leave" else 600, to_tag=tag)
        elif step == "time":
            bench.go(400.0)
        elif bench.notifies and step in ("200", "481", "500"):
            bench.answer(int(step))
        elif bench.notifies and step == "timeout":
            bench.notifier.receive(RequestTimedOut(None, bench.notifies[-1].sender), bench.now)  # type: ignore[arg-type]
    bench.collect()
    bench.go(4000.0)
    assert bench.notifier.subscriptions == {}
    assert bench.notifier.next_timer() == NEVER
    assert len([event for event in bench.events if isinstance(event, SubscriptionClosed)]) <= 1
    assert sum(1 for order in bench.notifies if "terminated" in str(order.request.headers.one(SUBSCRIPTION_STATE))) <= 1


class Watched:
    """A node whose presence anybody may see."""

    def __init__(self, pump: Pump) -> None:
        self.node: Node = pump.node("bob")
        agent = self.node.agent
        self.notifier = Notifier(
            NotifierSettings(agent.contact, {"presence": PackageSettings(min_expires=100, max_expires=300)}),
            agent.identifiers,
        )
        agent.attach(self.notifier)
        self.node.on_event = self.serve
        self.status = b"open"

    def serve(self, event: object, now: float) -> None:
        if isinstance(event, SubscriptionRequested):
            self.notifier.accept(event.subscription, now, self.status, "text/plain")

    def change(self, status: bytes, now: float) -> None:
        self.status = status
        for subscription in self.notifier.subscriptions.values():
            self.notifier.notify(subscription, now, status, "text/plain")


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.0), (2, 0.1), (3, 0.3), (4, 0.3)])
def test_both_sides_from_end_to_end(seed: int, loss: float) -> None:
    pump = Pump(seed, loss=loss, duplication=loss, jitter=0.2)
    bob = Watched(pump)
    alice = pump.node("alice")
    settings = SubscriberSettings(bob.node.aor.uri, Event("presence"), alice.aor, alice.agent.contact, expires=60)
    subscriber = Subscriber(settings, alice.agent.identifiers)
    alice.agent.attach(subscriber)
    subscriber.start(0.0)
    pump.run(400.0)
    bob.change(b"closed", pump.now)
    pump.run(1000.0)
    assert alice.last(Notified).request.body == b"closed"
    assert alice.last(Notified).subscription.is_active
    if loss == 0.0:
        assert alice.heard(SubscriptionEnded) == []
        assert len(bob.notifier.subscriptions) == 1
    subscriber.stop(pump.now)
    pump.run()
    assert subscriber.subscriptions == []
    ends = alice.heard(SubscriptionEnded)
    assert ends
    assert len({end.subscription for end in ends}) == len(ends)
    assert bob.notifier.subscriptions == {}
    assert alice.next_timer() == bob.node.next_timer() == NEVER


def test_an_event_that_the_peer_does_not_know() -> None:
    pump = Pump()
    bob = Watched(pump)
    alice = pump.node("alice")
    subscriber = Subscriber(
        SubscriberSettings(bob.node.aor.uri, Event("winfo"), alice.aor, alice.agent.contact), alice.agent.identifiers
    )
    alice.agent.attach(subscriber)
    subscriber.start(0.0)
    pump.run()
    ended = alice.last(SubscriptionEnded)
    assert (ended.status, ended.retry_at) == (489, None)
