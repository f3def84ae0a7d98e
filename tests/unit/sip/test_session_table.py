"""The states of a session: expectations from RFC 3261 §9, §13 to §15, not read from the table."""

from __future__ import annotations

import pytest

from switchroom.sip import session_table as module

STATES = {name: number for number, name in enumerate(module.STATE_NAMES)}
INPUTS = {name: number for number, name in enumerate(module.INPUT_NAMES)}

# What changes the state.  §9.1: who cancels waits for the outcome.  §13.2.2.4, §13.3.1.4: a 2xx answers, its ACK
# confirms.  §15: hanging up and BYE end it; a 2xx that crossed a CANCEL ends it too.
CHANGES = {
    ("inviting", "2xx"): "confirmed",
    ("inviting", "failure"): "ended",
    ("inviting", "cancel"): "cancelling",
    ("inviting", "BYE"): "ended",
    ("cancelling", "2xx"): "ended",
    ("cancelling", "failure"): "ended",
    ("cancelling", "BYE"): "ended",
    ("invited", "answer"): "answered",
    ("invited", "reject"): "ended",
    ("invited", "BYE"): "ended",
    ("answered", "ACK"): "confirmed",
    ("answered", "no ACK"): "ended",
    ("answered", "hang up"): "ended",
    ("answered", "BYE"): "ended",
    ("answered", "lost"): "ended",
    ("confirmed", "no ACK"): "ended",
    ("confirmed", "hang up"): "ended",
    ("confirmed", "BYE"): "ended",
    ("confirmed", "lost"): "ended",
}
# What may come from the network, or from a clock, without effect.
IGNORED = {
    ("inviting", "lost"),
    ("cancelling", "cancel"),
    ("cancelling", "lost"),
    ("invited", "lost"),
    ("confirmed", "2xx"),
    ("confirmed", "failure"),
    ("confirmed", "ACK"),
    *(("ended", input_) for input_ in ("2xx", "failure", "ACK", "no ACK", "BYE", "lost")),
}


@pytest.mark.parametrize("input_", INPUTS)
@pytest.mark.parametrize("before", STATES)
def test_each_pair(before: str, input_: str) -> None:
    after = module.TABLE.get((STATES[before], INPUTS[input_]))
    if (before, input_) in IGNORED:
        assert after == STATES[before]
    elif (before, input_) in CHANGES:
        assert after == STATES[CHANGES[before, input_]]
    else:
        assert after is None, "a local call in the wrong state must be refused"
