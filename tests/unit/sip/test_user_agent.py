"""The user agent core: RFC 3261 §8, and what it does for its sessions and usages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.sip.calls import ANSWER, NO_TIMER, OFFER, call, ends, pair, talk
from tests.unit.sip.pump import Node, Pump, address

from switchroom.sip.client_request import ClientRequest
from switchroom.sip.digest import DigestClient, Login
from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.headers import Address
from switchroom.sip.identifiers import Identifiers
from switchroom.sip.layer import (
    Event,
    KeepAlive,
    RequestFailed,
    RequestReceived,
    RequestTimedOut,
    ResponseFailed,
    ResponseReceived,
)
from switchroom.sip.message import Request, Response
from switchroom.sip.orders import CancelRequest, Order, SendAck, SendRequest, SendResponse
from switchroom.sip.session_events import (
    Carries,
    EndReason,
    IncomingOffer,
    IncomingRequest,
    IncomingSession,
    ModificationCompleted,
    RequestCompleted,
    SessionAnswered,
    SessionConfirmed,
    SessionEnded,
    SessionProgress,
)
from switchroom.sip.timers import NEVER
from switchroom.sip.uri import parse_uri
from switchroom.sip.user_agent import UsageSender

COUNT = iter(range(10**6))


def ask(
    pump: Pump,
    bob: Node,
    method: str = "OPTIONS",
    *,
    uri: str = "sip:bob@bob.example",
    to: str = "<sip:bob@bob.example>",
    call_id: str | None = None,
    branch: str | None = None,
    body: bytes = b"",
    content_type: str | None = None,
    cseq: int = 1,
    contact: str = "<sip:x@x.example>",
    **headers: str,
) -> Response | None:
    """Send a request by hand; the one final response to it, or None."""
    number = next(COUNT)
    lines = [("Via", f"SIP/2.0/UDP x.example;branch={branch or f'z9hG4bKask{number}'}"), ("Contact", contact)]
    lines += [(name.replace("_", "-"), value) for name, value in headers.items()]
    request = Request.build(
        method, uri, from_="<sip:x@x.example>;tag=x", to=to, call_id=call_id or f"ask{number}", cseq=cseq, body=body,
        content_type=content_type, headers=lines,
    )  # fmt: skip
    before = len(pump.wire)
    pump.inject("x.example", "bob.example", request)
    pump.run(pump.now + 0.05)
    answers = [
        message
        for _, source, target, message in pump.wire[before:]
        if isinstance(message, Response) and target == "x.example" and message.status >= 200
    ]
    return answers[0] if answers else None


def alone(**settings: object) -> tuple[Pump, Node]:
    settings.setdefault("session_timer", NO_TIMER)
    pump = Pump()
    return pump, pump.node("bob", **settings)


class TestChecks:
    """§8.2.1 to §8.2.3, in that order."""

    def test_what_passes_is_the_applications(self) -> None:
        pump, bob = alone()
        assert ask(pump, bob) is None
        incoming = bob.last(IncomingRequest)
        assert incoming.session is None
        bob.agent.respond(incoming, 200, headers=[("Accept", "application/sdp")], body=b"x", content_type="text/plain")
        pump.run(pump.now + 0.05)
        ((_, response),) = pump.sent("bob", 200)
        assert response.headers.get("Accept") == "application/sdp"
        assert response.to.tag
        assert (response.body, str(response.content_type)) == (b"x", "text/plain")

    def test_only_an_invite_gets_provisional_responses(self) -> None:
        """RFC 4320 §4.1: no other request gets more than a 100."""
        pump, bob = alone()
        assert ask(pump, bob) is None
        with pytest.raises(LocalProtocolError):
            bob.agent.respond(bob.last(IncomingRequest), 183)
        bob.agent.respond(bob.last(IncomingRequest), 100)
        bob.agent.respond(bob.last(IncomingRequest), 200)

    @pytest.mark.parametrize(
        ("method", "status"), [("REGISTER", 405), ("PUBLISH", 405), ("FROBNICATE", 501), ("options", 501)]
    )
    def test_methods(self, method: str, status: int) -> None:
        """§8.2.1, §21.5.2: methods are case-sensitive."""
        pump, bob = alone(name="Switchroom")
        response = ask(pump, bob, method)
        assert response is not None
        assert response.status == status
        assert "OPTIONS" in response.allow
        assert response.headers.get("Server") == "Switchroom"
        assert not bob.events

    @pytest.mark.parametrize(("uri", "status"), [("urn:service:sos", 416), ("tel:+15551234", None)])
    def test_schemes(self, uri: str, status: int | None) -> None:
        """§8.2.2.1."""
        pump, bob = alone()
        response = ask(pump, bob, uri=uri)
        assert (response.status if response else None) == status

    def test_extensions(self) -> None:
        """§8.2.2.3."""
        pump, bob = alone()
        response = ask(pump, bob, Require="100rel, foo, bar")
        assert response is not None
        assert response.status == 420
        assert response.headers.get("Unsupported") == "foo, bar"

    @pytest.mark.parametrize(
        "lines",
        [
            [("Contact", "<<<,")],
            [("Contact", "<sip:x@x.example>"), ("Route", "<<<,")],
            [("Contact", "<sip:x@x.example>"), ("Record-Route", "<<<,")],
            [("Contact", "<sip:x@x.example>"), ("Expires", "30"), ("Expires", "40")],
        ],
    )
    def test_an_invite_that_cannot_be_understood(self, lines: list[tuple[str, str]]) -> None:
        """400 at once, and nothing is left of it: no clock, and no error when the application answers."""
        pump, bob = alone()
        invite = Request.build(
            "INVITE", "sip:bob@bob.example", from_="<sip:x@x.example>;tag=x", to="<sip:bob@bob.example>", call_id="bad",
            cseq=1, headers=[("Via", "SIP/2.0/UDP x.example;branch=z9hG4bKbad"), *lines],
        )  # fmt: skip
        pump.inject("x.example", "bob.example", invite)
        pump.run(pump.now + 0.05)
        assert [response.status for _, response in pump.sent("bob", 400)] == [400]  # type: ignore[union-attr]
        assert not bob.events
        pump.run()
        pump.assert_clean()

    @pytest.mark.parametrize("method", ["INVITE", "UPDATE", "REFER", "SUBSCRIBE", "NOTIFY"])
    def test_a_target_refresh_request_with_a_malformed_contact(self, method: str) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        assert caller.leg is not None
        before = len(bob.events)
        request = caller.leg.dialog.create_request(method, headers=[("Contact", "<<<,")])
        alice.agent.send(request, pump.now) if method != "INVITE" else alice.agent.start(
            ClientRequest(request, alice.agent), pump.now
        )
        pump.run(pump.now + 0.05)
        assert pump.sent("bob", 400, method)
        assert len(bob.events) == before
        caller.update(pump.now, b"v=0 new")  # nothing of it is in the way
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.accept(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert alice.last(ModificationCompleted).carries is Carries.ANSWER
        assert not called.ended

    def test_merged(self) -> None:
        """§8.2.2.2: the same request over another path, outside dialogs only."""
        pump, bob = alone()
        assert ask(pump, bob, call_id="same", branch="z9hG4bKone") is None
        response = ask(pump, bob, call_id="same", branch="z9hG4bKtwo")
        assert response is not None
        assert response.status == 482
        assert ask(pump, bob, call_id="same", branch="z9hG4bKthree", cseq=2) is None

    @pytest.mark.parametrize(("method", "status"), [("BYE", 481), ("UPDATE", 481), ("PRACK", 481), ("CANCEL", 481)])
    def test_methods_that_need_a_dialog_or_transaction(self, method: str, status: int) -> None:
        pump, bob = alone()
        response = ask(pump, bob, method)
        assert response is not None
        assert response.status == status

    @pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE", "INFO"])
    def test_unknown_dialogs(self, method: str) -> None:
        """§12.2.2."""
        pump, bob = alone()
        response = ask(pump, bob, method, to="<sip:bob@bob.example>;tag=gone")
        assert response is not None
        assert response.status == 481
        assert not bob.events

    def test_ack_outside_a_dialog(self) -> None:
        pump, bob = alone()
        assert ask(pump, bob, "ACK", to="<sip:bob@bob.example>;tag=gone") is None
        assert not pump.wire

    @pytest.mark.parametrize(
        ("options", "status"),
        [
            ({"body": b"x", "content_type": "text/plain"}, 415),
            ({"body": b"x", "content_type": "text/plain", "Content_Disposition": "render;handling=optional"}, None),
            ({"body": OFFER, "content_type": "application/sdp"}, None),
            ({"body": OFFER, "content_type": "application/sdp", "Content_Encoding": "gzip"}, 415),
            ({"body": OFFER, "content_type": "application/sdp", "Content_Encoding": "Identity"}, None),
            ({"Accept": "text/plain"}, 406),
            ({"Accept": "text/plain, application/*;q=0.1"}, None),
            ({"body": b"x"}, None),
        ],
    )
    def test_content(self, options: dict[str, object], status: int | None) -> None:
        """§8.2.3, §21.4.7."""
        pump, bob = alone()
        response = ask(pump, bob, "INVITE", **options)  # type: ignore[arg-type]
        assert (response.status if response else None) == status
        assert len(bob.heard(IncomingSession)) == (status is None)
        if status == 415 and response is not None:
            assert "Accept" in response.headers or "Accept-Encoding" in response.headers

    @pytest.mark.parametrize(
        ("options", "status"),
        [
            ({"contact": "<tel:+15551234>"}, 400),  # §12.1.1: no way to answer
            ({"Session_Expires": "soon"}, 400),
            ({"Session_Expires": "60", "Supported": "timer"}, 422),  # RFC 4028 §9
            ({"Replaces": "nonsense"}, 400),
            ({"Replaces": "a;to-tag=b;from-tag=c", "Join": "a;to-tag=b;from-tag=c"}, 400),
            ({"Replaces": "a;to-tag=b;from-tag=c"}, 481),
            ({"Join": "a;to-tag=b;from-tag=c"}, 481),
        ],
    )
    def test_invites_that_never_reach_the_application(self, options: dict[str, str], status: int) -> None:
        pump, bob = alone()
        response = ask(pump, bob, "INVITE", **options)  # type: ignore[arg-type]
        assert response is not None
        assert response.status == status
        assert not bob.events
        pump.run()
        assert bob.agent.idle

    def test_malformed_headers_within_a_dialog(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        assert caller.dialog is not None
        request = caller.dialog.create_request("UPDATE", headers=[("Session-Expires", "soon")])
        alice.agent.send(request, pump.now)
        pump.run(pump.now + 0.05)
        assert pump.sent("bob", 400, "UPDATE")
        assert not bob.heard(SessionEnded)

    def test_a_malformed_ack_acknowledges_nothing(self) -> None:
        pump, alice, bob = pair()
        caller = call(pump, alice, bob, body=b"")
        bob.last(IncomingSession).session.answer(pump.now, OFFER)
        pump.run(pump.now + 0.05)
        assert caller.dialog is not None
        ack = caller.dialog.create_ack(caller.request, headers=[("Content-Type", "nonsense")], body=b"x")
        ack.headers.add("Via", "SIP/2.0/UDP alice.example;branch=z9hG4bKack")
        pump.inject("alice.example", "bob.example", ack)
        pump.run(pump.now + 0.05)
        assert not bob.heard(SessionConfirmed)
        caller.acknowledge(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert bob.last(SessionConfirmed).carries is Carries.ANSWER

    def test_too_many_pending(self) -> None:
        pump, bob = alone(max_pending_sessions=2, retry_after=7)
        assert ask(pump, bob, "INVITE") is None
        assert ask(pump, bob, "INVITE") is None
        response = ask(pump, bob, "INVITE")
        assert response is not None
        assert (response.status, response.headers.get("Retry-After")) == (503, "7")
        bob.heard(IncomingSession)[0].session.reject(pump.now)
        bob.heard(IncomingSession)[1].session.answer(pump.now, OFFER)
        pump.run(pump.now + 0.05)
        assert ask(pump, bob, "INVITE") is None

    def test_events_of_no_concern(self) -> None:
        _, bob = alone()
        flow = bob.flow_to("x.example")
        bob.agent.receive(KeepAlive(flow, False), 0.0)
        bob.agent.receive(ResponseReceived(None, None, "stranger"), 0.0)  # type: ignore[arg-type]
        bob.agent.receive(RequestTimedOut(None, "stranger"), 0.0)  # type: ignore[arg-type]
        bob.agent.receive(ResponseFailed(None, TransportError("x")), 0.0)  # type: ignore[arg-type]
        assert bob.agent.take_orders() == bob.agent.take_events() == []

    def test_the_secure_flag_needs_tls(self) -> None:
        pump, bob = alone()
        assert ask(pump, bob, "INVITE", uri="sips:bob@bob.example", contact="<sips:x@x.example>") is None
        dialog = bob.last(IncomingSession).session.dialog
        assert dialog is not None
        assert not dialog.secure


class TestRequests:
    def test_options(self) -> None:
        pump, alice, bob = pair(name="Switchroom", routes=(address("sip:bob.example;lr"),))
        request = alice.agent.create_request("OPTIONS", "sip:bob@elsewhere.example", from_=alice.aor)
        handle = alice.agent.send(request, 0.0)
        pump.run(0.05)
        got = bob.last(IncomingRequest).request
        assert str(got.routes[0]) == "<sip:bob.example;lr>"  # the pre-loaded route set (§8.1.1.1)
        assert got.headers.get("User-Agent") == "Switchroom"
        assert str(got.contacts[0].uri) == "sip:alice@alice.example"
        bob.agent.respond(bob.last(IncomingRequest), 404)
        pump.run(0.2)
        done = alice.last(RequestCompleted)
        assert done.handle is handle
        assert done.response is not None
        assert done.response.status == 404

    def test_a_message_has_no_contact(self) -> None:
        """RFC 3428 §4."""
        _, alice, bob = pair()
        to = Address("Bob", bob.aor.uri)
        request = alice.agent.create_request(
            "MESSAGE", bob.aor.uri, from_=alice.aor, to=to, body=b"hi", content_type="text/plain", call_id="mine"
        )
        assert not request.contacts
        assert (request.call_id, request.to.display_name) == ("mine", "Bob")

    @pytest.mark.parametrize("method", ["INVITE", "ACK", "CANCEL"])
    def test_methods_with_verbs_of_their_own(self, method: str) -> None:
        _, alice, bob = pair()
        request = alice.agent.create_request(method, bob.aor.uri, from_=alice.aor)
        with pytest.raises(LocalProtocolError):
            alice.agent.send(request, 0.0)

    def test_to_a_destination(self) -> None:
        pump, alice, bob = pair()
        request = alice.agent.create_request("OPTIONS", "sip:who@nowhere.example", from_=alice.aor)
        alice.agent.send(request, 0.0, destination=parse_uri("sip:bob.example"))
        pump.run(0.05)
        assert bob.heard(IncomingRequest)

    def test_timeout_and_transport_failure(self) -> None:
        pump, alice, bob = pair()
        pump.drop = lambda source, target, message: True
        alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), 0.0)
        pump.run()
        assert alice.last(RequestCompleted)[1:] == (None, None)
        pump.unreachable.add("bob.example")
        alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), pump.now)
        pump.run()
        assert isinstance(alice.last(RequestCompleted).error, TransportError)
        assert alice.agent.idle

    def test_progress_is_told(self) -> None:
        pump, alice, bob = pair()
        alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), 0.0)
        pump.run(0.05)
        request = bob.last(IncomingRequest).request
        for status in (100, 183):
            pump.inject("bob.example", "alice.example", request.create_response(status))
        pump.run(0.2)
        assert [type(event).__name__ for event in alice.events] == ["RequestProgress"]

    def test_an_answer_after_the_session_has_ended(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.send(pump.now, "INFO")
        pump.run(pump.now + 0.05)
        caller.hang_up(pump.now)
        pump.run(pump.now + 0.05)
        bob.agent.respond(bob.last(IncomingRequest), 200)
        pump.run(pump.now + 0.05)
        assert alice.heard(RequestCompleted)

    def test_ownership(self) -> None:
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        assert caller.dialog is not None
        assert called.dialog is not None
        request = caller.dialog.create_request("INFO")
        assert bob.agent.owns(request)
        assert not alice.agent.owns(request)
        assert bob.agent.session_of(called.dialog.id) is called
        assert bob.agent.session_of(called.dialog.id._replace(call_id="other")) is None


def challenge(
    pump: Pump, bob: Node, status: int, nonce: str, *, stale: bool = False, realm: str = "bob"
) -> Callable[[IncomingRequest], None]:
    header = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    value = f'Digest realm="{realm}", nonce="{nonce}", qop="auth", algorithm=MD5{", stale=true" if stale else ""}'

    def answer(incoming: IncomingRequest) -> None:
        bob.agent.respond(incoming, status, headers=[(header, value)])

    return answer


def with_password(ids: Identifiers) -> DigestClient:
    return DigestClient(lambda realm: Login("alice", "secret") if realm != "stranger" else None, ids)


class TestAuthentication:
    def pair(self, **settings: object) -> tuple[Pump, Node, Node]:
        return pair(authenticator=with_password, **settings)

    @pytest.mark.parametrize(("status", "header"), [(401, "Authorization"), (407, "Proxy-Authorization")])
    def test_a_challenge_is_answered_once(self, status: int, header: str) -> None:
        """§22.2, §22.3: the same request, the next CSeq, with credentials."""
        pump, alice, bob = self.pair()
        alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), 0.0)
        pump.run(0.05)
        challenge(pump, bob, status, "n1")(bob.last(IncomingRequest))
        pump.run(0.1)
        first, second = (event.request for event in bob.heard(IncomingRequest))
        assert (second.call_id, second.cseq.number, second.from_.tag) == (first.call_id, 2, first.from_.tag)
        assert header in second.headers
        assert not alice.heard(RequestCompleted)
        challenge(pump, bob, status, "n2")(bob.last(IncomingRequest))  # wrong password: told, not tried again
        pump.run(0.2)
        done = alice.last(RequestCompleted).response
        assert done is not None
        assert done.status == status
        assert len(bob.heard(IncomingRequest)) == 2

    def test_a_stale_nonce_is_no_refusal(self) -> None:
        pump, alice, bob = self.pair()
        alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), 0.0)
        for nonce, stale in (("n1", False), ("n2", True)):
            pump.run(pump.now + 0.05)
            challenge(pump, bob, 401, nonce, stale=stale)(bob.last(IncomingRequest))
        pump.run(pump.now + 0.05)
        last = bob.last(IncomingRequest).request
        assert last.cseq.number == 3
        assert 'nonce="n2"' in (last.headers.get("Authorization") or "")

    def test_a_proven_nonce_goes_along_with_later_requests(self) -> None:
        pump, alice, bob = self.pair()
        for expected in (2, 3):
            request = alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor)
            alice.agent.send(request, pump.now)
            pump.run(pump.now + 0.05)
            if "Authorization" not in bob.last(IncomingRequest).request.headers:
                challenge(pump, bob, 401, "n1")(bob.last(IncomingRequest))
                pump.run(pump.now + 0.05)
            bob.agent.respond(bob.last(IncomingRequest), 200)
            pump.run(pump.now + 0.05)
            assert len(bob.heard(IncomingRequest)) == expected

    def test_no_end_of_challenges(self) -> None:
        pump, alice, bob = self.pair()
        alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), 0.0)
        for number in range(9):
            pump.run(pump.now + 0.05)
            if alice.heard(RequestCompleted):
                break
            challenge(pump, bob, 407, f"n{number}", realm=f"proxy{number}")(bob.last(IncomingRequest))
        assert len(bob.heard(IncomingRequest)) == 5

    def test_no_credentials(self) -> None:
        pump, alice, bob = self.pair()
        alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), 0.0)
        pump.run(0.05)
        challenge(pump, bob, 401, "n1", realm="stranger")(bob.last(IncomingRequest))
        pump.run(0.1)
        assert alice.heard(RequestCompleted)

    def test_a_request_given_up_is_not_tried_again(self) -> None:
        pump, alice, bob = self.pair()
        handle = alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), 0.0)
        pump.run(0.05)
        alice.agent.cancel(handle)
        challenge(pump, bob, 401, "n1")(bob.last(IncomingRequest))
        pump.run(0.1)
        assert alice.heard(RequestCompleted)
        assert len(bob.heard(IncomingRequest)) == 1

    def test_a_session_is_challenged(self) -> None:
        """And so is each request in its dialog: the CSeq numbers stay contiguous, and the ACK has the credentials."""
        pump, alice, bob = self.pair()
        caller = call(pump, alice, bob)
        value = 'Digest realm="bob", nonce="n1", qop="auth"'
        bob.last(IncomingSession).session.reject(pump.now, 407, headers=[("Proxy-Authenticate", value)])
        pump.run(pump.now + 0.05)
        assert not alice.heard(SessionEnded)
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert alice.heard(SessionAnswered)
        acks = [message for _, message in pump.sent("alice", "ACK")]
        assert acks[-1].cseq.number == 2
        assert acks[-1].headers.get("Proxy-Authorization") == caller.request.headers.get("Proxy-Authorization")
        caller.send(pump.now, "INFO")
        pump.run(pump.now + 0.05)
        challenge(pump, bob, 401, "n2")(bob.last(IncomingRequest))
        pump.run(pump.now + 0.05)
        assert [event.request.cseq.number for event in bob.heard(IncomingRequest)] == [3, 4]
        caller.hang_up(pump.now)
        pump.run()
        assert pump.sent("alice", "BYE")[0][1].cseq.number == 5

    def test_a_challenge_while_cancelling(self) -> None:
        pump, alice, bob = self.pair()
        caller = call(pump, alice, bob)
        caller.cancel(pump.now)
        value = 'Digest realm="bob", nonce="n1", qop="auth"'
        bob.last(IncomingSession).session.reject(pump.now, 401, headers=[("WWW-Authenticate", value)])
        pump.run()
        assert ends(alice) == [(EndReason.LOCAL_CANCEL, 401)]
        assert len(bob.heard(IncomingSession)) == 1


class TestRedirection:
    def pair(self, **settings: object) -> tuple[Pump, Node, Node, Node]:
        settings.setdefault("follow_redirects", True)
        pump, alice, bob = pair(**settings)
        return pump, alice, bob, pump.node("carol", session_timer=NO_TIMER)

    def test_the_best_contact_first(self) -> None:
        """§8.1.3.4: by q; same Call-ID, To and From, next CSeq; what was tried is not tried again."""
        pump, alice, bob, carol = self.pair()
        call(pump, alice, bob)
        contacts = [
            Address("", parse_uri("sip:dave@nowhere.example")).with_param("q", "0.1"),
            Address("", parse_uri("sip:bob@bob.example")).with_param("q", "0.9"),
            Address("", parse_uri("sip:carol@carol.example;method=BYE?Subject=x")).with_param("q", "0.5"),
            Address("", parse_uri("tel:+15551234")),
        ]
        bob.last(IncomingSession).session.redirect(pump.now, contacts)
        pump.run(pump.now + 0.05)
        request = carol.last(IncomingSession).request
        assert request.uri_text == "sip:carol@carol.example"
        assert (request.cseq.number, str(request.to)) == (2, "<sip:bob@bob.example>")
        carol.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert alice.heard(SessionAnswered)
        assert not alice.heard(SessionEnded)

    def test_the_next_one_when_the_best_fails(self) -> None:
        pump, alice, bob, carol = self.pair()
        pump.unreachable.add("dave.example")
        call(pump, alice, bob)
        contacts = [address("sip:dave@dave.example"), address("sip:carol@carol.example")]
        bob.last(IncomingSession).session.redirect(pump.now, contacts)
        pump.run(pump.now + 0.05)
        assert carol.heard(IncomingSession)
        carol.last(IncomingSession).session.reject(pump.now, 486)
        pump.run()
        assert ends(alice) == [(EndReason.REMOTE_REJECT, 486)]

    def test_603_ends_the_search(self) -> None:
        pump, alice, bob, carol = self.pair()
        call(pump, alice, bob)
        contacts = [address("sip:carol@carol.example"), address("sip:dave@dave.example")]
        bob.last(IncomingSession).session.redirect(pump.now, contacts)
        pump.run(pump.now + 0.05)
        carol.last(IncomingSession).session.reject(pump.now, 603)
        pump.run()
        assert ends(alice) == [(EndReason.REMOTE_REJECT, 603)]

    def test_round_in_circles(self) -> None:
        pump, alice, bob, _ = self.pair(max_redirects=3)
        call(pump, alice, bob)
        for number in range(9):
            if alice.heard(SessionEnded):
                break
            bob.last(IncomingSession).session.redirect(pump.now, [address(f"sip:bob{number}@bob.example")])
            pump.run(pump.now + 0.05)
        assert len(bob.heard(IncomingSession)) == 4
        assert ends(alice) == [(EndReason.REDIRECTED, 302)]

    def test_left_to_the_application_by_default(self) -> None:
        pump, alice, bob, carol = self.pair(follow_redirects=False)
        call(pump, alice, bob)
        bob.last(IncomingSession).session.redirect(pump.now, [carol.aor])
        pump.run()
        assert ends(alice) == [(EndReason.REDIRECTED, 302)]
        assert not carol.events


class TestResponsesThatCannotBe:
    def test_a_2xx_that_makes_no_dialog_ends_the_session(self) -> None:
        pump, alice, bob = pair()
        call(pump, alice, bob)
        request = bob.last(IncomingSession).request
        for status in (180, 200):
            response = request.create_response(status, to_tag="x", headers=[("Record-Route", "<nonsense")])
            pump.inject("bob.example", "alice.example", response)
        pump.run(pump.now + 0.05)
        assert not alice.heard(SessionProgress)
        assert [reason for reason, _ in ends(alice)] == [EndReason.TRANSPORT]
        assert alice.last(SessionEnded).error is not None

    def test_a_response_to_an_attempt_given_up(self) -> None:
        pump, alice, bob = pair()
        handle = alice.agent.send(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor), 0.0)
        pump.run(0.05)
        request = bob.last(IncomingRequest).request
        response = request.create_response(200)
        response.headers.set("CSeq", "9 OPTIONS")
        alice.agent.receive(ResponseReceived(None, response, handle), 0.0)  # type: ignore[arg-type]
        assert not alice.agent.take_events()
        alice.agent.receive(ResponseReceived(None, request.create_response(200), handle), 0.0)  # type: ignore[arg-type]
        assert len(alice.agent.take_events()) == 1
        for late in (request.create_response(183), request.create_response(404)):
            alice.agent.receive(ResponseReceived(None, late, handle), 0.0)  # type: ignore[arg-type]
        alice.agent.receive(RequestTimedOut(None, handle), 0.0)  # type: ignore[arg-type]
        assert not alice.agent.take_events()

    def test_a_provisional_response_after_the_2xx(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        response = bob.last(IncomingSession).request.create_response(180, to_tag="late")
        alice.agent.receive(ResponseReceived(None, response, caller.handle), pump.now)  # type: ignore[arg-type]
        assert not alice.agent.take_events()

    def test_422_to_a_request_of_the_application(self) -> None:
        pump, alice, bob = pair()
        request = alice.agent.create_request(
            "OPTIONS", bob.aor.uri, from_=alice.aor, headers=[("Session-Expires", "90;refresher=uas")]
        )
        alice.agent.send(request, pump.now)
        pump.run(pump.now + 0.05)
        bob.agent.respond(bob.last(IncomingRequest), 422, headers=[("Min-SE", "300")])
        pump.run(pump.now + 0.05)
        assert bob.last(IncomingRequest).request.headers.get("Session-Expires") == "300;refresher=uas"

    def test_422_without_min_se(self) -> None:
        pump, alice, bob = pair()
        caller, _ = talk(pump, alice, bob)
        caller.reinvite(pump.now, b"v=0 new", headers=[("Session-Expires", "90")])
        pump.run(pump.now + 0.05)
        bob.last(IncomingOffer).modification.reject(pump.now, 422)
        pump.run(pump.now + 0.05)
        assert alice.last(ModificationCompleted).carries is Carries.NOTHING


class TestReplaces:
    def line(self, node: Node) -> str:
        """The Replaces that names the latest session of *node* to its peer (RFC 3891 §6.1)."""
        dialog = (node.heard(SessionAnswered) or node.heard(IncomingSession))[-1].session.dialog
        assert dialog is not None
        return f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}"

    def trio(self) -> tuple[Pump, Node, Node, Node]:
        pump, alice, bob = pair()
        return pump, alice, bob, pump.node("carol", session_timer=NO_TIMER)

    def test_the_new_session_takes_the_place_of_the_old(self) -> None:
        """RFC 3891 §3."""
        pump, alice, bob, carol = self.trio()
        _, old = talk(pump, alice, bob)
        call(pump, carol, bob, headers=[("Replaces", self.line(alice)), ("Require", "replaces")])
        incoming = bob.last(IncomingSession)
        assert incoming.target is old
        assert incoming.replaces is not None
        incoming.session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert ends(alice) == [(EndReason.REMOTE_BYE, None)]
        assert carol.heard(SessionAnswered)
        assert not incoming.session.ended

    def test_when_the_old_one_is_gone_meanwhile(self) -> None:
        pump, alice, bob, carol = self.trio()
        _, old = talk(pump, alice, bob)
        call(pump, carol, bob, headers=[("Replaces", self.line(alice))])
        old.hang_up(pump.now)
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert carol.heard(SessionAnswered)

    def test_early_only(self) -> None:
        pump, alice, bob, carol = self.trio()
        talk(pump, alice, bob)
        call(pump, carol, bob, headers=[("Replaces", self.line(alice) + ";early-only")])
        pump.run()
        assert ends(carol) == [(EndReason.REMOTE_REJECT, 486)]

    def test_a_session_that_is_being_ended(self) -> None:
        pump, alice, bob, carol = self.trio()
        _, old = talk(pump, alice, bob)
        line = self.line(alice)
        pump.drop = lambda source, target, message: isinstance(message, Request) and message.method == "BYE"
        old.hang_up(pump.now)
        call(pump, carol, bob, headers=[("Replaces", line)])
        pump.run(pump.now + 0.05)
        assert ends(carol) == [(EndReason.REMOTE_REJECT, 603)]

    def test_an_early_dialog_that_somebody_else_began(self) -> None:
        pump, alice, bob, carol = self.trio()
        call(pump, alice, bob)
        bob.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.05)
        dialog = alice.last(SessionProgress).dialog
        assert dialog is not None
        line = f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}"
        call(pump, carol, bob, headers=[("Replaces", line)])
        pump.run(pump.now + 1.0)
        assert ends(carol) == [(EndReason.REMOTE_REJECT, 481)]

    def test_an_early_dialog_of_ours_is_cancelled(self) -> None:
        """RFC 3891 §3: call pick-up; the early dialog that we initiated gets a CANCEL."""
        pump, alice, bob, carol = self.trio()
        call(pump, bob, alice)
        alice.last(IncomingSession).session.progress(pump.now)
        pump.run(pump.now + 0.05)
        dialog = bob.last(SessionProgress).dialog
        assert dialog is not None
        line = f"{dialog.call_id};to-tag={dialog.local_tag};from-tag={dialog.remote_tag};early-only"
        call(pump, carol, bob, headers=[("Replaces", line)])
        bob.last(IncomingSession).session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.5)
        assert ends(bob) == [(EndReason.LOCAL_CANCEL, 487)]
        assert ends(alice) == [(EndReason.REMOTE_CANCEL, 487)]

    def test_join_is_passed_up(self) -> None:
        pump, alice, bob, carol = self.trio()
        _, old = talk(pump, alice, bob)
        call(pump, carol, bob, headers=[("Join", self.line(alice))])
        incoming = bob.last(IncomingSession)
        assert incoming.target is old
        assert incoming.join is not None
        incoming.session.answer(pump.now, ANSWER)
        pump.run(pump.now + 0.05)
        assert not old.ended


class Echo:
    """A usage that sends one request, and owns what is addressed to user "echo"."""

    def __init__(self, request: Request) -> None:
        self.received: list[Event] = []
        self.due = NEVER
        self.fired: list[float] = []
        self.orders: list[Order] = [
            SendRequest(request, "mine"),
            SendAck(request),
            CancelRequest("mine"),
        ]

    def owns(self, request: Request) -> bool:
        return "echo" in request.uri_text

    def receive(self, event: Event, now: float) -> None:
        self.received.append(event)
        if isinstance(event, RequestReceived):
            self.orders.append(SendResponse(event.transaction, event.request.create_response(200, to_tag="e")))

    def handle_timers(self, now: float) -> None:
        self.fired.append(now)
        self.due = NEVER

    def next_timer(self) -> float:
        return self.due

    def take_orders(self) -> list[Order]:
        orders, self.orders = self.orders, []
        return orders

    def take_events(self) -> list[object]:
        return ["news"]


class TestUsages:
    def test_requests_and_their_outcomes(self) -> None:
        _, alice, bob = pair()
        usage = Echo(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor))
        alice.agent.attach(usage)
        send, ack, cancel = alice.agent.take_orders()
        sender = UsageSender(usage, "mine")
        assert isinstance(send, SendRequest)
        assert isinstance(cancel, CancelRequest)
        assert isinstance(ack, SendAck)
        assert send.sender == cancel.sender == sender
        assert ack.sender is None
        response = send.request.create_response(200)
        alice.agent.receive(ResponseReceived(None, response, sender), 0.0)  # type: ignore[arg-type]
        alice.agent.receive(RequestTimedOut(None, sender), 0.0)  # type: ignore[arg-type]
        alice.agent.receive(RequestFailed(None, TransportError("x"), sender), 0.0)  # type: ignore[arg-type]
        alice.agent.receive(ResponseFailed(None, TransportError("x")), 0.0)  # type: ignore[arg-type]
        assert [type(event).__name__ for event in usage.received] == [
            "ResponseReceived", "RequestTimedOut", "RequestFailed", "ResponseFailed",
        ]  # fmt: skip
        assert {event.sender for event in usage.received[:3]} == {"mine"}  # type: ignore[union-attr]
        assert alice.agent.take_events() == ["news"]
        alice.agent.detach(usage)
        assert alice.agent.take_events() == []

    def test_time(self) -> None:
        _, alice, bob = pair()
        usage = Echo(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor))
        alice.agent.attach(usage)
        assert alice.agent.next_timer() == NEVER
        usage.due = 5.0
        assert alice.agent.next_timer() == 5.0
        alice.agent.handle_timers(4.0)
        assert usage.fired == []
        alice.agent.handle_timers(5.0)
        assert usage.fired == [5.0]

    def test_requests_that_it_owns(self) -> None:
        pump, bob = alone()
        usage = Echo(bob.agent.create_request("OPTIONS", "sip:x@x.example", from_=bob.aor))
        usage.orders.clear()
        bob.agent.attach(usage)
        usage.take_events = list  # type: ignore[method-assign]
        response = ask(pump, bob, uri="sip:echo@bob.example")
        assert response is not None
        assert response.status == 200
        assert ask(pump, bob, "FROBNICATE", uri="sip:echo@bob.example") is not None  # the core's checks come first
        assert len(usage.received) == 1
        assert ask(pump, bob) is None

    def test_it_shares_the_cseq_numbers_of_a_session(self) -> None:
        """RFC 3261 §12.2.2: one dialog, one order, whoever uses it."""
        pump, alice, bob = pair()
        caller, called = talk(pump, alice, bob)
        usage = Echo(alice.agent.create_request("OPTIONS", bob.aor.uri, from_=alice.aor))
        usage.orders.clear()
        usage.take_events = list  # type: ignore[method-assign]
        usage.owns = lambda request: request.method == "NOTIFY"  # type: ignore[method-assign]
        bob.agent.attach(usage)
        assert bob.agent.owns(alice.agent.create_request("NOTIFY", bob.aor.uri, from_=alice.aor))
        caller.send(pump.now, "NOTIFY", headers=[("Event", "refer")])
        caller.send(pump.now, "INFO")
        pump.run(pump.now + 0.05)
        assert len(usage.received) == 1
        assert called.dialog is not None
        assert called.dialog.remote_seq == 3
        assert caller.dialog is not None
        caller.dialog.local_seq = 1
        caller.send(pump.now, "NOTIFY", headers=[("Event", "refer")])
        pump.run(pump.now + 0.05)
        assert pump.sent("bob", 500, "NOTIFY")
        assert len(usage.received) == 1
