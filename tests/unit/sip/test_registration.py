"""The registration client: what it asks, what it makes of the answers, and when it comes back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sip.pump import Pump

from switchroom.sip.client_usage import back_off_delay, refresh_delay
from switchroom.sip.digest import DigestClient, Login, ha1
from switchroom.sip.digest_server import Accepted, Claim, DigestServer, DigestServerSettings
from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.headers import Address
from switchroom.sip.layer import RequestFailed, RequestTimedOut, ResponseReceived
from switchroom.sip.message import Request, Response
from switchroom.sip.orders import SendRequest
from switchroom.sip.registration import (
    BACK_OFF,
    BRIEF,
    CLEAR,
    DUE,
    FAILED,
    FAILURE,
    FLOW_LOST,
    FORGET,
    GIVE_UP,
    GONE,
    IDLE,
    INPUT_NAMES,
    KEEP,
    NOTHING,
    REFRESHING,
    REFUSAL,
    REGISTERED,
    REGISTERING,
    REMOVE,
    REMOVING,
    RESTARTING,
    SEND,
    START,
    STATE_NAMES,
    STOP,
    STOPPING,
    SUCCESS,
    TABLE,
    WAITING,
    Registered,
    Registration,
    RegistrationFailed,
    RegistrationSet,
    RegistrationSettings,
    Unregistered,
)
from switchroom.sip.session_events import IncomingRequest
from switchroom.sip.timers import NEVER
from switchroom.sip.uri import parse_uri


def address(text: str) -> Address:
    return Address("", parse_uri(text))


SETTINGS = RegistrationSettings(
    parse_uri("sip:example.com"), address("sip:alice@example.com"), address("sip:alice@192.0.2.1:5062")
)
INSTANCE = "urn:uuid:00000000-0000-1000-8000-000a95a0e128"


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
    """A registration, with the registrar played by the test."""

    def __init__(self, fraction: float = 0.0, authenticator: Any = None, **changes: Any) -> None:
        self.registration = Registration(replace(SETTINGS, **changes), Fixed(fraction), authenticator=authenticator)
        self.now = 0.0
        self.order: SendRequest | None = None

    def sent(self) -> Request:
        """The one request that was ordered since the last look."""
        (order,) = self.registration.take_orders()
        assert isinstance(order, SendRequest)
        self.order = order
        return order.request

    def nothing_sent(self) -> bool:
        return self.registration.take_orders() == []

    def answer(self, status: int, *headers: tuple[str, str]) -> None:
        assert self.order is not None
        response = self.order.request.create_response(status, headers=headers)
        self.feed(response)

    def feed(self, response: Response) -> None:
        assert self.order is not None
        self.registration.receive(ResponseReceived(None, response, self.order.sender), self.now)  # type: ignore[arg-type]

    def fail(self, error: Exception | None = None) -> None:
        assert self.order is not None
        if error is None:
            self.registration.receive(RequestTimedOut(None, self.order.sender), self.now)  # type: ignore[arg-type]
        else:
            event = RequestFailed(None, error, self.order.sender)  # type: ignore[arg-type]
            self.registration.receive(event, self.now)

    def event(self) -> Any:
        (event,) = self.registration.take_events()
        return event

    def register(self, *headers: tuple[str, str]) -> Registered:
        """Start, and have it accepted."""
        self.registration.start(self.now)
        self.sent()
        self.answer(200, *(headers or (("Contact", "<sip:alice@192.0.2.1:5062>;expires=3600"),)))
        event = self.event()
        assert isinstance(event, Registered)
        return event

    def due(self) -> float:
        return self.registration.next_timer() - self.now

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.registration.handle_timers(self.now)


# What RFC 3261 §10.2 and RFC 5626 §4 say, written down by hand; what is not here changes and does nothing.
EXPECTED = {
    (IDLE, START): (REGISTERING, SEND),
    (IDLE, CLEAR): (REMOVING, REMOVE),
    (REGISTERING, STOP): (STOPPING, NOTHING),
    (REGISTERING, CLEAR): (STOPPING, NOTHING),
    (REGISTERING, SUCCESS): (REGISTERED, KEEP),
    (REGISTERING, BRIEF): (REGISTERING, SEND),
    (REGISTERING, FAILURE): (WAITING, BACK_OFF),
    (REGISTERING, REFUSAL): (FAILED, GIVE_UP),
    (REGISTERED, START): (REFRESHING, SEND),
    (REGISTERED, STOP): (REMOVING, REMOVE),
    (REGISTERED, CLEAR): (REMOVING, REMOVE),
    (REGISTERED, DUE): (REFRESHING, SEND),
    (REGISTERED, FAILURE): (WAITING, BACK_OFF),
    (REGISTERED, FLOW_LOST): (REGISTERING, SEND | FORGET),
    (REFRESHING, STOP): (STOPPING, NOTHING),
    (REFRESHING, CLEAR): (STOPPING, NOTHING),
    (REFRESHING, SUCCESS): (REGISTERED, KEEP),
    (REFRESHING, BRIEF): (REFRESHING, SEND),
    (REFRESHING, FAILURE): (WAITING, BACK_OFF),
    (REFRESHING, REFUSAL): (FAILED, GIVE_UP),
    (WAITING, START): (REGISTERING, SEND),
    (WAITING, STOP): (REMOVING, REMOVE),
    (WAITING, CLEAR): (REMOVING, REMOVE),
    (WAITING, DUE): (REGISTERING, SEND),
    (STOPPING, START): (REFRESHING, NOTHING),
    (STOPPING, SUCCESS): (REMOVING, REMOVE),
    (STOPPING, BRIEF): (REMOVING, REMOVE),
    (STOPPING, FAILURE): (REMOVING, REMOVE),
    (STOPPING, REFUSAL): (IDLE, GONE),
    (REMOVING, START): (RESTARTING, NOTHING),
    (REMOVING, SUCCESS): (IDLE, GONE),
    (REMOVING, BRIEF): (IDLE, GONE),
    (REMOVING, FAILURE): (IDLE, GONE),
    (REMOVING, REFUSAL): (IDLE, GONE),
    (RESTARTING, STOP): (REMOVING, NOTHING),
    (RESTARTING, CLEAR): (REMOVING, NOTHING),
    (RESTARTING, SUCCESS): (REGISTERING, SEND),
    (RESTARTING, BRIEF): (REGISTERING, SEND),
    (RESTARTING, FAILURE): (REGISTERING, SEND),
    (RESTARTING, REFUSAL): (REGISTERING, SEND),
    (FAILED, START): (REGISTERING, SEND),
    (FAILED, STOP): (IDLE, GONE),
    (FAILED, CLEAR): (REMOVING, REMOVE),
}


@pytest.mark.parametrize(("state", "input_"), list(product(range(len(STATE_NAMES)), range(len(INPUT_NAMES)))))
def test_the_table(state: int, input_: int) -> None:
    assert TABLE[state, input_] == EXPECTED.get((state, input_), (state, NOTHING))


class TestRequest:
    def test_what_it_asks(self) -> None:
        bench = Bench(
            instance=INSTANCE,
            reg_id=1,
            routes=(address("sip:proxy.example.com;lr"),),
            headers=(("User-Agent", "x"),),
            expires=600,
        )
        bench.registration.start(0.0)
        request = bench.sent()
        assert (request.method, request.uri_text, request.cseq.number) == ("REGISTER", "sip:example.com", 1)
        assert str(request.to) == "<sip:alice@example.com>"
        assert str(request.from_) == "<sip:alice@example.com>;tag=t2"
        assert request.headers.get("Contact") == f'<sip:alice@192.0.2.1:5062>;+sip.instance="<{INSTANCE}>";reg-id=1'
        assert request.headers.get("Route") == "<sip:proxy.example.com;lr>"
        assert request.expires == 600
        assert request.supported == ("path", "gruu", "outbound")
        assert request.headers.get("User-Agent") == "x"

    def test_same_call_id_and_rising_cseq(self) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        first = bench.sent()
        bench.answer(200, ("Contact", "<sip:alice@192.0.2.1:5062>;expires=3600"))
        bench.go(bench.due())
        second = bench.sent()
        assert (second.call_id, second.from_.tag) == (first.call_id, first.from_.tag)
        assert (first.cseq.number, second.cseq.number) == (1, 2)
        assert first.supported == ("path",)
        assert not bench.registration.owns(first)


class TestGranted:
    @pytest.mark.parametrize(
        ("headers", "expires"),
        [
            ([("Contact", "<sip:alice@192.0.2.1:5062>;expires=1800")], 1800),
            ([("Contact", "<sip:alice@192.0.2.1:5062>;expires=1800"), ("Expires", "60")], 1800),
            ([("Contact", "<sip:alice@192.0.2.1:5062>"), ("Expires", "900")], 900),
            ([("Contact", "<sip:alice@192.0.2.1:5062>")], 3600),
            ([("Contact", "<sip:other@192.0.2.9>;expires=60, <sip:alice@192.0.2.1:5062;x=y>;expires=70")], 70),
            ([], 3600),
            ([("Expires", "300")], 300),
            ([("Contact", "<sip:alice@198.51.100.1:9999>;expires=60"), ("Expires", "300")], 300),
        ],
    )
    def test_how_long(self, headers: list[tuple[str, str]], expires: int) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(200, *headers)
        event = bench.event()
        assert isinstance(event, Registered)
        assert event.expires == expires
        assert bench.registration.is_registered
        assert bench.registration.binding == event

    @pytest.mark.parametrize("contact", ["<sip:bob@192.0.2.1:5062>;expires=60", "<sip:alice@192.0.2.1:5062>;expires=0"])
    def test_a_2xx_without_our_binding_is_a_failure(self, contact: str) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(200, ("Contact", contact))
        event = bench.event()
        assert isinstance(event, RegistrationFailed)
        assert (event.status, event.retry_at) == (200, 30.0)

    def test_a_flow_is_found_by_its_number(self) -> None:
        bench = Bench(instance=INSTANCE, reg_id=2)
        event = bench.register(
            ("Contact", f'<sip:alice@192.0.2.1:5062>;expires=10;+sip.instance="<{INSTANCE}>";reg-id=1'),
            ("Contact", f'<sip:alice@198.51.100.7>;expires=20;+sip.instance="<{INSTANCE}>";reg-id=2'),
        )
        assert event.expires == 20
        assert str(event.contact.uri) == "sip:alice@198.51.100.7"

    def test_a_registrar_without_outbound_gives_the_contact_back_bare(self) -> None:
        assert Bench(instance=INSTANCE, reg_id=2).register().expires == 3600

    def test_what_it_teaches(self) -> None:
        event = Bench().register(
            (
                "Contact",
                '<sip:alice@192.0.2.1:5062>;expires=60;pub-gruu="sip:alice@example.com;gr=1"'
                ';temp-gruu="sip:x@example.com;gr"',
            ),
            ("Service-Route", "<sip:a.example.com;lr>, <sip:b.example.com;lr>"),
            ("Path", "<sip:p.example.com;lr>"),
            ("P-Associated-URI", "<tel:+15551234>"),
            ("Flow-Timer", "120"),
        )
        assert [str(route) for route in event.service_route] == ["<sip:a.example.com;lr>", "<sip:b.example.com;lr>"]
        assert [str(hop) for hop in event.path] == ["<sip:p.example.com;lr>"]
        assert [str(uri) for uri in event.associated_uris] == ["<tel:+15551234>"]
        assert event.public_gruu == "sip:alice@example.com;gr=1"
        assert event.temporary_gruu == "sip:x@example.com;gr"
        assert event.flow_timer == 120

    def test_a_2xx_that_cannot_be_read(self) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(200, ("Contact", "<sip:alice@192.0.2.1"))
        event = bench.event()
        assert isinstance(event, RegistrationFailed)
        assert event.error is not None

    @pytest.mark.parametrize(
        ("granted", "fraction", "delay"),
        [(3600, 0.8, 2880), (3600, 1.0, 3567), (120, 0.8, 87), (119, 0.8, 59.5), (60, 0.8, 30), (1, 0.8, 0.5)],
    )
    def test_when_to_refresh(self, granted: int, fraction: float, delay: float) -> None:
        assert refresh_delay(granted, fraction) == delay
        bench = Bench(refresh_fraction=fraction)
        bench.register(("Contact", f"<sip:alice@192.0.2.1:5062>;expires={granted}"))
        assert bench.due() == delay
        bench.go(delay / 2)
        assert bench.nothing_sent()
        bench.go(delay / 2)
        assert bench.sent().method == "REGISTER"
        assert bench.registration.is_registered
        assert bench.registration.next_timer() == NEVER


class TestFailure:
    def test_423_is_tried_again_with_the_minimum(self) -> None:
        bench = Bench(expires=60)
        bench.registration.start(0.0)
        assert bench.sent().expires == 60
        bench.answer(423, ("Min-Expires", "1800"))
        assert bench.sent().expires == 1800
        bench.answer(200, ("Expires", "1800"))
        assert bench.event().expires == 1800
        bench.go(bench.due())
        assert bench.sent().expires == 1800  # it was learnt

    @pytest.mark.parametrize(
        "headers", [(), (("Min-Expires", "60"),), (("Min-Expires", "5"),), (("Min-Expires", "86401"),)]
    )
    def test_423_that_does_not_say_more_or_far_too_much(self, headers: tuple[tuple[str, str], ...]) -> None:
        bench = Bench(expires=60)
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(423, *headers)
        event = bench.event()
        assert (event.status, event.retry_at) == (423, None)

    def test_a_grant_of_136_years_is_refreshed_once_a_day(self) -> None:
        bench = Bench(expires=3600)
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(200, ("Expires", str(2**32 - 1)))
        assert bench.event().expires == 2**32 - 1
        assert bench.due() == pytest.approx(86_400 * 0.8)

    def test_423_for_ever(self) -> None:
        bench = Bench(expires=60)
        bench.registration.start(0.0)
        for minimum in range(100, 104):
            assert bench.sent().expires in (60, minimum - 1)
            bench.answer(423, ("Min-Expires", str(minimum)))
        assert bench.event().status == 423

    @pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999])
    def test_back_off(self, fraction: float) -> None:
        # RFC 5626 §4.5, table 1: between 30 and 60, 60 and 120, ... seconds
        bench = Bench(fraction)
        bench.registration.start(0.0)
        for upper in (60, 120, 240, 480, 960, 1800, 1800):
            bench.sent()
            bench.fail()
            event = bench.event()
            assert (event.status, event.error) == (None, None)
            assert bench.due() == pytest.approx(upper * (0.5 + fraction / 2))
            assert event.retry_at == bench.registration.next_timer()
            bench.go(bench.due())
        bench.sent()
        bench.answer(200, ("Expires", "3600"))
        bench.event()
        bench.go(bench.due())
        bench.sent()
        bench.fail()
        assert bench.due() == pytest.approx(60 * (0.5 + fraction / 2))  # from the beginning

    def test_transport_errors_say_what_happened(self) -> None:
        bench = Bench()
        bench.register()
        bench.go(bench.due())
        bench.sent()
        error = TransportError("refused")
        bench.fail(error)
        event = bench.event()
        assert event.error is error
        assert event.bound_until == 3600.0
        bench.go(bench.due())
        bench.sent()
        bench.now = 4000.0
        bench.fail(error)
        assert bench.event().bound_until is None

    @pytest.mark.parametrize(("given", "delay"), [("7", 7.35), ("120 (busy)", 126.0), ("999999", 3780.0)])
    def test_retry_after(self, given: str, delay: float) -> None:
        bench = Bench(0.5)
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(503, ("Retry-After", given))
        assert bench.event().status == 503
        assert bench.due() == pytest.approx(delay)

    def test_retry_after_that_cannot_be_read(self) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(503, ("Retry-After", "soon"))
        assert bench.due() == 30.0

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 501, 603])
    def test_what_no_other_attempt_betters(self, status: int) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(status)
        event = bench.event()
        assert (event.status, event.retry_at) == (status, None)
        assert bench.registration.next_timer() == NEVER
        bench.registration.start(0.0)
        assert bench.sent().method == "REGISTER"

    @pytest.mark.parametrize("status", [302, 408, 480, 500, 503])
    def test_what_another_may(self, status: int) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(status)
        assert bench.event().retry_at == 30.0

    def test_provisional_late_and_foreign_responses_do_nothing(self) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        request = bench.sent()
        bench.answer(100)
        bench.feed(request.create_response(500, headers=[("Warning", "x")]).copy())
        bench.registration.take_events()
        bench.answer(200)
        bench.fail()
        other = Bench()
        other.registration.receive(
            ResponseReceived(None, request.create_response(200), bench.order.sender),  # type: ignore[union-attr,arg-type]
            0.0,
        )
        other.registration.receive(RequestTimedOut(None, "not ours"), 0.0)  # type: ignore[arg-type]
        other.registration.receive(ResponseReceived(None, request.create_response(200), 1), 0.0)  # type: ignore[arg-type]
        assert bench.registration.take_events() == other.registration.take_events() == []
        assert bench.registration.state == WAITING

    def test_the_formula(self) -> None:
        assert back_off_delay(0, 30, 1800, 0.5) == 0
        assert back_off_delay(3, 30, 1800, 0.0) == 120
        assert back_off_delay(3, 30, 1800, 1.0) == 240
        assert back_off_delay(10_000, 30, 1800, 1.0) == 1800


class TestStop:
    CONTACT = "<sip:alice@192.0.2.1:5062>"

    def test_removes_the_binding(self) -> None:
        bench = Bench()
        bench.register()
        bench.registration.stop(0.0)
        request = bench.sent()
        assert (request.expires, request.headers.get("Contact"), request.cseq.number) == (0, self.CONTACT, 2)
        bench.answer(200)
        assert bench.event() == Unregistered(bench.registration, True)
        assert bench.registration.next_timer() == NEVER
        assert bench.registration.binding is None

    def test_removes_all_bindings(self) -> None:
        bench = Bench()
        bench.registration.stop(0.0, remove_all=True)
        request = bench.sent()
        assert (request.expires, request.headers.get("Contact")) == (0, "*")
        bench.answer(200)
        assert bench.event().removed

    def test_without_an_answer(self) -> None:
        bench = Bench()
        bench.register()
        bench.registration.stop(0.0)
        bench.sent()
        bench.fail()
        assert bench.event() == Unregistered(bench.registration, False)

    def test_while_a_register_is_under_way(self) -> None:
        bench = Bench()
        bench.registration.start(0.0)
        bench.sent()
        bench.registration.stop(0.0)
        assert bench.nothing_sent()
        bench.answer(200, ("Contact", f"{self.CONTACT};expires=60"))
        assert bench.sent().expires == 0
        bench.registration.start(0.0)
        assert bench.nothing_sent()
        bench.answer(200)
        assert bench.sent().expires == 3600
        bench.answer(200)
        assert isinstance(bench.event(), Registered)

    def test_of_nothing(self) -> None:
        bench = Bench()
        bench.registration.stop(0.0)
        assert bench.nothing_sent()
        assert bench.registration.take_events() == []


class TestFlow:
    def test_a_settled_flow_is_replaced_at_once(self) -> None:
        bench = Bench()
        bench.register()
        bench.now = 30.0
        bench.registration.flow_lost(bench.now)
        assert not bench.registration.is_registered
        assert bench.sent().expires == 3600

    def test_a_young_one_after_a_while(self) -> None:
        bench = Bench()
        bench.register()
        bench.now = 29.0
        bench.registration.flow_lost(bench.now)
        assert bench.nothing_sent()
        assert bench.event().retry_at == 59.0
        bench.registration.flow_lost(bench.now)
        assert bench.registration.take_events() == []

    def test_a_refresh_does_not_make_a_flow_younger(self) -> None:
        bench = Bench()
        bench.register()
        bench.go(bench.due())
        bench.sent()
        bench.answer(200)
        bench.event()
        bench.registration.flow_lost(bench.now + 1)
        assert bench.sent().expires == 3600

    def test_a_set_of_flows(self) -> None:
        proxies = [address("sip:a.example.com;lr"), address("sip:b.example.com;lr")]
        flows = RegistrationSet(replace(SETTINGS, instance=INSTANCE), proxies, Fixed())
        flows.start(0.0)
        first, second = (order for order in flows.take_orders() if isinstance(order, SendRequest))
        assert [order.request.contacts[0].params.get("reg-id") for order in (first, second)] == ["1", "2"]
        assert [order.request.headers.get("Route") for order in (first, second)] == [f"<{p.uri}>" for p in proxies]
        assert first.request.call_id != second.request.call_id
        assert not flows.owns(first.request)

        flows.receive(RequestTimedOut(None, first.sender), 0.0)  # type: ignore[arg-type]
        assert flows.next_timer() == 30.0  # no flow is up: the lower base
        ok = second.request.create_response(200)
        flows.receive(ResponseReceived(None, ok, second.sender), 0.0)  # type: ignore[arg-type]
        assert [type(event) for event in flows.take_events()] == [RegistrationFailed, Registered]
        flows.handle_timers(30.0)
        (again,) = flows.take_orders()
        assert isinstance(again, SendRequest)
        flows.receive(RequestTimedOut(None, again.sender), 30.0)  # type: ignore[arg-type]
        assert flows.next_timer() == 30.0 + 180.0  # another is up: 90 * 2 ** 2 / 2
        flows.stop(40.0)
        assert len(flows.take_orders()) == 2

    def test_a_set_needs_an_instance(self) -> None:
        with pytest.raises(LocalProtocolError):
            RegistrationSet(SETTINGS, [address("sip:a.example.com;lr")], Fixed())
        with pytest.raises(LocalProtocolError):
            RegistrationSet(replace(SETTINGS, instance=INSTANCE), [], Fixed())


class TestAuthentication:
    def bench(self, password: str = "secret") -> Bench:
        return Bench(authenticator=DigestClient({"r": Login("alice", password)}.get, Fixed()))

    def test_a_challenge_a_stale_nonce_and_the_next_refresh(self) -> None:
        bench = self.bench()
        bench.registration.start(0.0)
        bench.sent()
        bench.answer(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n1", qop="auth"'))
        second = bench.sent()
        assert second.cseq.number == 2
        bench.answer(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n2", qop="auth", stale=true'))
        third = bench.sent()
        assert third.cseq.number == 3
        assert len(third.headers.get_all("Authorization")) == 1
        bench.answer(200)
        assert isinstance(bench.event(), Registered)
        bench.go(bench.due())
        refresh = bench.sent()
        assert "nc=00000002" in (refresh.headers.get("Authorization") or "")
        assert refresh.cseq.number == 4

    def test_a_wrong_password_ends_it(self) -> None:
        bench = self.bench()
        bench.registration.start(0.0)
        bench.sent()
        for nonce in ("n1", "n2"):
            bench.answer(401, ("WWW-Authenticate", f'Digest realm="r", nonce="{nonce}"'))
            if nonce == "n1":
                bench.sent()
        event = bench.event()
        assert (event.status, event.retry_at) == (401, None)

    def test_ever_new_realms(self) -> None:
        bench = Bench(authenticator=DigestClient(lambda realm: Login("alice", "x"), Fixed()))
        bench.registration.start(0.0)
        for n in range(5):
            bench.sent()
            bench.answer(401, ("WWW-Authenticate", f'Digest realm="r{n}", nonce="n"'))
        assert bench.event().status == 401

    def test_a_response_to_an_earlier_attempt(self) -> None:
        bench = self.bench()
        bench.registration.start(0.0)
        first = bench.sent()
        bench.answer(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n1"'))
        bench.sent()
        bench.feed(first.create_response(403))
        assert bench.registration.take_events() == []


@given(st.lists(st.sampled_from(["start", "stop", "clear", "200", "423", "403", "503", "timeout", "flow", "time"])))
def test_one_request_at_a_time_and_no_state_without_a_way_out(steps: list[str]) -> None:
    bench = Bench()
    registration = bench.registration
    under_way = False
    started = False
    for step in steps:
        bench.now += 1
        if step == "start":
            registration.start(bench.now)
            started = True
        elif step == "stop":
            registration.stop(bench.now)
        elif step == "clear":
            registration.stop(bench.now, remove_all=True)
        elif step == "flow":
            registration.flow_lost(bench.now)
        elif step == "time":
            bench.go(2000.0)
        elif under_way:
            under_way = False
            if step == "timeout":
                bench.fail()
            else:
                bench.answer(int(step), ("Min-Expires", "7200"))
        orders = registration.take_orders()
        if orders:
            assert not under_way
            assert len(orders) == 1
            assert isinstance(orders[0], SendRequest)
            bench.order = orders[0]
            under_way = True
        waits = registration.next_timer() != NEVER
        assert waits == (registration.state in (REGISTERED, WAITING))
        assert under_way == (registration.state in (REGISTERING, REFRESHING, STOPPING, REMOVING, RESTARTING))
        assert started or registration.state in (IDLE, REMOVING)


class Registrar:
    """A registrar for the pump: digest, a minimum, one binding; the node's user agent hands it the requests."""

    def __init__(self, pump: Pump) -> None:
        self.node = pump.node("registrar", allow=("REGISTER",), supported=("path", "gruu"))
        self.node.on_event = self.serve
        self.digest = DigestServer(
            "r",
            b"k" * 32,
            self.node.agent.identifiers,
            lambda: pump.now,
            settings=DigestServerSettings(nonce_lifetime=200),
        )
        self.bound: list[tuple[float, int]] = []

    def lookup(self, claim: Claim) -> str | None:
        return ha1("alice", "r", "secret") if claim.username == "alice" else None

    def serve(self, event: object, now: float) -> None:
        assert isinstance(event, IncomingRequest)
        request = event.request
        outcome = self.digest.check(request, self.lookup)
        agent = self.node.agent
        if not isinstance(outcome, Accepted):
            rejection = self.digest.reject(request, outcome)
            headers = [(name, value) for name, value in rejection.headers if name == "WWW-Authenticate"]
            agent.respond(event, rejection.status, headers=headers)
        elif request.expires and request.expires < 300:
            agent.respond(event, 423, headers=[("Min-Expires", "300")])
        else:
            expires = request.expires or 0
            self.bound.append((now, expires))
            contact = str(request.contacts[0].with_param("expires", str(expires)))
            agent.respond(event, 200, headers=[("Contact", contact)] if expires else [])


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_from_end_to_end_through_423_and_stale_nonces(loss: float) -> None:
    pump = Pump(7, loss=loss, jitter=0.05)
    registrar = Registrar(pump)
    alice = pump.node("alice")
    ids = alice.agent.identifiers
    settings = RegistrationSettings(
        parse_uri("sip:registrar.example"), address("sip:alice@registrar.example"), alice.agent.contact, expires=60
    )
    login = DigestClient({"r": Login("alice", "secret")}.get, ids)
    registration = Registration(settings, ids, authenticator=login)
    alice.agent.attach(registration)
    registration.start(0.0)
    pump.run(2000.0)
    assert registration.is_registered
    assert {expires for _, expires in registrar.bound} == {300}
    times = [at for at, _ in registrar.bound]
    assert all(later - earlier < 300 for earlier, later in pairwise(times))  # never unbound
    assert len(alice.heard(RegistrationFailed)) == 0
    if loss == 0.0:
        # 401, 423; then each refresh after 240 s finds its nonce of 200 s stale
        assert len(pump.sent("registrar", 401)) == len(times)
        assert len(pump.sent("alice", "REGISTER")) == 3 + 2 * (len(times) - 1)
    registration.stop(pump.now)
    pump.run()
    assert alice.last(Unregistered).removed
    assert registrar.bound[-1][1] == 0
    assert alice.agent.idle
