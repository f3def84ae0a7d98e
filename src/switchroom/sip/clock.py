"""Timed items that know what to do when they are due."""

from __future__ import annotations

from collections.abc import Callable

from .timers import NEVER, Timed, TimerQueue


class Clock(Timed):
    """One clock of a dialog usage: `fire` is called when either deadline is due, and sets the next ones.

    A user agent core keeps all its clocks in one `TimerQueue` and touches an item again after it fired.
    """

    __slots__ = ("_queue",)

    def __init__(self, queue: TimerQueue) -> None:
        super().__init__()
        self._queue = queue

    def set(self, *, retry_at: float = NEVER, expire_at: float = NEVER) -> None:
        """Set both deadlines (seconds, the clock of `now`) and queue the item."""
        self.retry_at = retry_at
        self.expire_at = expire_at
        self._queue.touch(self)

    def stop(self) -> None:
        """Cancel both deadlines."""
        self._queue.discard(self)

    @property
    def running(self) -> bool:
        """Whether a deadline is set."""
        return self.retry_at != NEVER or self.expire_at != NEVER

    def fire(self, now: float) -> None:
        """A deadline is due."""
        raise NotImplementedError


class Alarm(Clock):
    """A clock that goes off once: it clears itself and calls back.

    Whoever has an alarm that calls its own method is in a cycle with it, until `release`.
    """

    __slots__ = ("_call",)

    def __init__(self, queue: TimerQueue, call: Callable[[float], None]) -> None:
        super().__init__(queue)
        self._call: Callable[[float], None] | None = call

    def fire(self, now: float) -> None:
        """Clear both deadlines, and call back."""
        self.retry_at = self.expire_at = NEVER
        call = self._call
        assert call is not None  # one that is released is not queued
        call(now)

    def release(self) -> None:
        """Stop for good, and forget whom to call."""
        self.stop()
        self._call = None
