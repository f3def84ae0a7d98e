"""The four transaction machines, against expectations written from the RFCs' figures and not read from the tables.

`tests/mutate.py` changes every row of every table in turn and runs this file: each change must fail something here.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip import transaction as machine
from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.flow import Flow
from switchroom.sip.message import Request
from switchroom.sip.timers import NEVER, TimerValues
from switchroom.sip.transaction import ClientTransaction, ServerTransaction, Transaction, other_answer_delay

TIMERS = TimerValues()
UDP = Flow("UDP", ("192.0.2.2", 5060), ("192.0.2.1", 5060), "192.0.2.1:5060")
TCP = Flow("TCP", ("192.0.2.2", 5060), ("192.0.2.1", 40000), "192.0.2.1:5060", connection=7)

STATES = {name: number for number, name in enumerate(machine.STATE_NAMES)}
INPUTS = {name: number for number, name in enumerate(machine.INPUT_NAMES)}
EFFECTS = {
    machine.SEND: "send",
    machine.SEND_100: "100",
    machine.SEND_CANCEL: "CANCEL",
    machine.SEND_ACK: "ACK",
    machine.UP: "TU",
    machine.REPORT: "inform TU",
    machine.REROUTE: "reroute",
}

CLIENT_INPUTS = (
    "1xx",
    "2xx",
    "300-699",
    "retry timer",
    "expiry timer",
    "transport error",
    "connection closed",
    "cancel",
)
SERVER_INPUTS = (
    "request again",
    "ACK",
    "CANCEL",
    "retry timer",
    "expiry timer",
    "transport error",
    "connection closed",
    "100 from TU",
    "101-199 from TU",
    "2xx from TU",
    "300-699 from TU",
    "408 from TU",
)


def begin(kind: str, flow: Flow = UDP, now: float = 0.0) -> Transaction:
    """A transaction of that kind that has just begun, as the layer begins it."""
    method = "INVITE" if "invite" in kind else "OPTIONS"
    request = Request.build(method, "sip:b@h", from_="<sip:a@h>;tag=1", to="<sip:b@h>", call_id="c", cseq=1)
    if kind.startswith("client"):
        return ClientTransaction("z9hG4bK1", method, flow, request, "me", now, TIMERS)
    if method == "INVITE":
        return ServerTransaction("key", method, flow, request, now + machine.INVITE_ANSWER_DELAY, NEVER)
    return ServerTransaction("key", method, flow, request, now + other_answer_delay(TIMERS), now + 64 * TIMERS.t1)


KINDS = ("client invite", "client other", "server invite", "server other")
GONE = -1.0  # a stopped timer
SAME = -2.0  # a timer left as it was

# What a figure says of an arrow: next state, what is done, and the two timers afterwards, in seconds from now.  One
# with timers that are zero on a reliable transport (D, I, J, K) has the next state there as its last item; so has the
# retransmission of a final response, which a reliable transport makes needless (None: the same state, no retry).
Arrow = tuple[str, str, float, float] | tuple[str, str, float, float, str | None]
Figure = dict[str, dict[str, Arrow]]

ENDED: dict[str, Arrow] = {
    name: ("Terminated", "", GONE, GONE)
    for name in (*CLIENT_INPUTS, *SERVER_INPUTS)
    if name != "cancel" and not name.endswith("from TU")
}

# RFC 3261 figure 5, RFC 6026 §7.2 and §8.4, RFC 3261 §9.1.
CLIENT_INVITE: Figure = {
    "Calling": {
        "1xx": ("Proceeding", "TU", GONE, GONE),
        "2xx": ("Accepted", "TU", GONE, 32.0),
        "300-699": ("Completed", "ACK, TU", GONE, 32.0, "Terminated"),
        "retry timer": ("Calling", "send", 2.0, SAME),
        "expiry timer": ("Terminated", "inform TU", GONE, GONE),
        "transport error": ("Terminated", "inform TU", GONE, GONE),
        "connection closed": ("Terminated", "inform TU", GONE, GONE),
        "cancel": ("Withdrawn", "", SAME, SAME),
    },
    "Withdrawn": {
        "1xx": ("Cancelling", "CANCEL, TU", GONE, 32.0),
        "2xx": ("Accepted", "TU", GONE, 32.0),
        "300-699": ("Completed", "ACK, TU", GONE, 32.0, "Terminated"),
        "retry timer": ("Withdrawn", "send", 2.0, SAME),
        "expiry timer": ("Terminated", "inform TU", GONE, GONE),
        "transport error": ("Terminated", "inform TU", GONE, GONE),
        "connection closed": ("Terminated", "inform TU", GONE, GONE),
        "cancel": ("Withdrawn", "", SAME, SAME),
    },
    "Proceeding": {
        "1xx": ("Proceeding", "TU", SAME, SAME),
        "2xx": ("Accepted", "TU", GONE, 32.0),
        "300-699": ("Completed", "ACK, TU", GONE, 32.0, "Terminated"),
        "retry timer": ("Proceeding", "", GONE, SAME),
        "expiry timer": ("Proceeding", "", SAME, GONE),
        "transport error": ("Terminated", "inform TU", GONE, GONE),
        "connection closed": ("Proceeding", "reroute", SAME, SAME),
        "cancel": ("Cancelling", "CANCEL", GONE, 32.0),
    },
    "Cancelling": {
        "1xx": ("Cancelling", "TU", SAME, SAME),
        "2xx": ("Accepted", "TU", GONE, 32.0),
        "300-699": ("Completed", "ACK, TU", GONE, 32.0, "Terminated"),
        "retry timer": ("Cancelling", "", GONE, SAME),
        "expiry timer": ("Terminated", "inform TU", GONE, GONE),
        "transport error": ("Terminated", "inform TU", GONE, GONE),
        "connection closed": ("Cancelling", "reroute", SAME, SAME),
        "cancel": ("Cancelling", "", SAME, SAME),
    },
    "Accepted": {
        "1xx": ("Accepted", "", SAME, SAME),
        "2xx": ("Accepted", "TU", SAME, SAME),
        "300-699": ("Accepted", "", SAME, SAME),
        "retry timer": ("Accepted", "", GONE, SAME),
        "expiry timer": ("Terminated", "", GONE, GONE),
        "transport error": ("Accepted", "", SAME, SAME),
        "connection closed": ("Accepted", "", SAME, SAME),
        "cancel": ("Accepted", "", SAME, SAME),
    },
    "Completed": {
        "1xx": ("Completed", "", SAME, SAME),
        "2xx": ("Completed", "", SAME, SAME),
        "300-699": ("Completed", "send", SAME, SAME),
        "retry timer": ("Completed", "", GONE, SAME),
        "expiry timer": ("Terminated", "", GONE, GONE),
        "transport error": ("Terminated", "", GONE, GONE),
        "connection closed": ("Completed", "", SAME, SAME),
        "cancel": ("Completed", "", SAME, SAME),
    },
    "Terminated": {**ENDED, "cancel": ("Terminated", "", GONE, GONE)},
}

# RFC 3261 figure 6.
CLIENT_OTHER: Figure = {
    "Trying": {
        "1xx": ("Proceeding", "TU", SAME, SAME),
        "2xx": ("Completed", "TU", GONE, 5.0, "Terminated"),
        "300-699": ("Completed", "TU", GONE, 5.0, "Terminated"),
        "retry timer": ("Trying", "send", 2.0, SAME),
        "expiry timer": ("Terminated", "inform TU", GONE, GONE),
        "transport error": ("Terminated", "inform TU", GONE, GONE),
        "connection closed": ("Terminated", "inform TU", GONE, GONE),
    },
    "Proceeding": {
        "1xx": ("Proceeding", "TU", SAME, SAME),
        "2xx": ("Completed", "TU", GONE, 5.0, "Terminated"),
        "300-699": ("Completed", "TU", GONE, 5.0, "Terminated"),
        "retry timer": ("Proceeding", "send", 4.0, SAME),
        "expiry timer": ("Terminated", "inform TU", GONE, GONE),
        "transport error": ("Terminated", "inform TU", GONE, GONE),
        "connection closed": ("Proceeding", "", SAME, SAME),
    },
    "Completed": {
        "1xx": ("Completed", "", SAME, SAME),
        "2xx": ("Completed", "", SAME, SAME),
        "300-699": ("Completed", "", SAME, SAME),
        "retry timer": ("Completed", "", GONE, SAME),
        "expiry timer": ("Terminated", "", GONE, GONE),
        "transport error": ("Completed", "", SAME, SAME),
        "connection closed": ("Completed", "", SAME, SAME),
    },
    "Terminated": ENDED,
}

# RFC 3261 figure 7 as RFC 6026 §8.7 draws it.
SERVER_INVITE: Figure = {
    "Proceeding": {
        "request again": ("Proceeding", "send", SAME, SAME),
        "ACK": ("Proceeding", "", SAME, SAME),
        "CANCEL": ("Proceeding", "TU", SAME, SAME),
        "retry timer": ("Proceeding", "100", GONE, SAME),
        "expiry timer": ("Proceeding", "", SAME, GONE),
        "transport error": ("Proceeding", "inform TU", SAME, SAME),
        "connection closed": ("Proceeding", "reroute", SAME, SAME),
        "101-199 from TU": ("Proceeding", "send", GONE, GONE),
        "2xx from TU": ("Accepted", "send", GONE, 32.0),
        "300-699 from TU": ("Completed", "send", 0.5, 32.0, None),
    },
    "Accepted": {
        "request again": ("Accepted", "", SAME, SAME),
        "ACK": ("Accepted", "TU", SAME, SAME),
        "CANCEL": ("Accepted", "", SAME, SAME),
        "retry timer": ("Accepted", "", GONE, SAME),
        "expiry timer": ("Terminated", "", GONE, GONE),
        "transport error": ("Accepted", "inform TU", SAME, SAME),
        "connection closed": ("Accepted", "reroute", SAME, SAME),
        "2xx from TU": ("Accepted", "send", SAME, SAME),
    },
    "Completed": {
        "request again": ("Completed", "send", SAME, SAME),
        "ACK": ("Confirmed", "", GONE, 5.0, "Terminated"),
        "CANCEL": ("Completed", "", SAME, SAME),
        "retry timer": ("Completed", "send", 2.0, SAME),
        "expiry timer": ("Terminated", "inform TU", GONE, GONE),
        "transport error": ("Completed", "inform TU", SAME, SAME),
        "connection closed": ("Completed", "reroute, send", SAME, SAME),
    },
    "Confirmed": {
        "request again": ("Confirmed", "", SAME, SAME),
        "ACK": ("Confirmed", "", SAME, SAME),
        "CANCEL": ("Confirmed", "", SAME, SAME),
        "retry timer": ("Confirmed", "", GONE, SAME),
        "expiry timer": ("Terminated", "", GONE, GONE),
        "transport error": ("Confirmed", "", SAME, SAME),
        "connection closed": ("Confirmed", "", SAME, SAME),
    },
    "Terminated": ENDED,
}

LATE: dict[str, Arrow] = {
    name: ("Terminated", "", GONE, GONE) for name in ("100 from TU", "2xx from TU", "300-699 from TU", "408 from TU")
}

# RFC 3261 figure 8 with RFC 4320: 100 when the client's timer E has reached T2, no 408, nothing after 64*T1.
SERVER_OTHER: Figure = {
    "Trying": {
        "request again": ("Trying", "", SAME, SAME),
        "CANCEL": ("Trying", "", SAME, SAME),
        "retry timer": ("Proceeding", "100", GONE, SAME),
        "expiry timer": ("Terminated", "inform TU", GONE, GONE),
        "transport error": ("Trying", "", SAME, SAME),
        "connection closed": ("Trying", "reroute", SAME, SAME),
        "100 from TU": ("Trying", "", SAME, SAME),
        "2xx from TU": ("Completed", "send", GONE, 32.0, "Terminated"),
        "300-699 from TU": ("Completed", "send", GONE, 32.0, "Terminated"),
        "408 from TU": ("Trying", "", SAME, SAME),
    },
    "Proceeding": {
        "request again": ("Proceeding", "send", SAME, SAME),
        "CANCEL": ("Proceeding", "", SAME, SAME),
        "retry timer": ("Proceeding", "", GONE, SAME),
        "expiry timer": ("Terminated", "inform TU", GONE, GONE),
        "transport error": ("Terminated", "inform TU", GONE, GONE),
        "connection closed": ("Proceeding", "reroute", SAME, SAME),
        "100 from TU": ("Proceeding", "send", SAME, SAME),
        "2xx from TU": ("Completed", "send", GONE, 32.0, "Terminated"),
        "300-699 from TU": ("Completed", "send", GONE, 32.0, "Terminated"),
        "408 from TU": ("Proceeding", "", SAME, SAME),
    },
    "Completed": {
        "request again": ("Completed", "send", SAME, SAME),
        "CANCEL": ("Completed", "", SAME, SAME),
        "retry timer": ("Completed", "", GONE, SAME),
        "expiry timer": ("Terminated", "", GONE, GONE),
        "transport error": ("Terminated", "inform TU", GONE, GONE),
        "connection closed": ("Completed", "", SAME, SAME),
        "100 from TU": ("Completed", "", SAME, SAME),
        "2xx from TU": ("Completed", "", SAME, SAME),
        "300-699 from TU": ("Completed", "", SAME, SAME),
        "408 from TU": ("Completed", "", SAME, SAME),
    },
    "Terminated": {**ENDED, **LATE},
}

FIGURES: dict[str, tuple[Figure, tuple[str, ...], frozenset[str]]] = {
    # kind: figure, its inputs, those that never come (an ACK is matched to INVITE transactions only; RFC 4320 concerns
    # other methods only, so a 408 to INVITE is one of 300-699 and a 100 one of the provisional responses)
    "client invite": (CLIENT_INVITE, CLIENT_INPUTS, frozenset()),
    "client other": (CLIENT_OTHER, CLIENT_INPUTS, frozenset()),
    "server invite": (SERVER_INVITE, SERVER_INPUTS, frozenset(("100 from TU", "408 from TU"))),
    "server other": (SERVER_OTHER, SERVER_INPUTS, frozenset(("ACK",))),
}
LOCAL = frozenset(("cancel", "100 from TU", "101-199 from TU", "2xx from TU", "300-699 from TU", "408 from TU"))
ARROWS = [
    (kind, state, name)
    for kind, (figure, inputs, never) in FIGURES.items()
    for state, name in itertools.product(figure, inputs)
    if name not in never
]


def put(kind: str, state: str, name: str, flow: Flow) -> Transaction:
    """A transaction in that state at time 1000, whose timers run until 1003 and 1020 but for one that fires now."""
    transaction = begin(kind, flow)
    transaction.state = STATES[state]
    transaction.interval = 1.0
    transaction.retry_at = 1000.0 if name == "retry timer" else 1003.0
    transaction.expire_at = 1000.0 if name == "expiry timer" else 1020.0
    return transaction


@pytest.mark.parametrize("flow", [UDP, TCP])
@pytest.mark.parametrize(("kind", "state", "name"), ARROWS)
def test_every_input_in_every_state_does_what_the_figure_says(kind: str, state: str, name: str, flow: Flow) -> None:
    transaction = put(kind, state, name, flow)
    arrow = FIGURES[kind][0][state].get(name)
    if arrow is None:
        assert name in LOCAL
        with pytest.raises(LocalProtocolError):
            transaction.step(INPUTS[name], 1000.0, TIMERS)
        assert transaction.state == STATES[state]
        return

    actions = transaction.step(INPUTS[name], 1000.0, TIMERS)

    after, done, retry, expire = arrow[:4]
    if flow is TCP and len(arrow) == 5:
        retry = GONE
        if arrow[4] is not None:
            after, expire = arrow[4], GONE
    assert transaction.state_name == after
    assert {text for bit, text in EFFECTS.items() if actions & bit} == set(filter(None, done.split(", ")))
    at = 1000.0
    assert transaction.retry_at == (NEVER if retry == GONE else 1003.0 if retry == SAME else at + retry)
    assert transaction.expire_at == (NEVER if expire == GONE else 1020.0 if expire == SAME else at + expire)


def run(transaction: Transaction, end: float = 1000.0) -> tuple[list[float], float]:
    """Let time pass in silence: when something was sent, and when the transaction terminated (NEVER: not at all)."""
    sent: list[float] = []
    while True:
        now = min(transaction.retry_at, transaction.expire_at)
        if now > end:
            return sent, NEVER
        event = machine.EXPIRE if transaction.expire_at <= now else machine.RETRY
        actions = transaction.step(event, now, TIMERS)
        if actions & (machine.SEND | machine.SEND_100):
            sent.append(round(now, 3))
        if transaction.state == machine.TERMINATED:
            return sent, round(now, 3)


# The timers of RFC 3261 table 4 and RFC 6026, each by name


def test_timers_a_and_b() -> None:
    """§17.1.1.2: A doubles without a cap; B is 64*T1."""
    assert run(begin("client invite")) == ([0.5, 1.5, 3.5, 7.5, 15.5, 31.5], 32.0)


def test_timer_a_runs_on_while_the_cancel_waits() -> None:
    """§9.1: without a provisional response no CANCEL, and the INVITE goes on as before."""
    transaction = begin("client invite")
    transaction.step(machine.CANCEL, 0.1, TIMERS)
    assert run(transaction) == ([0.5, 1.5, 3.5, 7.5, 15.5, 31.5], 32.0)


def test_timers_a_and_e_do_not_run_on_a_reliable_transport() -> None:
    assert run(begin("client invite", TCP)) == ([], 32.0)
    assert run(begin("client other", TCP)) == ([], 32.0)


def test_an_invite_may_ring_for_ever() -> None:
    transaction = begin("client invite")
    transaction.step(machine.IN_1XX, 0.2, TIMERS)
    assert run(transaction, 1e9) == ([], NEVER)


@pytest.mark.parametrize(("cancelled", "provisional"), [(100.0, 0.2), (0.1, 20.0)])
def test_a_cancelled_invite_ends_64_t1_after_the_cancel(cancelled: float, provisional: float) -> None:
    transaction = begin("client invite")
    for at, event in sorted([(cancelled, machine.CANCEL), (provisional, machine.IN_1XX)]):
        actions = transaction.step(event, at, TIMERS)
    assert actions & machine.SEND_CANCEL
    assert run(transaction) == ([], max(cancelled, provisional) + 32.0)


def test_timer_d() -> None:
    """§17.1.1.2: at least 32 s on unreliable transports, 0 on reliable ones."""
    transaction = begin("client invite")
    transaction.step(machine.IN_FINAL, 2.0, TIMERS)
    assert run(transaction) == ([], 34.0)
    transaction = begin("client invite", TCP)
    transaction.step(machine.IN_FINAL, 2.0, TIMERS)
    assert transaction.state_name == "Terminated"


def test_timers_e_and_f() -> None:
    """§17.1.2.2: E doubles up to T2; F is 64*T1."""
    expected = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert run(begin("client other")) == (expected, 32.0)


def test_timer_e_in_proceeding() -> None:
    """§17.1.2.2: a provisional response leaves E as it is set; when it fires, it is set to T2."""
    transaction = begin("client other")
    transaction.step(machine.IN_1XX, 0.1, TIMERS)
    assert run(transaction) == ([0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5], 32.0)


def test_timer_g_and_h() -> None:
    """§17.2.1: G doubles up to T2; H is 64*T1."""
    transaction = begin("server invite")
    transaction.step(machine.OUT_FINAL, 0.1, TIMERS)
    expected = [0.6, 1.6, 3.6, 7.6, 11.6, 15.6, 19.6, 23.6, 27.6, 31.6]
    assert run(transaction) == (expected, 32.1)
    transaction = begin("server invite", TCP)
    transaction.step(machine.OUT_FINAL, 0.1, TIMERS)
    assert run(transaction) == ([], 32.1)


def test_timer_i() -> None:
    """§17.2.1: T4 on unreliable transports, 0 on reliable ones."""
    transaction = begin("server invite")
    transaction.step(machine.OUT_FINAL, 0.1, TIMERS)
    transaction.step(machine.IN_ACK, 0.3, TIMERS)
    assert run(transaction) == ([], 5.3)
    transaction = begin("server invite", TCP)
    transaction.step(machine.OUT_FINAL, 0.1, TIMERS)
    transaction.step(machine.IN_ACK, 0.3, TIMERS)
    assert transaction.state_name == "Terminated"


@pytest.mark.parametrize("answer", [machine.OUT_2XX, machine.OUT_FINAL])
def test_timer_j(answer: int) -> None:
    """§17.2.2: 64*T1 on unreliable transports, 0 on reliable ones."""
    transaction = begin("server other")
    transaction.step(answer, 1.0, TIMERS)
    assert run(transaction) == ([], 33.0)
    transaction = begin("server other", TCP)
    transaction.step(answer, 1.0, TIMERS)
    assert transaction.state_name == "Terminated"


@pytest.mark.parametrize("answer", [machine.IN_2XX, machine.IN_FINAL])
def test_timer_k(answer: int) -> None:
    """§17.1.2.2: T4 on unreliable transports, 0 on reliable ones."""
    transaction = begin("client other")
    transaction.step(answer, 1.0, TIMERS)
    assert run(transaction) == ([], 6.0)
    transaction = begin("client other", TCP)
    transaction.step(answer, 1.0, TIMERS)
    assert transaction.state_name == "Terminated"


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_timers_l_and_m(flow: Flow) -> None:
    """RFC 6026 §7: 64*T1 on any transport."""
    transaction = begin("server invite", flow)
    transaction.step(machine.OUT_2XX, 1.0, TIMERS)
    assert run(transaction) == ([], 33.0)
    transaction = begin("client invite", flow)
    transaction.step(machine.IN_2XX, 1.0, TIMERS)
    assert run(transaction) == ([], 33.0)


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_100_to_invite_after_200_ms(flow: Flow) -> None:
    """§17.2.1: unless the TU has answered by then; after that nothing more."""
    assert run(begin("server invite", flow)) == ([0.2], NEVER)
    transaction = begin("server invite", flow)
    transaction.step(machine.OUT_1XX, 0.1, TIMERS)
    assert run(transaction) == ([], NEVER)


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_100_to_other_requests_when_timer_e_has_reached_t2(flow: Flow) -> None:
    """RFC 4320 §4.1: 0.5 + 1 + 2 seconds; §4.2: after 64*T1 there is no response any more."""
    assert run(begin("server other", flow)) == ([3.5], 32.0)


@pytest.mark.parametrize(
    ("timers", "delay"),
    [
        (TimerValues(), 3.5),
        (TimerValues(t1=4.0), 4.0),
        (TimerValues(t1=1.0, t2=16.0), 15.0),
        (TimerValues(t1=5.0), 5.0),
    ],
)
def test_when_timer_e_reaches_t2(timers: TimerValues, delay: float) -> None:
    assert other_answer_delay(timers) == delay


# What the machine is told


@pytest.mark.parametrize(
    ("status", "event"), [(100, "1xx"), (199, "1xx"), (200, "2xx"), (299, "2xx"), (300, "300-699")]
)
def test_responses_by_class(status: int, event: str) -> None:
    assert machine.classify_response(status) == INPUTS[event]


@pytest.mark.parametrize(
    ("method", "status", "event"),
    [
        ("INVITE", 100, "101-199 from TU"),
        ("INVITE", 183, "101-199 from TU"),
        ("INVITE", 200, "2xx from TU"),
        ("INVITE", 408, "300-699 from TU"),
        ("INVITE", 603, "300-699 from TU"),
        ("BYE", 100, "100 from TU"),
        ("BYE", 101, "101-199 from TU"),
        ("BYE", 200, "2xx from TU"),
        ("BYE", 299, "2xx from TU"),
        ("BYE", 300, "300-699 from TU"),
        ("BYE", 408, "408 from TU"),
        ("BYE", 699, "300-699 from TU"),
    ],
)
def test_answers_by_class(method: str, status: int, event: str) -> None:
    assert machine.classify_answer(method, status) == INPUTS[event]


def test_what_a_transaction_tells_of_itself() -> None:
    transaction = begin("client invite")
    assert isinstance(transaction, ClientTransaction)
    assert transaction.branch == "z9hG4bK1"
    assert transaction.pending
    transaction.step(machine.IN_1XX, 0.1, TIMERS)
    assert transaction.pending
    assert transaction.state_name == "Proceeding"
    transaction.step(machine.IN_2XX, 0.2, TIMERS)
    assert not transaction.pending


def test_a_local_error_says_what_was_asked_for() -> None:
    transaction = begin("server other")
    with pytest.raises(LocalProtocolError, match="OPTIONS transaction in state Trying: no 101-199 from TU"):
        transaction.step(machine.OUT_1XX, 0.0, TIMERS)


# The tables as a whole


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_input_and_timer_has_a_row_in_every_state(kind: str) -> None:
    table = begin(kind).table
    _, inputs, never = FIGURES[kind]
    states = {state for state, _ in table}
    assert states == {STATES[state] for state in FIGURES[kind][0]}
    for state, name in itertools.product(states, inputs):
        if name not in never and name not in LOCAL:
            assert (state, INPUTS[name]) in table
    assert {after for after, _ in table.values()} <= states


@given(st.sampled_from(KINDS), st.sampled_from([UDP, TCP]), st.lists(st.tuples(st.integers(0, 15), st.floats(0, 5))))
def test_any_history_ends_in_silence(kind: str, flow: Flow, history: list[tuple[int, float]]) -> None:
    """After any inputs in any order it terminates by itself, but for an INVITE that rings and that nobody cancels."""
    transaction = begin(kind, flow)
    now = 0.0
    told = 0
    for event, gap in history:
        now += gap
        if (transaction.state, event) not in transaction.table:
            continue
        before = transaction.state
        actions = transaction.step(event, now, TIMERS)
        final = event == machine.IN_FINAL or (event == machine.IN_2XX and before != machine.ACCEPTED)
        if kind.startswith("client") and (actions & machine.REPORT or (actions & machine.UP and final)):
            told += 1
    assert told <= 1
    _, end = run(transaction, now + 100.0)
    if end == NEVER:
        assert transaction.state in (machine.PROCEEDING, machine.TERMINATED)
        assert transaction.state == machine.TERMINATED or "invite" in kind
    else:
        assert end <= now + 64 * TIMERS.t1 + 0.001
