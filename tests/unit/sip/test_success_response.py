"""The 2xx until its ACK: RFC 3261 §13.3.1.4."""

from __future__ import annotations

import pytest

from switchroom.sip import success_response as module
from switchroom.sip.flow import Flow
from switchroom.sip.message import Request, Response
from switchroom.sip.success_response import SuccessResponse
from switchroom.sip.timers import NEVER, TimerQueue, TimerValues
from switchroom.sip.transaction import ServerTransaction

STATES = {name: number for number, name in enumerate(module.STATE_NAMES)}
INPUTS = {name: number for number, name in enumerate(module.INPUT_NAMES)}

# §13.3.1.4: repeated until the ACK; after 64*T1 without one the session is to be ended.  Nothing follows either.
EFFECTIVE = {
    ("waiting for ACK", "retry"): ("waiting for ACK", module.SEND),
    ("waiting for ACK", "expire"): ("abandoned", module.GIVE_UP),
    ("waiting for ACK", "ACK"): ("acknowledged", module.CONFIRM),
    ("waiting for ACK", "stop"): ("abandoned", module.NOTHING),
}


class Recorder:
    def __init__(self) -> None:
        self.sent: list[float] = []
        self.abandoned: list[float] = []
        self.now = 0.0

    def repeat_response(self, transaction: ServerTransaction, response: Response) -> None:
        self.sent.append(self.now)

    def success_abandoned(self, success: SuccessResponse, now: float) -> None:
        self.abandoned.append(now)


def start(timers: TimerValues | None = None) -> tuple[SuccessResponse, Recorder, TimerQueue]:
    request = Request.build(
        "INVITE", "sip:b@b.example", from_="<sip:a@a.example>;tag=1", to="<sip:b@b.example>", call_id="c", cseq=1,
        headers=[("Via", "SIP/2.0/TCP a.example;branch=z9hG4bK1")],
    )  # fmt: skip
    flow = Flow("TCP", ("192.0.2.1", 5060), ("192.0.2.2", 5060), "b.example", 1)
    transaction = ServerTransaction("z9hG4bK1 a.example", "INVITE", flow, request, NEVER, NEVER)
    assert flow.reliable  # §13.3.1.4: repeated whatever the transport
    recorder, queue = Recorder(), TimerQueue()
    response = request.create_response(200, to_tag="x")
    return (
        SuccessResponse(queue, recorder, transaction, request, response, timers or TimerValues(), 0.0),
        recorder,
        queue,
    )


def run(queue: TimerQueue, recorder: Recorder, until: float = 1000.0) -> None:
    while (now := queue.next_at()) <= until:
        recorder.now = now
        while (item := queue.pop_due(now)) is not None:
            assert isinstance(item, SuccessResponse)
            item.fire(now)
            queue.touch(item)


@pytest.mark.parametrize("input_", INPUTS)
@pytest.mark.parametrize("before", STATES)
def test_each_row(before: str, input_: str) -> None:
    after, do = EFFECTIVE.get((before, input_), (before, module.NOTHING))
    assert module.TABLE[STATES[before], INPUTS[input_]] == (STATES[after], do)


def test_intervals_from_t1_doubling_to_t2_for_64_t1() -> None:
    _, recorder, queue = start()
    run(queue, recorder)
    assert recorder.sent == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert recorder.abandoned == [32.0]
    assert queue.next_at() == NEVER


def test_other_base_timers() -> None:
    _, recorder, queue = start(TimerValues(t1=1.0, t2=2.0))
    run(queue, recorder, 7.0)
    assert recorder.sent == [1.0, 3.0, 5.0, 7.0]


def test_the_ack_ends_it() -> None:
    success, recorder, queue = start()
    run(queue, recorder, 2.0)
    assert success.acknowledge()
    assert not success.acknowledge()
    run(queue, recorder)
    assert recorder.sent == [0.5, 1.5]
    assert recorder.abandoned == []
    assert queue.next_at() == NEVER


def test_abandoned_silently() -> None:
    success, recorder, queue = start()
    success.abandon()
    assert not success.acknowledge()
    run(queue, recorder)
    assert (recorder.sent, recorder.abandoned) == ([], [])
