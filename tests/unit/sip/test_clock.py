"""Clocks on a timer queue."""

from __future__ import annotations

import pytest

from switchroom.sip.clock import Alarm, Clock
from switchroom.sip.timers import NEVER, TimerQueue


def test_an_alarm_goes_off_once() -> None:
    queue = TimerQueue()
    heard: list[float] = []
    alarm = Alarm(queue, heard.append)
    assert not alarm.running
    alarm.set(expire_at=3.0)
    assert alarm.running
    assert queue.pop_due(2.9) is None
    item = queue.pop_due(3.0)
    assert item is alarm
    alarm.fire(3.0)
    queue.touch(alarm)
    assert heard == [3.0]
    assert not alarm.running
    assert queue.next_at() == NEVER


def test_an_alarm_that_is_released_calls_nobody() -> None:
    queue = TimerQueue()
    heard: list[float] = []
    alarm = Alarm(queue, heard.append)
    alarm.set(expire_at=3.0)
    alarm.release()
    alarm.release()
    assert queue.pop_due(5.0) is None
    assert not heard


def test_a_clock_that_is_stopped() -> None:
    queue = TimerQueue()
    clock = Clock(queue)
    clock.set(retry_at=1.0)
    clock.stop()
    assert queue.pop_due(5.0) is None
    with pytest.raises(NotImplementedError):
        clock.fire(1.0)
