"""What a user agent core is told about itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from .headers import Address
from .session_timer import SessionTimerSettings
from .timers import TimerValues

KNOWN_METHODS = frozenset(
    (
        "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER",
        "REGISTER", "SUBSCRIBE", "UPDATE",
    )
)  # fmt: skip
"""Methods that are recognised: one that is not allowed gets 405, any other 501 (RFC 3261 §8.2.1, §21.5.2)."""


@dataclass(frozen=True, slots=True)
class UserAgentSettings:
    """Identity, abilities and bounds of a `UserAgent`; times in seconds."""

    contact: Address
    """The Contact of every dialog: where this user agent is reached.  SIPS is put in its place where it must be; a
    driver may replace the host 0.0.0.0 by the address that the peer sees."""
    name: str = ""
    """For User-Agent and Server; "" for none."""
    allow: tuple[str, ...] = (
        "INVITE", "ACK", "CANCEL", "BYE", "PRACK", "UPDATE", "OPTIONS", "INFO", "MESSAGE", "REFER", "NOTIFY",
        "SUBSCRIBE",
    )  # fmt: skip
    """The methods that are taken; others get 405 or 501."""
    supported: tuple[str, ...] = ("100rel", "timer", "replaces", "199", "norefersub", "tdialog", "join")
    """The extensions that a peer may require; others get 420.  Without `timer` there are no session timers."""
    accept: tuple[str, ...] = ("application/sdp", "multipart/mixed", "multipart/alternative", "multipart/related")
    """The body types taken in INVITE, UPDATE and PRACK; others get 415.  Other methods are the application's."""
    routes: tuple[Address, ...] = ()
    """The pre-loaded route set of requests outside dialogs, such as an outbound proxy (§8.1.1.1)."""
    session_timer: SessionTimerSettings = field(default_factory=SessionTimerSettings)
    timers: TimerValues = field(default_factory=TimerValues)
    invite_wait: float = 180.0
    """How long an INVITE of ours may stay without a final response before it is cancelled."""
    ring_wait: float = 300.0
    """How long the application may leave an INVITE unanswered before it is rejected with 480."""
    modification_wait: float = 30.0
    """How long the application may leave a re-INVITE, UPDATE or PRACK of the peer unanswered before it is rejected with
    504 (RFC 3311 §5.2).  UPDATE and PRACK are over after 64*T1 (32 s) anyway."""
    max_pending_sessions: int = 10_000
    """INVITEs without final response that are kept at a time; more get 503."""
    retry_after: int = 10
    """The Retry-After of that 503."""
    max_early_dialogs: int = 64
    """Branches of one forked INVITE that are kept track of; provisional responses of further ones are ignored."""
    follow_redirects: bool = False
    """Whether 3xx are tried by the user agent (§8.1.3.4), or left to the application."""
    max_redirects: int = 5
    """How many targets one request is sent to."""
