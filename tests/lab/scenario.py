"""What the scenarios share: parties that behave, losses on purpose, and the invariants of every run.

A scenario is a coroutine function of a lab.  It makes parties, lets them act, and awaits `over(...)`, which waits until
nothing can be under way any more, and then checks that nothing is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import pytest

from switchroom.lab import Certificate, Lab, Link, SeededIdentifiers
from switchroom.lab.record import Passage
from switchroom.net.endpoint import Endpoint
from switchroom.sip.errors import LocalProtocolError
from switchroom.sip.headers import Address
from switchroom.sip.message import Response, parse
from switchroom.sip.session import Session
from switchroom.sip.session_client import ClientSession
from switchroom.sip.session_events import (
    Carries,
    EndReason,
    IncomingOffer,
    IncomingRequest,
    IncomingSession,
    SessionAnswered,
    SessionConfirmed,
    SessionEnded,
    SessionProgress,
)
from switchroom.sip.session_server import ServerSession
from switchroom.sip.session_timer import SessionTimerSettings
from switchroom.sip.timers import NEVER
from switchroom.sip.uri import parse_uri
from switchroom.sip.user_agent import UserAgent
from switchroom.sip.user_agent_settings import UserAgentSettings

T = TypeVar("T")

GOOD: Final = Link(latency=0.02)
LINKS: Final = {
    "good": GOOD,
    "10 percent": Link(latency=0.02, jitter=0.02, loss=0.1, duplication=0.1, reordering=0.1, reorder_delay=0.3),
    "30 percent": Link(latency=0.02, jitter=0.02, loss=0.3, duplication=0.3, reordering=0.3, reorder_delay=0.3),
}
"""No loss at all; then so much loss, and as much duplication and reordering."""
links = pytest.mark.parametrize("link", LINKS.values(), ids=LINKS.keys())

INTERVAL: Final = 90
"""The session timer of every call: the shortest that RFC 4028 allows, so that it plays its part."""
RING_WAIT: Final = 100.0
LAST_WORDS: Final = 400.0
"""After the last act of a scenario: the session timers of both sides, then BYE and all transactions (64*T1 each)."""

OFFER, ANSWER = b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=offer\r\n", b"v=0\r\no=- 2 1 IN IP4 0.0.0.0\r\ns=answer\r\n"


@dataclass
class Call:
    """One session as one party was told of it."""

    session: Session
    answered: bool = False
    """The caller: its 2xx came, and was acknowledged."""
    confirmed: bool = False
    """The called party: the ACK came."""
    ends: list[SessionEnded] = field(default_factory=list)
    after_the_end: list[object] = field(default_factory=list)

    @property
    def reason(self) -> EndReason:
        """How it ended."""
        return self.ends[0].reason


class Party:
    """A user agent on an endpoint of its own, which rings, answers, and agrees to everything."""

    def __init__(
        self,
        lab: Lab,
        name: str,
        address: str,
        *,
        transports: Iterable[str] = ("udp",),
        rings: bool | None = None,
        answers_after: float | None = 3.0,
        status: int = 0,
        authenticator: Any = None,
        **settings: Any,
    ) -> None:
        """*rings*: reliably (True), unreliably (False), as the caller likes it (None).  *status*: reject with it."""
        self.lab = lab
        self.name = name
        self.rings = rings
        self.answers_after = answers_after
        self.status = status
        transports = tuple(transports)
        certificate = Certificate((f"sip:{address}", address)) if {"tls", "wss"} & set(transports) else None
        self.endpoint: Endpoint = lab.endpoint(address, transports, name=name, certificate=certificate)
        way = "" if transports[0] == "udp" else f";transport={transports[0]}"
        self.aor = Address("", parse_uri(f"sip:{name}@{address}{way}"))
        settings.setdefault("session_timer", SessionTimerSettings(interval=INTERVAL))
        settings.setdefault("ring_wait", RING_WAIT)
        settings.setdefault("invite_wait", RING_WAIT + 40.0)
        self.identifiers = SeededIdentifiers(f"{lab.seed}/{name}/agent")
        self.agent = UserAgent(
            UserAgentSettings(contact=self.aor, **settings), self.identifiers, authenticator=authenticator
        )
        self.endpoint.run_user(self.agent, self._happened)
        self.calls: dict[Session, Call] = {}
        self.events: list[object] = []
        self.on: dict[type, Callable[[Any], object]] = {}
        """What else to do when an event of that type is told."""

    @property
    def now(self) -> float:
        return self.lab.time()

    def told(self, kind: type[T]) -> list[T]:
        """The events of one type."""
        return [event for event in self.events if isinstance(event, kind)]

    # -- what it does of its own accord ---------------------------------------------------------------------------

    def call(self, target: Party | str, body: bytes = OFFER, **options: Any) -> ClientSession:
        """Send an INVITE."""
        uri = target if isinstance(target, str) else str(target.aor.uri)
        session = self.agent.invite(self.now, uri, from_=self.aor, body=body, **options)
        self.calls[session] = Call(session)
        self.endpoint.flush()
        return session

    def attempt(self, act: Callable[[float], object]) -> bool:
        """Do something that may be too late by now: whether it was possible."""
        try:
            act(self.now)
        except LocalProtocolError:
            return False
        finally:
            self.endpoint.flush()
        return True

    def hang_up(self, session: Session | None = None) -> None:
        """End a session, or all."""
        for call in [self.calls[session]] if session is not None else list(self.calls.values()):
            if not call.session.ended:
                self.attempt(call.session.hang_up)

    def later(self, delay: float, act: Callable[[float], object]) -> None:
        """Do something after a while, if it is still possible then."""
        self.lab.loop.call_later(delay, self.attempt, act)

    # -- what it is told ------------------------------------------------------------------------------------------

    def _happened(self, event: object) -> None:
        self.events.append(event)
        session = getattr(event, "session", None)
        call = self.calls.get(session) if session is not None else None
        if call is not None and call.ends:
            call.after_the_end.append(event)
        if isinstance(event, IncomingSession):
            self.calls[event.session] = Call(event.session)
            self._ring(event.session)
        elif isinstance(event, SessionProgress) and event.carries is Carries.OFFER:
            self.attempt(lambda now: event.session.prack(now, event.response, ANSWER))
        elif isinstance(event, SessionAnswered):
            assert call is not None
            call.answered = True
            if event.carries is Carries.OFFER:
                self.attempt(lambda now: event.session.acknowledge(now, ANSWER))
        elif isinstance(event, SessionConfirmed):
            assert call is not None
            call.confirmed = True
        elif isinstance(event, IncomingOffer):
            self.attempt(lambda now: event.modification.accept(now, ANSWER))
        elif isinstance(event, IncomingRequest):
            self.agent.respond(event, 200)
        elif isinstance(event, SessionEnded):
            assert call is not None
            call.ends.append(event)
        more = self.on.get(type(event))
        if more is not None:
            more(event)

    def _ring(self, session: ServerSession) -> None:
        if self.status:
            self.attempt(lambda now: session.reject(now, self.status))
            return
        early = ANSWER if self.rings is True else b""
        self.attempt(lambda now: session.progress(now, 183 if early else 180, body=early, reliable=self.rings))
        if self.answers_after is not None:
            self.later(self.answers_after, lambda now: session.answer(now, b"" if early else ANSWER))


# -- losses on purpose -----------------------------------------------------------------------------------------------


def request_of(*methods: str) -> Callable[[bytes], bool]:
    """Whether a datagram is a request with one of these methods."""
    starts = tuple(f"{method} ".encode() for method in methods)
    return lambda data: data.startswith(starts)


def response_to(method: str, *statuses: int) -> Callable[[bytes], bool]:
    """Whether a datagram is one of these responses to requests of the method."""
    starts = tuple(f"SIP/2.0 {status} ".encode() for status in statuses)
    return lambda data: data.startswith(starts) and f" {method}\r\n".encode() in data


def lose(lab: Lab, which: Callable[[bytes], bool], count: float = float("inf"), sender: str = "") -> None:
    """Lose the first *count* datagrams of that kind (of that sender), whatever else the link loses."""
    left = count

    def chosen(passage: Passage) -> bool:
        nonlocal left
        if left > 0 and which(passage.data) and sender in ("", passage.via_host):
            left -= 1
            return True
        return False

    lab.network.lose(chosen)


# -- the invariants --------------------------------------------------------------------------------------------------

FAILED: Final = frozenset(
    (
        EndReason.LOCAL_REJECT, EndReason.REMOTE_REJECT, EndReason.REDIRECTED, EndReason.EXPIRED, EndReason.TIMEOUT,
        EndReason.TRANSPORT, EndReason.NO_ACK, EndReason.NO_PRACK, EndReason.LOST, EndReason.SESSION_EXPIRED,
    )
)  # fmt: skip
CANCELLED: Final = frozenset((EndReason.LOCAL_CANCEL, EndReason.REMOTE_CANCEL))
HUNG_UP: Final = frozenset((EndReason.LOCAL_BYE, EndReason.REMOTE_BYE))
WITHOUT_STATUS: Final = HUNG_UP | {EndReason.NO_ACK, EndReason.SESSION_EXPIRED}


async def over(lab: Lab, *parties: Party, wait: float = LAST_WORDS) -> None:
    """Wait until everything must have ended, check that it has, and close the endpoints."""
    await asyncio.sleep(wait)
    for party in parties:
        check_party(party)
    check_responses(lab)
    for party in parties:
        await party.endpoint.close(grace=0.001)
        assert "closed_with_work_left" not in party.endpoint.counters, f"{party.name} has work left"


def check_party(party: Party) -> None:
    """The invariants of a run that is over: see the module's docstring."""
    check_nothing_left(party.name, party.endpoint)
    agent = party.agent
    assert agent.sessions == set(), f"{party.name} has sessions left"
    assert agent.idle, f"{party.name} has dialogs or clocks left"
    assert agent.next_timer() == NEVER, f"{party.name} has a timer left"
    for call in party.calls.values():
        check_call(party.name, call)


def check_nothing_left(name: str, endpoint: Endpoint) -> None:
    """Every transaction has ended."""
    layer = endpoint.layer
    assert layer.client_transactions == 0, f"{name} has {layer.client_transactions} client transactions left"
    assert layer.server_transactions == 0, f"{name} has {layer.server_transactions} server transactions left"
    assert layer.next_timer() == NEVER, f"a transaction timer of {name} is left"
    for kind in ("user_errors", "handler_errors", "internal_errors", "malformed_requests", "malformed_other"):
        assert endpoint.counters.get(kind, 0) == 0, f"{name} counted {kind}"


def check_call(name: str, call: Call) -> None:
    """Each party is told exactly one end, and it is a definite one."""
    assert len(call.ends) == 1, f"{name} was told {len(call.ends)} ends: {call.ends}"
    assert call.after_the_end == [], f"{name} was told more after the end"
    assert call.session.ended
    reason = call.reason
    established = call.answered if isinstance(call.session, ClientSession) else call.confirmed
    if reason in HUNG_UP and reason is EndReason.LOCAL_BYE:
        assert call.answered or isinstance(call.session, ServerSession), f"{name}: a BYE before any answer"
    if not established:
        assert reason in FAILED | CANCELLED | HUNG_UP
    if reason in CANCELLED:
        assert not established, f"{name}: cancelled after it was answered and acknowledged"
    if established:
        # NO_ACK: the ACK for a 2xx to a re-INVITE never came, so the session is ended (§13.3.1.4, §14.2)
        lost = {EndReason.SESSION_EXPIRED, EndReason.TIMEOUT, EndReason.TRANSPORT, EndReason.LOST, EndReason.NO_ACK}
        assert reason in HUNG_UP | lost


def check_responses(lab: Lab) -> None:
    """Never two different final responses of one host to one request.

    A copy of the request that comes 64*T1 after the first answer is a new request to a server: timers H, J and L of
    RFC 3261 §17 and RFC 6026 are over then.
    """
    finals: dict[tuple[str, str, str], tuple[float, int]] = {}
    for passage in lab.trace.passages:
        if not passage.data.startswith(b"SIP/2.0 "):
            continue
        response = parse(passage.data)
        assert isinstance(response, Response)
        if response.status >= 200:
            key = (passage.via_host, response.via.branch or "", str(response.cseq))
            answered_at, status = finals.setdefault(key, (passage.time, response.status))
            if passage.time < answered_at + 32.0:
                assert response.status == status, f"{key} was answered {status} and {response.status}"
