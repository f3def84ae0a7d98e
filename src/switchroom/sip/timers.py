"""One queue for every protocol timer of an endpoint."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple, Protocol

NEVER: Final = float("inf")


class TimerValues(NamedTuple):
    """The base timers of RFC 3261 §17.1.1.1, in seconds; all others are multiples of them."""

    t1: float = 0.5
    """Estimate of the round-trip time."""
    t2: float = 4.0
    """Longest interval between retransmissions of a non-INVITE request or an INVITE's final response."""
    t4: float = 5.0
    """How long a message stays in the network."""


class Deadlines(Protocol):
    """What the queue asks of its items, whatever they are; all three begin as `NEVER`."""

    expire_at: float
    retry_at: float
    queued_at: float
    """When the item's live entry is due: the queue's own note."""


class Timed:
    """Something with at most two deadlines: try again, then give up.

    Assign `retry_at` and `expire_at` (seconds, same clock as `now`), then call `TimerQueue.touch`.  `NEVER` cancels.
    """

    __slots__ = ("expire_at", "queued_at", "retry_at")

    def __init__(self) -> None:
        self.retry_at: float = NEVER
        self.expire_at: float = NEVER
        self.queued_at: float = NEVER


class TimerQueue:
    """Deadlines of many items (`Timed` ones, transactions) on one heap.

    An item that is queued has one live entry.  A deadline that moves later, or is cancelled, costs nothing until its
    entry comes up; one that moves earlier adds an entry and leaves a dead one behind.  When more than half of the
    entries are dead the heap is rebuilt, so its size follows the number of live items.
    """

    __slots__ = ("_count", "_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadlines]] = []
        self._count = 0
        self._live = 0

    def __len__(self) -> int:
        """Entries on the heap, dead ones included."""
        return len(self._heap)

    def touch(self, item: Deadlines) -> None:
        """Take note of *item*'s deadlines: call it after changing them."""
        due = item.retry_at if item.retry_at < item.expire_at else item.expire_at
        if due < item.queued_at:
            if item.queued_at == NEVER:
                self._live += 1
            item.queued_at = due
            self._count += 1
            heappush(self._heap, (due, self._count, item))
            if len(self._heap) > 64 and len(self._heap) > 2 * self._live:
                self._rebuild()

    def discard(self, item: Deadlines) -> None:
        """Forget *item*: its entry is dead from now on."""
        item.retry_at = item.expire_at = NEVER
        if item.queued_at != NEVER:
            item.queued_at = NEVER
            self._live -= 1
            if len(self._heap) > 64 and len(self._heap) > 2 * self._live:
                self._rebuild()

    def next_at(self) -> float:
        """A time not later than the next deadline; `NEVER` when there is none.  Waking up early is harmless."""
        heap = self._heap
        while heap and heap[0][0] != heap[0][2].queued_at:
            heappop(heap)
        return heap[0][0] if heap else NEVER

    def pop_due(self, now: float) -> Deadlines | None:
        """Remove and return an item with a deadline at or before *now*, or None; `touch` it to queue it again."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, item = heappop(heap)
            if at != item.queued_at:
                continue  # dead: discarded, or superseded by an earlier entry
            item.queued_at = NEVER
            self._live -= 1
            if item.retry_at <= now or item.expire_at <= now:
                return item
            self.touch(item)  # the deadline had moved later
        return None

    def _rebuild(self) -> None:
        heap = []
        for entry in self._heap:
            at, count, item = entry
            if at != item.queued_at:
                continue
            due = item.retry_at if item.retry_at < item.expire_at else item.expire_at
            if due == NEVER:
                item.queued_at = NEVER
                self._live -= 1
                continue
            item.queued_at = due
            heap.append((due, count, item))
        heapify(heap)
        self._heap[:] = heap  # in place: pop_due may be at work on it
