"""The two clocks of the lab: one that only moves forward, one that an operator may set."""

from __future__ import annotations

from typing import Final

EPOCH: Final = 1767225600.0
"""The wall clock at the start of every run: 2026-01-01 00:00:00 UTC, in seconds since 1970."""


class Clock:
    """Monotonic and wall time, in seconds; both stand still unless the loop moves them.

    The monotonic clock starts at 0, so that the times of a trace read as times since the start of the run.
    """

    __slots__ = ("_now", "_wall_at_zero")

    def __init__(self, epoch: float = EPOCH) -> None:
        self._now = 0.0
        self._wall_at_zero = epoch

    def time(self) -> float:
        """The monotonic clock; what `loop.time()` returns."""
        return self._now

    def wall(self) -> float:
        """The wall clock, in seconds since 1970; what stands in for `time.time`."""
        return self._wall_at_zero + self._now

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, or back by a negative number; monotonic time and timers do not notice."""
        self._wall_at_zero += seconds

    def advance_to(self, when: float) -> None:
        """Move both clocks to monotonic time *when*; a time that has passed already is ignored."""
        if when > self._now:
            self._now = when
