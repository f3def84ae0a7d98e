"""The 2xx to an INVITE, repeated end to end until its ACK arrives (RFC 3261 §13.3.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from .clock import Clock
from .timers import NEVER, TimerQueue, TimerValues

if TYPE_CHECKING:
    from .message import Request, Response
    from .transaction import ServerTransaction

WAITING: Final = 0
ACKNOWLEDGED: Final = 1
ABANDONED: Final = 2
STATE_NAMES: Final = ("waiting for ACK", "acknowledged", "abandoned")

RETRY: Final = 0
EXPIRE: Final = 1
ACK: Final = 2
STOP: Final = 3
"""The dialog ended, or the response could not be carried: nobody waits for the ACK any more."""
INPUT_NAMES: Final = ("retry", "expire", "ACK", "stop")

NOTHING: Final = 0
SEND: Final = 1
CONFIRM: Final = 2
GIVE_UP: Final = 4

TABLE: Final[dict[tuple[int, int], tuple[int, int]]] = {
    (WAITING, RETRY): (WAITING, SEND),
    (WAITING, EXPIRE): (ABANDONED, GIVE_UP),
    (WAITING, ACK): (ACKNOWLEDGED, CONFIRM),
    (WAITING, STOP): (ABANDONED, NOTHING),
    (ACKNOWLEDGED, RETRY): (ACKNOWLEDGED, NOTHING),
    (ACKNOWLEDGED, EXPIRE): (ACKNOWLEDGED, NOTHING),
    (ACKNOWLEDGED, ACK): (ACKNOWLEDGED, NOTHING),  # the ACK to a repetition
    (ACKNOWLEDGED, STOP): (ACKNOWLEDGED, NOTHING),
    (ABANDONED, RETRY): (ABANDONED, NOTHING),
    (ABANDONED, EXPIRE): (ABANDONED, NOTHING),
    (ABANDONED, ACK): (ABANDONED, NOTHING),
    (ABANDONED, STOP): (ABANDONED, NOTHING),
}


class SuccessOwner(Protocol):
    """Who sent the 2xx."""

    def repeat_response(self, transaction: ServerTransaction, response: Response) -> None:
        """Pass the response to the transaction once more."""
        ...

    def success_abandoned(self, success: SuccessResponse, now: float) -> None:
        """No ACK came in 64*T1."""
        ...


class SuccessResponse(Clock):
    """A 2xx on its way: repeated at T1, doubling up to T2, for 64*T1 (whatever the transport)."""

    __slots__ = ("_interval", "_owner", "_t2", "offers", "request", "response", "state", "transaction")

    def __init__(
        self,
        queue: TimerQueue,
        owner: SuccessOwner,
        transaction: ServerTransaction,
        request: Request,
        response: Response,
        timers: TimerValues,
        now: float,
    ) -> None:
        super().__init__(queue)
        self._owner = owner
        self._t2 = timers.t2
        self._interval = timers.t1
        self.transaction = transaction
        self.request = request
        self.response = response
        self.offers = False
        """Whether the ACK owes an answer (§13.2.1)."""
        self.state = WAITING
        self.set(retry_at=now + timers.t1, expire_at=now + 64 * timers.t1)

    def acknowledge(self) -> bool:
        """The ACK arrived; True for the first one."""
        return self._step(ACK) == CONFIRM

    def abandon(self) -> None:
        """Stop repeating; no one is told."""
        self._step(STOP)

    def fire(self, now: float) -> None:
        """Repeat, or give up."""
        do = self._step(EXPIRE if self.expire_at <= now else RETRY)
        if do == SEND:
            self._interval = min(2 * self._interval, self._t2)
            self.retry_at = now + self._interval
            self._owner.repeat_response(self.transaction, self.response)
        else:
            self._owner.success_abandoned(self, now)

    def _step(self, input_: int) -> int:
        self.state, do = TABLE[self.state, input_]
        if self.state != WAITING:
            self.retry_at = self.expire_at = NEVER
            self._queue.discard(self)
        return do
