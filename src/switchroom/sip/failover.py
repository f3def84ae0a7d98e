"""From one hop to the next when the first fails (RFC 3263 §4.3), and hops that are left alone for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import LocalProtocolError

if TYPE_CHECKING:
    from .locating import Hop


class DeadHops:
    """Hops that failed lately and are passed over for a while: shared by all requests of an endpoint.

    Holds at most `capacity` hops; the one that was set aside first is forgotten first.
    """

    __slots__ = ("_until", "capacity", "longest", "seconds")

    def __init__(self, *, seconds: float = 30.0, longest: float = 600.0, capacity: int = 1024) -> None:
        self.seconds = seconds
        """How long a hop is passed over after a timeout or a transport error."""
        self.longest = longest
        """How long at most, whatever a Retry-After says: anybody can send one."""
        self.capacity = capacity
        self._until: dict[tuple[str, str, int], float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def set_aside(self, hop: Hop, now: float, seconds: float | None = None) -> None:
        """Pass over *hop* for *seconds* from now (its Retry-After), else for the usual time."""
        key = hop[:3]
        until = now + min(self.seconds if seconds is None else seconds, self.longest)
        self._until.pop(key, None)  # to the end of the order
        self._until[key] = until
        if len(self._until) > self.capacity:
            del self._until[next(iter(self._until))]

    def forgive(self, hop: Hop) -> None:
        """The hop answered: use it again at once."""
        self._until.pop(hop[:3], None)

    def is_dead(self, hop: Hop, now: float) -> bool:
        """Whether *hop* is to be passed over."""
        until = self._until.get(hop[:3])
        if until is None:
            return False
        if until <= now:
            del self._until[hop[:3]]
            return False
        return True

    def choose(self, hops: Sequence[Hop], now: float) -> tuple[Hop, ...]:
        """The hops that are not set aside; all of them if every one is, since trying beats giving up."""
        if not self._until:
            return tuple(hops)
        alive = tuple(hop for hop in hops if not self.is_dead(hop, now))
        return alive or tuple(hops)


class HopSequence:
    """The hops of one request: which is in use, and which comes next when that fails (RFC 3263 §4.3).

    Each attempt is a client transaction of its own with its own branch.  Everything that belongs to one attempt
    (retransmissions, CANCEL, the ACK for a non-2xx response) goes to `current`.  The methods that report how an
    attempt ended return the hop to try next, or None: then that outcome is final.
    """

    __slots__ = ("_dead", "_heard", "_hops", "_index", "_stopped", "failures")

    def __init__(self, hops: Sequence[Hop], dead: DeadHops, now: float, *, max_attempts: int = 8) -> None:
        """Raises LocalProtocolError without any hop: then there is nothing to try."""
        if not hops:
            raise LocalProtocolError("a hop sequence needs at least one hop: look at Locator.reason")
        self._dead = dead
        self._hops = dead.choose(hops, now)[:max_attempts]
        self._index = 0
        self._heard = False
        self._stopped = False
        self.failures: list[tuple[Hop, str]] = []
        """The hops that failed and why, in order."""

    @property
    def current(self) -> Hop:
        """The hop in use."""
        return self._hops[self._index]

    @property
    def reason(self) -> str:
        """What failed, in words."""
        return "; ".join(f"{hop} {why}" for hop, why in self.failures)

    def heard(self) -> None:
        """A provisional response came: the hop is alive, and a later timeout is no failure of the hop."""
        if not self._heard:
            self._heard = True
            self._dead.forgive(self.current)

    def stop(self) -> None:
        """The request is cancelled: no further attempt."""
        self._stopped = True

    def responded(self, status: int, now: float, retry_after: float | None = None) -> Hop | None:
        """A final response came.  Only a 503 is a failure of the hop, which then rests for its Retry-After.

        Without Retry-After the hop did not ask to be left alone (RFC 3261 §21.5.4) and is not set aside.
        """
        if status != 503:
            self._dead.forgive(self.current)
            return None
        if retry_after:
            self._dead.set_aside(self.current, now, retry_after)
        return self._next("answered 503")

    def timed_out(self, now: float) -> Hop | None:
        """Timer B or F fired.  It is a failure of the hop only if no response came at all (§4.3)."""
        if self._heard:
            return None
        self._dead.set_aside(self.current, now)
        return self._next("did not answer")

    def failed(self, error: str, now: float) -> Hop | None:
        """The transport could not carry the request; *error* in words."""
        self._dead.set_aside(self.current, now)
        return self._next(f"failed: {error}")

    def _next(self, why: str) -> Hop | None:
        self.failures.append((self.current, why))
        if self._stopped or self._index + 1 >= len(self._hops):
            return None
        self._index += 1
        self._heard = False
        return self.current
