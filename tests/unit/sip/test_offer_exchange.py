"""Offer and answer: RFC 3264 §4 (no offer on an offer), RFC 3261 §13.2.1, RFC 3262 §5, RFC 3311 §5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip import offer_exchange as module
from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.message import Response
from switchroom.sip.offer_exchange import OfferExchange, has_description
from switchroom.sip.session_events import Carries

STATES = {name: number for number, name in enumerate(module.STATE_NAMES)}
INPUTS = {name: number for number, name in enumerate(module.INPUT_NAMES)}

# Only these are legal: an offer when none is pending, an answer to the other side's offer, and taking an offer back,
# which leaves what held before.
LEGAL = {
    ("idle", "send offer"): "offer sent",
    ("idle", "receive offer"): "offer received",
    ("offer sent", "receive answer"): "stable",
    ("offer received", "send answer"): "stable",
    ("stable", "send offer"): "new offer sent",
    ("stable", "receive offer"): "new offer received",
    ("new offer sent", "receive answer"): "stable",
    ("new offer received", "send answer"): "stable",
    ("idle", "withdraw"): "idle",
    ("offer sent", "withdraw"): "idle",
    ("offer received", "withdraw"): "idle",
    ("stable", "withdraw"): "stable",
    ("new offer sent", "withdraw"): "stable",
    ("new offer received", "withdraw"): "stable",
}


def message(body: bytes = b"v=0", content_type: str | None = "application/sdp", disposition: str = "") -> Response:
    lines = [("Content-Disposition", disposition)] if disposition else []
    return Response.build(200, headers=lines, body=body, content_type=content_type)


@pytest.mark.parametrize("input_", INPUTS)
@pytest.mark.parametrize("before", STATES)
def test_each_pair(before: str, input_: str) -> None:
    exchange = OfferExchange(STATES[before])
    after = LEGAL.get((before, input_))
    if after is None:
        with pytest.raises(LocalProtocolError, match=before):
            exchange.step(INPUTS[input_])
        assert exchange.state == STATES[before]
    else:
        exchange.step(INPUTS[input_])
        assert exchange.state == STATES[after]


@given(st.lists(st.sampled_from(range(5)), max_size=20))
def test_never_two_offers_at_once(inputs: list[int]) -> None:
    exchange = OfferExchange()
    for input_ in inputs:
        pending = exchange.pending
        try:
            exchange.step(input_)
        except LocalProtocolError:
            continue
        assert not (pending and input_ in (module.SEND_OFFER, module.RECEIVE_OFFER))
        assert exchange.pending == (exchange.offer_is_ours or exchange.offer_is_theirs)
        assert not (exchange.offer_is_ours and exchange.offer_is_theirs)


@pytest.mark.parametrize(
    ("state", "pending", "ours", "theirs", "established"),
    [
        ("idle", False, False, False, False),
        ("offer sent", True, True, False, False),
        ("offer received", True, False, True, False),
        ("stable", False, False, False, True),
        ("new offer sent", True, True, False, True),
        ("new offer received", True, False, True, True),
    ],
)
def test_what_a_state_means(state: str, pending: bool, ours: bool, theirs: bool, established: bool) -> None:
    exchange = OfferExchange(STATES[state])
    assert (exchange.pending, exchange.offer_is_ours, exchange.offer_is_theirs) == (pending, ours, theirs)
    assert exchange.established is established


def test_a_description_answers_the_offer_that_is_pending() -> None:
    exchange = OfferExchange()
    assert exchange.sent(message()) is Carries.OFFER
    assert exchange.received(message(b"")) is Carries.NOTHING
    assert exchange.received(message()) is Carries.ANSWER
    assert exchange.received(message(), offer_allowed=False) is Carries.NOTHING  # repeated: ignored (§13.2.1)
    assert exchange.received(message()) is Carries.OFFER
    assert exchange.received(message()) is Carries.NOTHING  # on top of an offer: no place
    assert exchange.sent(message(b"")) is Carries.NOTHING
    assert exchange.sent(message()) is Carries.ANSWER
    assert exchange.state == module.STABLE


def test_no_offer_of_ours_on_an_offer_of_ours() -> None:
    exchange = OfferExchange()
    exchange.sent(message())
    with pytest.raises(LocalProtocolError):
        exchange.sent(message())


@pytest.mark.parametrize(
    ("body", "content_type", "disposition", "expected"),
    [
        (b"", None, "", False),
        (b"v=0", "application/sdp", "", True),
        (b"v=0", "Application/SDP;charset=utf-8", "", True),
        (b"v=0", None, "", False),
        (b"hi", "text/plain", "", False),
        (b"v=0", "application/sdp", "render", False),  # §13.2.1: the disposition decides
        (b"{}", "application/json", "session;handling=required", True),
        (b"v=0", "application/sdp", "Session", True),
        (b"--b\r\nContent-Type: Application/SDP\r\n\r\nv=0\r\n--b--", "multipart/mixed;boundary=b", "", True),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nv=0\r\n--b--", "multipart/mixed;boundary=b", "", False),
    ],
)
def test_what_a_session_description_is(body: bytes, content_type: str | None, disposition: str, expected: bool) -> None:
    assert has_description(message(body, content_type, disposition)) is expected
