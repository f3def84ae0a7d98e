"""The timers of RFC 3261 §17, and what has deadlines (the queue of which is timer_queue.py)."""

from __future__ import annotations

from typing import NamedTuple

from .timer_queue import NEVER, Deadlines, TimerQueue

__all__ = ["NEVER", "Deadlines", "Timed", "TimerQueue", "TimerValues"]


class TimerValues(NamedTuple):
    """The base timers of RFC 3261 §17.1.1.1, in seconds; all others are multiples of them."""

    t1: float = 0.5
    """Estimate of the round-trip time."""
    t2: float = 4.0
    """Longest interval between retransmissions of a non-INVITE request or an INVITE's final response."""
    t4: float = 5.0
    """How long a message stays in the network."""


class Timed:
    """Something with at most two deadlines: try again, then give up.

    Assign `retry_at` and `expire_at` (seconds, same clock as `now`), then call `TimerQueue.touch`.  `NEVER` cancels.
    """

    __slots__ = ("expire_at", "queued_at", "retry_at")

    def __init__(self) -> None:
        self.retry_at: float = NEVER
        self.expire_at: float = NEVER
        self.queued_at: float = NEVER
