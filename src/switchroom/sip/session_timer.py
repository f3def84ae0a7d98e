"""Session timers: refresh what lives, notice what died (RFC 4028)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from .clock import Clock
from .headers import MIN_SE, SESSION_EXPIRES
from .timers import NEVER, TimerQueue

if TYPE_CHECKING:
    from .message import Request, Response

OFF: Final = 0
REFRESHER: Final = 1
"""We refresh, at half the interval (§7.2)."""
WATCHER: Final = 2
"""The peer refreshes; we only notice when it does not (§10)."""
STATE_NAMES: Final = ("off", "refresher", "watcher")

WIND_AS_REFRESHER: Final = 0
WIND_AS_WATCHER: Final = 1
STOP: Final = 2
RETRY: Final = 3
EXPIRE: Final = 4
INPUT_NAMES: Final = ("wind as refresher", "wind as watcher", "stop", "retry", "expire")

NOTHING: Final = 0
REFRESH: Final = 1
HANG_UP: Final = 2

TABLE: Final[dict[tuple[int, int], tuple[int, int]]] = {
    (OFF, WIND_AS_REFRESHER): (REFRESHER, NOTHING),
    (OFF, WIND_AS_WATCHER): (WATCHER, NOTHING),
    (OFF, STOP): (OFF, NOTHING),
    (OFF, RETRY): (OFF, NOTHING),
    (OFF, EXPIRE): (OFF, NOTHING),
    (REFRESHER, WIND_AS_REFRESHER): (REFRESHER, NOTHING),
    (REFRESHER, WIND_AS_WATCHER): (WATCHER, NOTHING),  # §7.4: each refresh negotiates anew
    (REFRESHER, STOP): (OFF, NOTHING),
    (REFRESHER, RETRY): (REFRESHER, REFRESH),  # §7.2
    (REFRESHER, EXPIRE): (OFF, HANG_UP),  # §10
    (WATCHER, WIND_AS_REFRESHER): (REFRESHER, NOTHING),
    (WATCHER, WIND_AS_WATCHER): (WATCHER, NOTHING),
    (WATCHER, STOP): (OFF, NOTHING),
    (WATCHER, RETRY): (WATCHER, NOTHING),
    (WATCHER, EXPIRE): (OFF, HANG_UP),  # §10
}

SMALLEST_MIN_SE: Final = 90
"""No Min-SE may be lower, and it is meant when there is none (§5)."""


class SessionTimerSettings(NamedTuple):
    """What this user agent asks for and grants; seconds."""

    interval: int | None = 1800
    """Session-Expires to ask for; None: ask for none (but grant what the peer asks for)."""
    min_se: int = SMALLEST_MIN_SE
    """Shorter intervals are refused with 422, or raised in an offer of ours."""
    refresher: str | None = None
    """Who shall refresh when we are the one to say so: "uac", "uas", or None (the caller, when it can)."""


class Grant(NamedTuple):
    """What the called side of a refresh request puts into its 2xx (§9); no interval: no session timer."""

    interval: int | None
    refresher: str = "uac"
    require: bool = False
    """Whether the 2xx carries `Require: timer`: the caller must know its part."""


class TooSmall(NamedTuple):
    """The interval asked for is too small: 422 with this Min-SE (§9)."""

    min_se: int


def request_headers(
    settings: SessionTimerSettings | None, *, min_se: int = 0, refresher: str | None = None
) -> list[tuple[str, str]]:
    """Session-Expires and Min-SE of an INVITE or UPDATE of ours (§7.1).

    `min_se` is what a 422 or a request of the peer taught us; `refresher` keeps the roles in a refresh (§7.1).
    Without settings this user agent has no session timers.
    """
    if settings is None or settings.interval is None:
        return []
    interval = settings.interval
    floor = max(min_se, settings.min_se)
    who = refresher or settings.refresher
    lines = [("Session-Expires", f"{max(interval, floor)}" + (f";refresher={who}" if who else ""))]
    if floor > SMALLEST_MIN_SE:
        lines.append(("Min-SE", str(floor)))
    return lines


def grant(request: Request, settings: SessionTimerSettings | None) -> Grant | TooSmall:
    """How to answer the session timer part of an INVITE or UPDATE (§9 and its table 2); not at all without settings."""
    if settings is None:
        return Grant(None)
    wanted = request.headers.one(SESSION_EXPIRES)
    supported = "timer" in request.supported or "timer" in request.require
    floor = request.headers.one(MIN_SE)
    least = max(settings.min_se, floor.seconds if floor is not None else SMALLEST_MIN_SE)
    if wanted is None:
        if settings.interval is None:
            return Grant(None)
        interval = max(settings.interval, least)
    else:
        if wanted.seconds < settings.min_se and supported:
            return TooSmall(settings.min_se)
        interval = max(wanted.seconds, settings.min_se)
        if settings.interval is not None and settings.interval < interval:
            interval = max(settings.interval, least)  # §9: may be reduced, not below Min-SE
    if not supported:
        return Grant(interval, "uas")  # table 2: a caller without support never refreshes
    asked = wanted.refresher if wanted is not None else None
    who = asked or settings.refresher or "uac"
    return Grant(interval, who, require=who == "uac")


def refused_min_se(response: Response) -> int | None:
    """The Min-SE of a 422, by which to try again (§7.4)."""
    value = response.headers.one(MIN_SE)
    return value.seconds if value is not None else None


class SessionTimerOwner(Protocol):
    """Whose session it is."""

    def refresh(self, now: float) -> None:
        """Half of the interval is over: send a refresh request."""
        ...

    def session_expired(self, now: float) -> None:
        """No refresh in time: send BYE."""
        ...


class SessionTimer(Clock):
    """The session timer of one confirmed dialog.

    Refresh at half the interval; BYE at `min(32, interval / 3)` seconds before its end (§10).
    """

    __slots__ = ("_owner", "interval", "state")

    def __init__(self, queue: TimerQueue, owner: SessionTimerOwner) -> None:
        super().__init__(queue)
        self._owner: SessionTimerOwner | None = owner
        self.interval = 0
        self.state = OFF

    @property
    def refreshing(self) -> bool:
        """Whether it is us who refreshes."""
        return self.state == REFRESHER

    def wind(self, interval: int | None, refresher: bool, now: float) -> None:
        """Take what a 2xx to INVITE or UPDATE settled: the interval, and whether it is us who refreshes."""
        if interval is None:
            self.end()
            return
        self.interval = interval
        self.state, _ = TABLE[self.state, WIND_AS_REFRESHER if refresher else WIND_AS_WATCHER]
        self.set(
            retry_at=now + interval / 2 if refresher else NEVER,
            expire_at=now + interval - min(32.0, interval / 3),
        )

    def end(self) -> None:
        """No session timer from now on."""
        self.state, _ = TABLE[self.state, STOP]
        self.stop()

    def release(self) -> None:
        """The session is over: `end`, and forget whose timer it was."""
        self.end()
        self._owner = None

    def again_at(self, at: float) -> None:
        """Try the refresh again at *at*: it was refused, or something else was under way (§7.2)."""
        if self.state == REFRESHER:
            self.set(retry_at=at, expire_at=self.expire_at)

    def fire(self, now: float) -> None:
        """Refresh, or hang up."""
        self.state, do = TABLE[self.state, EXPIRE if self.expire_at <= now else RETRY]
        self.retry_at = NEVER
        owner = self._owner
        assert owner is not None  # one that is released is not queued
        if do == REFRESH:
            owner.refresh(now)
        else:
            self.expire_at = NEVER
            owner.session_expired(now)
