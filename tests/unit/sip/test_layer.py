"""The transaction layer: matching, routing, CANCEL, ACK, keep-alive, broken input, bounds; two layers on a bad link."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchroom.sip.errors import LocalProtocolError, TransportError
from switchroom.sip.flow import Flow
from switchroom.sip.layer import (
    AckReceived,
    CancelReceived,
    Event,
    FlowRejected,
    KeepAlive,
    RequestFailed,
    RequestReceived,
    RequestTimedOut,
    ResponseFailed,
    ResponseReceived,
    TransactionLayer,
    TransactionLimits,
)
from switchroom.sip.limits import Limits
from switchroom.sip.message import Request, Response, parse
from switchroom.sip.timers import NEVER, TimerValues
from switchroom.sip.transaction import ClientTransaction, ServerTransaction

A, B = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
UDP = Flow("UDP", B, A, "192.0.2.1:5060")
TCP = Flow("TCP", B, ("192.0.2.1", 41000), "192.0.2.1:5060", 7)
TLS = Flow("TLS", B, ("192.0.2.1", 41001), "a.example.com", 8, ("b.example.com",))
WS = Flow("WS", B, ("192.0.2.1", 41002), "df7jal23ls0d.invalid", 9)
WSS = Flow("WSS", B, ("192.0.2.1", 41003), "df7jal23ls0d.invalid", 10)
FLOWS = (UDP, TCP, TLS, WS, WSS)
RESET = TransportError("connection reset by peer")


class Counting:
    """Identifiers that can be foreseen."""

    def __init__(self) -> None:
        self.count = 0

    def token(self, bits: int = 64) -> str:
        self.count += 1
        return f"{self.count:x}of{bits}"

    def random(self) -> float:
        return 0.5


def new_layer(**settings: object) -> TransactionLayer:
    return TransactionLayer(Counting(), **settings)  # type: ignore[arg-type]  # as each test needs


def request(method: str = "INVITE", headers: Iterable[tuple[str, str]] = ()) -> Request:
    return Request.build(
        method,
        "sip:bob@example.com",
        from_="<sip:alice@example.com>;tag=from",
        to="<sip:bob@example.com>",
        call_id="call",
        cseq=7,
        headers=headers,
    )


def wire(
    method: str = "INVITE",
    *,
    via: str = "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKpeer",
    to: str = "<sip:bob@example.com>",
    cseq: str | None = None,
    uri: str = "sip:bob@example.com",
    more: str = "",
) -> bytes:
    """A request of the peer's, as it comes."""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=from\r\n"
        f"To: {to}\r\nCall-ID: call\r\nCSeq: {cseq or '7 ' + method}\r\n{more}Content-Length: 0\r\n\r\n"
    ).encode()


def answer(sent: bytes, status: int, tag: str | None = "to") -> bytes:
    """The peer's response to what we sent."""
    message = parse(sent)
    assert isinstance(message, Request)
    return message.create_response(status, to_tag=tag if status > 100 else None).encode()


def sent(layer: TransactionLayer) -> list[bytes]:
    return [data for _, data in layer.take_output()]


def starts(layer: TransactionLayer) -> list[str]:
    """The start-lines of what goes out, in short: the method or the status."""
    words = [data.split(b"\r\n")[0].decode().split(" ") for data in sent(layer)]
    return [line[1] if line[0] == "SIP/2.0" else line[0] for line in words]


def only(events: list[Event]) -> Event:
    (event,) = events
    return event


def arrived(layer: TransactionLayer) -> RequestReceived:
    event = only(layer.take_events())
    assert isinstance(event, RequestReceived)
    return event


def reply(layer: TransactionLayer, event: RequestReceived, status: int, now: float, tag: str = "ours") -> None:
    response = event.request.create_response(status, to_tag=tag if status > 100 else None)
    layer.send_response(event.transaction, response, now)


def kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


def pass_time(layer: TransactionLayer, until: float) -> list[float]:
    """Let the timers run; when something was sent."""
    times = []
    while (now := layer.next_timer()) <= until:
        layer.handle_timers(now)
        times += [round(now, 3)] * len(layer.take_output())
    return times


def assert_empty(layer: TransactionLayer) -> None:
    """Nothing is left of any transaction."""
    assert layer.client_transactions == 0
    assert layer.server_transactions == 0
    assert layer.next_timer() == NEVER
    assert not layer._sources
    assert layer._octets == 0
    assert not layer._paths
    assert len(layer._queue) == 0


# Sending requests


@pytest.mark.parametrize(
    ("flow", "via"),
    [
        (UDP, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1of64;rport"),
        (TCP, "SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK1of64"),
        (TLS, "SIP/2.0/TLS a.example.com;branch=z9hG4bK1of64"),
        (WS, "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1of64"),
        (WSS, "SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK1of64"),
    ],
)
def test_a_request_gets_our_via_on_top(flow: Flow, via: str) -> None:
    layer = new_layer()
    original = request(headers=[("Via", "SIP/2.0/UDP before;branch=z9hG4bKbefore")])
    before = original.encode()

    transaction = layer.send_request(original, flow, 0.0, sender="me")

    ((where, data),) = layer.take_output()
    assert where == flow
    assert [str(value) for value in parse(data).vias] == [via, "SIP/2.0/UDP before;branch=z9hG4bKbefore"]
    assert original.encode() == before
    assert transaction.branch == "z9hG4bK1of64"
    assert transaction.sender == "me"
    assert transaction.flow == flow


def test_a_given_branch_is_used_once() -> None:
    layer = new_layer()
    layer.send_request(request(), UDP, 0.0, branch="z9hG4bKgiven")
    assert b";branch=z9hG4bKgiven;" in sent(layer)[0]
    with pytest.raises(LocalProtocolError, match="has a transaction already"):
        layer.send_request(request(), UDP, 0.0, branch="z9hG4bKgiven")
    with pytest.raises(LocalProtocolError, match="z9hG4bK"):
        layer.send_request(request(), UDP, 0.0, branch="given")


def test_a_layer_is_busy_while_there_is_something_to_take() -> None:
    layer = new_layer()
    assert not layer.busy
    layer.receive(wire("OPTIONS"), UDP, 0.0)
    assert layer.busy
    event = arrived(layer)
    assert not layer.busy
    reply(layer, event, 200, 0.0)
    assert layer.busy
    assert len(sent(layer)) == 1
    assert not layer.busy


def test_content_length_is_added() -> None:
    layer = new_layer()
    message = request()
    message.headers.remove("Content-Length")
    layer.send_request(message, TCP, 0.0)
    assert parse(sent(layer)[0]).headers.get("Content-Length") == "0"
    response = message.create_response(200)
    response.headers.remove("Content-Length")
    layer.send(response, TCP, 0.0)
    assert parse(sent(layer)[0]).headers.get("Content-Length") == "0"
    assert "Content-Length" not in message.headers
    assert "Content-Length" not in response.headers


def test_an_ack_has_no_transaction() -> None:
    layer = new_layer()
    with pytest.raises(LocalProtocolError, match="send\\(\\)"):
        layer.send_request(request("ACK"), UDP, 0.0)
    layer.send(request("ACK"), UDP, 0.0)
    layer.send(request("MESSAGE"), UDP, 0.0, branch="z9hG4bKstateless")
    first, second = sent(layer)
    assert b"\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1of64;rport\r\n" in first
    assert b";branch=z9hG4bKstateless;" in second
    assert_empty(layer)


def test_a_response_is_sent_as_it_is() -> None:
    layer = new_layer()
    response = request("OPTIONS").create_response(200)
    layer.send(response, UDP, 0.0)
    assert layer.take_output() == [(UDP, response.encode())]


def test_invite_without_an_answer() -> None:
    """§17.1.1.2: timers A and B."""
    layer = new_layer()
    transaction = layer.send_request(request(), UDP, 0.0, sender="me")
    first = sent(layer)
    while (now := layer.next_timer()) < 32.0:
        layer.handle_timers(now)
        assert sent(layer) in (first, [])
    assert layer.counters["retransmissions_sent"] == 6
    layer.handle_timers(32.0)
    assert layer.take_events() == [RequestTimedOut(transaction, "me")]
    assert transaction.state_name == "Terminated"
    assert layer.counters["timeouts"] == 1
    assert_empty(layer)


def test_the_base_timers_can_be_set() -> None:
    layer = new_layer(timers=TimerValues(t1=0.1, t2=0.2, t4=1.0))
    layer.send_request(request("OPTIONS"), UDP, 0.0)
    sent(layer)
    assert pass_time(layer, 1.0) == [0.1, 0.3, 0.5, 0.7, 0.9]


# Responses (§17.1.3)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_call_that_is_answered(flow: Flow) -> None:
    layer = new_layer()
    transaction = layer.send_request(request(), flow, 0.0, sender="me")
    (data,) = sent(layer)
    assert transaction.request is not None
    for now, status in ((0.1, 100), (0.2, 180), (1.0, 200), (1.5, 200)):
        receive = answer(data, status)
        layer.receive(receive, flow, now)
    events = layer.take_events()
    assert [event.response.status for event in events if isinstance(event, ResponseReceived)] == [100, 180, 200, 200]
    assert all(isinstance(event, ResponseReceived) and event.transaction is transaction for event in events)
    assert sent(layer) == []
    assert transaction.request is None
    assert transaction.wire == b""
    layer.handle_timers(32.9)
    assert layer.client_transactions == 1
    layer.handle_timers(33.0)
    assert_empty(layer)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_failure_response_to_invite_is_acknowledged(flow: Flow) -> None:
    """§17.1.1.3: the Via, Route, Request-URI, From and Call-ID of the INVITE, the To of the response."""
    layer = new_layer()
    invite = request(headers=[("Route", "<sip:p1;lr>, <sip:p2;lr>"), ("Route", "<sip:p3;lr>"), ("Subject", "x")])
    layer.send_request(invite, flow, 0.0, sender="me")
    (data,) = sent(layer)
    layer.receive(answer(data, 486), flow, 1.0)
    event = only(layer.take_events())
    assert isinstance(event, ResponseReceived)
    ((where, first),) = layer.take_output()
    assert where == flow
    ack, original = parse(first), parse(data)
    assert isinstance(ack, Request)
    assert isinstance(original, Request)
    assert (ack.method, ack.uri_text, str(ack.cseq)) == ("ACK", "sip:bob@example.com", "7 ACK")
    assert ack.headers.get_all("Via") == original.headers.get_all("Via")
    assert ack.headers.get_all("Route") == ["<sip:p1;lr>, <sip:p2;lr>", "<sip:p3;lr>"]
    assert ack.headers.get("From") == original.headers.get("From")
    assert ack.headers.get("To") == "<sip:bob@example.com>;tag=to"
    assert ack.call_id == "call"
    layer.receive(answer(data, 486), flow, 1.5)
    assert layer.take_events() == []
    if flow is UDP:
        assert layer.take_output() == [(flow, first)]  # the ACK again, nothing to the user
        layer.handle_timers(33.0)
    else:
        assert layer.counters["stray_responses"] == 1  # timer D is 0
    assert_empty(layer)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"branch=z9hG4bK1of64", b"branch=z9hG4bKother"),
        (b";branch=z9hG4bK1of64", b""),
        (b"CSeq: 7 OPTIONS", b"CSeq: 7 INVITE"),
        (b"CSeq: 7 OPTIONS", b"CSeq: 7 CANCEL"),
        (b"UDP 192.0.2.1:5060", b"UDP 192.0.2.99:5060"),  # §18.1.2: not our sent-by
        (b"UDP 192.0.2.1:5060", b"UDP 192.0.2.1:5061"),
    ],
)
def test_a_response_that_matches_nothing_is_dropped_and_counted(old: bytes, new: bytes) -> None:
    layer = new_layer()
    layer.send_request(request("OPTIONS"), UDP, 0.0)
    data = answer(sent(layer)[0], 200)
    assert old in data
    layer.receive(data.replace(old, new), UDP, 0.1)
    assert layer.take_events() == []
    assert layer.counters["stray_responses"] == 1
    assert layer.counters["responses"] == 0
    layer.receive(data, UDP, 0.2)
    assert kinds(layer.take_events()) == [ResponseReceived]


def test_sent_by_is_compared_without_regard_to_case() -> None:
    layer = new_layer()
    layer.send_request(request("OPTIONS"), TLS, 0.0)
    layer.receive(answer(sent(layer)[0], 200).replace(b"a.example.com", b"A.Example.COM"), TLS, 0.1)
    assert kinds(layer.take_events()) == [ResponseReceived]


def test_a_response_may_come_on_another_flow() -> None:
    """§18.2.2: the peer opens a new connection when the old one is gone."""
    layer = new_layer()
    layer.send_request(request(), TCP, 0.0, sender="me")
    (data,) = sent(layer)
    layer.receive(answer(data, 180), TCP, 0.1)
    layer.flow_closed(TCP, 1.0)
    assert kinds(layer.take_events()) == [ResponseReceived]
    layer.receive(answer(data, 486), TCP._replace(connection=99), 2.0)
    assert kinds(layer.take_events()) == [ResponseReceived]
    ((where, ack),) = layer.take_output()
    assert where == TCP._replace(connection=0)
    assert ack.startswith(b"ACK ")
    assert_empty(layer)


# CANCEL of ours (§9.1)


def test_cancel_after_a_provisional_response() -> None:
    layer = new_layer()
    invite = request(headers=[("Route", "<sip:p1;lr>"), ("Require", "100rel")])
    transaction = layer.send_request(invite, UDP, 0.0, sender="me")
    (data,) = sent(layer)
    layer.receive(answer(data, 180), UDP, 0.1)
    layer.take_events()

    layer.cancel(transaction, 5.0, headers=[("Reason", "SIP;cause=200")])

    ((where, cancel_data),) = layer.take_output()
    assert where == UDP
    cancel, original = parse(cancel_data), parse(data)
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.uri_text, str(cancel.cseq)) == ("CANCEL", "sip:bob@example.com", "7 CANCEL")
    assert cancel.headers.get_all("Via") == original.headers.get_all("Via")
    assert cancel.headers.get("To") == "<sip:bob@example.com>"
    assert cancel.headers.get("Route") == "<sip:p1;lr>"
    assert cancel.headers.get("Reason") == "SIP;cause=200"
    assert "Require" not in cancel.headers

    layer.cancel(transaction, 5.1)  # once is enough
    layer.receive(answer(cancel_data, 200), UDP, 5.2)
    assert layer.take_events() == []  # what becomes of the CANCEL is nobody's concern
    layer.receive(answer(data, 487), UDP, 5.3)
    event = only(layer.take_events())
    assert isinstance(event, ResponseReceived)
    assert event.response.status == 487
    assert starts(layer) == ["ACK"]
    pass_time(layer, 100.0)
    assert layer.take_events() == []
    assert_empty(layer)


def test_cancel_waits_for_a_provisional_response() -> None:
    layer = new_layer()
    transaction = layer.send_request(request(), UDP, 0.0)
    (data,) = sent(layer)
    layer.cancel(transaction, 0.1)
    assert sent(layer) == []
    assert pass_time(layer, 2.0) == [0.5, 1.5]
    layer.receive(answer(data, 100), UDP, 2.0)
    assert starts(layer) == ["CANCEL"]
    assert kinds(layer.take_events()) == [ResponseReceived]


def test_a_cancelled_invite_that_nobody_ever_answers_ends() -> None:
    """§9.1: 64*T1 after the CANCEL, with one outcome; the CANCEL is repeated meanwhile (timer E)."""
    layer = new_layer()
    transaction = layer.send_request(request(), UDP, 0.0, sender="me")
    (data,) = sent(layer)
    layer.receive(answer(data, 180), UDP, 1.0)
    layer.take_events()
    layer.cancel(transaction, 50.0)
    assert starts(layer) == ["CANCEL"]
    assert pass_time(layer, 81.9) == [50.5, 51.5, 53.5, 57.5, 61.5, 65.5, 69.5, 73.5, 77.5, 81.5]
    assert layer.take_events() == []
    pass_time(layer, 82.0)
    assert layer.take_events() == [RequestTimedOut(transaction, "me")]
    assert_empty(layer)


def test_cancel_and_2xx_cross() -> None:
    layer = new_layer()
    transaction = layer.send_request(request(), UDP, 0.0)
    (data,) = sent(layer)
    layer.receive(answer(data, 180), UDP, 0.1)
    layer.cancel(transaction, 0.2)
    layer.receive(answer(data, 200), UDP, 0.3)
    assert [event.response.status for event in layer.take_events() if isinstance(event, ResponseReceived)] == [180, 200]


@pytest.mark.parametrize("status", [200, 404])
def test_cancel_after_the_final_response_has_no_effect(status: int) -> None:
    layer = new_layer()
    transaction = layer.send_request(request(), UDP, 0.0)
    layer.receive(answer(sent(layer)[0], status), UDP, 0.1)
    layer.take_output()
    layer.cancel(transaction, 0.2)
    assert sent(layer) == []
    pass_time(layer, 100.0)
    layer.cancel(transaction, 100.0)
    assert_empty(layer)


def test_only_an_invite_can_be_cancelled() -> None:
    layer = new_layer()
    transaction = layer.send_request(request("MESSAGE"), UDP, 0.0)
    with pytest.raises(LocalProtocolError, match="no cancel"):
        layer.cancel(transaction, 0.1)


def test_a_cancel_that_the_user_sent_by_hand_is_not_sent_twice() -> None:
    layer = new_layer()
    transaction = layer.send_request(request(), UDP, 0.0)
    (data,) = sent(layer)
    layer.cancel(transaction, 0.1)
    layer.send_request(request("CANCEL"), UDP, 0.1, branch=transaction.branch)
    layer.take_output()
    layer.receive(answer(data, 100), UDP, 0.2)
    assert sent(layer) == []


# Requests of the peer's: matching (§17.2.3)


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "NOSUCH"])
def test_a_request_comes_once_and_its_retransmissions_get_the_latest_response(method: str) -> None:
    layer = new_layer()
    layer.receive(wire(method), UDP, 0.0)
    event = arrived(layer)
    assert event.flow == UDP
    assert event.transaction.request is event.request
    layer.receive(wire(method), UDP, 0.1)
    assert sent(layer) == []
    reply(layer, event, 486, 0.15)
    (response,) = sent(layer)
    layer.receive(wire(method), UDP, 0.2)
    assert sent(layer) == [response]
    assert layer.take_events() == []
    assert layer.counters["requests"] == 1
    assert layer.counters["retransmissions_received"] == 2
    assert event.transaction.request is None


@pytest.mark.parametrize(
    "other",
    [
        wire("MESSAGE", via="SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKother"),
        wire("MESSAGE", via="SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKpeer"),
        wire("MESSAGE", via="SIP/2.0/UDP 192.0.2.2:5062;branch=z9hG4bKpeer"),
        wire("OPTIONS"),
    ],
)
def test_requests_that_differ_in_branch_sent_by_or_method(other: bytes) -> None:
    layer = new_layer()
    layer.receive(wire("MESSAGE"), UDP, 0.0)
    layer.receive(other, UDP, 0.0)
    first, second = layer.take_events()
    assert isinstance(first, RequestReceived)
    assert isinstance(second, RequestReceived)
    layer.receive(other, UDP, 0.0)
    layer.receive(wire("MESSAGE"), UDP, 0.0)
    assert layer.take_events() == []
    reply(layer, second, 200, 0.1)
    reply(layer, first, 200, 0.1)
    layer.take_output()
    pass_time(layer, 100.0)
    assert_empty(layer)


def test_branch_and_sent_by_are_compared_without_regard_to_case() -> None:
    layer = new_layer()
    layer.receive(wire(via="SIP/2.0/UDP a.example.com;branch=z9hG4bKabc"), UDP, 0.0)
    layer.receive(wire(via="SIP/2.0/UDP A.Example.com;branch=z9hG4bKABC"), UDP, 0.1)
    assert kinds(layer.take_events()) == [RequestReceived]


OLD = "SIP/2.0/UDP 192.0.2.2:5060"


def test_a_branch_of_nothing_but_the_cookie_names_no_transaction() -> None:
    # RFC 4475 §3.2.1: such requests fall back to RFC 2543, or each of that peer would be taken for the first
    layer = new_layer()
    via = "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK"
    for cseq in ("7 OPTIONS", "8 OPTIONS"):
        layer.receive(wire("OPTIONS", via=via, cseq=cseq), UDP, 0.0)
        arrived(layer)
    layer.receive(wire("OPTIONS", via=via, cseq="8 OPTIONS"), UDP, 0.1)
    assert layer.take_events() == []
    assert (layer.counters["requests"], layer.counters["retransmissions_received"]) == (2, 1)


def test_old_requests_are_matched_by_rfc_2543() -> None:
    layer = new_layer()
    layer.receive(wire(via=OLD), UDP, 0.0)
    event = arrived(layer)
    layer.receive(wire(via=OLD), UDP, 0.05)
    assert layer.take_events() == []
    reply(layer, event, 486, 0.1)
    layer.take_output()
    for other in (
        wire(via=OLD, uri="sip:carol@example.com"),
        wire(via=OLD, to="<sip:bob@example.com>;tag=x"),
        wire(via=OLD, cseq="8 INVITE"),
        wire(via=OLD + ";branch=1"),
        wire(via=OLD).replace(b"tag=from", b"tag=other"),
        wire(via=OLD).replace(b"Call-ID: call", b"Call-ID: other"),
    ):
        layer.receive(other, UDP, 0.2)
        assert kinds(layer.take_events()) == [RequestReceived], other
    layer.receive(wire("ACK", via=OLD, to="<sip:bob@example.com>;tag=theirs"), UDP, 0.3)
    assert kinds(layer.take_events()) == [AckReceived]
    assert event.transaction.state_name == "Completed"
    layer.receive(wire("ACK", via=OLD, to="<sip:bob@example.com>;tag=ours"), UDP, 0.3)
    assert event.transaction.state_name == "Confirmed"
    assert layer.take_events() == []
    layer.handle_timers(5.3)
    assert event.transaction.state_name == "Terminated"
    assert layer.server_transactions == 6


def test_an_old_ack_for_2xx_comes_up() -> None:
    layer = new_layer()
    layer.receive(wire(via=OLD), UDP, 0.0)
    event = arrived(layer)
    reply(layer, event, 200, 0.1)
    reply(layer, event, 200, 0.6)
    layer.receive(wire("ACK", via=OLD, to="<sip:bob@example.com>;tag=ours"), UDP, 0.7)
    assert kinds(layer.take_events()) == [AckReceived]
    pass_time(layer, 100.0)
    assert_empty(layer)


def test_an_old_cancel_finds_its_invite() -> None:
    layer = new_layer()
    layer.receive(wire(via=OLD), UDP, 0.0)
    event = arrived(layer)
    layer.receive(wire("CANCEL", via=OLD), UDP, 0.1)
    assert kinds(layer.take_events()) == [CancelReceived]
    assert starts(layer) == ["200"]
    reply(layer, event, 487, 0.2)


def test_an_old_request_other_than_invite() -> None:
    layer = new_layer()
    layer.receive(wire("OPTIONS", via=OLD), UDP, 0.0)
    event = arrived(layer)
    reply(layer, event, 200, 0.1)
    (response,) = sent(layer)
    layer.receive(wire("OPTIONS", via=OLD), UDP, 0.2)
    assert sent(layer) == [response]


# ACK


@pytest.mark.parametrize("flow", FLOWS)
def test_a_refused_invite_until_its_ack(flow: Flow) -> None:
    layer = new_layer()
    layer.receive(wire(), flow, 0.0)
    event = arrived(layer)
    reply(layer, event, 603, 0.1)
    assert starts(layer) == ["603"]
    assert pass_time(layer, 2.0) == ([0.6, 1.6] if flow is UDP else [])
    layer.receive(wire("ACK", to="<sip:bob@example.com>;tag=ours"), flow, 2.0)
    layer.receive(wire("ACK", to="<sip:bob@example.com>;tag=ours"), flow, 2.0) if flow is UDP else None
    assert layer.take_events() == []
    assert pass_time(layer, 7.0) == []
    assert_empty(layer)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_refused_invite_without_ack(flow: Flow) -> None:
    layer = new_layer()
    layer.receive(wire(), flow, 0.0)
    event = arrived(layer)
    reply(layer, event, 603, 0.0)
    pass_time(layer, 32.0)
    failure = only(layer.take_events())
    assert isinstance(failure, ResponseFailed)
    assert failure.transaction is event.transaction
    assert "timer H" in str(failure.error)
    assert_empty(layer)


def test_the_ack_for_a_2xx_comes_up_whatever_its_branch() -> None:
    layer = new_layer()
    layer.receive(wire(), UDP, 0.0)
    event = arrived(layer)
    reply(layer, event, 200, 0.1)
    layer.receive(wire(), UDP, 0.2)
    assert starts(layer) == ["200"]  # RFC 6026: the retransmission is absorbed
    layer.receive(wire("ACK"), UDP, 0.3)
    layer.receive(wire("ACK", via="SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKack;rport"), UDP, 0.4)
    first, second = layer.take_events()
    assert isinstance(first, AckReceived)
    assert isinstance(second, AckReceived)
    assert second.request.via.rport == 5060
    assert second.flow == UDP
    assert sent(layer) == []


def test_an_early_ack_is_ignored() -> None:
    layer = new_layer()
    layer.receive(wire(), UDP, 0.0)
    arrived(layer)
    layer.receive(wire("ACK"), UDP, 0.1)
    assert layer.take_events() == []
    assert sent(layer) == []


def test_the_ack_of_an_invite_beside_another_request_of_its_branch() -> None:
    layer = new_layer()
    layer.receive(wire("OPTIONS"), UDP, 0.0)
    layer.receive(wire("INVITE"), UDP, 0.0)
    _, event = layer.take_events()
    assert isinstance(event, RequestReceived)
    layer.receive(wire("CANCEL"), UDP, 0.1)
    assert kinds(layer.take_events()) == [CancelReceived]
    reply(layer, event, 487, 0.1)
    layer.receive(wire("ACK"), UDP, 0.2)
    assert event.transaction.state_name == "Confirmed"


# CANCEL of the peer's (§9.2)


def test_cancel_is_answered_with_the_tag_of_the_invite() -> None:
    layer = new_layer()
    layer.receive(wire(), UDP, 0.0)
    event = arrived(layer)
    reply(layer, event, 180, 0.1)
    layer.take_output()
    layer.receive(wire("CANCEL", more="Reason: SIP;cause=200\r\n"), UDP, 0.2)
    (data,) = sent(layer)
    response = parse(data)
    assert isinstance(response, Response)
    assert (response.status, str(response.cseq), response.to.tag) == (200, "7 CANCEL", "ours")
    cancelled = only(layer.take_events())
    assert isinstance(cancelled, CancelReceived)
    assert cancelled.transaction is event.transaction
    assert cancelled.request.headers.get("Reason") == "SIP;cause=200"
    layer.receive(wire("CANCEL"), UDP, 0.3)
    assert sent(layer) == [data]
    assert layer.take_events() == []
    reply(layer, event, 487, 0.4)
    layer.receive(wire("ACK"), UDP, 0.5)
    pass_time(layer, 100.0)
    assert_empty(layer)


@pytest.mark.parametrize("answered_100", [False, True])
def test_cancel_before_there_is_a_tag(answered_100: bool) -> None:
    layer = new_layer()
    layer.receive(wire(), UDP, 0.0)
    if answered_100:
        layer.handle_timers(0.2)
        assert starts(layer) == ["100"]
    layer.receive(wire("CANCEL"), UDP, 0.3)
    assert parse(sent(layer)[0]).to.tag == "1of64"


@pytest.mark.parametrize("status", [200, 404])
def test_a_late_cancel_is_answered_and_has_no_effect(status: int) -> None:
    layer = new_layer()
    layer.receive(wire(), UDP, 0.0)
    reply(layer, arrived(layer), status, 0.1)
    layer.take_output()
    layer.receive(wire("CANCEL"), UDP, 0.2)
    assert starts(layer) == ["200"]
    assert layer.take_events() == []


def test_cancel_of_another_method_is_answered_and_has_no_effect() -> None:
    layer = new_layer()
    layer.receive(wire("MESSAGE"), UDP, 0.0)
    arrived(layer)
    layer.receive(wire("CANCEL"), UDP, 0.2)
    assert starts(layer) == ["200"]
    assert layer.take_events() == []


def test_a_cancel_that_matches_nothing_comes_up_and_stands_in_nobodys_way() -> None:
    layer = new_layer()
    layer.receive(wire("CANCEL"), UDP, 0.0)
    event = arrived(layer)
    assert event.request.method == "CANCEL"
    reply(layer, event, 481, 0.0)
    layer.take_output()
    layer.receive(wire("INVITE"), UDP, 0.1)
    assert arrived(layer).request.method == "INVITE"
    layer.receive(wire("CANCEL"), UDP, 0.2)
    assert starts(layer) == ["481"]


# Responses of ours


@pytest.mark.parametrize("flow", FLOWS)
def test_100_trying_comes_from_the_layer_after_200_ms(flow: Flow) -> None:
    layer = new_layer()
    layer.receive(wire(more="Timestamp: 54\r\n"), flow, 0.0)
    event = arrived(layer)
    assert layer.next_timer() == 0.2
    layer.handle_timers(0.2)
    ((where, data),) = layer.take_output()
    assert where == flow
    assert data.startswith(b"SIP/2.0 100 Trying\r\n")
    assert b"\r\nTimestamp: 54\r\n" in data
    layer.receive(wire(), flow, 0.5)
    assert sent(layer) == [data]
    reply(layer, event, 180, 0.6)
    assert starts(layer) == ["180"]


def test_no_100_when_the_user_was_faster() -> None:
    layer = new_layer()
    layer.receive(wire(), UDP, 0.0)
    reply(layer, arrived(layer), 183, 0.1)
    assert starts(layer) == ["183"]
    assert pass_time(layer, 1e6) == []


def test_a_2xx_is_repeated_by_the_user_alone() -> None:
    layer = new_layer()
    layer.receive(wire(), UDP, 0.0)
    event = arrived(layer)
    reply(layer, event, 200, 0.1)
    reply(layer, event, 200, 0.6)
    assert starts(layer) == ["200", "200"]
    with pytest.raises(LocalProtocolError, match="Accepted"):
        reply(layer, event, 486, 0.7)
    with pytest.raises(LocalProtocolError, match="Accepted"):
        reply(layer, event, 180, 0.7)
    assert pass_time(layer, 100.0) == []
    assert_empty(layer)


def test_other_requests_by_rfc_4320() -> None:
    layer = new_layer()
    layer.receive(wire("MESSAGE"), UDP, 0.0)
    event = arrived(layer)
    reply(layer, event, 100, 0.1)  # too early
    with pytest.raises(LocalProtocolError):
        reply(layer, event, 183, 0.2)  # never
    assert sent(layer) == []
    assert layer.counters["late_answers"] == 1
    assert pass_time(layer, 3.5) == [3.5]
    layer.receive(wire("MESSAGE"), UDP, 4.0)
    assert starts(layer) == ["100"]
    reply(layer, event, 100, 5.0)
    assert starts(layer) == ["100"]
    reply(layer, event, 408, 6.0)  # never
    reply(layer, event, 202, 7.0)
    reply(layer, event, 500, 8.0)  # §17.2.2: discarded
    assert starts(layer) == ["202"]
    assert layer.counters["late_answers"] == 3


def test_no_response_after_64_t1() -> None:
    layer = new_layer()
    layer.receive(wire("MESSAGE"), UDP, 0.0)
    event = arrived(layer)
    assert pass_time(layer, 100.0) == [3.5]
    failure = only(layer.take_events())
    assert isinstance(failure, ResponseFailed)
    assert "RFC 4320" in str(failure.error)
    assert_empty(layer)
    reply(layer, event, 200, 101.0)
    assert sent(layer) == []
    assert layer.counters["late_answers"] == 1
    assert_empty(layer)


def test_a_late_answer_does_not_touch_the_next_transaction_of_that_name() -> None:
    layer = new_layer()
    layer.receive(wire("MESSAGE"), UDP, 0.0)
    old = arrived(layer)
    pass_time(layer, 32.0)
    layer.take_events()
    layer.receive(wire("MESSAGE"), UDP, 33.0)
    new = arrived(layer)
    assert new.transaction is not old.transaction
    reply(layer, old, 200, 34.0)
    assert sent(layer) == []
    layer.receive(wire("MESSAGE"), UDP, 35.0)
    assert layer.take_events() == []
    reply(layer, new, 200, 36.0)
    assert starts(layer) == ["200"]


def test_cancelling_what_has_ended_does_not_touch_the_next_transaction_of_that_branch() -> None:
    layer = new_layer()
    old = layer.send_request(request(), UDP, 0.0, branch="z9hG4bK1")
    pass_time(layer, 32.0)
    layer.send_request(request(), UDP, 33.0, branch="z9hG4bK1")
    layer.cancel(old, 34.0)
    assert layer.client_transactions == 1


# Where requests come from and responses go to (§18.2.1, §18.2.2, RFC 3581)

FROM = ("198.51.100.9", 40123)


@pytest.mark.parametrize(
    ("via", "stamped", "to"),
    [
        # neither is needed
        ("SIP/2.0/UDP 198.51.100.9:40123;branch=z9hG4bK1", None, FROM),
        ("SIP/2.0/UDP 198.51.100.9:5080;branch=z9hG4bK1", None, ("198.51.100.9", 5080)),
        ("SIP/2.0/UDP 198.51.100.9;branch=z9hG4bK1", None, ("198.51.100.9", 5060)),
        # received: a name, another address
        (
            "SIP/2.0/UDP pc.example.com;branch=z9hG4bK1",
            "SIP/2.0/UDP pc.example.com;branch=z9hG4bK1;received=198.51.100.9",
            ("198.51.100.9", 5060),
        ),
        (
            "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1",
            "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;received=198.51.100.9",
            ("198.51.100.9", 5070),
        ),
        # rport: with received, even when that is the same address (RFC 3581 §4)
        (
            "SIP/2.0/UDP 198.51.100.9:5060;rport;branch=z9hG4bK1",
            "SIP/2.0/UDP 198.51.100.9:5060;rport=40123;received=198.51.100.9;branch=z9hG4bK1",
            FROM,
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport",
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport=40123;received=198.51.100.9",
            FROM,
        ),
        # what the sender claims there by itself is overwritten
        (
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=203.0.113.1;rport=9",
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=198.51.100.9;rport=40123",
            FROM,
        ),
        (
            "SIP/2.0/UDP 198.51.100.9;branch=z9hG4bK1;received=203.0.113.1",
            "SIP/2.0/UDP 198.51.100.9;branch=z9hG4bK1;received=198.51.100.9",
            ("198.51.100.9", 5060),
        ),
        # other spellings
        (
            "SIP / 2.0 / UDP 10.0.0.1 ; branch=z9hG4bK1 ; RPort ",
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;RPort=40123;received=198.51.100.9",
            FROM,
        ),
        (
            'SIP/2.0/UDP 10.0.0.1;x=";rport";branch=z9hG4bK1',
            'SIP/2.0/UDP 10.0.0.1;x=";rport";branch=z9hG4bK1;received=198.51.100.9',
            ("198.51.100.9", 5060),
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rportal=1;rport",
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rportal=1;rport=40123;received=198.51.100.9",
            FROM,
        ),
        # several on one line: the others stay
        (
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport, SIP/2.0/TCP b;branch=z9hG4bK2",
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport=40123;received=198.51.100.9, SIP/2.0/TCP b;branch=z9hG4bK2",
            FROM,
        ),
        # maddr that is the source itself
        ("SIP/2.0/UDP 198.51.100.9:5070;maddr=198.51.100.9;branch=z9hG4bK1", None, ("198.51.100.9", 5070)),
        # maddr, if it is an address
        ("SIP/2.0/UDP 198.51.100.9:5070;maddr=224.0.1.75;branch=z9hG4bK1", None, ("224.0.1.75", 5070)),
        ("SIP/2.0/UDP 198.51.100.9;maddr=[2001:db8::1];branch=z9hG4bK1", None, ("2001:db8::1", 5060)),
        ("SIP/2.0/UDP 198.51.100.9:5070;maddr=h.example.com;branch=z9hG4bK1", None, ("198.51.100.9", 5070)),
    ],
)
def test_where_a_response_to_a_datagram_goes(via: str, stamped: str | None, to: tuple[str, int]) -> None:
    layer = new_layer()
    flow = UDP._replace(remote=FROM)
    layer.receive(wire("OPTIONS", via=via), flow, 0.0)
    event = arrived(layer)
    text = event.request.headers.get("Via")
    assert text is not None
    expected = stamped or via
    assert text.split(", ")[1:] == expected.split(", ")[1:]
    top, wanted = text.split(", ")[0].split(";"), expected.split(", ")[0].split(";")
    assert (top[0], sorted(top[1:])) == (wanted[0], sorted(wanted[1:]))
    reply(layer, event, 200, 0.1)
    ((where, data),) = layer.take_output()
    assert where == flow._replace(remote=to)
    assert parse(data).headers.get("Via") == text


@pytest.mark.parametrize(
    "maddr",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "255.255.255.255", "[::]", "[::1]", "[0:0::0:1]", "[::127.0.0.1]",
     "[::ffff:127.0.0.1]", "[::ffff:192.0.2.1]", "[1::1::1]", "256.1.1.1"],
)  # fmt: skip
def test_no_maddr_leads_to_services_of_this_host_or_to_everybody(maddr: str) -> None:
    layer = new_layer()
    via = f"SIP/2.0/UDP 198.51.100.9:5070;maddr={maddr};branch=z9hG4bK1"
    layer.receive(wire("OPTIONS", via=via), UDP._replace(remote=FROM), 0.0)
    reply(layer, arrived(layer), 200, 0.1)
    assert layer.take_output()[0][0].remote == ("198.51.100.9", 5070)


def test_maddr_of_a_peer_on_this_host() -> None:
    layer = new_layer()
    flow = UDP._replace(remote=("127.0.0.1", 40123))
    layer.receive(wire("OPTIONS", via="SIP/2.0/UDP 127.0.0.1:5070;maddr=127.0.0.1;branch=z9hG4bK1"), flow, 0.0)
    reply(layer, arrived(layer), 200, 0.1)
    assert layer.take_output()[0][0].remote == ("127.0.0.1", 5070)


def test_ipv6() -> None:
    layer = new_layer()
    flow = UDP._replace(remote=("2001:db8::9", 5062))
    layer.receive(wire("OPTIONS", via="SIP/2.0/UDP [2001:db8::9]:5062;branch=z9hG4bK1"), flow, 0.0)
    assert arrived(layer).request.headers.get("Via") == "SIP/2.0/UDP [2001:db8::9]:5062;branch=z9hG4bK1"
    layer.receive(wire("OPTIONS", via="SIP/2.0/UDP [2001:db8::1]:5062;branch=z9hG4bK2"), flow, 0.0)
    event = arrived(layer)
    assert event.request.via.received == "2001:db8::9"
    reply(layer, event, 200, 0.1)
    assert layer.take_output()[0][0].remote == ("2001:db8::9", 5062)


def test_a_via_with_octets_that_are_no_text_is_stamped_all_the_same() -> None:
    layer = new_layer()
    data = wire("OPTIONS", via='SIP/2.0/UDP h;branch=z9hG4bK1;x="!";received=1.2.3.4').replace(b"!", b"\xff\xc2\x80")
    layer.receive(data, UDP, 0.0)
    event = arrived(layer)
    assert event.request.via.received == "192.0.2.2"
    assert b'x="\xff\xc2\x80"' in event.request.encode()


@pytest.mark.parametrize("flow", FLOWS[1:])
def test_a_response_on_a_stream_goes_back_by_its_connection(flow: Flow) -> None:
    layer = new_layer()
    layer.receive(wire("OPTIONS", via=f"SIP/2.0/{flow.transport} elsewhere:9;maddr=1.2.3.4;branch=z9hG4bK1"), flow, 0.0)
    reply(layer, arrived(layer), 200, 0.1)
    assert layer.take_output()[0][0] == flow
    assert_empty(layer)


# Flows that fail or close


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
@pytest.mark.parametrize("flow", FLOWS)
def test_a_request_on_a_flow_that_fails(flow: Flow, method: str) -> None:
    layer = new_layer()
    transaction = layer.send_request(request(method), flow, 0.0, sender="me")
    other = layer.send_request(request(method), flow._replace(remote=("192.0.2.77", 5060)), 0.0)
    layer.flow_failed(flow, RESET, 0.1)
    assert layer.take_events() == [RequestFailed(transaction, RESET, "me")]
    assert layer.counters["transport_errors"] == 1
    layer.flow_failed(flow, RESET, 0.1)
    assert layer.take_events() == []
    assert other.pending
    layer.flow_failed(other.flow, RESET, 0.1)
    assert_empty(layer)


@pytest.mark.parametrize("flow", FLOWS[1:])
def test_a_request_on_a_connection_that_is_closed_unanswered(flow: Flow) -> None:
    layer = new_layer()
    layer.send_request(request("OPTIONS"), flow, 0.0, sender="me")
    layer.flow_closed(flow, 0.1)
    failure = only(layer.take_events())
    assert isinstance(failure, RequestFailed)
    assert failure.sender == "me"
    assert "closed" in str(failure.error)
    assert_empty(layer)


def test_a_ringing_invite_outlives_the_close_of_its_connection_but_not_its_failure() -> None:
    layer = new_layer()
    transaction = layer.send_request(request(), TCP, 0.0)
    layer.receive(answer(sent(layer)[0], 180), TCP, 0.1)
    layer.flow_closed(TCP, 0.2)
    assert kinds(layer.take_events()) == [ResponseReceived]
    assert transaction.flow == TCP._replace(connection=0)
    layer.cancel(transaction, 1.0)
    assert layer.take_output()[0][0] == TCP._replace(connection=0)
    layer.flow_failed(TCP._replace(connection=0), RESET, 1.1)
    assert layer.take_events() == [RequestFailed(transaction, RESET, None)]
    assert_empty(layer)


@pytest.mark.parametrize(("flow", "port"), [(TCP, 5060), (TLS, 5061)])
@pytest.mark.parametrize("close", [True, False])
def test_a_response_takes_a_new_connection_when_the_old_one_is_gone(flow: Flow, port: int, close: bool) -> None:
    layer = new_layer()
    layer.receive(wire("MESSAGE", via=f"SIP/2.0/{flow.transport} pc.example.com;branch=z9hG4bK1"), flow, 0.0)
    layer.receive(wire("OPTIONS", via=f"SIP/2.0/{flow.transport} pc.example.com:9;branch=z9hG4bK2"), flow, 0.0)
    first, second = layer.take_events()
    assert isinstance(first, RequestReceived)
    assert isinstance(second, RequestReceived)
    if close:
        layer.flow_closed(flow, 1.0)
    else:
        layer.flow_failed(flow, RESET, 1.0)
    assert layer.take_events() == []
    reply(layer, first, 200, 2.0)
    reply(layer, second, 200, 2.0)
    assert [where for where, _ in layer.take_output()] == [
        flow._replace(remote=("192.0.2.2", port), connection=0),
        flow._replace(remote=("192.0.2.2", 9), connection=0),
    ]
    assert_empty(layer)


def test_a_final_response_that_may_have_been_lost_with_its_connection_is_sent_again() -> None:
    layer = new_layer()
    layer.receive(wire(), TCP, 0.0)
    event = arrived(layer)
    reply(layer, event, 486, 0.1)
    (response,) = sent(layer)
    layer.flow_failed(TCP, RESET, 0.2)
    again = TCP._replace(connection=0)
    assert layer.take_output() == [(again, response)]
    new = TCP._replace(connection=11)
    layer.flow_opened(again, new)
    layer.flow_failed(new, RESET, 0.3)
    assert layer.take_output() == [(again, response)]
    layer.flow_failed(again, RESET, 0.4)
    layer.flow_failed(again, RESET, 0.5)
    assert layer.take_events() == [ResponseFailed(event.transaction, RESET)]  # told once
    assert pass_time(layer, 100.0) == []
    assert layer.take_events() == []
    assert_empty(layer)


def test_what_was_sent_on_a_connection_yet_to_be_opened() -> None:
    """Its responses are known by the Via that it left with, and its fate is that of the connection that it got."""
    layer = new_layer()
    wanted = TCP._replace(connection=0, sent_by="wanted.example.com")
    transaction = layer.send_request(request("OPTIONS"), wanted, 0.0, sender="me")
    lost = layer.send_request(request("OPTIONS"), wanted, 0.0, sender="lost")
    data, _ = sent(layer)
    layer.flow_opened(wanted, TCP)
    layer.receive(answer(data, 200), TCP, 0.1)
    event = only(layer.take_events())
    assert isinstance(event, ResponseReceived)
    assert event.transaction is transaction
    layer.flow_failed(wanted, RESET, 0.2)
    assert layer.take_events() == []
    layer.flow_failed(TCP, RESET, 0.3)
    assert layer.take_events() == [RequestFailed(lost, RESET, "lost")]
    assert_empty(layer)


def test_a_connection_is_the_same_when_its_sent_by_has_changed() -> None:
    """An element that learns its public address meanwhile loses nothing."""
    layer = new_layer()
    learned = TCP._replace(sent_by="203.0.113.1")
    layer.send_request(request("OPTIONS"), TCP, 0.0)
    layer.receive(wire("MESSAGE")[:50], TCP, 0.0)
    layer.receive(wire("MESSAGE")[50:], learned, 0.1)
    layer.flow_failed(learned, RESET, 0.2)
    assert kinds(layer.take_events()) == [RequestReceived, RequestFailed]


@pytest.mark.parametrize("flow", [WS, WSS])
def test_a_websocket_that_is_gone_is_gone(flow: Flow) -> None:
    """RFC 7118 §5: its client cannot be connected to."""
    layer = new_layer()
    layer.receive(wire(), flow, 0.0)
    event = arrived(layer)
    layer.flow_closed(flow, 0.1)
    failure = only(layer.take_events())
    assert isinstance(failure, ResponseFailed)
    assert failure.transaction is event.transaction
    reply(layer, event, 486, 0.2)
    pass_time(layer, 100.0)
    assert layer.take_events() == []
    assert_empty(layer)


def test_a_refused_datagram_ends_what_was_sent_there() -> None:
    """§18.4: ICMP errors; a server transaction of INVITE goes on (RFC 6026)."""
    layer = new_layer()
    layer.receive(wire("INVITE"), UDP, 0.0)
    invite = arrived(layer)
    layer.receive(wire("MESSAGE", via="SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK2"), UDP, 0.0)
    message = arrived(layer)
    reply(layer, message, 200, 0.1)
    reply(layer, invite, 180, 0.1)
    layer.flow_failed(UDP, RESET, 0.2)
    assert layer.take_events() == [
        ResponseFailed(invite.transaction, RESET),
        ResponseFailed(message.transaction, RESET),
    ]
    assert invite.transaction.pending
    assert layer.server_transactions == 1


def test_flows_are_looked_up_and_not_searched_for() -> None:
    layer = new_layer()
    for number in range(2000):
        layer.send_request(request("OPTIONS"), TCP._replace(connection=number + 1), 0.0)
    layer.flow_failed(TCP._replace(connection=5000), RESET, 0.0)
    assert layer.take_events() == []
    assert len(layer._on_path(TCP._replace(connection=7))) == 1
    for number in range(2000):
        layer.flow_failed(TCP._replace(connection=number + 1), RESET, 0.1)
    assert len(layer.take_events()) == 2000
    assert_empty(layer)


# Streams and keep-alives


@pytest.mark.parametrize("flow", [TCP, TLS])
@pytest.mark.parametrize("size", [1, 3, 50, 10_000])
def test_a_stream_in_pieces(flow: Flow, size: int) -> None:
    layer = new_layer()
    stream = wire("INVITE") + b"\r\n\r\n" + wire("MESSAGE")
    for index in range(0, len(stream), size):
        layer.receive(memoryview(stream)[index : index + size], flow, 0.0)
    events = [event for event in layer.take_events() if event != KeepAlive(flow, True)]
    assert kinds(events) == [RequestReceived, KeepAlive, RequestReceived]
    assert events[1] == KeepAlive(flow, False)
    assert layer.take_output() == [(flow, b"\r\n")]


def test_connections_do_not_mix() -> None:
    layer = new_layer()
    data = wire("MESSAGE")
    layer.receive(data[:100], TCP, 0.0)
    layer.receive(data[100:], TCP._replace(connection=8), 0.0)
    assert RequestReceived not in kinds(layer.take_events())
    layer.receive(data[100:], TCP, 0.0)
    assert kinds(layer.take_events()) == [RequestReceived]


def test_pings_that_come_at_once_have_one_answer() -> None:
    """A read may hold tens of thousands of them; other streams' have theirs."""
    layer = new_layer()
    layer.receive(b"\r\n\r\n" * 1000, TCP, 0.0)
    layer.receive(b"\r\n\r\n" * 1000, TLS, 0.0)
    assert layer.take_output() == [(TCP, b"\r\n"), (TLS, b"\r\n")]
    assert layer.take_events() == [KeepAlive(TCP, False), KeepAlive(TLS, False)]
    assert layer.counters["keep_alives"] == 2000
    layer.receive(b"\r\n\r\n", TLS, 0.0)
    assert layer.take_output() == [(TLS, b"\r\n")]


def test_a_pong() -> None:
    """Without being told of the ping, two pongs in a row would read as one ping."""
    layer = new_layer()
    layer.flow_pinged(TCP)
    layer.flow_pinged(TCP)
    layer.receive(b"\r\n\r\n", TCP, 0.1)
    assert layer.take_events() == [KeepAlive(TCP, True), KeepAlive(TCP, True)]
    assert sent(layer) == []


def test_a_message_that_has_come_in_part() -> None:
    layer = new_layer()
    assert not layer.unfinished(TCP)
    layer.receive(wire("MESSAGE")[:-1], TCP, 0.1)
    assert layer.unfinished(TCP)
    assert not layer.unfinished(UDP)
    layer.receive(wire("MESSAGE")[-1:], TCP, 0.1)
    assert not layer.unfinished(TCP)


@pytest.mark.parametrize("flow", [WS, WSS])
def test_keep_alives_in_websocket_messages(flow: Flow) -> None:
    layer = new_layer()
    layer.receive(b"\r\n\r\n", flow, 0.0)
    layer.receive(b"\r\n", flow, 0.0)
    assert layer.take_events() == [KeepAlive(flow, False), KeepAlive(flow, True)]
    assert layer.take_output() == [(flow, b"\r\n")]


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\0", b"\0\0\0\0"])
def test_keep_alives_in_datagrams_are_only_counted(data: bytes) -> None:
    layer = new_layer()
    layer.receive(data, UDP, 0.0)
    assert layer.take_events() == []
    assert layer.take_output() == []
    assert layer.counters["keep_alives"] == 1


def test_a_stream_that_cannot_be_framed_is_answered_and_given_up() -> None:
    layer = new_layer()
    bad = wire("MESSAGE").replace(b"Content-Length: 0", b"Content-Length: x")
    layer.receive(wire("OPTIONS") + bad + wire("INFO"), TCP, 0.0)
    first, second = layer.take_events()
    assert isinstance(first, RequestReceived)
    assert isinstance(second, FlowRejected)
    assert second.flow == TCP
    assert starts(layer) == ["400"]
    layer.receive(wire("INFO"), TCP, 0.1)
    assert layer.take_events() == []
    layer.flow_closed(TCP, 0.2)
    layer.receive(wire("INFO"), TCP, 0.3)  # another connection, were it not for the number
    assert kinds(layer.take_events()) == [RequestReceived]


# Broken messages


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (wire("OPTIONS").replace(b"CSeq: 7 OPTIONS", b"CSeq: 7 INFO"), "400"),
        (wire("OPTIONS").replace(b"From: <", b'From: "<'), "400"),
        (wire("OPTIONS").replace(b"Content-Length: 0", b"Content-Length: 10"), "400"),
        (wire("OPTIONS").replace(b"OPTIONS sip:bob@example.com SIP/2.0", b"OPTIONS sip:b SIP/7.0"), "505"),
        (wire("OPTIONS", uri="sip:" + "b" * 3000), "414"),
        (wire("CANCEL").replace(b"Call-ID: call\r\n", b""), "400"),
        (wire("OPTIONS").replace(b"Max-Forwards: 70", b"Max-Forwards: x"), "400"),
    ],
)
def test_a_broken_request_is_answered_without_a_transaction(data: bytes, status: str) -> None:
    layer = new_layer()
    layer.receive(data, UDP._replace(remote=FROM), 0.0)
    ((where, response),) = layer.take_output()
    assert response.startswith(f"SIP/2.0 {status} ".encode())
    assert where.remote == ("198.51.100.9", 5060)
    assert b";received=198.51.100.9" in response
    assert layer.take_events() == []
    assert layer.counters["malformed_requests"] == 1
    assert_empty(layer)
    layer.receive(data, UDP._replace(remote=FROM), 0.5)
    assert sent(layer) == [response]  # §8.2.7: the same To tag


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world",
        wire("OPTIONS").replace(b"Via: ", b"Vai: "),
        wire("OPTIONS").replace(b"192.0.2.2:5060", b"?"),
        wire("ACK").replace(b"CSeq: 7 ACK", b"CSeq: x ACK"),
        answer(wire("OPTIONS"), 200).replace(b"CSeq: 7 OPTIONS", b"CSeq: x"),
        answer(wire("OPTIONS"), 200).replace(b"SIP/2.0 200", b"SIP/2.0 999"),
        b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
    ],
)
@pytest.mark.parametrize("flow", [UDP, WS])
def test_what_must_not_be_answered_is_dropped_and_counted(data: bytes, flow: Flow) -> None:
    layer = new_layer()
    layer.receive(data, flow, 0.0)
    assert layer.take_output() == []
    assert layer.take_events() == []
    assert layer.counters["malformed_other"] == 1
    assert_empty(layer)


def test_limits_are_counted_by_name() -> None:
    layer = new_layer(limits=Limits(headers=5))
    layer.receive(wire("OPTIONS"), UDP, 0.0)
    assert starts(layer) == ["513"]
    assert layer.counters["over_headers"] == 1


@given(st.binary(max_size=200), st.sampled_from(FLOWS))
def test_any_bytes_are_survived(data: bytes, flow: Flow) -> None:
    layer = new_layer()
    layer.receive(data, flow, 0.0)
    layer.receive(wire("INVITE")[:60] + data + wire("INVITE")[60:], flow, 0.0)
    assert len(layer.take_output()) <= 4


@settings(max_examples=200)
@given(st.data())
def test_mutated_messages_are_survived(data: st.DataObject) -> None:
    layer = new_layer()
    for template in (
        wire("INVITE", via=OLD + ";rport;branch=z9hG4bK1"),
        wire("ACK"),
        wire("CANCEL"),
        wire("BYE", via=OLD),
    ):
        message = bytearray(template)
        for _ in range(data.draw(st.integers(0, 3))):
            index = data.draw(st.integers(0, len(message) - 1))
            message[index : index + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        layer.receive(bytes(message), UDP, 0.0)
        assert len(layer.take_output()) <= 1
        for event in layer.take_events():
            if isinstance(event, RequestReceived):
                reply(layer, event, 200, 0.0)
                layer.take_output()


@settings(max_examples=200)
@given(st.data())
def test_mutated_responses_are_survived(data: st.DataObject) -> None:
    """And the INVITE has one outcome at most, whatever they say."""
    layer = new_layer()
    layer.send_request(request(), UDP, 0.0)
    (invite,) = sent(layer)
    finals = 0
    for status in (180, 486, 486, 200):
        message = bytearray(answer(invite, status))
        for _ in range(data.draw(st.integers(0, 2))):
            index = data.draw(st.integers(0, len(message) - 1))
            message[index : index + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        layer.receive(bytes(message), UDP, 0.1)
        assert len(layer.take_output()) <= 1
        events = layer.take_events()
        finals += sum(isinstance(event, ResponseReceived) and event.response.status >= 300 for event in events)
    assert finals <= 1


# Bounds


def test_too_many_transactions_are_answered_503() -> None:
    layer = new_layer(bounds=TransactionLimits(transactions=3, transactions_per_source=2, retry_after=17))
    flows = [UDP._replace(remote=(f"192.0.2.{number}", 5060)) for number in range(10, 20)]
    events = []
    for number, flow in enumerate((flows[0], flows[0], flows[0], flows[1], flows[2])):
        via = f"SIP/2.0/UDP {flow.remote[0]};branch=z9hG4bK{number}"
        layer.receive(wire("MESSAGE", via=via), flow, 0.0)
        events += layer.take_events()
    assert len(events) == 3
    first, second = layer.take_output()
    assert first[0] == flows[0]
    assert second[0] == flows[2]
    for _, data in (first, second):
        response = parse(data)
        assert isinstance(response, Response)
        assert response.status == 503
        assert response.headers.get("Retry-After") == "17"
        assert response.to.tag
    assert (layer.counters["refused_source"], layer.counters["refused_total"]) == (1, 1)
    layer.receive(wire("ACK", via=f"SIP/2.0/UDP {flows[0].remote[0]};branch=z9hG4bK9"), flows[0], 0.0)
    assert kinds(layer.take_events()) == [AckReceived]
    pass_time(layer, 100.0)
    assert kinds(layer.take_events()) == [ResponseFailed] * 3
    assert_empty(layer)
    layer.receive(wire("MESSAGE"), flows[0], 200.0)
    arrived(layer)


def big(number: int, method: str = "MESSAGE") -> bytes:
    return wire(method, via=f"SIP/2.0/UDP h;rport;branch=z9hG4bK{number}", more=f"Subject: {'x' * 7000}\r\n")


def test_what_transactions_hold_is_bounded_in_octets() -> None:
    layer = new_layer(bounds=TransactionLimits(octets=40_000, octets_per_source=15_000))
    for number, (host, passes) in enumerate(
        [("192.0.2.10", 1), ("192.0.2.10", 1), ("192.0.2.10", 0), ("192.0.2.11", 1), ("192.0.2.12", 1),
         ("192.0.2.13", 1), ("192.0.2.14", 0)]
    ):  # fmt: skip
        layer.receive(big(number), UDP._replace(remote=(host, 5060)), 0.0)
        assert len(layer.take_events()) == passes
    assert (layer.counters["refused_source"], layer.counters["refused_total"]) == (1, 1)
    assert all(data.startswith(b"SIP/2.0 503 ") for data in sent(layer))
    assert layer._octets == sum(len(big(number)) for number in (0, 1, 3, 4, 5))
    pass_time(layer, 100.0)
    layer.take_events()
    assert_empty(layer)


def test_a_small_datagram_does_not_fetch_the_answer_to_a_large_one_again() -> None:
    # The answer repeats the Via, From, To and Call-ID of its request, and maddr sends it to anybody: 200 octets would
    # bring 7,000 as often as they come.  A retransmission is the message again (§17.1.2), so it is no smaller.
    layer = new_layer()
    via = "SIP/2.0/UDP h;rport;branch=z9hG4bK1"
    large, small = wire("MESSAGE", via=via, to=f"<sip:{'x' * 7000}@h>"), wire("MESSAGE", via=via)
    layer.receive(large, UDP, 0.0)
    reply(layer, arrived(layer), 404, 0.0)
    (answer,) = sent(layer)
    layer.receive(small, UDP, 0.1)
    assert sent(layer) == []
    layer.receive(large, UDP, 0.2)
    assert sent(layer) == [answer]
    assert layer.take_events() == []
    assert layer.counters["retransmissions_received"] == 2


@pytest.mark.parametrize(("method", "status"), [("MESSAGE", 200), ("INVITE", 200), ("INVITE", 486)])
def test_of_a_request_that_was_answered_the_answer_is_what_counts(method: str, status: int) -> None:
    layer = new_layer(bounds=TransactionLimits(octets=9_000))
    octets = 0
    for number in range(5):
        layer.receive(big(number, method), UDP, 0.0)
        event = arrived(layer)
        if method == "INVITE":
            reply(layer, event, 180, 0.0)
            assert layer._octets == octets + len(big(number, method)), "an INVITE that rings is held"
        layer.take_output()
        reply(layer, event, status, 0.0)
        octets += len(sent(layer)[0])
        assert layer._octets == octets
        layer.receive(big(number, method), UDP, 0.1)
        layer.take_output()
        assert layer._octets == octets
    pass_time(layer, 100.0)
    layer.take_events()
    assert_empty(layer)


def test_transactions_opened_and_ended_leave_the_heap_as_small_as_before() -> None:
    """The 200,000 of the timer queue alone are in test_timers.py."""
    layer = new_layer()
    keep = layer.send_request(request(), UDP, 0.0)
    layer.receive(answer(sent(layer)[0], 180), UDP, 0.0)
    before = len(layer._queue)
    template = request()
    for number in range(5_000):
        layer.send_request(template, TCP, float(number), branch=f"z9hG4bK{number}")
        layer.flow_failed(TCP, RESET, float(number))
        layer.take_output()
        layer.take_events()
        assert len(layer._queue) <= before + 64
    data = wire("MESSAGE", via="SIP/2.0/TCP 192.0.2.2:5060;branch=z9hG4bK!")
    for number in range(5_000):
        layer.receive(data.replace(b"!", b"%d" % number), TCP, 0.0)
        reply(layer, arrived(layer), 200, 0.0)
        layer.take_output()
        assert len(layer._queue) <= before + 64
    assert layer.client_transactions == 1
    assert keep.pending


def test_no_reference_cycles_on_the_path() -> None:
    """What a call leaves behind is freed without the collector's help."""
    layer = new_layer()
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            transaction = layer.send_request(request(), UDP, 0.0, branch=f"z9hG4bK{number}")
            (data,) = sent(layer)
            layer.receive(answer(data, 180), UDP, 0.0)
            layer.cancel(transaction, 0.0)
            (cancel,) = sent(layer)
            layer.receive(answer(cancel, 200), UDP, 0.0)
            layer.receive(answer(data, 487), UDP, 0.0)
            layer.receive(wire("INVITE", via=f"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{number}"), UDP, 0.0)
            layer.take_output()
            event = layer.take_events()[-1]
            assert isinstance(event, RequestReceived)
            reply(layer, event, 486, 0.0)
            layer.take_output()
        layer.handle_timers(1000.0)
        layer.handle_timers(1000.0)
        layer.take_events()
        layer.take_output()
        assert_empty(layer)
        del transaction, event
        assert gc.collect() == 0
    finally:
        gc.enable()


# Two layers on a link that loses, repeats and delays


class Link:
    """Two layers, a clock, and what is on the way between them."""

    def __init__(self, seed: int, loss: float, transport: str) -> None:
        self.random = random.Random(seed)
        self.loss = loss if transport == "UDP" else 0.0
        self.now = 0.0
        self.layers = (new_layer(), new_layer())
        connection = 0 if transport == "UDP" else 1
        self.flows = (
            Flow(transport, B, A, "192.0.2.1:5060", connection),
            Flow(transport, A, B, "192.0.2.2:5060", connection),
        )
        self.way: list[tuple[float, int, int, bytes]] = []
        self.count = 0
        self.outcomes: dict[object, list[str]] = {}
        self.repeats: list[tuple[float, RequestReceived]] = []
        self.breaks: list[tuple[float, int, str]] = []
        self.cancels: list[tuple[float, ClientTransaction]] = []
        self.asked: dict[ServerTransaction, Request] = {}
        self.answers: list[tuple[float, RequestReceived, int]] = []

    def flush(self) -> None:
        for side, layer in enumerate(self.layers):
            for _, data in layer.take_output():
                copies = 1 if self.loss == 0.0 else 2 if self.random.random() < 0.1 else 1
                for _copy in range(copies):
                    if self.random.random() >= self.loss:
                        delay = 0.01 if self.loss == 0.0 else self.random.uniform(0.01, 1.0)
                        self.count += 1
                        self.way.append((self.now + delay, self.count, 1 - side, data))
            for event in layer.take_events():
                self.handle(side, event)

    def handle(self, side: int, event: Event) -> None:
        layer = self.layers[side]
        match event:
            case RequestReceived(transaction, message):
                assert transaction not in self.asked
                self.asked[transaction] = message
                if message.method == "CANCEL":
                    self.answers.append((self.now, event, 481))
                    return
                if self.random.random() < 0.3:
                    self.answers.append((self.now + 0.1, event, 180 if message.method == "INVITE" else 100))
                if self.random.random() < 0.9 or message.method == "INVITE":
                    status = self.random.choice((200, 302, 404, 486, 503, 603))
                    self.answers.append((self.now + self.random.choice((0.0, 0.15, 5.0, 40.0)), event, status))
            case CancelReceived(transaction, _):
                layer.send_response(transaction, self.asked[transaction].create_response(487, to_tag="t"), self.now)
            case ResponseReceived(_, response, sender):
                if response.status >= 300:
                    self.outcomes.setdefault(sender, []).append(str(response.status))
                elif response.status >= 200 and "2xx" not in self.outcomes.setdefault(sender, []):
                    self.outcomes[sender].append("2xx")
            case RequestTimedOut(_, sender) | RequestFailed(_, _, sender):
                self.outcomes.setdefault(sender, []).append(type(event).__name__)
            case _:
                pass

    def break_flow(self, side: int, how: str) -> None:
        """What is sent afterwards takes a connection that is opened then, and arrives all the same."""
        flow = self.flows[side]
        if how == "closed":
            self.layers[side].flow_closed(flow, self.now)
        else:
            self.layers[side].flow_failed(flow if how == "failed" else flow._replace(connection=0), RESET, self.now)

    def run(self) -> None:
        """Until nothing is on the way and no timer is left."""
        for _ in range(100_000):
            self.flush()
            times = [layer.next_timer() for layer in self.layers]
            times += [item[0] for item in self.way]
            times += [item[0] for item in self.cancels]
            times += [item[0] for item in self.answers]
            times += [item[0] for item in self.repeats]
            times += [item[0] for item in self.breaks]
            self.now = max(self.now, min(times))
            if self.now == NEVER:
                return
            for layer in self.layers:
                layer.handle_timers(self.now)
            for item in sorted(self.way)[:1]:
                if item[0] <= self.now:
                    self.way.remove(item)
                    self.layers[item[2]].receive(item[3], self.flows[item[2]], self.now)
            for at, cancelled in list(self.cancels):
                if at <= self.now:
                    self.cancels.remove((at, cancelled))
                    self.layers[0].cancel(cancelled, self.now)
            for answer_item in list(self.answers):
                due, event, status = answer_item
                if due <= self.now:
                    self.answers.remove(answer_item)
                    if event.transaction.pending or event.request.method != "INVITE":
                        reply(self.layers[1], event, status, self.now)
                        if status == 200 and event.request.method == "INVITE":
                            self.repeats += [(self.now + gap, event) for gap in (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)]
            for breaking in list(self.breaks):
                if breaking[0] <= self.now:
                    self.breaks.remove(breaking)
                    self.break_flow(*breaking[1:])
            for repeat in list(self.repeats):
                if repeat[0] <= self.now:
                    self.repeats.remove(repeat)
                    reply(self.layers[1], repeat[1], 200, self.now)
        raise AssertionError("it never ends")


CALLS = st.lists(st.tuples(st.sampled_from(["INVITE", "OPTIONS", "MESSAGE"]), st.booleans()), min_size=1, max_size=5)
BREAKS = st.lists(
    st.tuples(st.floats(0, 40), st.integers(0, 1), st.sampled_from(["closed", "failed", "failed again"])), max_size=4
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.3, 0.9]), st.sampled_from(["UDP", "TCP"]), CALLS, BREAKS)
def test_two_layers_end_empty_with_one_outcome_each(
    seed: int, loss: float, transport: str, calls: list[tuple[str, bool]], breaks: list[tuple[float, int, str]]
) -> None:
    link = Link(seed, loss, transport)
    link.breaks = breaks.copy()
    for number, (method, cancelled) in enumerate(calls):
        transaction = link.layers[0].send_request(request(method), link.flows[0], 0.0, sender=number)
        if method == "INVITE":
            # whoever calls has enough of it some time, at the latest when every answer was lost
            patience = link.random.choice((0.0, 0.05, 0.3, 2.0, 30.0)) if cancelled else 100.0
            link.cancels.append((patience, transaction))
    link.run()
    assert {sender: len(outcomes) for sender, outcomes in link.outcomes.items()} == dict.fromkeys(range(len(calls)), 1)
    for layer in link.layers:
        assert_empty(layer)
