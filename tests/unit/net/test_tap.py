"""Who listens to messages."""

from __future__ import annotations

import pytest

from switchroom.net.tap import Tap, TapRecord
from switchroom.sip.flow import Flow

RECORD = TapRecord(1.0, Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.2", 5060), "192.0.2.2:5060"), "in", b"data")


def test_listeners_come_and_go() -> None:
    tap = Tap()
    first: list[TapRecord] = []
    second: list[TapRecord] = []
    tap.record(RECORD)
    leave = tap.subscribe(first.append)
    tap.subscribe(second.append)
    tap.record(RECORD)
    leave()
    leave()  # once is enough
    tap.record(RECORD)
    assert (first, second) == ([RECORD], [RECORD, RECORD])


def test_a_listener_that_fails_is_logged_and_costs_nobody_a_message(caplog: pytest.LogCaptureFixture) -> None:
    tap = Tap()
    seen: list[TapRecord] = []

    def fail(record: TapRecord) -> None:
        raise ZeroDivisionError

    tap.subscribe(fail)
    tap.subscribe(seen.append)
    tap.record(RECORD)
    assert seen == [RECORD]
    assert [record.getMessage() for record in caplog.records] == ["a tap listener failed"]


def test_a_listener_may_leave_while_it_is_called() -> None:
    tap = Tap()
    seen: list[TapRecord] = []

    def once(record: TapRecord) -> None:
        leave()
        seen.append(record)

    leave = tap.subscribe(once)
    tap.subscribe(seen.append)
    tap.record(RECORD)
    tap.record(RECORD)
    assert len(seen) == 3
