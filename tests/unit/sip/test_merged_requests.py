"""Merged requests: RFC 3261 §8.2.2.2."""

from __future__ import annotations

from switchroom.sip.merged_requests import MergedRequests
from switchroom.sip.message import Request


def request(tag: str = ";tag=a", call_id: str = "c", cseq: int = 1, method: str = "OPTIONS") -> Request:
    return Request.build(
        method, "sip:b@b.example", from_=f"<sip:a@a.example>{tag}", to="<sip:b@b.example>", call_id=call_id, cseq=cseq
    )


def test_the_same_from_tag_call_id_and_cseq() -> None:
    merged = MergedRequests(32.0)
    assert not merged.is_merged(request(), 0.0)
    assert merged.is_merged(request(), 1.0)
    assert not merged.is_merged(request(tag=";tag=b"), 1.0)
    assert not merged.is_merged(request(call_id="d"), 1.0)
    assert not merged.is_merged(request(cseq=2), 1.0)
    assert not merged.is_merged(request(method="MESSAGE"), 1.0)


def test_without_from_tag_nobody_can_tell() -> None:
    merged = MergedRequests(32.0)
    assert not merged.is_merged(request(tag=""), 0.0)
    assert not merged.is_merged(request(tag=""), 0.0)
    assert len(merged) == 0


def test_remembered_for_as_long_as_a_transaction_and_no_longer_than_two() -> None:
    merged = MergedRequests(32.0)
    merged.is_merged(request(call_id="first"), 0.0)
    for number in range(40):
        merged.is_merged(request(call_id=f"c{number}"), float(number))
        assert merged.is_merged(request(call_id=f"c{max(0, number - 31)}"), float(number))
    assert not merged.is_merged(request(call_id="first"), 65.0)
    merged.forget(500.0)
    assert len(merged) == 0


def test_a_flood_makes_it_forget_sooner_not_grow() -> None:
    merged = MergedRequests(32.0, most=10)
    for number in range(1000):
        assert not merged.is_merged(request(call_id=f"c{number}"), 0.0)
        assert merged.is_merged(request(call_id=f"c{max(0, number - 10)}"), 0.0)
        assert len(merged) <= 20
    assert not merged.is_merged(request(call_id="c900"), 0.0)
