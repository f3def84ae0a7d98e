"""Reliable provisional responses and their PRACK (RFC 3262), both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from .clock import Clock
from .headers import RACK, RSEQ
from .offer_exchange import has_description
from .timers import NEVER, TimerQueue, TimerValues

if TYPE_CHECKING:
    from .message import Request, Response

IDLE: Final = 0
"""Nothing awaits a PRACK."""
SENDING: Final = 1
"""One response is repeated until its PRACK arrives."""
STOPPED: Final = 2
"""A final response was sent: no repetition any more, but the PRACK is still welcome (§3)."""
CLOSED: Final = 3
"""Nothing more can be sent, nothing is awaited."""
STATE_NAMES: Final = ("idle", "sending", "stopped", "closed")

QUEUE: Final = 0
"""The user agent wants to send one."""
PRACK: Final = 1
"""A PRACK that matches the response under way."""
RETRY: Final = 2
EXPIRE: Final = 3
FINAL: Final = 4
"""A final response to the INVITE is sent."""
INPUT_NAMES: Final = ("queue", "PRACK", "retry", "expire", "final")

NOTHING: Final = 0
SEND: Final = 1
REPEAT: Final = 2
WAIT: Final = 4
CONFIRM: Final = 8
GIVE_UP: Final = 16

TABLE: Final[dict[tuple[int, int], tuple[int, int]]] = {
    (IDLE, QUEUE): (SENDING, SEND),
    (IDLE, PRACK): (IDLE, NOTHING),  # matches nothing: 481
    (IDLE, RETRY): (IDLE, NOTHING),
    (IDLE, EXPIRE): (IDLE, NOTHING),
    (IDLE, FINAL): (CLOSED, NOTHING),
    (SENDING, QUEUE): (SENDING, WAIT),  # §3: one at a time
    (SENDING, PRACK): (IDLE, CONFIRM),
    (SENDING, RETRY): (SENDING, REPEAT),
    (SENDING, EXPIRE): (CLOSED, GIVE_UP),  # §3: reject the request with a 5xx
    (SENDING, FINAL): (STOPPED, NOTHING),
    (STOPPED, QUEUE): (STOPPED, NOTHING),
    (STOPPED, PRACK): (CLOSED, CONFIRM),
    (STOPPED, RETRY): (STOPPED, NOTHING),
    (STOPPED, EXPIRE): (STOPPED, NOTHING),
    (STOPPED, FINAL): (STOPPED, NOTHING),
    (CLOSED, QUEUE): (CLOSED, NOTHING),
    (CLOSED, PRACK): (CLOSED, NOTHING),
    (CLOSED, RETRY): (CLOSED, NOTHING),
    (CLOSED, EXPIRE): (CLOSED, NOTHING),
    (CLOSED, FINAL): (CLOSED, NOTHING),
}


class ProvisionalOwner(Protocol):
    """Who sends the responses."""

    def transmit_provisional(self, response: Response) -> None:
        """Pass the response to the INVITE's transaction."""
        ...

    def provisional_abandoned(self, response: Response, now: float) -> None:
        """No PRACK came in 64*T1."""
        ...


class ReliableProvisionals(Clock):
    """The called side: the reliable provisional responses to one INVITE, sent one after the other.

    `rseq` numbers the next one; the first number is chosen by the caller of the constructor, between 1 and 2**31 - 1.
    """

    __slots__ = ("_interval", "_owner", "_timers", "_waiting", "current", "rseq", "state")

    def __init__(self, queue: TimerQueue, owner: ProvisionalOwner, first_rseq: int, timers: TimerValues) -> None:
        super().__init__(queue)
        self._owner = owner
        self._timers = timers
        self._interval = timers.t1
        self._waiting: list[Response] = []
        self.current: Response | None = None
        self.rseq = first_rseq
        self.state = IDLE

    @property
    def holds_success(self) -> bool:
        """Whether a 2xx must wait: a session description in one of them is not acknowledged yet (§3, §5)."""
        if self.state != SENDING or self.current is None:
            return False
        return has_description(self.current) or any(has_description(response) for response in self._waiting)

    def send(self, response: Response, now: float) -> None:
        """Send *response* reliably, as soon as those before it are acknowledged; adds `Require` and `RSeq`."""
        do = self._step(QUEUE)
        if do == WAIT:
            self._waiting.append(response)
        elif do == SEND:
            self._start(response, now)

    def acknowledge(self, request: Request, now: float) -> Response | None:
        """The response that this PRACK acknowledges, or None when it matches none (481).  Sends what waits."""
        current = self.current
        rack = request.headers.one(RACK)
        if current is None or rack is None:
            return None
        cseq = current.cseq
        if (rack.rseq, rack.cseq, rack.method) != (current.headers.one(RSEQ), cseq.number, cseq.method):
            return None
        self._step(PRACK)
        self.current = None
        self.stop()
        if self._waiting and self.state == IDLE:
            self._step(QUEUE)
            self._start(self._waiting.pop(0), now)
        return current

    def finish(self) -> None:
        """A final response goes out: repeat nothing any more, drop what waits."""
        self._step(FINAL)
        self._waiting.clear()
        self.stop()

    def fire(self, now: float) -> None:
        """Repeat with a doubled interval (no cap, §3), or give up after 64*T1."""
        current = self.current
        assert current is not None  # the clock runs only while one is under way
        if self._step(EXPIRE if self.expire_at <= now else RETRY) == REPEAT:
            self._interval *= 2
            self.retry_at = now + self._interval
            self._owner.transmit_provisional(current)
        else:
            self.retry_at = self.expire_at = NEVER
            self._waiting.clear()
            self.current = None
            self._owner.provisional_abandoned(current, now)

    def _start(self, response: Response, now: float) -> None:
        response.headers.add("Require", "100rel")
        response.headers.add("RSeq", str(self.rseq))
        self.rseq += 1
        self.current = response
        self._interval = self._timers.t1
        self.set(retry_at=now + self._timers.t1, expire_at=now + 64 * self._timers.t1)
        self._owner.transmit_provisional(response)

    def _step(self, input_: int) -> int:
        self.state, do = TABLE[self.state, input_]
        return do


def is_reliable(response: Response) -> bool:
    """Whether a provisional response asks for a PRACK (§4); a 100 never does."""
    return 100 < response.status < 200 and "100rel" in response.require


class ProvisionalOrder:
    """The caller: which reliable provisional responses of one dialog are in order (§4)."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: int | None = None

    def number(self, response: Response) -> int:
        """The RSeq of a response that was accepted."""
        rseq = response.headers.one(RSEQ)
        assert rseq is not None
        return rseq

    def accept(self, response: Response) -> bool:
        """Whether the response is the first, or the next after the one accepted before; others get no PRACK."""
        rseq = response.headers.one(RSEQ)
        if rseq is None or (self.last is not None and rseq != self.last + 1):
            return False
        self.last = rseq
        return True
