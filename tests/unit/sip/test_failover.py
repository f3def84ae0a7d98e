"""From one hop to the next (RFC 3263 §4.3)."""

from __future__ import annotations

import pytest

from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.failover import DeadHops, HopSequence
from switchroom.sip.locating import Hop

ONE = Hop("UDP", "192.0.2.1", 5060, "example.com")
TWO = Hop("UDP", "192.0.2.2", 5060, "example.com")
THREE = Hop("TCP", "192.0.2.1", 5060, "example.com")


def test_dead_hop_is_passed_over_until_its_time_is_over() -> None:
    dead = DeadHops(seconds=30)
    dead.set_aside(ONE, 100.0)
    assert dead.choose([ONE, TWO], 100.0) == (TWO,)
    assert dead.choose([ONE, TWO], 129.9) == (TWO,)
    assert dead.choose([ONE, TWO], 130.0) == (ONE, TWO)
    assert len(dead) == 0, "what is over is forgotten"


def test_all_dead_hops_are_tried_anyway_in_order() -> None:
    dead = DeadHops()
    dead.set_aside(TWO, 0.0)
    dead.set_aside(ONE, 0.0)
    assert dead.choose([ONE, TWO], 1.0) == (ONE, TWO)


def test_hop_is_known_by_transport_address_and_port() -> None:
    dead = DeadHops()
    dead.set_aside(ONE, 0.0)
    assert dead.is_dead(ONE._replace(name="other.example"), 1.0)
    assert not dead.is_dead(THREE, 1.0)
    assert not dead.is_dead(ONE._replace(port=5062), 1.0)


def test_retry_after_is_honoured_and_bounded() -> None:
    dead = DeadHops(seconds=30, longest=600)
    dead.set_aside(ONE, 0.0, 120.0)
    dead.set_aside(TWO, 0.0, 10_000_000.0)
    assert dead.is_dead(ONE, 119.0)
    assert not dead.is_dead(ONE, 121.0)
    assert dead.is_dead(TWO, 599.0)
    assert not dead.is_dead(TWO, 601.0)


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    dead = DeadHops(capacity=2)
    dead.set_aside(ONE, 0.0)
    dead.set_aside(TWO, 1.0)
    dead.set_aside(ONE, 2.0)  # renewed: TWO is the oldest now
    dead.set_aside(THREE, 3.0)
    assert len(dead) == 2
    assert dead.is_dead(ONE, 4.0)
    assert not dead.is_dead(TWO, 4.0)


def test_forgiven_hop_is_used_again() -> None:
    dead = DeadHops()
    dead.set_aside(ONE, 0.0)
    dead.forgive(ONE)
    dead.forgive(TWO)
    assert dead.choose([ONE, TWO], 1.0) == (ONE, TWO)


def test_sequence_needs_a_hop() -> None:
    with pytest.raises(LocalProtocolError, match=r"Locator\.reason"):
        HopSequence([], DeadHops(), 0.0)


def test_timeout_moves_on_and_sets_the_hop_aside() -> None:
    dead = DeadHops()
    sequence = HopSequence([ONE, TWO], dead, 0.0)
    assert sequence.current == ONE
    assert sequence.timed_out(32.0) == TWO
    assert sequence.current == TWO
    assert dead.is_dead(ONE, 33.0)
    assert sequence.timed_out(64.0) is None
    assert sequence.current == TWO, "ACK and CANCEL still go to the last one"
    assert sequence.reason == "UDP:192.0.2.1:5060 did not answer; UDP:192.0.2.2:5060 did not answer"


def test_timeout_after_a_provisional_response_is_final() -> None:
    # §4.3: "times out without ever having received any response, provisional or final"
    dead = DeadHops()
    sequence = HopSequence([ONE, TWO], dead, 0.0)
    sequence.heard()
    sequence.heard()
    assert sequence.timed_out(32.0) is None
    assert not dead.is_dead(ONE, 32.0)
    assert sequence.failures == []


def test_provisional_response_shows_that_the_hop_lives() -> None:
    dead = DeadHops()
    dead.set_aside(ONE, 0.0)
    sequence = HopSequence([ONE], dead, 1.0)
    sequence.heard()
    assert not dead.is_dead(ONE, 1.0)


def test_what_one_hop_said_does_not_count_for_the_next() -> None:
    sequence = HopSequence([ONE, TWO, THREE], DeadHops(), 0.0)
    sequence.heard()
    assert sequence.failed("connection reset", 1.0) == TWO
    assert sequence.timed_out(33.0) == THREE


def test_503_moves_on_and_rests_for_its_retry_after() -> None:
    dead = DeadHops()
    sequence = HopSequence([ONE, TWO], dead, 0.0)
    assert sequence.responded(503, 1.0, 60.0) == TWO
    assert dead.is_dead(ONE, 60.0)
    assert not dead.is_dead(ONE, 61.5)
    assert sequence.responded(503, 2.0, 60.0) is None, "the last 503 is the outcome"


def test_503_without_retry_after_moves_on_for_this_request_only() -> None:
    dead = DeadHops()
    sequence = HopSequence([ONE, TWO], dead, 0.0)
    assert sequence.responded(503, 1.0) == TWO
    assert not dead.is_dead(ONE, 1.0)


@pytest.mark.parametrize("status", [200, 302, 404, 408, 500, 504, 600])
def test_other_final_responses_are_the_outcome_and_show_that_the_hop_lives(status: int) -> None:
    dead = DeadHops()
    dead.set_aside(ONE, 0.0)
    sequence = HopSequence([ONE], dead, 1.0)
    assert sequence.responded(status, 2.0) is None
    assert not dead.is_dead(ONE, 2.0)


def test_transport_error_moves_on() -> None:
    dead = DeadHops()
    sequence = HopSequence([THREE, ONE], dead, 0.0)
    assert sequence.failed("connection refused", 0.1) == ONE
    assert dead.is_dead(THREE, 0.1)
    assert sequence.reason == "TCP:192.0.2.1:5060 failed: connection refused"


def test_cancelled_request_does_not_move_on() -> None:
    sequence = HopSequence([ONE, TWO], DeadHops(), 0.0)
    sequence.stop()
    assert sequence.timed_out(32.0) is None
    assert sequence.current == ONE


def test_attempts_are_bounded() -> None:
    hops = [ONE._replace(port=port) for port in range(5060, 5080)]
    sequence = HopSequence(hops, DeadHops(), 0.0, max_attempts=3)
    tried = [sequence.current]
    while (hop := sequence.failed("no route", 0.0)) is not None:
        tried.append(hop)
    assert tried == hops[:3]


def test_sequence_starts_with_a_hop_that_is_not_set_aside() -> None:
    dead = DeadHops()
    dead.set_aside(ONE, 0.0)
    assert HopSequence([ONE, TWO], dead, 1.0).current == TWO
    assert HopSequence([ONE, TWO], dead, 40.0).current == ONE
