"""Publication: the publisher, the compositor's table, and the two of them together."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sip.pump import Pump

from switchroom.sip.digest import DigestClient, Login
from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.headers import SIP_ETAG, Address, Event
from switchroom.sip.layer import RequestFailed, RequestTimedOut, ResponseReceived
from switchroom.sip.message import Request, Response
from switchroom.sip.orders import SendRequest
from switchroom.sip.publication import (
    AGAIN,
    BACK_OFF,
    BRIEF,
    DUE,
    FAILURE,
    GIVE_UP,
    GONE,
    IDLE,
    INPUT_NAMES,
    KEEP,
    LATER,
    MISMATCH,
    NOTHING,
    PUBLISH,
    PUBLISHED,
    PUBLISHING,
    REFRESH,
    REFRESHING,
    REFUSAL,
    REMOVE,
    REMOVING,
    RESTARTING,
    SEND,
    STATE_NAMES,
    STOP,
    STOPPING,
    SUCCESS,
    TABLE,
    WAITING,
    CompositorSettings,
    EventStateCompositor,
    Publication,
    PublicationFailed,
    PublicationSettings,
    Published,
    StateChanged,
    Unpublished,
)
from switchroom.sip.session_events import IncomingRequest
from switchroom.sip.timers import NEVER
from switchroom.sip.uri import parse_uri

PIDF = "application/pidf+xml"


def address(text: str) -> Address:
    return Address("", parse_uri(text))


SETTINGS = PublicationSettings(
    parse_uri("sip:alice@example.com"), Event("presence"), address("sip:alice@example.com"), expires=3600
)


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
    """A publisher, with the compositor played by the test."""

    def __init__(self, authenticator: Any = None, **changes: Any) -> None:
        self.publication = Publication(replace(SETTINGS, **changes), Counter(), authenticator=authenticator)
        self.now = 0.0
        self.order: SendRequest | None = None

    def publish(self, body: bytes = b"open") -> None:
        self.publication.publish(self.now, body, PIDF)

    def sent(self) -> Request:
        (order,) = self.publication.take_orders()
        assert isinstance(order, SendRequest)
        self.order = order
        return order.request

    def answer(self, status: int, *headers: tuple[str, str]) -> None:
        assert self.order is not None
        response = self.order.request.create_response(status, headers=headers)
        self.publication.receive(ResponseReceived(None, response, self.order.sender), self.now)  # type: ignore[arg-type]

    def ok(self, tag: str = "e1", expires: int = 3600) -> None:
        self.answer(200, ("SIP-ETag", tag), ("Expires", str(expires)))

    def fail(self, error: TransportError | None = None) -> None:
        assert self.order is not None
        event: RequestFailed | RequestTimedOut
        if error is not None:
            event = RequestFailed(None, error, self.order.sender)  # type: ignore[arg-type]
        else:
            event = RequestTimedOut(None, self.order.sender)  # type: ignore[arg-type]
        self.publication.receive(event, self.now)

    def event(self) -> Any:
        (event,) = self.publication.take_events()
        return event

    def quiet(self) -> bool:
        return self.publication.take_orders() == [] and self.publication.take_events() == []

    def published(self) -> None:
        self.publish()
        self.sent()
        self.ok()
        assert isinstance(self.event(), Published)

    def due(self) -> float:
        return self.publication.next_timer() - self.now

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.publication.handle_timers(self.now)


# RFC 3903 §4 by hand; what is not here changes and does nothing.
EXPECTED = {
    (IDLE, PUBLISH): (PUBLISHING, SEND),
    (PUBLISHING, PUBLISH): (PUBLISHING, LATER),
    (PUBLISHING, STOP): (STOPPING, NOTHING),
    (PUBLISHING, SUCCESS): (PUBLISHED, KEEP),
    (PUBLISHING, BRIEF): (PUBLISHING, SEND),
    (PUBLISHING, MISMATCH): (PUBLISHING, AGAIN),
    (PUBLISHING, FAILURE): (WAITING, BACK_OFF),
    (PUBLISHING, REFUSAL): (IDLE, GIVE_UP),
    (PUBLISHED, PUBLISH): (PUBLISHING, SEND),
    (PUBLISHED, STOP): (REMOVING, REMOVE),
    (PUBLISHED, DUE): (REFRESHING, REFRESH),
    (REFRESHING, PUBLISH): (REFRESHING, LATER),
    (REFRESHING, STOP): (STOPPING, NOTHING),
    (REFRESHING, SUCCESS): (PUBLISHED, KEEP),
    (REFRESHING, BRIEF): (REFRESHING, REFRESH),
    (REFRESHING, MISMATCH): (PUBLISHING, AGAIN),
    (REFRESHING, FAILURE): (WAITING, BACK_OFF),
    (REFRESHING, REFUSAL): (IDLE, GIVE_UP),
    (WAITING, STOP): (REMOVING, REMOVE),
    (WAITING, DUE): (PUBLISHING, SEND),
    (STOPPING, PUBLISH): (PUBLISHING, LATER),
    (STOPPING, SUCCESS): (REMOVING, REMOVE),
    (STOPPING, BRIEF): (REMOVING, REMOVE),
    (STOPPING, MISMATCH): (IDLE, GONE),
    (STOPPING, FAILURE): (REMOVING, REMOVE),
    (STOPPING, REFUSAL): (IDLE, GONE),
    (REMOVING, PUBLISH): (RESTARTING, NOTHING),
    (RESTARTING, STOP): (REMOVING, NOTHING),
    **{(REMOVING, outcome): (IDLE, GONE) for outcome in (SUCCESS, BRIEF, MISMATCH, FAILURE, REFUSAL)},
    **{(RESTARTING, outcome): (PUBLISHING, AGAIN) for outcome in (SUCCESS, BRIEF, MISMATCH, FAILURE, REFUSAL)},
}


@pytest.mark.parametrize(("state", "input_"), list(product(range(len(STATE_NAMES)), range(len(INPUT_NAMES)))))
def test_the_table(state: int, input_: int) -> None:
    assert TABLE[state, input_] == EXPECTED.get((state, input_), (state, NOTHING))


class TestPublisher:
    def test_initial(self) -> None:
        bench = Bench(routes=(address("sip:p.example.com;lr"),), headers=(("Priority", "normal"),))
        bench.publish()
        request = bench.sent()
        assert (request.method, request.uri_text, request.expires) == ("PUBLISH", "sip:alice@example.com", 3600)
        assert request.headers.get("Event") == "presence"
        assert request.headers.get("SIP-If-Match") is None
        assert request.headers.get("Route") == "<sip:p.example.com;lr>"
        assert request.headers.get("Priority") == "normal"
        assert "Contact" not in request.headers
        assert (request.body, request.headers.get("Content-Type")) == (b"open", PIDF)
        bench.ok("e1", 600)
        assert bench.event() == Published(bench.publication, "e1", 600)
        assert bench.due() == 480.0

    def test_a_2xx_that_does_not_say_how_long(self) -> None:
        bench = Bench()
        bench.publish()
        bench.sent()
        bench.answer(200, ("SIP-ETag", "e1"))
        assert bench.event().expires == 3600

    def test_refresh(self) -> None:
        bench = Bench()
        bench.published()
        bench.go(2880.0)
        request = bench.sent()
        assert (request.body, request.headers.get("SIP-If-Match"), request.expires) == (b"", "e1", 3600)
        assert "Content-Type" not in request.headers
        bench.ok("e2")
        assert bench.event().entity_tag == "e2"
        bench.go(2880.0)
        assert bench.sent().headers.get("SIP-If-Match") == "e2"

    def test_modify(self) -> None:
        bench = Bench()
        bench.published()
        bench.publish(b"closed")
        request = bench.sent()
        assert (request.body, request.headers.get("SIP-If-Match")) == (b"closed", "e1")
        assert request.cseq.number == 2
        assert bench.publication.next_timer() == NEVER

    def test_changes_while_one_is_under_way(self) -> None:
        bench = Bench()
        bench.publish(b"1")
        bench.sent()
        bench.publish(b"2")
        bench.publish(b"3")
        assert bench.quiet()
        bench.ok()
        request = bench.sent()
        assert (request.body, request.headers.get("SIP-If-Match")) == (b"3", "e1")

    def test_remove(self) -> None:
        bench = Bench()
        bench.published()
        bench.publication.stop(0.0)
        request = bench.sent()
        assert (request.expires, request.body, request.headers.get("SIP-If-Match")) == (0, b"", "e1")
        bench.answer(200)
        assert bench.event() == Unpublished(bench.publication, True)
        assert bench.publication.entity_tag is None
        assert bench.publication.next_timer() == NEVER

    def test_remove_without_an_answer(self) -> None:
        bench = Bench()
        bench.published()
        bench.publication.stop(0.0)
        bench.sent()
        bench.fail()
        assert bench.event() == Unpublished(bench.publication, False)

    def test_stop_while_one_is_under_way(self) -> None:
        bench = Bench()
        bench.publish()
        bench.sent()
        bench.publication.stop(0.0)
        assert bench.quiet()
        bench.ok()
        assert bench.sent().expires == 0

    def test_stop_when_nothing_was_published(self) -> None:
        bench = Bench()
        bench.publish()
        bench.sent()
        bench.fail()
        assert bench.event().retry_at == 30.0
        bench.publication.stop(0.0)
        assert bench.event() == Unpublished(bench.publication, False)
        assert bench.quiet()
        assert bench.publication.next_timer() == NEVER

    def test_publish_again_while_it_is_removed(self) -> None:
        bench = Bench()
        bench.published()
        bench.publication.stop(0.0)
        bench.sent()
        bench.publish(b"back")
        assert bench.quiet()
        bench.answer(200)
        request = bench.sent()
        assert (request.body, request.headers.get("SIP-If-Match")) == (b"back", None)

    def test_an_empty_state(self) -> None:
        with pytest.raises(LocalProtocolError):
            Bench().publish(b"")


class TestFailure:
    @pytest.mark.parametrize("refresh", [True, False])
    def test_412_starts_anew(self, refresh: bool) -> None:
        bench = Bench()
        bench.published()
        if refresh:
            bench.go(2880.0)
        else:
            bench.publish(b"open")
        bench.sent()
        bench.answer(412)
        request = bench.sent()
        assert (request.body, request.headers.get("SIP-If-Match")) == (b"open", None)

    def test_412_to_an_initial_one(self) -> None:
        bench = Bench()
        bench.publish()
        bench.sent()
        bench.answer(412)
        event = bench.event()
        assert (event.status, event.retry_at) == (412, 30.0)

    def test_412_without_end(self) -> None:
        bench = Bench()
        bench.published()
        bench.publication._mismatches = 3
        bench.publish(b"open")
        bench.sent()
        bench.answer(412)
        assert bench.event().status == 412

    def test_423(self) -> None:
        bench = Bench(expires=60)
        bench.publish()
        assert bench.sent().expires == 60
        bench.answer(423, ("Min-Expires", "600"))
        request = bench.sent()
        assert (request.expires, request.body) == (600, b"open")
        bench.answer(423, ("Min-Expires", "600"))
        assert bench.event().retry_at is None

    @pytest.mark.parametrize(("minimum", "again"), [("86400", True), ("86401", False)])
    def test_423_with_a_minimum_that_is_too_long(self, minimum: str, again: bool) -> None:
        bench = Bench(expires=60)
        bench.publish()
        bench.sent()
        bench.answer(423, ("Min-Expires", minimum))
        if again:
            assert bench.sent().expires == 86_400
        else:
            assert bench.event().retry_at is None

    def test_423_to_a_refresh(self) -> None:
        bench = Bench(expires=60)
        bench.publish()
        bench.sent()
        bench.ok("e1", 60)
        bench.event()
        bench.go(30.0)
        bench.sent()
        bench.answer(423, ("Min-Expires", "600"))
        request = bench.sent()
        assert (request.expires, request.body, request.headers.get("SIP-If-Match")) == (600, b"", "e1")

    def test_423_without_end(self) -> None:
        bench = Bench(expires=60)
        bench.publish()
        for minimum in (100, 200, 300, 400):
            bench.sent()
            bench.answer(423, ("Min-Expires", str(minimum)))
        assert bench.event().status == 423

    @pytest.mark.parametrize("status", [403, 404, 415, 489, 501])
    def test_refused(self, status: int) -> None:
        bench = Bench()
        bench.publish()
        bench.sent()
        bench.answer(status)
        event = bench.event()
        assert isinstance(event, PublicationFailed)
        assert (event.status, event.retry_at) == (status, None)
        bench.publish(b"again")
        assert bench.sent().headers.get("SIP-If-Match") is None

    def test_back_off_and_retry_after(self) -> None:
        bench = Bench()
        bench.published()
        bench.go(2880.0)
        bench.sent()
        error = TransportError("refused")
        bench.fail(error)
        assert bench.event().error is error
        assert bench.due() == 30.0
        bench.publish(b"newer")
        assert bench.quiet()
        bench.go(30.0)
        request = bench.sent()
        assert (request.body, request.headers.get("SIP-If-Match")) == (b"newer", "e1")
        bench.answer(503, ("Retry-After", "7"))
        assert bench.event().status == 503
        assert bench.due() == 7.0
        bench.go(7.0)
        bench.sent()
        bench.fail()
        assert bench.due() == 120.0

    @pytest.mark.parametrize("headers", [(), (("SIP-ETag", "a b"),)])
    def test_a_2xx_without_a_tag(self, headers: tuple[tuple[str, str], ...]) -> None:
        bench = Bench()
        bench.publish()
        bench.sent()
        bench.answer(200, *headers)
        assert bench.event().error is not None

    def test_a_challenge(self) -> None:
        bench = Bench(DigestClient({"r": Login("alice", "x")}.get, Counter()))
        bench.publish()
        bench.sent()
        bench.answer(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth-int"'))
        second = bench.sent()
        assert second.cseq.number == 2
        assert "Authorization" in second.headers
        bench.ok()
        assert isinstance(bench.event(), Published)


@given(
    st.lists(st.sampled_from(["publish", "stop", "200", "412", "423", "403", "503", "timeout", "time"]), max_size=20)
)
def test_one_request_at_a_time_and_no_state_without_a_way_out(steps: list[str]) -> None:
    bench = Bench()
    under_way = False
    for step in steps:
        bench.now += 1
        if step == "publish":
            bench.publish()
        elif step == "stop":
            bench.publication.stop(bench.now)
        elif step == "time":
            bench.go(3600.0)
        elif under_way:
            under_way = False
            if step == "timeout":
                bench.fail()
            elif step == "200":
                bench.ok()
            else:
                bench.answer(int(step), ("Min-Expires", "7200"))
        for order in bench.publication.take_orders():
            assert not under_way
            assert isinstance(order, SendRequest)
            bench.order = order
            under_way = True
        state = bench.publication.state
        assert (bench.publication.next_timer() != NEVER) == (state in (PUBLISHED, WAITING))
        assert under_way == (state in (PUBLISHING, REFRESHING, STOPPING, REMOVING, RESTARTING))


class Composing:
    """A compositor, spoken to by hand."""

    def __init__(self, **changes: Any) -> None:
        settings = CompositorSettings({"presence": frozenset((PIDF,)), "dialog": frozenset()}, **changes)
        self.compositor = EventStateCompositor(settings, Counter())
        self.now = 0.0

    def publish(
        self,
        body: bytes = b"",
        *,
        match: str | None = None,
        expires: str | None = None,
        event: str | None = "presence",
        resource: str = "alice",
        content_type: str | None = PIDF,
    ) -> Response:
        headers = []
        for name, value in (("Event", event), ("SIP-If-Match", match), ("Expires", expires)):
            if value is not None:
                headers.append((name, value))
        request = Request.build(
            "PUBLISH",
            f"sip:{resource}@example.com",
            from_="<sip:alice@example.com>;tag=a",
            to="<sip:alice@example.com>",
            call_id="1",
            cseq=1,
            headers=headers,
            body=body,
            content_type=content_type if body else None,
        )
        return self.compositor.receive(request, self.now)

    def tag(self, *args: Any, **more: Any) -> str:
        response = self.publish(*args, **more)
        assert response.status == 200
        tag = response.headers.one(SIP_ETAG)
        assert tag is not None
        return tag

    def bodies(self) -> list[list[bytes]]:
        """The states after each change since the last look."""
        events = self.compositor.take_events()
        assert all(isinstance(event, StateChanged) for event in events)
        return [[state.body for state in event.states] for event in events]


class TestCompositor:
    def test_initial_refresh_modify_remove(self) -> None:
        scene = Composing()
        one = scene.tag(b"open")
        assert scene.bodies() == [[b"open"]]
        two = scene.tag(match=one)
        assert scene.bodies() == []
        three = scene.tag(b"closed", match=two)
        assert len({one, two, three}) == 3
        # the body as of now: states are the same objects
        assert scene.bodies() == [[b"closed"]]
        assert scene.publish(match=one).status == 412
        response = scene.publish(match=three, expires="0")
        assert (response.status, response.expires) == (200, 0)
        assert scene.bodies() == [[]]
        assert len(scene.compositor) == 0
        assert scene.compositor.next_timer() == NEVER

    def test_two_devices(self) -> None:
        scene = Composing()
        one = scene.tag(b"1")
        scene.tag(b"2")
        assert [state.body for state in scene.compositor.states("sip:alice@example.com", "presence")] == [b"1", b"2"]
        scene.tag(match=one, expires="0")
        assert scene.bodies()[-1] == [b"2"]

    def test_expiry(self) -> None:
        scene = Composing()
        tag = scene.tag(b"open", expires="100")
        scene.bodies()
        scene.compositor.handle_timers(99.9)
        assert scene.bodies() == []
        scene.now = 50.0
        tag = scene.tag(match=tag, expires="100")
        scene.compositor.handle_timers(149.9)
        assert scene.bodies() == []
        scene.compositor.handle_timers(150.0)
        assert scene.bodies() == [[]]
        assert scene.publish(match=tag).status == 412

    @pytest.mark.parametrize(("asked", "granted"), [(None, 3600), ("60", 60), ("7200", 3600)])
    def test_how_long(self, asked: str | None, granted: int) -> None:
        assert Composing().publish(b"open", expires=asked).expires == granted

    def test_too_brief(self) -> None:
        response = Composing().publish(b"open", expires="59")
        assert (response.status, response.headers.get("Min-Expires")) == (423, "60")

    @pytest.mark.parametrize("event", [None, "winfo"])
    def test_an_event_that_is_not_taken(self, event: str | None) -> None:
        response = Composing().publish(b"open", event=event)
        assert (response.status, response.headers.get("Allow-Events")) == (489, "presence, dialog")

    @pytest.mark.parametrize(
        ("more", "status"),
        [
            ({"event": ".."}, 400),
            ({"match": "a b"}, 400),
            ({"body": b""}, 400),
            ({"body": b"", "expires": "0"}, 400),
            ({"match": "unknown"}, 412),
            ({"content_type": "text/plain"}, 415),
            ({"content_type": None}, 415),
            ({"content_type": "text/plain", "event": "dialog"}, 200),
            ({"expires": "0"}, 200),
        ],
    )
    def test_what_each_mistake_gets(self, more: dict[str, Any], status: int) -> None:
        scene = Composing()
        assert scene.publish(**{"body": b"open", **more}).status == status
        assert len(scene.compositor) == (1 if more.get("event") == "dialog" else 0)

    def test_415_names_what_is_taken(self) -> None:
        assert Composing().publish(b"x", content_type="text/plain").headers.get("Accept") == PIDF

    def test_a_tag_of_somebody_else(self) -> None:
        scene = Composing()
        tag = scene.tag(b"open")
        assert scene.publish(match=tag, resource="bob").status == 412
        assert scene.publish(match=tag, event="dialog").status == 412
        assert scene.publish(match=tag).status == 200

    def test_bounds(self) -> None:
        scene = Composing(max_publications=3, max_publications_per_resource=2)
        tags = [scene.tag(b"1"), scene.tag(b"2")]
        response = scene.publish(b"3")
        assert (response.status, response.headers.get("Retry-After")) == (503, "60")
        scene.tag(b"3", resource="bob")
        assert scene.publish(b"4", resource="carol").status == 503
        assert scene.publish(b"5", match=tags[0]).status == 200

    def test_resources_by_another_name(self) -> None:
        compositor = EventStateCompositor(
            CompositorSettings({"presence": frozenset()}), Counter(), name=lambda request: str(request.to.uri)
        )
        request = Request.build(
            "PUBLISH", "sip:example.com", from_="<sip:a@b>;tag=1", to="<sip:c@d>", call_id="1", cseq=1,
            headers=[("Event", "presence")], body=b"x", content_type=PIDF,
        )  # fmt: skip
        assert compositor.receive(request, 0.0).status == 200
        assert compositor.take_events()[0].resource == "sip:c@d"

    @given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([None, "0", "60"])), max_size=30))
    def test_the_table_and_its_index_agree(self, steps: list[tuple[int, bool, str | None]]) -> None:
        scene = Composing()
        tags: list[str] = []
        for which, body, expires in steps:
            scene.now += 25
            scene.compositor.handle_timers(scene.now)
            match = tags[-which] if 0 < which <= len(tags) else None
            response = scene.publish(b"x" if body else b"", match=match, expires=expires)
            tag = response.headers.one(SIP_ETAG)
            if tag is not None:
                tags.append(tag)
            assert len(scene.compositor) == len(scene.compositor.states("sip:alice@example.com", "presence"))
        scene.compositor.handle_timers(scene.now + 3600)
        assert len(scene.compositor) == 0
        assert scene.compositor._by_resource == {}


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.0), (2, 0.3)])
def test_both_from_end_to_end(seed: int, loss: float) -> None:
    pump = Pump(seed, loss=loss, jitter=0.1)
    server = pump.node("server", allow=("PUBLISH",))
    compositor = EventStateCompositor(
        CompositorSettings({"presence": frozenset()}, min_expires=100), server.agent.identifiers
    )

    def serve(event: object, now: float) -> None:
        assert isinstance(event, IncomingRequest)
        compositor.handle_timers(now)
        response = compositor.receive(event.request, now)
        names = ("SIP-ETag", "Expires", "Min-Expires")
        server.agent.respond(
            event, response.status, headers=[(name, value) for name, value in response.headers if name in names]
        )

    server.on_event = serve
    alice = pump.node("alice")
    publication = Publication(
        PublicationSettings(server.aor.uri, Event("presence"), alice.aor, expires=60), alice.agent.identifiers
    )
    alice.agent.attach(publication)
    publication.publish(0.0, b"open", PIDF)
    pump.run(500.0)
    (stored,) = compositor.states(str(server.aor.uri), "presence")
    assert stored.body == b"open"
    publication.publish(pump.now, b"closed", PIDF)
    pump.run(540.0)
    (stored,) = compositor.states(str(server.aor.uri), "presence")
    assert stored.body == b"closed"
    compositor._drop(stored)  # the server forgot: a restart
    compositor._clocks.discard(stored)
    pump.run(700.0)
    (stored,) = compositor.states(str(server.aor.uri), "presence")
    assert stored.body == b"closed"
    assert {message.status for _, message in pump.sent("server", 412)} == {412}  # type: ignore[union-attr]
    publication.stop(pump.now)
    pump.run()
    assert len(compositor) == 0
    assert alice.last(Unpublished).removed
    assert alice.next_timer() == NEVER
