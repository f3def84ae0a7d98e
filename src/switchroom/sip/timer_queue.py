"""One queue for all deadlines; timers.py has what waits in it.  Nobody subclasses it: it can be compiled."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Final, Protocol

NEVER: Final = float("inf")


class Deadlines(Protocol):
    """What the queue asks of its items, whatever they are; all three begin as `NEVER`."""

    expire_at: float
    retry_at: float
    queued_at: float
    """When the item's live entry is due: the queue's own note."""


Entry = tuple[float, int, Deadlines]
"""When it is due, its number, and whose it is."""

_RUNS: Final = 3


class TimerQueue:
    """Deadlines of many items (`Timed` ones, transactions), in order.

    An item that is queued has one live entry.  A deadline that moves later, or is cancelled, costs nothing until its
    entry comes up; one that moves earlier adds an entry and leaves a dead one behind.  When more than half of the
    entries are dead all are sorted anew, so their number follows that of the live items.

    Most deadlines are one of a few fixed times away from when they are set (timer J, 64*T1, ...), so that most entries
    are later than all before them with the same distance.  They are kept in a few runs, each in order by itself, to
    whose end an entry is put in constant time.  An entry that fits nowhere goes to a heap.
    """

    __slots__ = ("_count", "_entries", "_heap", "_live", "_runs")

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._runs: Final[list[deque[Entry]]] = [deque() for _ in range(_RUNS)]
        self._count = 0
        self._entries = 0
        self._live = 0

    def __len__(self) -> int:
        """How many entries there are, dead ones included."""
        return self._entries

    def touch(self, item: Deadlines) -> None:
        """Take note of *item*'s deadlines: call it after changing them."""
        due = item.retry_at if item.retry_at < item.expire_at else item.expire_at
        if due < item.queued_at:
            if item.queued_at == NEVER:
                self._live += 1
            item.queued_at = due
            self._count += 1
            self._entries += 1
            for run in self._runs:
                if not run or run[-1][0] <= due:
                    run.append((due, self._count, item))
                    break
            else:
                heappush(self._heap, (due, self._count, item))
            if self._entries > 64 and self._entries > 2 * self._live:
                self._rebuild()

    def discard(self, item: Deadlines) -> None:
        """Forget *item*: its entry is dead from now on."""
        item.retry_at = item.expire_at = NEVER
        if item.queued_at != NEVER:
            item.queued_at = NEVER
            self._live -= 1
            if self._entries > 64 and self._entries > 2 * self._live:
                self._rebuild()

    def next_at(self) -> float:
        """When the next deadline is; `NEVER` when there is none.  What is cancelled or has moved wakes nobody up."""
        while True:
            first = self._first()
            if first is None:
                return NEVER
            at, _, item = first[0]
            if at == item.queued_at:
                if item.retry_at <= at or item.expire_at <= at:
                    return at
                item.queued_at = NEVER
                self._live -= 1
                self._pop(first)
                self.touch(item)
            else:
                self._pop(first)

    def pop_due(self, now: float) -> Deadlines | None:
        """Remove and return an item with a deadline at or before *now*, or None; `touch` it to queue it again."""
        while True:
            first = self._first()
            if first is None or first[0][0] > now:
                return None
            at, _, item = first[0]
            self._pop(first)
            if at != item.queued_at:
                continue  # dead: discarded, or superseded by an earlier entry
            item.queued_at = NEVER
            self._live -= 1
            if item.retry_at <= now or item.expire_at <= now:
                return item
            self.touch(item)  # the deadline had moved later

    def _first(self) -> deque[Entry] | list[Entry] | None:
        """The run whose first entry is the earliest of all, or the heap; None when there is no entry."""
        first: deque[Entry] | list[Entry] | None = None
        for run in self._runs:
            if run and (first is None or run[0] < first[0]):
                first = run
        heap = self._heap
        return heap if heap and (first is None or heap[0] < first[0]) else first

    def _pop(self, first: deque[Entry] | list[Entry]) -> None:
        """Remove the first entry of a run or of the heap."""
        self._entries -= 1
        if isinstance(first, deque):
            first.popleft()
        else:
            heappop(first)

    def _rebuild(self) -> None:
        """Drop the dead entries, and make one run of the others."""
        entries: list[Entry] = []
        for entry in [*self._heap, *[entry for run in self._runs for entry in run]]:
            at, count, item = entry
            if at != item.queued_at:
                continue
            due = item.retry_at if item.retry_at < item.expire_at else item.expire_at
            if due == NEVER:
                item.queued_at = NEVER
                self._live -= 1
                continue
            item.queued_at = due
            entries.append((due, count, item))
        entries.sort()
        self._heap.clear()
        for run in self._runs:
            run.clear()
        self._runs[0].extend(entries)
        self._entries = len(entries)
