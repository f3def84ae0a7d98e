"""Requests that arrive more than once because they were forked on the way (RFC 3261 §8.2.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .message import Request

MOST_REMEMBERED: Final = 100_000
"""How many requests one generation holds; in a flood the older ones are forgotten before their time."""


class MergedRequests:
    """What arrived lately outside any dialog: a second copy over another path is owed a 482.

    Two generations of keys, exchanged every `span` seconds (64*T1), remember a request for one to two spans: as long
    as its transaction, at a constant cost and without a timer for each.  Of each request no more is kept than a hash.
    """

    __slots__ = ("_most", "_older", "_recent", "_rotate_at", "_span")

    def __init__(self, span: float, most: int = MOST_REMEMBERED) -> None:
        self._span = span
        self._most = most
        self._rotate_at = 0.0
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def __len__(self) -> int:
        """How many requests are remembered."""
        return len(self._recent) + len(self._older)

    def is_merged(self, request: Request, now: float) -> bool:
        """Whether another copy of *request* was seen; only requests without To tag may be asked about.

        A peer without From tag (RFC 2543) cannot be told from others: its requests are never merged.
        """
        self.forget(now)
        tag = request.from_.tag
        if not tag:
            return False
        cseq = request.cseq
        key = hash((tag, request.call_id, cseq.number, cseq.method))
        if key in self._recent or key in self._older:
            return True
        if len(self._recent) >= self._most:
            self._older, self._recent = self._recent, set()
        self._recent.add(key)
        return False

    def forget(self, now: float) -> None:
        """Drop what is older than a span."""
        if now < self._rotate_at:
            return
        # after a long silence both generations are old
        self._older = self._recent if now < self._rotate_at + self._span else set()
        self._recent = set()
        self._rotate_at = now + self._span
