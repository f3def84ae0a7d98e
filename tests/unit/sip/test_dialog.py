"""Dialogs: expectations from RFC 3261 §12 and the flows of RFC 3665, not from the code's own tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip import dialog as module
from switchroom.sip.dialog import CONFIRMED, EARLY, TERMINATED, Dialog, DialogId, id_of_request, id_of_response
from switchroom.sip.errors import LocalProtocolError, RemoteProtocolError
from switchroom.sip.headers import Address
from switchroom.sip.message import Request, Response, parse
from switchroom.sip.uri import SipUri, parse_uri

DATA = Path(os.environ.get("SWITCHROOM_TESTDATA", "../shared/data")) / "rfc3665"

STATES = {"early": EARLY, "confirmed": CONFIRMED, "terminated": TERMINATED}
INPUTS = {name: number for number, name in enumerate(module.INPUT_NAMES)}

# §12.1: a 101-199 creates an early dialog, a 2xx confirms it; §12.3: a non-2xx final ends early dialogs only, and a
# BYE any; what is over stays over.
EXPECTED = """
early      1xx     early
early      2xx     confirmed
early      failure terminated
early      end     terminated
confirmed  1xx     confirmed
confirmed  2xx     confirmed
confirmed  failure confirmed
confirmed  end     terminated
terminated 1xx     terminated
terminated 2xx     terminated
terminated failure terminated
terminated end     terminated
"""


def address(text: str, tag: str = "") -> Address:
    plain = Address("", parse_uri(text))
    return plain.with_param("tag", tag) if tag else plain


def invite(
    *,
    uri: str = "sip:bob@biloxi.example.com",
    tag: str = "from1",
    contact: str | None = "<sip:alice@pc33.example.com>",
    routes: tuple[str, ...] = (),
    cseq: int = 17,
    method: str = "INVITE",
) -> Request:
    lines = [("Record-Route", route) for route in routes]
    if contact:
        lines.append(("Contact", contact))
    return Request.build(
        method,
        uri,
        from_=address("sip:alice@atlanta.example.com", tag),
        to=address("sip:bob@biloxi.example.com"),
        call_id="call-1",
        cseq=cseq,
        headers=[("Via", "SIP/2.0/UDP pc33.example.com;branch=z9hG4bK776"), *lines],
    )


def answer(
    request: Request,
    status: int = 200,
    tag: str | None = "to1",
    contact: str | None = "<sip:bob@192.0.2.4>",
    routes: tuple[str, ...] = (),
) -> Response:
    lines = [("Record-Route", route) for route in routes]
    if contact:
        lines.append(("Contact", contact))
    return request.create_response(status, to_tag=tag, headers=lines)


def caller(**options: object) -> Dialog:
    request = invite()
    return Dialog.from_response(request, answer(request, **options))  # type: ignore[arg-type]


class TestTable:
    @pytest.mark.parametrize("line", EXPECTED.split("\n")[1:-1])
    def test_each_row(self, line: str) -> None:
        before, input_, after = line.split()
        dialog = caller(status=180)
        dialog.state = STATES[before]
        assert dialog.step(INPUTS[input_]) == (before != after)
        assert dialog.state == STATES[after]

    def test_every_pair_has_a_row(self) -> None:
        assert set(module.TABLE) == {(state, input_) for state in STATES.values() for input_ in INPUTS.values()}

    @given(st.lists(st.sampled_from(range(4)), max_size=12))
    def test_what_is_over_stays_over(self, inputs: list[int]) -> None:
        dialog = caller(status=180)
        over = False
        for input_ in inputs:
            dialog.step(input_)
            assert not over or dialog.state == TERMINATED
            over = dialog.state == TERMINATED


class TestCreation:
    def test_the_caller(self) -> None:
        """§12.1.2: sequence number of the request, route set of the response reversed, its Contact as target."""
        routes = ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr;x=y>, <sip:p3.example.com;lr>")
        dialog = caller(status=180, routes=routes)
        assert dialog.id == DialogId("call-1", "from1", "to1")
        assert (dialog.local_seq, dialog.remote_seq, dialog.state) == (17, None, EARLY)
        assert [str(route) for route in dialog.route_set] == [
            "<sip:p3.example.com;lr>",
            "<sip:p2.example.com;lr;x=y>",
            "<sip:p1.example.com;lr>",
        ]
        assert str(dialog.remote_target) == "sip:bob@192.0.2.4"
        assert str(dialog.local) == "<sip:alice@atlanta.example.com>;tag=from1"
        assert str(dialog.remote) == "<sip:bob@biloxi.example.com>;tag=to1"
        assert dialog.initiator
        assert not dialog.secure

    def test_the_called(self) -> None:
        """§12.1.1: route set of the request in order, no local sequence number yet."""
        routes = ("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>")
        dialog = Dialog.from_request(invite(routes=routes), "mine")
        assert dialog.id == DialogId("call-1", "mine", "from1")
        assert (dialog.local_seq, dialog.remote_seq, dialog.state) == (None, 17, EARLY)
        assert [str(route) for route in dialog.route_set] == list(routes)
        assert str(dialog.remote_target) == "sip:alice@pc33.example.com"
        assert str(dialog.local) == "<sip:bob@biloxi.example.com>;tag=mine"
        assert not dialog.initiator
        assert dialog.create_request("BYE").cseq.number == 1

    def test_a_2xx_makes_a_confirmed_dialog_at_once(self) -> None:
        assert caller(status=200).state == CONFIRMED

    def test_tagless_peers_of_rfc_2543(self) -> None:
        """§12.1.1, §12.1.2: a missing tag has the value null, and is omitted from requests."""
        request = invite(tag="")
        called = Dialog.from_request(request, "mine")
        assert called.id == DialogId("call-1", "mine", "")
        assert "tag" not in called.create_request("BYE").to.params
        mine = invite()
        dialog = Dialog.from_response(mine, answer(mine, tag=None))
        assert dialog.id == DialogId("call-1", "from1", "")
        assert "tag" not in dialog.create_request("BYE").to.params

    def test_both_ends_name_the_dialog_in_mirror_image(self) -> None:
        request = invite()
        response = answer(request)
        assert id_of_response(response) == DialogId("call-1", "from1", "to1")
        in_dialog = Dialog.from_response(request, response).create_request("BYE")
        assert id_of_request(in_dialog) == DialogId("call-1", "to1", "from1")

    @pytest.mark.parametrize(
        ("uri", "tls", "secure"), [("sips", True, True), ("sips", False, False), ("sip", True, False)]
    )
    def test_the_secure_flag_of_the_called_side(self, uri: str, tls: bool, secure: bool) -> None:
        """§12.1.1: only a SIPS Request-URI that came over TLS."""
        request = invite(uri=f"{uri}:bob@biloxi.example.com")
        assert Dialog.from_request(request, "mine", secure_flow=tls).secure is secure

    def test_the_secure_flag_of_the_caller(self) -> None:
        request = invite(uri="sips:bob@biloxi.example.com")
        assert Dialog.from_response(request, answer(request)).secure

    @pytest.mark.parametrize("contact", [None, "<tel:+15551234>", "<mailto:a@b.example>"])
    def test_a_request_needs_a_contact_to_answer_to(self, contact: str | None) -> None:
        with pytest.raises(RemoteProtocolError) as caught:
            Dialog.from_request(invite(contact=contact), "mine")
        assert caught.value.status_hint == 400

    def test_a_response_without_contact_leaves_the_request_uri(self) -> None:
        assert str(caller(contact=None).remote_target) == "sip:bob@biloxi.example.com"

    @pytest.mark.parametrize(
        ("uri", "route", "contact", "expected"),
        [
            ("sip:b@b.example", "", "<sip:a@a.example>", False),
            ("sips:b@b.example", "", "<sip:a@a.example>", True),
            ("sip:b@b.example", "<sips:p.example;lr>", "<sip:a@a.example>", True),
            ("sip:b@b.example", "", "<sips:a@a.example>", True),
            ("sip:b@b.example", "<sip:p.example;lr>", "<sips:a@a.example>", False),
            ("tel:+15551234", "", "<tel:+15551234>", False),
        ],
    )
    def test_when_a_contact_must_be_sips(self, uri: str, route: str, contact: str, expected: bool) -> None:
        """§12.1.1: Request-URI, topmost Record-Route, or the Contact when there is no Record-Route."""
        request = invite(uri=uri, routes=(route,) if route else (), contact=contact)
        assert module.asks_for_sips(request) is expected

    def test_a_contact_made_sips(self) -> None:
        assert str(module.secure_contact(address("sip:a@a.example;ob"))) == "<sips:a@a.example;ob>"
        assert str(module.secure_contact(address("tel:+15551234"))) == "<tel:+15551234>"


class TestRequests:
    def test_loose_routing(self) -> None:
        """§12.2.1.1: the target as Request-URI, the whole route set as Route."""
        dialog = caller(routes=("<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"))
        request = dialog.create_request("INFO", headers=[("Info-Package", "foo")], body=b"x", content_type="text/plain")
        assert request.uri_text == "sip:bob@192.0.2.4"
        assert [str(route) for route in request.routes] == ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
        assert (request.cseq.number, request.cseq.method) == (18, "INFO")
        assert request.headers.get("Info-Package") == "foo"
        assert (request.body, str(request.content_type)) == (b"x", "text/plain")
        assert "Contact" not in request.headers
        assert "Via" not in request.headers
        assert str(request.next_hop) == "sip:p1.example.com;lr"

    def test_strict_routing(self) -> None:
        """The example of §12.2.1.1."""
        dialog = caller(
            contact="<sip:user@remoteua>",
            routes=("<sip:proxy4>", "<sip:proxy3;lr>", "<sip:proxy2>", "<sip:proxy1;method=INVITE?Subject=x>"),
        )
        request = dialog.create_request("BYE")
        assert request.uri_text == "sip:proxy1"  # §19.1.1: no method parameter, no headers in a Request-URI
        assert [str(route) for route in request.routes] == [
            "<sip:proxy2>",
            "<sip:proxy3;lr>",
            "<sip:proxy4>",
            "<sip:user@remoteua>",
        ]
        assert str(request.next_hop) == str(request.copy().next_hop) == "sip:proxy1"  # §8.1.2: not the first Route

    def test_no_route_set_no_route(self) -> None:
        request = caller().create_request("BYE")
        assert "Route" not in request.headers
        assert request.uri_text == "sip:bob@192.0.2.4"
        assert request.next_hop == request.uri

    def test_contact_goes_into_target_refresh_requests_only(self) -> None:
        dialog = caller()
        mine = address("sip:alice@new.example.com")
        with_contact = {
            method
            for method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER", "BYE", "INFO", "MESSAGE", "OPTIONS")
            if dialog.create_request(method, contact=mine).contacts
        }
        assert with_contact == {"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"}

    def test_numbers_are_contiguous(self) -> None:
        dialog = caller()
        assert [dialog.create_request("INFO").cseq.number for _ in range(3)] == [18, 19, 20]

    def test_the_ack_repeats_number_and_credentials(self) -> None:
        """§13.2.2.4."""
        request = invite()
        request.headers.add("Proxy-Authorization", 'Digest realm="a"')
        request.headers.add("Authorization", 'Digest realm="b"')
        dialog = Dialog.from_response(request, answer(request, routes=("<sip:p1.example.com;lr>",)))
        dialog.create_request("INFO")
        ack = dialog.create_ack(request, body=b"v=0", content_type="application/sdp")
        assert (ack.method, ack.cseq.number, ack.cseq.method) == ("ACK", 17, "ACK")
        assert ack.headers.get("Proxy-Authorization") == 'Digest realm="a"'
        assert ack.headers.get("Authorization") == 'Digest realm="b"'
        assert [str(route) for route in ack.routes] == ["<sip:p1.example.com;lr>"]
        assert ack.body == b"v=0"
        assert dialog.local_seq == 18

    @pytest.mark.parametrize("method", ["ACK", "CANCEL"])
    def test_ack_and_cancel_have_no_number_of_their_own(self, method: str) -> None:
        with pytest.raises(LocalProtocolError):
            caller().create_request(method)

    def test_nothing_is_sent_in_a_terminated_dialog(self) -> None:
        dialog = caller()
        dialog.step(module.IN_END)
        with pytest.raises(LocalProtocolError, match="terminated"):
            dialog.create_request("INFO")


class TestReceiving:
    def test_order(self) -> None:
        """§12.2.2: a first number is taken, gaps are in order, lower ones are not."""
        dialog = caller()
        for number, in_order in ((5, True), (6, True), (9, True), (8, False), (9, False), (10, True)):
            assert dialog.in_order(invite(method="INFO", cseq=number)) is in_order, number
        assert dialog.remote_seq == 10

    def test_target_refresh_by_request(self) -> None:
        """§12.2.2: re-INVITE and the like move the target, others do not, and the route set never moves."""
        dialog = caller(routes=("<sip:p1.example.com;lr>",))
        before = dialog.route_set
        new = "<sip:bob@10.0.0.9;ob>"
        assert not dialog.refresh_target(invite(method="INFO", contact=new))
        assert str(dialog.remote_target) == "sip:bob@192.0.2.4"
        assert dialog.refresh_target(invite(contact=new, routes=("<sip:evil.example.com;lr>",)))
        assert str(dialog.remote_target) == "sip:bob@10.0.0.9;ob"
        assert not dialog.refresh_target(invite(contact=new))
        assert not dialog.refresh_target(invite(contact=None))
        assert not dialog.refresh_target(invite(contact="<tel:+1555>"))
        assert dialog.route_set == before

    def test_target_refresh_by_response(self) -> None:
        dialog = caller()
        update = dialog.create_request("UPDATE")
        update.headers.add("Via", "SIP/2.0/UDP a.example;branch=z9hG4bK1", first=True)
        assert dialog.refresh_target(answer(update, contact="<sip:bob@moved.example>"))
        assert str(dialog.remote_target) == "sip:bob@moved.example"

    def test_the_2xx_recomputes_the_route_set_of_an_early_dialog_only(self) -> None:
        """§13.2.2.4: for RFC 2543 peers that mirror Record-Route in the 2xx alone; numbers stay as they are."""
        request = invite()
        dialog = Dialog.from_response(request, answer(request, 180))
        dialog.create_request("PRACK")
        dialog.confirm(answer(request, 200, contact="<sip:bob@other.example>", routes=("<sip:p1.example.com;lr>",)))
        assert [str(route) for route in dialog.route_set] == ["<sip:p1.example.com;lr>"]
        assert (str(dialog.remote_target), dialog.state, dialog.local_seq) == ("sip:bob@other.example", CONFIRMED, 18)
        dialog.confirm(answer(request, 200, routes=("<sip:p9.example.com;lr>",)))
        assert [str(route) for route in dialog.route_set] == ["<sip:p1.example.com;lr>"]


def flow(name: str) -> Request | Response:
    path = DATA / f"{name}.sip"
    if not path.exists():
        pytest.skip(f"no {path}: set SWITCHROOM_TESTDATA")
    return parse(path.read_bytes())


def target(request: Request | Response) -> tuple[str | None, str]:
    """The Request-URI as far as RFC 3665 minds it: its requests drop the transport parameter of the Contact."""
    assert isinstance(request, Request)
    assert isinstance(request.uri, SipUri)
    return request.uri.user, request.uri.host


class TestRfc3665:
    """The call flows as other people wrote them down: what our dialogs would send is what they show."""

    def test_3_1_direct_call(self) -> None:
        request, ringing, ok, ack, bye, _ = (flow(f"3.1_F{number}") for number in range(1, 7))
        assert isinstance(request, Request)
        assert isinstance(ringing, Response)
        assert isinstance(ok, Response)
        alice = Dialog.from_response(request, ringing)
        alice.confirm(ok)
        ours = alice.create_ack(request)
        assert isinstance(ack, Request)
        assert (target(ours), str(ours.cseq)) == (target(ack), str(ack.cseq))
        assert (ours.to.tag, ours.from_.tag) == (ack.to.tag, ack.from_.tag)
        bob = Dialog.from_request(request, ok.to.tag or "")
        assert isinstance(bye, Request)  # from Bob
        mine = bob.create_request("BYE")
        assert (target(mine), mine.from_.tag, mine.to.tag) == (target(bye), bye.from_.tag, bye.to.tag)
        assert id_of_request(bye) == alice.id
        assert alice.in_order(bye)

    def test_3_2_through_two_proxies(self) -> None:
        messages = [flow(f"3.2_F{number}") for number in range(1, 24)]
        received = [each for each in messages if isinstance(each, Request) and each.method == "INVITE"][-1]
        final = [each for each in messages if isinstance(each, Response) and each.cseq.method == "INVITE"]
        oks = [each for each in final if each.status == 200]
        sent = next(
            each
            for each in messages
            if isinstance(each, Request) and each.method == "INVITE" and each.cseq == oks[-1].cseq
        )
        alice = Dialog.from_response(sent, oks[-1])
        bob = Dialog.from_request(received, oks[0].to.tag or "")
        assert [str(route.uri) for route in alice.route_set] == [str(route.uri) for route in bob.route_set][::-1]
        ack = next(
            each
            for each in messages
            if isinstance(each, Request) and each.method == "ACK" and each.cseq == (oks[-1].cseq.number, "ACK")
        )
        ours = alice.create_ack(sent)
        assert target(ours) == target(ack)
        assert [str(route.uri) for route in ours.routes] == [str(route.uri) for route in ack.routes]
        bye = next(each for each in messages if isinstance(each, Request) and each.method == "BYE")
        mine = bob.create_request("BYE")
        assert target(mine) == target(bye)
        assert [str(route.uri) for route in mine.routes] == [str(route.uri) for route in bye.routes]
