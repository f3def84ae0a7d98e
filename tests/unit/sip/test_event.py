"""The subscriber: its table, its timers, and what it makes of NOTIFYs, responses and ends."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.dialog import Dialog
from switchroom.sip.digest import DigestClient, Login
from switchroom.sip.errors import TransportError
from switchroom.sip.event import (
    ACTIVE,
    DUE,
    END,
    ENDING,
    EXPIRED,
    FAILURE,
    INIT,
    INPUT_NAMES,
    LEAVE,
    NOTHING,
    NOTIFY_ACTIVE,
    NOTIFY_PENDING,
    NOTIFY_TERMINATED,
    NOTIFY_WAIT,
    PENDING,
    SEND,
    STATE_NAMES,
    STOP,
    STOP_WAIT,
    SUBSCRIBE,
    TABLE,
    TERMINATED,
    TIMER_N,
    WIND,
    Notified,
    Subscriber,
    SubscriberSettings,
    SubscriptionEnded,
)
from switchroom.sip.headers import Address, Event, parse_event
from switchroom.sip.layer import RequestFailed, RequestReceived, RequestTimedOut, ResponseReceived
from switchroom.sip.message import Request
from switchroom.sip.orders import SendRequest, SendResponse
from switchroom.sip.timers import NEVER
from switchroom.sip.uri import parse_uri


def address(text: str) -> Address:
    return Address("", parse_uri(text))


SETTINGS = SubscriberSettings(
    parse_uri("sip:bob@example.com"),
    Event("presence"),
    address("sip:alice@example.com"),
    address("sip:alice@192.0.2.1"),
    accept=("application/pidf+xml",),
)


class Fixed:
    """Identifiers that count; the random fraction is given."""

    def __init__(self, fraction: float = 0.0) -> None:
        self.count = 0
        self.fraction = fraction

    def token(self, bits: int = 64) -> str:
        self.count += 1
        return f"t{self.count}"

    def random(self) -> float:
        return self.fraction


class Bench:
    """A subscriber, with network and notifier played by the test."""

    def __init__(self, dialog: Dialog | None = None, authenticator: Any = None, **changes: Any) -> None:
        self.subscriber = Subscriber(replace(SETTINGS, **changes), Fixed(), authenticator=authenticator, dialog=dialog)
        self.now = 0.0
        self.order: SendRequest | None = None
        self.first: Request | None = None
        self.count = 0

    def sent(self) -> Request:
        (order,) = self.subscriber.take_orders()
        assert isinstance(order, SendRequest)
        self.order = order
        if self.first is None or order.request.call_id != self.first.call_id:
            self.first = order.request
        return order.request

    def start(self) -> Request:
        self.subscriber.start(self.now)
        return self.sent()

    def answer(self, status: int, *headers: tuple[str, str]) -> None:
        assert self.order is not None
        response = self.order.request.create_response(status, to_tag="b", headers=headers)
        self.subscriber.receive(ResponseReceived(None, response, self.order.sender), self.now)  # type: ignore[arg-type]

    def fail(self, error: TransportError | None = None) -> None:
        assert self.order is not None
        event: RequestTimedOut | RequestFailed
        if error is None:
            event = RequestTimedOut(None, self.order.sender)  # type: ignore[arg-type]
        else:
            event = RequestFailed(None, error, self.order.sender)  # type: ignore[arg-type]
        self.subscriber.receive(event, self.now)

    def notify(self, state: str | None, tag: str = "b", number: int = 0, **changes: str) -> int:
        """Feed a NOTIFY; the status of the response to it (0: there was none, the request is not owned)."""
        assert self.first is not None
        self.count += 1
        headers = [("Contact", f"<sip:{tag}@192.0.2.2>")] if changes.get("contact") != "none" else []
        if changes.get("event") != "none":
            headers.append(("Event", changes.get("event", "presence")))
        if state is not None:
            headers.append(("Subscription-State", state))
        request = Request.build(
            "NOTIFY",
            "sip:alice@192.0.2.1",
            from_=f"<sip:bob@example.com>;tag={tag}",
            to=f"<sip:alice@example.com>;tag={changes.get('to_tag', self.first.from_.tag)}",
            call_id=changes.get("call_id", self.first.call_id),
            cseq=number or self.count,
            headers=headers,
            body=b"state",
            content_type="application/pidf+xml",
        )
        if not self.subscriber.owns(request):
            return 0
        self.subscriber.receive(RequestReceived(None, request, None), self.now)  # type: ignore[arg-type]
        orders = self.subscriber._orders
        responses = [order for order in orders if isinstance(order, SendResponse)]
        self.subscriber._orders = [order for order in orders if not isinstance(order, SendResponse)]
        (response,) = responses
        return response.response.status

    def events(self) -> list[Any]:
        return self.subscriber.take_events()

    def ended(self) -> SubscriptionEnded:
        event = self.events()[-1]
        assert isinstance(event, SubscriptionEnded)
        return event

    def due(self) -> float:
        return self.subscriber.next_timer() - self.now

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.subscriber.handle_timers(self.now)

    def active(self, expires: int = 3600) -> None:
        self.start()
        self.answer(200, ("Expires", str(expires)))
        assert self.notify(f"active;expires={expires}") == 200
        (event,) = self.events()
        assert isinstance(event, Notified)


# RFC 6665 §4.1.2 figure 1, drawn by hand: what is not here changes and does nothing.
EXPECTED = {
    (INIT, SUBSCRIBE): (NOTIFY_WAIT, SEND),
    (INIT, STOP): (TERMINATED, END),
    (NOTIFY_WAIT, NOTIFY_ACTIVE): (ACTIVE, WIND),
    (NOTIFY_WAIT, NOTIFY_PENDING): (PENDING, WIND),
    (NOTIFY_WAIT, NOTIFY_TERMINATED): (TERMINATED, END),
    (NOTIFY_WAIT, TIMER_N): (TERMINATED, END),
    (NOTIFY_WAIT, FAILURE): (TERMINATED, END),
    (NOTIFY_WAIT, STOP): (STOP_WAIT, NOTHING),
    (STOP_WAIT, SUBSCRIBE): (NOTIFY_WAIT, NOTHING),
    (STOP_WAIT, NOTIFY_ACTIVE): (ENDING, LEAVE),
    (STOP_WAIT, NOTIFY_PENDING): (ENDING, LEAVE),
    (STOP_WAIT, NOTIFY_TERMINATED): (TERMINATED, END),
    (STOP_WAIT, TIMER_N): (TERMINATED, END),
    (STOP_WAIT, FAILURE): (TERMINATED, END),
    **{
        (state, input_): row
        for state in (PENDING, ACTIVE)
        for input_, row in {
            SUBSCRIBE: (state, SEND),
            DUE: (state, SEND),
            NOTIFY_ACTIVE: (ACTIVE, WIND),
            NOTIFY_PENDING: (PENDING, WIND),
            NOTIFY_TERMINATED: (TERMINATED, END),
            TIMER_N: (TERMINATED, END),
            FAILURE: (TERMINATED, END),
            EXPIRED: (TERMINATED, END),
            STOP: (ENDING, LEAVE),
        }.items()
    },
    (ENDING, NOTIFY_TERMINATED): (TERMINATED, END),
    (ENDING, TIMER_N): (TERMINATED, END),
    (ENDING, FAILURE): (TERMINATED, END),
    (ENDING, EXPIRED): (TERMINATED, END),
    (TERMINATED, SUBSCRIBE): (NOTIFY_WAIT, SEND),
}


@pytest.mark.parametrize(("state", "input_"), list(product(range(len(STATE_NAMES)), range(len(INPUT_NAMES)))))
def test_the_table(state: int, input_: int) -> None:
    assert TABLE[state, input_] == EXPECTED.get((state, input_), (state, NOTHING))


class TestSubscribe:
    def test_what_it_asks(self) -> None:
        bench = Bench(
            event=parse_event("dialog;id=7"), routes=(address("sip:p.example.com;lr"),),
            headers=(("Priority", "normal"),), body=b"filter", content_type="text/plain", expires=600,
        )  # fmt: skip
        request = bench.start()
        assert (request.method, request.uri_text, request.cseq.number) == ("SUBSCRIBE", "sip:bob@example.com", 1)
        assert request.headers.get("Event") == "dialog;id=7"
        assert request.expires == 600
        assert request.headers.get("Accept") == "application/pidf+xml"
        assert request.headers.get("Route") == "<sip:p.example.com;lr>"
        assert request.headers.get("Contact") == "<sip:alice@192.0.2.1>"
        assert request.headers.get("Priority") == "normal"
        assert request.body == b"filter"
        assert request.from_.tag
        assert request.to.tag is None

    def test_2xx_then_notify(self) -> None:
        bench = Bench()
        bench.start()
        bench.answer(200, ("Expires", "600"))
        assert bench.events() == []
        assert bench.due() == 32.0  # timer N
        assert bench.notify("active") == 200
        (event,) = bench.events()
        assert isinstance(event, Notified)
        assert event.request.body == b"state"
        assert event.subscription.is_active
        assert bench.due() == 480.0  # 0.8 of the 600 in the 2xx

    def test_notify_overtakes_the_2xx(self) -> None:
        bench = Bench()
        bench.start()
        assert bench.notify("pending;expires=300") == 200
        (event,) = bench.events()
        assert not event.subscription.is_active
        assert bench.due() == 240.0
        bench.answer(200, ("Expires", "600"))
        assert bench.notify("active;expires=100") == 200
        assert bench.events()[0].subscription.is_active
        assert bench.due() == 50.0

    def test_without_any_word_on_the_interval(self) -> None:
        bench = Bench()
        bench.start()
        bench.notify("active")
        assert bench.due() == 2880.0
        bench.notify("active")
        assert bench.due() == 2880.0

    def test_timer_n(self) -> None:
        bench = Bench()
        bench.start()
        bench.answer(200)
        bench.go(31.9)
        assert bench.events() == []
        bench.go(0.1)
        ended = bench.ended()
        assert (ended.reason, ended.status) == (None, None)
        assert ended.retry_at == 32.0 + 30.0

    def test_refresh(self) -> None:
        bench = Bench()
        bench.active()
        bench.go(2880.0)
        request = bench.sent()
        assert (request.method, request.uri_text) == ("SUBSCRIBE", "sip:b@192.0.2.2")
        assert (request.to.tag, request.cseq.number) == ("b", 2)
        assert request.headers.get("Event") == "presence"
        bench.answer(200, ("Expires", "600"))
        assert bench.due() == 32.0
        bench.notify("active;expires=600")
        assert bench.due() == 480.0

    def test_refresh_without_a_notify_after_it(self) -> None:
        bench = Bench()
        bench.active()
        bench.go(2880.0)
        bench.sent()
        bench.answer(200, ("Expires", "3600"))
        bench.go(32.0)
        assert bench.ended().reason is None

    def test_204_means_that_no_notify_comes(self) -> None:
        bench = Bench()
        bench.active()
        bench.go(2880.0)
        bench.sent()
        bench.answer(204, ("Expires", "600"))
        assert bench.due() == 480.0

    def test_start_again_refreshes(self) -> None:
        bench = Bench()
        bench.active()
        assert bench.start().to.tag == "b"

    def test_423(self) -> None:
        bench = Bench(expires=60)
        assert bench.start().expires == 60
        bench.answer(423, ("Min-Expires", "600"))
        request = bench.sent()
        assert (request.expires, request.cseq.number) == (600, 2)
        bench.answer(423, ("Min-Expires", "600"))
        assert bench.ended().status == 423

    @pytest.mark.parametrize(("minimum", "again"), [("86400", True), ("86401", False)])
    def test_423_with_a_minimum_that_is_too_long(self, minimum: str, again: bool) -> None:
        bench = Bench(expires=60)
        bench.start()
        bench.answer(423, ("Min-Expires", minimum))
        if again:
            assert bench.sent().expires == 86_400
        else:
            assert bench.ended().status == 423

    @pytest.mark.parametrize("answered", [True, False])
    def test_423_to_what_is_not_wanted_any_more(self, answered: bool) -> None:
        bench = Bench(expires=60)
        bench.start()
        if answered:
            bench.notify("active")
        bench.subscriber.stop(0.0)
        if answered:
            assert bench.sent().expires == 0
        bench.answer(423, ("Min-Expires", "600"))
        assert bench.ended().status == 423
        assert bench.subscriber.take_orders() == []

    def test_423_for_ever(self) -> None:
        bench = Bench(expires=60)
        bench.start()
        for minimum in (100, 200, 300):
            bench.answer(423, ("Min-Expires", str(minimum)))
            bench.sent()
        bench.answer(423, ("Min-Expires", "400"))
        assert bench.ended().status == 423

    def test_fetch(self) -> None:
        bench = Bench(expires=0)
        assert bench.start().expires == 0
        bench.answer(200, ("Expires", "0"))
        assert bench.notify("terminated;reason=timeout") == 200
        notified, ended = bench.events()
        assert isinstance(notified, Notified)
        assert (ended.reason, ended.retry_at) == ("timeout", None)
        assert bench.subscriber.next_timer() == NEVER

    def test_fetch_from_a_notifier_that_says_active(self) -> None:
        bench = Bench(expires=0)
        bench.start()
        assert bench.notify("active;expires=0") == 200
        assert bench.ended().reason == "timeout"

    def test_challenges_do_not_disturb_the_dialog(self) -> None:
        bench = Bench(authenticator=DigestClient({"r": Login("alice", "x")}.get, Fixed()))
        bench.start()
        bench.answer(407, ("Proxy-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'))
        second = bench.sent()
        assert (second.cseq.number, second.call_id) == (2, bench.first.call_id if bench.first else None)
        bench.answer(200)
        bench.notify("active;expires=60")
        bench.go(30.0)
        third = bench.sent()
        assert third.cseq.number == 3
        assert "nc=00000002" in (third.headers.get("Proxy-Authorization") or "")
        bench.answer(407, ("Proxy-Authenticate", 'Digest realm="r", nonce="m", qop="auth", stale=true'))
        assert bench.sent().cseq.number == 4


class TestNotify:
    def test_which_are_ours(self) -> None:
        bench = Bench(event=parse_event("dialog;id=7"))
        other = Request.build("NOTIFY", "sip:x", from_="<sip:a@b>;tag=1", to="<sip:c@d>;tag=2", call_id="3", cseq=1)
        assert not bench.subscriber.owns(other)
        bench.start()
        assert not bench.subscriber.owns(other)
        assert bench.notify("active", event="dialog") == 0
        assert bench.notify("active", event="dialog;id=8") == 0
        assert bench.notify("active", event="presence;id=7") == 0
        assert bench.notify("active", event="dialog;id=7", call_id="other") == 0
        assert bench.notify("active", event="dialog;id=7", to_tag="other") == 0
        assert bench.notify("active", event="none") == 0
        assert bench.notify("active", event="dialog;id=7") == 200

    @pytest.mark.parametrize(
        ("state", "changes"),
        [(None, {}), ("=", {}), ("active", {"contact": "none"}), ("active", {"event": ".."})],
    )
    def test_malformed(self, state: str | None, changes: dict[str, str]) -> None:
        bench = Bench()
        bench.start()
        assert bench.notify(state, **changes) == 400
        assert bench.events() == []

    def test_out_of_order(self) -> None:
        bench = Bench()
        bench.start()
        assert bench.notify("active", number=5) == 200
        assert bench.notify("pending", number=4) == 500
        assert len(bench.events()) == 1

    def test_the_contact_is_followed(self) -> None:
        bench = Bench()
        bench.active()
        (subscription,) = bench.subscriber.subscriptions
        assert subscription.dialog is not None
        assert str(subscription.dialog.remote_target) == "sip:b@192.0.2.2"

    def test_a_fork(self) -> None:
        bench = Bench(max_dialogs=2)
        bench.start()
        bench.answer(200)
        assert bench.notify("active;expires=60", "b") == 200
        assert bench.notify("active;expires=60", "c") == 200
        assert bench.notify("active;expires=60", "d") == 481  # more than are taken
        assert len({event.subscription for event in bench.events()}) == 2
        bench.go(30.0)
        orders = [order for order in bench.subscriber.take_orders() if isinstance(order, SendRequest)]
        assert sorted(str(order.request.to.tag) for order in orders) == ["b", "c"]
        assert [order.request.cseq.number for order in orders] == [2, 2]

    def test_a_fork_that_comes_too_late(self) -> None:
        bench = Bench()
        bench.active()
        bench.go(32.0)
        assert bench.notify("active", "c") == 200
        bench.go(0.1)
        assert bench.notify("active", "d") == 481

    def test_one_branch_ends_and_the_other_goes_on(self) -> None:
        bench = Bench()
        bench.active()
        bench.notify("active", "c")
        bench.notify("terminated;reason=noresource", "b")
        assert bench.ended().retry_at is None
        assert [each.dialog.remote_tag for each in bench.subscriber.subscriptions if each.dialog] == ["c"]

    def test_after_the_end(self) -> None:
        bench = Bench()
        bench.active()
        bench.notify("terminated;reason=rejected")
        assert bench.notify("active") == 481


class TestEnd:
    @pytest.mark.parametrize(
        ("state", "delay"),
        [
            ("terminated;reason=deactivated", 0.0),
            ("terminated;reason=timeout", 0.0),
            ("terminated;reason=probation;retry-after=120", 120.0),
            ("terminated;reason=probation", 30.0),
            ("terminated;reason=giveup;retry-after=5", 5.0),
            ("terminated;reason=giveup", 30.0),
            ("terminated", 30.0),
            ("terminated;reason=strange;retry-after=99999", 3600.0),
            ("terminated;reason=rejected", None),
            ("terminated;reason=noresource;retry-after=7", None),
            ("terminated;reason=invariant", None),
        ],
    )
    def test_what_each_reason_means(self, state: str, delay: float | None) -> None:
        bench = Bench()
        bench.active()
        bench.now = 100.0
        call_id = bench.first.call_id if bench.first else ""
        assert bench.notify(state) == 200
        ended = bench.ended()
        assert ended.retry_at == (None if delay is None else 100.0 + delay)
        assert bench.subscriber.next_timer() == (NEVER if delay is None else 100.0 + delay)
        if delay is not None:
            bench.go(delay)
            assert bench.sent().call_id != call_id

    def test_who_ends_it_at_once_each_time_is_asked_less_and_less(self) -> None:
        bench = Bench()
        bench.start()
        delays = []
        for _ in range(4):
            bench.notify("terminated;reason=deactivated")
            retry_at = bench.ended().retry_at
            assert retry_at is not None
            delays.append(retry_at - bench.now)
            bench.go(delays[-1])
            bench.sent()
        assert delays == [0.0, 30.0, 60.0, 120.0]

    def test_a_subscriber_that_does_not_come_back(self) -> None:
        bench = Bench(resubscribe=False)
        bench.active()
        bench.notify("terminated;reason=deactivated")
        assert bench.ended().retry_at is None

    def test_it_expires(self) -> None:
        bench = Bench()
        bench.active(100)
        bench.go(50.0)
        bench.sent()
        bench.fail(TransportError("refused"))
        assert bench.due() == 25.0
        bench.go(25.0)
        bench.sent()
        bench.answer(503, ("Retry-After", "900"))
        assert bench.due() == 25.0
        bench.go(25.0)
        assert bench.ended().reason == "timeout"

    @pytest.mark.parametrize("status", [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604])
    def test_a_refresh_that_ends_it(self, status: int) -> None:
        bench = Bench()
        bench.active()
        bench.go(2880.0)
        bench.sent()
        bench.answer(status)
        ended = bench.ended()
        assert ended.status == status
        assert (ended.retry_at is not None) == (status in (480, 481))

    @pytest.mark.parametrize("status", [400, 403, 500, 503])
    def test_a_refresh_that_does_not(self, status: int) -> None:
        bench = Bench()
        bench.active()
        bench.go(2880.0)
        bench.sent()
        bench.answer(status)
        assert bench.events() == []
        assert bench.due() == 360.0

    def test_the_last_moments_see_no_further_try(self) -> None:
        bench = Bench()
        bench.active()
        bench.go(2880.0)
        bench.sent()
        bench.now = 3599.0
        bench.answer(503)
        assert bench.due() == 1.0

    def test_a_refresh_that_times_out(self) -> None:
        bench = Bench()
        bench.active()
        bench.go(2880.0)
        bench.sent()
        bench.fail()
        assert bench.ended().retry_at is not None

    @pytest.mark.parametrize(
        ("status", "headers", "comes_back"),
        [
            (403, (), False),
            (404, (), False),
            (489, (), False),
            (501, (), False),
            (603, (), False),
            (480, (), True),
            (500, (), True),
            (503, (), True),
            (403, (("Retry-After", "60"),), True),
        ],
    )
    def test_a_first_subscribe_that_fails(
        self, status: int, headers: tuple[tuple[str, str], ...], comes_back: bool
    ) -> None:
        bench = Bench()
        bench.start()
        bench.answer(status, *headers)
        ended = bench.ended()
        assert ended.status == status
        assert (ended.retry_at is not None) == comes_back
        assert ended.subscription.dialog is None

    def test_a_first_subscribe_that_cannot_be_carried(self) -> None:
        bench = Bench()
        bench.start()
        error = TransportError("refused")
        bench.fail(error)
        ended = bench.ended()
        assert ended.error is error
        assert ended.retry_at == 30.0

    def test_a_2xx_that_cannot_be_read(self) -> None:
        bench = Bench(expires=60)
        bench.start()
        bench.answer(423, ("Min-Expires", "soon"))
        assert bench.ended().error is not None


class TestStop:
    def test_unsubscribe(self) -> None:
        bench = Bench()
        bench.active()
        bench.subscriber.stop(bench.now)
        assert bench.sent().expires == 0
        bench.answer(200, ("Expires", "0"))
        assert bench.notify("active") == 200  # was under way
        assert bench.notify("terminated;reason=timeout") == 200
        ended = bench.ended()
        assert (ended.reason, ended.retry_at) == ("timeout", None)
        assert bench.subscriber.next_timer() == NEVER

    def test_without_a_last_notify(self) -> None:
        bench = Bench()
        bench.active()
        bench.subscriber.stop(bench.now)
        bench.sent()
        bench.answer(200)
        bench.go(32.0)
        assert bench.ended().retry_at is None

    def test_refused(self) -> None:
        bench = Bench()
        bench.active()
        bench.subscriber.stop(bench.now)
        bench.sent()
        bench.answer(500)
        assert bench.ended().status == 500

    def test_before_the_first_notify(self) -> None:
        bench = Bench()
        bench.start()
        bench.subscriber.stop(bench.now)
        assert bench.subscriber.take_orders() == []
        assert bench.notify("active") == 200
        assert bench.sent().expires == 0
        bench.notify("active", "c")  # a late branch is left as well
        assert bench.sent().to.tag == "c"

    def test_and_a_change_of_mind(self) -> None:
        bench = Bench()
        bench.start()
        bench.subscriber.stop(bench.now)
        bench.subscriber.start(bench.now)
        assert bench.notify("active") == 200
        assert bench.subscriber.take_orders() == []

    def test_while_it_waits_to_come_back(self) -> None:
        bench = Bench()
        bench.active()
        bench.notify("terminated;reason=giveup")
        bench.subscriber.stop(bench.now)
        assert bench.subscriber.next_timer() == NEVER


class TestWithinASession:
    def dialog(self) -> Dialog:
        return Dialog(
            "call", address("sip:alice@example.com").with_tag("a"), address("sip:bob@example.com").with_tag("b"),
            parse_uri("sip:bob@192.0.2.2"), local_seq=7, initiator=True, state=1,
        )  # fmt: skip

    def test_it_shares_the_dialog(self) -> None:
        dialog = self.dialog()
        bench = Bench(dialog, event=Event("dialog"), authenticator=DigestClient({"r": Login("a", "x")}.get, Fixed()))
        request = bench.start()
        assert (request.call_id, request.cseq.number, request.to.tag) == ("call", 8, "b")
        bench.answer(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n"'))
        assert bench.sent().cseq.number == 9
        bench.answer(200)
        assert bench.notify("active", "c", event="dialog") == 0
        assert bench.notify("active", event="dialog", number=3) == 200
        assert bench.notify("active", event="dialog", number=2) == 200  # the session looks after the order
        bench.notify("terminated;reason=noresource", event="dialog")
        assert bench.ended().reason == "noresource"
        assert dialog.state == 1
        assert bench.notify("active", event="dialog") == 481


@given(
    st.lists(
        st.sampled_from(
            ["start", "stop", "200", "403", "481", "423", "timeout", "active", "pending", "terminated", "fork", "time"]
        ),
        max_size=20,
    )
)
def test_whatever_happens_each_subscription_ends_once(steps: list[str]) -> None:
    bench = Bench()
    told: list[SubscriptionEnded] = []
    for step in steps:
        bench.now += 1
        if step == "start":
            bench.subscriber.start(bench.now)
        elif step == "stop":
            bench.subscriber.stop(bench.now)
        elif step == "time":
            bench.go(40.0)
        elif step in ("active", "pending", "terminated", "fork"):
            if bench.first is not None:
                bench.notify("active" if step == "fork" else step, "c" if step == "fork" else "b")
        elif bench.order is not None:
            bench.fail() if step == "timeout" else bench.answer(int(step), ("Min-Expires", "7200"))
        for order in bench.subscriber.take_orders():
            assert isinstance(order, SendRequest)
            bench.order, bench.first = order, order.request
        told += [event for event in bench.events() if isinstance(event, SubscriptionEnded)]
    bench.subscriber.stop(bench.now)
    while bench.subscriber.next_timer() != NEVER:
        bench.go(max(0.0, bench.due()))
        bench.subscriber.take_orders()
        told += [event for event in bench.events() if isinstance(event, SubscriptionEnded)]
    assert bench.subscriber.subscriptions == []
    assert len({event.subscription for event in told}) == len(told)
