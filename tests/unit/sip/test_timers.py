"""The timer queue: two deadlines per item, one heap for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.timers import NEVER, Timed, TimerQueue, TimerValues


def timed(retry_at: float = NEVER, expire_at: float = NEVER) -> Timed:
    item = Timed()
    item.retry_at = retry_at
    item.expire_at = expire_at
    return item


def drain(queue: TimerQueue, now: float) -> list[Timed]:
    items = []
    while (item := queue.pop_due(now)) is not None:
        items.append(item)
    return items


def test_default_values_are_those_of_rfc_3261_table_4() -> None:
    assert TimerValues() == (0.5, 4.0, 5.0)


def test_an_empty_queue_has_nothing_due() -> None:
    queue = TimerQueue()
    assert queue.next_at() == NEVER
    assert queue.pop_due(1e12) is None
    assert len(queue) == 0


def test_items_without_a_deadline_are_not_queued() -> None:
    queue = TimerQueue()
    queue.touch(timed())
    assert queue.next_at() == NEVER
    assert len(queue) == 0


def test_items_come_in_the_order_of_their_nearer_deadline() -> None:
    queue = TimerQueue()
    first, second, third = timed(expire_at=1.0), timed(2.0, 9.0), timed(9.0, 3.0)
    for item in (third, first, second):
        queue.touch(item)
    assert queue.next_at() == 1.0
    assert drain(queue, 0.999) == []
    assert drain(queue, 2.5) == [first, second]
    assert drain(queue, 3.0) == [third]
    assert queue.next_at() == NEVER


def test_items_due_at_the_same_time_come_in_the_order_they_were_queued() -> None:
    queue = TimerQueue()
    items = [timed(retry_at=1.0) for _ in range(50)]
    for item in items:
        queue.touch(item)
    assert drain(queue, 1.0) == items


def test_a_deadline_that_moves_earlier_is_met() -> None:
    queue = TimerQueue()
    item = timed(5.0)
    queue.touch(item)
    item.retry_at = 2.0
    queue.touch(item)
    assert queue.next_at() == 2.0
    assert drain(queue, 2.0) == [item]
    item.retry_at = NEVER
    assert drain(queue, 5.0) == []


def test_a_deadline_that_moves_later_is_met_and_costs_no_entry() -> None:
    queue = TimerQueue()
    item = timed(1.0)
    queue.touch(item)
    for deadline in range(2, 1000):
        item.retry_at = float(deadline)
        queue.touch(item)
    assert len(queue) == 1
    assert drain(queue, 998.0) == []
    assert queue.next_at() == 999.0
    assert drain(queue, 999.0) == [item]


def test_nobody_is_woken_for_what_has_moved_or_was_cancelled() -> None:
    queue = TimerQueue()
    moved, cancelled = timed(1.0), timed(2.0)
    queue.touch(moved)
    queue.touch(cancelled)
    moved.retry_at = 32.0
    cancelled.retry_at = NEVER
    assert queue.next_at() == 32.0
    assert len(queue) == 1
    assert drain(queue, 32.0) == [moved]


def test_most_entries_need_no_heap() -> None:
    """Each kind of deadline makes a run of its own; only what fits into none goes to the heap."""
    queue = TimerQueue()
    for second in range(100):
        for distance in (32.0, 5.0, 0.5):
            queue.touch(timed(second + distance))
    assert len(queue._heap) == 0
    early = [timed(0.25 - index / 1000) for index in range(100)]
    for item in early:
        queue.touch(item)
    assert queue.next_at() == early[-1].retry_at
    assert drain(queue, 0.3) == early[::-1]


def test_a_cancelled_deadline_never_comes() -> None:
    queue = TimerQueue()
    item = timed(1.0, 2.0)
    queue.touch(item)
    item.retry_at = item.expire_at = NEVER
    queue.touch(item)
    assert drain(queue, 100.0) == []
    assert queue.next_at() == NEVER
    assert len(queue) == 0


def test_a_discarded_item_leaves_and_may_come_back() -> None:
    queue = TimerQueue()
    item, other = timed(1.0), timed(2.0)
    queue.touch(item)
    queue.touch(other)
    queue.discard(item)
    assert (item.retry_at, item.expire_at) == (NEVER, NEVER)
    assert queue.next_at() == 2.0
    queue.discard(item)  # again: nothing happens
    item.retry_at = 1.0
    queue.touch(item)
    assert queue.next_at() == 1.0
    assert drain(queue, 9.0) == [item, other]


def test_discarding_what_was_never_queued_is_harmless() -> None:
    queue = TimerQueue()
    queue.discard(timed())
    assert len(queue) == 0


def test_a_popped_item_is_queued_again_by_touch() -> None:
    queue = TimerQueue()
    item = timed(1.0, 3.0)
    queue.touch(item)
    assert queue.pop_due(1.0) is item
    assert queue.next_at() == NEVER
    item.retry_at = NEVER
    queue.touch(item)
    assert queue.next_at() == 3.0


@pytest.mark.parametrize("reverse", [False, True])
def test_the_heap_follows_the_number_of_live_items(reverse: bool) -> None:
    queue = TimerQueue()
    keep = [timed(1e6 + index) for index in range(100)]
    for item in keep:
        queue.touch(item)
    items = [timed(float(index)) for index in range(1, 5000)]
    for item in items:
        queue.touch(item)
    for item in reversed(items) if reverse else items:
        queue.discard(item)
    assert len(queue) <= 2 * len(keep) + 1
    assert drain(queue, 2e6) == keep


def test_200000_items_queued_and_discarded_leave_the_heap_as_small_as_before() -> None:
    queue = TimerQueue()
    keep = timed(1e9)
    queue.touch(keep)
    items = [timed(float(index), index + 32.0) for index in range(200_000)]
    for item in items:
        queue.touch(item)
    assert len(queue) == 200_001
    for item in items:
        queue.discard(item)
    assert len(queue) <= 64
    for index, item in enumerate(items):
        item.retry_at = float(index)
        queue.touch(item)
        queue.discard(item)
        assert len(queue) <= 65
    assert drain(queue, 1e9) == [keep]


def test_a_heap_that_grows_by_earlier_deadlines_is_rebuilt() -> None:
    queue = TimerQueue()
    item = timed()
    for deadline in range(100_000, 0, -1):
        item.retry_at = float(deadline)
        queue.touch(item)
    assert len(queue) <= 65
    assert queue.next_at() == 1.0
    assert drain(queue, 1.0) == [item]


def test_a_rebuild_forgets_what_was_cancelled_by_assignment_and_moves_what_moved() -> None:
    queue = TimerQueue()
    cancelled = [timed(float(index)) for index in range(1, 41)]
    moved = [timed(float(index)) for index in range(1, 41)]
    for item in cancelled + moved:
        queue.touch(item)
    for item in cancelled:
        item.retry_at = NEVER
    for item in moved:
        item.retry_at += 1000.0
    gone = [timed(float(index)) for index in range(500, 600)]
    for item in gone:
        queue.touch(item)
    for item in gone:
        queue.discard(item)
    assert len(queue) <= 160
    assert queue.next_at() <= 1001.0
    assert drain(queue, 1000.0) == []
    assert drain(queue, 2000.0) == moved
    assert len(queue) == 0


def test_a_rebuild_while_items_are_popped_loses_nothing() -> None:
    """pop_due itself queues an item again whose deadline moved, and that may rebuild the heap."""
    queue = TimerQueue()
    moved = [timed(float(index)) for index in range(1, 34)]
    for item in moved:
        queue.touch(item)
        item.retry_at = 50.0
    dead = [timed(900.0) for _ in range(33)]
    for item in dead:
        queue.touch(item)
    for item in dead:
        queue.discard(item)
    assert drain(queue, 49.0) == []
    assert sorted(map(id, drain(queue, 50.0))) == sorted(map(id, moved))


Command = tuple[int, int, float, float]
TIMES = st.one_of(st.just(NEVER), st.floats(0, 100))


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), TIMES, TIMES), max_size=300))
def test_against_a_plain_list(commands: list[Command]) -> None:
    """Whatever is touched and discarded, what is due comes exactly when it is due, and the heap stays small."""
    queue = TimerQueue()
    items = [Timed() for _ in range(8)]
    now = 0.0
    for index, kind, retry_at, expire_at in commands:
        item = items[index]
        if kind < 2:
            item.retry_at, item.expire_at = now + retry_at, now + expire_at
            queue.touch(item)
        elif kind == 2:
            queue.discard(item)
        else:
            now += min(retry_at, 10.0)
            due = [other for other in items if min(other.retry_at, other.expire_at) <= now]
            popped = drain(queue, now)
            assert sorted(map(id, popped)) == sorted(map(id, due))
            for other in popped:
                other.retry_at = other.expire_at = NEVER
        assert queue.next_at() <= min(min(other.retry_at, other.expire_at) for other in items)
        assert len(queue) <= 65
