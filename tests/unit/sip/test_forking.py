"""The response context of a proxy: RFC 3261 §16.7 item by item, then whatever hypothesis thinks of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.forking import (
    BY_Q,
    PARALLEL,
    SERIAL,
    Branch,
    CancelBranch,
    ForkPolicy,
    ForkTarget,
    ForwardResponse,
    ResponseContext,
    StartBranch,
)
from switchroom.sip.headers import REASON
from switchroom.sip.message import Request, Response
from switchroom.sip.timers import NEVER
from switchroom.sip.uri import parse_uri


class Counted:
    """Identifiers that count."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)

    def token(self, bits: int = 64) -> str:
        return f"proxy{next(self.numbers)}"

    def random(self) -> float:
        raise AssertionError("forking draws nothing")


def make_request(method: str = "INVITE", uri: str = "sip:bob@example.com", headers: Iterable[Any] = ()) -> Request:
    request = Request.build(
        method,
        parse_uri(uri),
        from_="<sip:alice@example.com>;tag=a1",
        to="<sip:bob@example.com>",
        call_id="call-1@example.com",
        cseq=1,
        headers=headers,
    )
    request.headers.add("Via", "SIP/2.0/UDP alice.example.com;branch=z9hG4bKalice", first=True)
    return request


def target(name: str, q: float = 1.0) -> ForkTarget:
    return ForkTarget(parse_uri(f"sip:{name}@192.0.2.1"), q)


class Fork:
    """A context and what it has ordered so far."""

    def __init__(
        self,
        targets: str | list[ForkTarget] = "bob",
        *,
        method: str = "INVITE",
        uri: str = "sip:bob@example.com",
        headers: Iterable[Any] = (),
        start: bool = True,
        **policy: Any,
    ) -> None:
        self.request = make_request(method, uri, headers)
        chosen = [target(name) for name in targets.split()] if isinstance(targets, str) else targets
        self.context = ResponseContext(self.request, chosen, Counted(), policy=ForkPolicy(**policy))
        self.started: list[Branch] = []
        self.cancels: list[CancelBranch] = []
        self.forwarded: list[ForwardResponse] = []
        if start:
            self.context.start(0.0)
            self.carry_out()

    def carry_out(self) -> None:
        for order in self.context.take_orders():
            if isinstance(order, StartBranch):
                self.started.append(order.branch)
            elif isinstance(order, CancelBranch):
                self.cancels.append(order)
            else:
                self.forwarded.append(order)

    def response(self, branch: Branch, status: int, tag: str | None = None, headers: Iterable[Any] = ()) -> Response:
        sent = self.request.copy()
        sent.headers.add("Via", f"SIP/2.0/UDP proxy.example.com;branch=z9hG4bK{branch.number}", first=True)
        return sent.create_response(status, to_tag=tag or f"t{branch.number}", headers=headers)

    def receive(
        self, number: int, status: int, now: float = 1.0, tag: str | None = None, headers: Iterable[Any] = ()
    ) -> None:
        branch = self.started[number - 1]
        self.context.receive_response(branch, self.response(branch, status, tag, headers), now)
        self.carry_out()

    def time_out(self, number: int, now: float = 32.0) -> None:
        self.context.branch_timed_out(self.started[number - 1], now)
        self.carry_out()

    def fail(self, number: int, now: float = 1.0) -> None:
        self.context.branch_failed(self.started[number - 1], now)
        self.carry_out()

    def cancel(self, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.context.cancel(1.0, headers)
        self.carry_out()

    def pass_time(self, now: float) -> None:
        self.context.handle_timers(now)
        self.carry_out()

    @property
    def users(self) -> list[str]:
        """The users of the targets that were tried, in order."""
        return [str(branch.target.uri).partition("@")[0][4:] for branch in self.started]

    @property
    def statuses(self) -> list[int]:
        return [each.response.status for each in self.forwarded]

    @property
    def cancelled(self) -> list[int]:
        return [each.branch.number for each in self.cancels]

    @property
    def last(self) -> Response:
        return self.forwarded[-1].response


# -- the target set (§16.6) ------------------------------------------------------------------------------------------

BY_QUALITY = [target("low", 0.1), target("high1", 0.9), target("mid", 0.5), target("high2", 0.9)]


def test_groups_of_equal_q_follow_each_other() -> None:
    fork = Fork(BY_QUALITY, mode=BY_Q)
    assert fork.users == ["high1", "high2"]
    fork.receive(1, 486)
    assert fork.users == ["high1", "high2"], "the other one of the group still rings"
    fork.receive(2, 486)
    assert fork.users == ["high1", "high2", "mid"]
    fork.time_out(3)
    assert fork.users == ["high1", "high2", "mid", "low"]
    assert fork.statuses == []
    fork.receive(4, 480)
    assert fork.statuses == [486]
    assert fork.context.done


def test_serial_means_one_after_the_other() -> None:
    fork = Fork(BY_QUALITY, mode=SERIAL)
    assert fork.users == ["high1"]
    for number in (1, 2, 3):
        fork.receive(number, 404)
    assert fork.users == ["high1", "high2", "mid", "low"]
    fork.receive(4, 200)
    assert fork.statuses == [200]


def test_parallel_means_all_at_once_in_the_order_given() -> None:
    assert Fork(BY_QUALITY, mode=PARALLEL).users == ["low", "high1", "mid", "high2"]


def test_no_target_is_tried_twice_but_one_uri_over_two_flows_is() -> None:
    uri = parse_uri("sip:bob@192.168.1.5")
    fork = Fork([ForkTarget(uri, destination=parse_uri(f"sip:nat{n}.example.com")) for n in (1, 2, 1)])
    assert len(fork.started) == 2


def test_no_target_is_answered_480() -> None:
    fork = Fork("")
    assert fork.statuses == [480]
    assert fork.last.to.tag == "proxy1"
    assert fork.context.done


def test_targets_are_bounded() -> None:
    assert len(Fork([target(f"u{n}") for n in range(100)], mode=PARALLEL, max_targets=10).started) == 10


def test_targets_may_be_added_while_it_rings() -> None:
    fork = Fork([target("a", 0.9), target("z", 0.1)], reserve=10)
    assert fork.context.add_targets([target("b", 0.5), target("c", 0.3), target("a")], 1.0) == 2
    fork.carry_out()
    assert fork.users == ["a", "b"]
    fork.receive(1, 480)
    fork.receive(2, 480)
    assert fork.users == ["a", "b", "c"]
    fork.receive(3, 480)
    assert fork.users == ["a", "b", "c", "z"]
    assert fork.context.add_targets([target("a")], 1.0) == 0, "tried already"
    fork.receive(4, 200)
    assert fork.context.add_targets([target("d")], 1.0) == 0, "settled"


def test_targets_may_be_added_before_the_start() -> None:
    fork = Fork("", start=False)
    assert fork.context.add_targets([target("a"), target("b", 0.5)], 0.0) == 2
    fork.context.start(0.0)
    fork.carry_out()
    assert fork.users == ["a"]


def test_unknown_mode_and_short_timer_c_are_refused() -> None:
    with pytest.raises(LocalProtocolError, match="by q, parallel, serial"):
        Fork(mode="random")
    with pytest.raises(LocalProtocolError, match="3 minutes"):
        Fork(timer_c=180.0)


# -- provisional responses -------------------------------------------------------------------------------------------


def test_provisional_responses_are_forwarded_without_our_via_but_never_100() -> None:
    fork = Fork("a b")
    fork.receive(1, 100)
    fork.receive(1, 180)
    fork.receive(2, 183)
    assert fork.statuses == [180, 183]
    assert [via.host for via in fork.last.vias] == ["alice.example.com"]
    assert fork.last.to.tag == "t2", "the tag belongs to the phone"


def test_response_that_was_meant_for_this_element_goes_no_further() -> None:
    fork = Fork("a")
    response = fork.response(fork.started[0], 200)
    response.headers.remove("Via")
    response.headers.add("Via", "SIP/2.0/UDP proxy.example.com;branch=z9hG4bK1")
    fork.context.receive_response(fork.started[0], response, 1.0)
    fork.carry_out()
    assert fork.statuses == []


def test_provisional_responses_end_with_the_final_one() -> None:
    fork = Fork("a b")
    fork.receive(1, 200)
    fork.receive(2, 180)
    fork.receive(1, 180)
    assert fork.statuses == [200]


def test_provisional_responses_of_other_methods_stay_here() -> None:
    # RFC 4320 §4.1
    fork = Fork("a", method="OPTIONS")
    fork.receive(1, 183)
    assert fork.statuses == []


# -- 2xx -------------------------------------------------------------------------------------------------------------


def test_success_is_forwarded_at_once_and_the_others_are_cancelled() -> None:
    fork = Fork("a b c")
    fork.receive(2, 180)
    fork.receive(1, 486)
    fork.receive(2, 200)
    assert fork.statuses == [180, 200]
    assert fork.cancelled == [3]
    assert fork.cancels[0].headers == (("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),)
    assert not fork.context.done
    fork.receive(3, 487)
    assert fork.statuses == [180, 200]
    assert fork.context.done


def test_every_2xx_to_invite_is_forwarded_repeated_ones_too() -> None:
    fork = Fork("a b")
    fork.receive(1, 200)
    fork.receive(2, 200)
    fork.receive(1, 200)
    assert fork.statuses == [200, 200, 200]
    assert [each.late for each in fork.forwarded] == [False, False, False]
    assert fork.cancelled == [2]


def test_only_the_first_2xx_of_another_method_is_forwarded() -> None:
    fork = Fork("a b", method="MESSAGE")
    fork.receive(1, 200)
    fork.receive(2, 202)
    fork.receive(1, 200)
    assert fork.statuses == [200]
    assert fork.cancelled == [], "CANCEL is of no use for other methods"
    assert fork.context.done


def test_success_ends_the_waiting_groups() -> None:
    fork = Fork([target("a", 1.0), target("b", 0.5)])
    fork.receive(1, 200)
    assert fork.users == ["a"]


def test_late_success_is_forwarded_after_a_final_failure() -> None:
    fork = Fork("a")
    fork.pass_time(185.0)
    assert fork.statuses == [408]
    fork.receive(1, 200, 186.0)
    assert fork.statuses == [408, 200]
    assert fork.forwarded[-1].late


# -- 6xx and CANCEL --------------------------------------------------------------------------------------------------


def test_6xx_cancels_the_others_and_waits_for_them() -> None:
    fork = Fork([target("a"), target("b"), target("c", 0.5)])
    fork.receive(1, 603)
    assert fork.statuses == []
    assert fork.cancelled == [2]
    assert fork.cancels[0].headers == (("Reason", 'SIP;cause=603;text="Decline"'),)
    fork.receive(2, 487)
    assert fork.statuses == [603]
    assert fork.users == ["a", "b"], "no new branches"


def test_success_after_6xx_wins() -> None:
    fork = Fork("a b")
    fork.receive(1, 600)
    fork.receive(2, 200)
    assert fork.statuses == [200]


def test_cancel_from_upstream_goes_to_all_branches_with_its_reason() -> None:
    fork = Fork([target("a"), target("b"), target("c", 0.5)])
    reason = (("Reason", 'Q.850;cause=16;text="Normal call clearing"'),)
    fork.cancel(reason)
    fork.cancel(reason)
    assert fork.cancelled == [1, 2]
    assert fork.cancels[0].headers == reason
    fork.receive(1, 487)
    assert fork.statuses == []
    fork.receive(2, 486)
    assert fork.statuses == [487]
    assert fork.users == ["a", "b"]


def test_cancelled_request_gets_487_even_if_the_branches_just_vanish() -> None:
    fork = Fork("a b")
    fork.cancel()
    fork.time_out(1)
    fork.time_out(2)
    assert fork.statuses == [487]


def test_cancel_crossing_success() -> None:
    fork = Fork("a")
    fork.cancel()
    fork.receive(1, 200)
    assert fork.statuses == [200]


def test_cancel_before_the_start() -> None:
    fork = Fork("a", start=False)
    fork.cancel()
    fork.context.start(1.0)
    fork.carry_out()
    assert fork.users == []
    assert fork.statuses == [487]


def test_cancel_has_no_effect_after_the_final_response_or_on_other_methods() -> None:
    fork = Fork("a b")
    fork.receive(1, 200)
    fork.cancel()
    assert fork.cancelled == [2]
    fork = Fork("a", method="OPTIONS")
    fork.cancel()
    assert fork.cancels == []


# -- the best response (§16.7 step 6) --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ([404, 603], 603),
        ([603, 600], 603),
        ([486, 302], 302),
        ([503, 404], 404),
        ([500, 486, 404], 486),
        ([503, 407, 501, 404], 407),
        ([404, 401], 401),
        ([404, 415], 415),
        ([404, 420], 420),
        ([404, 484], 484),
        ([487, 404], 404),
        ([408, 480], 480),
        ([503, 502], 502),
        ([503], 500),
        ([503, 503], 500),
        ([408], 408),
        ([501, 500], 501),
    ],
)
def test_best_response(statuses: list[int], best: int) -> None:
    fork = Fork([target(f"u{n}") for n in range(len(statuses))], recurse=False)
    for number, status in enumerate(statuses, 1):
        assert fork.statuses == []
        fork.receive(number, status)
    assert fork.statuses == [best]
    assert fork.context.final_status == best


def test_forwarded_failure_is_the_one_that_came() -> None:
    fork = Fork("a b")
    fork.receive(1, 404, headers=[("X-Where", "here")])
    fork.receive(2, 408)
    assert fork.last.headers.get("X-Where") == "here"
    assert fork.last.to.tag == "t1"
    assert len(fork.last.vias) == 1


def test_500_in_place_of_503_is_our_own() -> None:
    fork = Fork("a")
    fork.receive(1, 503, headers=[("Retry-After", "120")])
    assert fork.statuses == [500]
    assert fork.last.headers.get("Retry-After") is None
    assert fork.last.to.tag == "proxy1"
    assert [via.host for via in fork.last.vias] == ["alice.example.com"]


def test_failed_branch_counts_as_503_and_silent_one_as_408() -> None:
    fork = Fork("a b")
    fork.fail(1)
    fork.fail(1)
    assert fork.statuses == []
    fork.time_out(2)
    fork.time_out(2)
    assert fork.statuses == [408]
    fork = Fork("a")
    fork.fail(1)
    assert fork.statuses == [500]


def test_repeated_failures_of_a_branch_count_once() -> None:
    fork = Fork("a b")
    fork.receive(1, 486)
    fork.receive(1, 603)
    fork.receive(2, 480)
    assert fork.statuses == [486]


def test_challenges_of_all_branches_are_collected() -> None:
    fork = Fork("a b c d")
    fork.receive(1, 404, headers=[("WWW-Authenticate", 'Digest realm="no"')])
    fork.receive(2, 401, headers=[("WWW-Authenticate", 'Digest realm="one"'), ("WWW-Authenticate", 'Basic realm="1"')])
    fork.receive(3, 407, headers=[("Proxy-Authenticate", 'Digest realm="two"')])
    fork.receive(4, 401, headers=[("WWW-Authenticate", 'Digest realm="three"')])
    assert fork.statuses == [401]
    assert fork.last.headers.get_all("WWW-Authenticate") == [
        'Digest realm="one"', 'Basic realm="1"', 'Digest realm="three"',
    ]  # fmt: skip
    assert fork.last.headers.get_all("Proxy-Authenticate") == ['Digest realm="two"']


def test_408_is_not_told_for_other_methods() -> None:
    # RFC 4320 §4.2
    fork = Fork("a b", method="OPTIONS")
    fork.receive(1, 408)
    fork.time_out(2)
    assert fork.statuses == []
    assert fork.context.done
    fork = Fork("a b", method="OPTIONS")
    fork.receive(1, 408)
    fork.receive(2, 500)
    assert fork.statuses == [500]


# -- 3xx -------------------------------------------------------------------------------------------------------------


def contact(*uris: str) -> list[tuple[str, str]]:
    return [("Contact", uri) for uri in uris]


def test_contacts_of_a_redirection_are_tried_by_their_q() -> None:
    fork = Fork([target("a"), target("last", 0.2)])
    fork.receive(1, 302, headers=contact("<sip:b@192.0.2.1>;q=0.5", "<sip:c@192.0.2.1>;q=0.8", "<sip:d@192.0.2.1>;q=2"))
    assert fork.users == ["a", "d"]
    for number in (2, 3, 4, 5):
        fork.receive(number, 404)
    assert fork.users == ["a", "d", "c", "b", "last"]
    assert fork.statuses == [404], "the redirection told nothing else"


def test_redirected_branch_is_replaced_at_once() -> None:
    fork = Fork("a b")
    fork.receive(1, 301, headers=contact("<sip:c@192.0.2.1>, <sip:d@192.0.2.1>"))
    assert fork.users == ["a", "b", "c", "d"]


def test_redirection_is_passed_on_when_told_to_or_of_no_use() -> None:
    fork = Fork("a", recurse=False)
    fork.receive(1, 302, headers=contact("<sip:b@192.0.2.1>"))
    assert fork.statuses == [302]
    for status, headers in (
        (305, contact("<sip:b@192.0.2.1>")),
        (302, contact("*")),
        (302, contact("<tel:+4930123456> ; q=0.5")),
        (302, contact("<<<")),
        (300, []),
    ):
        fork = Fork("a")
        fork.receive(1, status, headers=headers)
        assert fork.statuses == [status]
        assert fork.last.headers.get_all("Contact") == [value for _, value in headers]


def test_contacts_that_were_tried_are_taken_out() -> None:
    fork = Fork("a")
    fork.receive(1, 300, headers=contact("<sip:b@192.0.2.1>", "<tel:+4930123456>;q=0.3", "<sip:a@192.0.2.1>"))
    assert fork.users == ["a", "b"]
    fork.receive(2, 404)
    assert fork.statuses == [300]
    assert fork.last.headers.get_all("Contact") == ["<tel:+4930123456>;q=0.3"]


def test_sips_request_does_not_follow_to_sip() -> None:
    fork = Fork([ForkTarget(parse_uri("sips:a@192.0.2.1"))], uri="sips:bob@example.com")
    fork.receive(1, 302, headers=contact("<sip:b@192.0.2.1>", "<sips:c@192.0.2.1>"))
    assert [str(branch.target.uri) for branch in fork.started] == ["sips:a@192.0.2.1", "sips:c@192.0.2.1"]


def test_redirections_that_go_round_in_circles_end_as_482() -> None:
    fork = Fork("a")
    fork.receive(1, 302, headers=contact("<sip:b@192.0.2.1>"))
    fork.receive(2, 302, headers=contact("<sip:a@192.0.2.1>"))
    assert fork.users == ["a", "b"]
    assert fork.statuses == [482]


def test_redirections_are_bounded() -> None:
    fork = Fork("u0", max_targets=5)
    for number in range(1, 6):
        fork.receive(number, 302, headers=contact(f"<sip:u{number}@192.0.2.1>"))
    assert len(fork.started) == 5
    assert fork.statuses == [302], "upstream may go on"
    assert fork.last.headers.get("Contact") == "<sip:u5@192.0.2.1>"


def test_no_recursion_once_the_outcome_is_being_settled() -> None:
    fork = Fork("a b")
    fork.cancel()
    fork.receive(1, 302, headers=contact("<sip:c@192.0.2.1>"))
    assert fork.users == ["a", "b"]


# -- timer C (§16.8) -------------------------------------------------------------------------------------------------


def test_timer_c_cancels_a_branch_that_rings_for_too_long() -> None:
    fork = Fork("a", timer_c=200.0)
    assert fork.context.next_timer() == 200.0
    fork.receive(1, 180, 50.0)
    assert fork.context.next_timer() == 250.0, "101 to 199 start it again"
    fork.receive(1, 100, 60.0)
    assert fork.context.next_timer() == 250.0, "100 does not"
    fork.pass_time(249.9)
    assert fork.cancels == []
    fork.pass_time(250.0)
    assert fork.cancelled == [1]
    assert fork.cancels[0].headers == (("Reason", 'SIP;cause=408;text="Request Timeout"'),)
    assert fork.context.next_timer() == NEVER
    fork.receive(1, 180, 251.0)
    assert fork.context.next_timer() == NEVER
    fork.receive(1, 487, 252.0)
    assert fork.statuses == [180, 180, 408], "nobody hung up: it took too long"


def test_timer_c_of_a_silent_branch_ends_it() -> None:
    fork = Fork([target("a"), target("b", 0.5)])
    fork.pass_time(185.0)
    assert fork.cancelled == [1]
    assert fork.users == ["a", "b"], "the next group's turn"
    assert fork.context.next_timer() == 370.0
    fork.receive(1, 486, 186.0)
    fork.receive(2, 404, 187.0)
    assert fork.statuses == [404], "what came after its end is no candidate"


def test_each_branch_has_its_own_timer_c() -> None:
    fork = Fork("a b")
    fork.receive(2, 180, 100.0)
    assert fork.context.retry_at == 185.0
    fork.pass_time(185.0)
    assert fork.cancelled == [1]
    assert fork.context.retry_at == 285.0


def test_other_methods_have_no_timer_c() -> None:
    assert Fork("a", method="OPTIONS", ring_time=5.0).context.next_timer() == NEVER


def test_cancelled_branches_have_no_timer_c() -> None:
    fork = Fork("a b")
    fork.cancel()
    assert fork.context.next_timer() == NEVER


def test_branch_is_cancelled_once() -> None:
    fork = Fork("a b")
    fork.receive(1, 180, 1.0)
    fork.receive(2, 180, 100.0)
    fork.pass_time(186.0)
    assert fork.cancelled == [1]
    fork.cancel()
    assert fork.cancelled == [1, 2]


def test_ring_time_moves_on_to_the_next_group() -> None:
    fork = Fork([target("desk"), target("mobile", 0.5)], ring_time=20.0)
    fork.receive(1, 180, 1.0)
    assert fork.context.next_timer() == 20.0, "a provisional response does not stretch it"
    fork.pass_time(20.0)
    assert fork.cancelled == [1]
    assert fork.users == ["desk"]
    fork.receive(1, 487, 20.1)
    assert fork.users == ["desk", "mobile"]
    fork.receive(2, 200, 25.0)
    assert fork.statuses == [180, 200]


# -- 199 (RFC 6228) --------------------------------------------------------------------------------------------------

WANTS_199 = [("Supported", "100rel, 199")]


def test_end_of_an_early_dialog_is_told_by_199() -> None:
    fork = Fork("a b", headers=WANTS_199)
    fork.receive(1, 180)
    fork.receive(1, 183, tag="other")
    fork.receive(1, 180)
    fork.receive(1, 486)
    assert fork.statuses == [180, 183, 180, 199, 199]
    ended = [each.response for each in fork.forwarded[-2:]]
    assert [each.to.tag for each in ended] == ["t1", "other"]
    assert [str(each.headers.one(REASON)) for each in ended] == ['SIP;cause=486;text="Busy Here"'] * 2
    assert [via.host for via in ended[0].vias] == ["alice.example.com"]


def test_199_for_branches_that_vanish_or_are_redirected() -> None:
    fork = Fork("a b c d", headers=WANTS_199)
    for number in (1, 2, 3):
        fork.receive(number, 180)
    fork.time_out(1)
    fork.fail(2)
    fork.receive(3, 302, headers=contact("<sip:e@192.0.2.1>"))
    reasons = [each.response.headers.one(REASON) for each in fork.forwarded if each.response.status == 199]
    assert [reason.cause for reason in reasons if reason] == [408, 503, 302]


def test_no_199_when_nobody_asked_or_the_final_response_says_it() -> None:
    fork = Fork("a b")
    fork.receive(1, 180)
    fork.receive(1, 486)
    assert 199 not in fork.statuses, "not supported upstream"
    fork = Fork("a b", headers=[("Supported", "199"), ("Require", "100rel")])
    fork.receive(1, 180)
    fork.receive(1, 486)
    assert 199 not in fork.statuses, "a proxy cannot send it reliably"
    fork = Fork("a b", headers=[("Supported", "199 198")])
    fork.receive(1, 180)
    fork.receive(1, 486)
    assert 199 not in fork.statuses, "what it supports is malformed"
    fork = Fork("a", headers=WANTS_199)
    fork.receive(1, 180)
    fork.receive(1, 486)
    assert fork.statuses == [180, 486]
    fork = Fork("a b", headers=WANTS_199)
    fork.receive(1, 486)
    assert fork.statuses == [], "no early dialog"


def test_199_from_downstream_is_not_told_again() -> None:
    fork = Fork("a b", headers=WANTS_199)
    fork.receive(1, 199, tag="unknown")
    fork.receive(1, 180)
    fork.receive(1, 199)
    fork.receive(1, 486)
    assert fork.statuses == [199, 180, 199]


def test_early_dialogs_remembered_are_bounded() -> None:
    fork = Fork("a b", headers=WANTS_199)
    for number in range(100):
        fork.receive(1, 180, tag=f"tag{number}")
    fork.receive(1, 486)
    assert fork.statuses.count(199) == 64


# -- Max-Breadth (RFC 5393) ------------------------------------------------------------------------------------------


def breadths(fork: Fork) -> list[int]:
    return [branch.max_breadth for branch in fork.started]


def test_breadth_is_divided_among_parallel_branches() -> None:
    assert breadths(Fork("a b c", headers=[("Max-Breadth", "10")])) == [4, 3, 3]
    assert breadths(Fork("a b c")) == [20, 20, 20]
    assert breadths(Fork("a", headers=[("Max-Breadth", "1")])) == [1]
    assert breadths(Fork("a", headers=[("Max-Breadth", "1000")])) == [60]
    assert breadths(Fork("a", headers=[("Max-Breadth", "many")])) == [60]


def test_too_little_breadth_is_440() -> None:
    fork = Fork("a b c", headers=[("Max-Breadth", "2")])
    assert fork.statuses == [440]
    assert fork.started == []
    assert Fork("a", headers=[("Max-Breadth", "0")]).statuses == [440]


def test_breadth_is_used_again_one_after_the_other() -> None:
    fork = Fork("a b c", headers=[("Max-Breadth", "1")], mode=SERIAL)
    fork.receive(1, 404)
    fork.receive(2, 404)
    assert breadths(fork) == [1, 1, 1]


def test_redirection_lives_on_the_breadth_that_it_frees() -> None:
    fork = Fork("a b", headers=[("Max-Breadth", "4")])
    fork.receive(1, 302, headers=contact(*(f"<sip:r{n}@192.0.2.1>" for n in range(3))))
    assert fork.users == ["a", "b", "r0", "r1"]
    assert breadths(fork) == [2, 2, 1, 1]
    fork.receive(3, 404)
    assert fork.users == ["a", "b", "r0", "r1", "r2"]
    assert breadths(fork)[-1] == 1
    assert fork.context.add_targets([target("x")], 1.0) == 1
    fork.carry_out()
    assert "x" not in fork.users, "no breadth is free"
    fork.receive(2, 404)
    assert fork.users[-1] == "x"


def test_reserve_of_breadth_is_for_those_who_come_late() -> None:
    fork = Fork("a b", reserve=20)
    for name in "cdefgh":
        fork.context.add_targets([target(name)], 1.0)
        fork.carry_out()
    assert breadths(fork) == [20, 20, 10, 5, 3, 1, 1]
    fork.receive(1, 404)
    assert fork.users == ["a", "b", "c", "d", "e", "f", "g", "h"]
    assert breadths(Fork("a b", reserve=20, headers=[("Max-Breadth", "21")])) == [6, 5]
    assert breadths(Fork("a b", reserve=20, headers=[("Max-Breadth", "2")])) == [1, 1]


def test_branch_says_what_it_is() -> None:
    fork = Fork("a b")
    fork.receive(1, 404)
    assert repr(fork.started[0]) == "<Branch 1 to sip:a@192.0.2.1: ended>"
    assert repr(fork.started[1]) == "<Branch 2 to sip:b@192.0.2.1: under way>"
    fork.cancel()
    assert repr(fork.started[1]) == "<Branch 2 to sip:b@192.0.2.1: cancelled>"


# -- anything at all -------------------------------------------------------------------------------------------------

FINALS = st.sampled_from([200, 200, 202, 300, 302, 401, 404, 407, 408, 482, 486, 487, 500, 503, 600, 603])


class AnyFork(RuleBasedStateMachine):
    """Branches that answer, ring, redirect, vanish and fail in any order, with cancellation and time in between."""

    branches: Bundle[int] = Bundle("branches")

    @initialize(
        target=branches,
        invite=st.booleans(),
        mode=st.sampled_from([PARALLEL, SERIAL, BY_Q]),
        qualities=st.lists(st.sampled_from([0.2, 0.5, 1.0]), max_size=5),
        breadth=st.sampled_from([None, 0, 1, 2, 3, 60]),
        ring_time=st.sampled_from([NEVER, 15.0]),
        wants_199=st.booleans(),
        reserve=st.sampled_from([0, 1, 10]),
    )
    def begin(
        self,
        invite: bool,
        mode: str,
        qualities: list[float],
        breadth: int | None,
        ring_time: float,
        wants_199: bool,
        reserve: int,
    ) -> Any:
        headers = [("Max-Breadth", str(breadth))] if breadth is not None else []
        headers += WANTS_199 if wants_199 else []
        self.now = 0.0
        self.breadth = 60 if breadth is None else breadth
        self.fork = Fork(
            [target(f"u{n}", q) for n, q in enumerate(qualities)],
            method="INVITE" if invite else "MESSAGE",
            headers=headers,
            mode=mode,
            ring_time=ring_time,
            max_targets=8,
            reserve=reserve,
        )
        return multiple(*range(1, 9))

    def live(self, number: int) -> Branch | None:
        if number > len(self.fork.started):
            return None
        branch = self.fork.started[number - 1]
        return None if branch.ended else branch

    @rule(number=branches, status=st.sampled_from([100, 180, 183, 199]), tag=st.sampled_from(["x", "y"]))
    def ring(self, number: int, status: int, tag: str) -> None:
        if self.live(number):
            self.fork.receive(number, status, self.now, f"{tag}{number}")

    @rule(number=branches, status=FINALS, contacts=st.lists(st.integers(0, 9), max_size=3))
    def answer(self, number: int, status: int, contacts: list[int]) -> None:
        if self.live(number):
            redirect = contact(*(f"<sip:u{n}@192.0.2.1>" for n in contacts)) if 300 <= status < 400 else []
            self.fork.receive(number, status, self.now, headers=redirect)

    @rule(number=branches)
    def vanish(self, number: int) -> None:
        if self.live(number):
            self.fork.time_out(number, self.now)

    @rule(number=branches)
    def fail(self, number: int) -> None:
        if self.live(number):
            self.fork.fail(number, self.now)

    @rule()
    def cancel(self) -> None:
        self.fork.cancel()

    @rule(seconds=st.sampled_from([1.0, 20.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.fork.pass_time(self.now)
        assert self.fork.context.next_timer() > self.now

    @rule(names=st.lists(st.integers(0, 9), max_size=2))
    def add(self, names: list[int]) -> None:
        self.fork.context.add_targets([target(f"u{n}") for n in names], self.now)
        self.fork.carry_out()

    @precondition(lambda self: self.fork.context.done)
    @rule()
    def nothing_is_left(self) -> None:
        assert all(branch.ended for branch in self.fork.started)
        assert self.fork.context.next_timer() == NEVER
        finals = [status for status in self.fork.statuses if status >= 200]
        assert finals or self.fork.request.method == "MESSAGE"

    @invariant()
    def one_outcome(self) -> None:
        if not hasattr(self, "fork"):
            return
        statuses = self.fork.statuses
        finals = [status for status in statuses if status >= 200]
        failures = [status for status in finals if status >= 300]
        assert 100 not in statuses
        assert 503 not in statuses
        assert len(failures) <= 1
        assert not failures or finals == failures, "a failure is told alone"
        if self.fork.request.method == "MESSAGE":
            assert len(finals) <= 1
            assert 408 not in statuses
            assert all(status >= 200 for status in statuses)
            assert self.fork.cancels == []
        if finals:
            after = statuses[statuses.index(finals[0]) :]
            assert all(status >= 200 for status in after), "nothing provisional after a final response"

    @invariant()
    def nobody_rings_on(self) -> None:
        if not hasattr(self, "fork"):
            return
        context = self.fork.context
        assert len(self.fork.cancelled) == len(set(self.fork.cancelled)), "cancelled once"
        under_way = [branch for branch in self.fork.started if not branch.ended]
        if context.final_status and context.invite:
            assert all(branch.cancelled for branch in under_way)
        assert context.done == (not under_way)
        assert sum(branch.max_breadth for branch in under_way) <= self.breadth
        assert all(branch.max_breadth >= 1 for branch in self.fork.started)
        uris = [str(branch.target.uri) for branch in self.fork.started]
        assert len(uris) == len(set(uris)) <= 8

    def teardown(self) -> None:
        """Every context comes to its end when its branches do."""
        if not hasattr(self, "fork"):
            return
        ends: list[Callable[[int], None]] = [self.fork.time_out, self.fork.fail]
        for number in itertools.count(1):
            if number > len(self.fork.started):
                break
            if self.live(number):
                ends[number % 2](number)
        assert self.fork.context.done
        self.one_outcome()
        self.nobody_rings_on()
        self.nothing_is_left()


TestAnyFork = AnyFork.TestCase
TestAnyFork.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
