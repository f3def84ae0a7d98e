"""The registration client: keeps one binding of an address of record alive (RFC 3261 §10.2, RFC 5626 §4).

One `Registration` keeps one flow registered.  A user agent with several outbound proxies has one for each, with the
same instance and another reg-id; `RegistrationSet` ties them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from .client_usage import LONGEST_INTERVAL, ClientUsage, UsageRequest, back_off_delay, refresh_delay, retry_after
from .errors import LocalProtocolError
from .headers import FLOW_TIMER, MIN_EXPIRES, P_ASSOCIATED_URI, PATH, SERVICE_ROUTE, STAR, Address
from .message import Request
from .timers import NEVER
from .uri import Uri

if TYPE_CHECKING:
    from .client_request import Authenticator
    from .errors import SipError
    from .identifiers import Identifiers
    from .layer import Event
    from .message import Response
    from .orders import Order

IDLE: Final = 0
"""Not registered, and not meant to be."""
REGISTERING: Final = 1
REGISTERED: Final = 2
REFRESHING: Final = 3
WAITING: Final = 4
"""An attempt failed; another one follows in a while."""
STOPPING: Final = 5
"""To be removed, once the REGISTER under way is answered: only one at a time (§10.2)."""
REMOVING: Final = 6
RESTARTING: Final = 7
"""To be registered again, once the removal under way is answered."""
FAILED: Final = 8
"""Refused for good: the user must change something."""
STATE_NAMES: Final = (
    "idle", "registering", "registered", "refreshing", "waiting", "stopping", "removing", "restarting", "failed",
)  # fmt: skip

START: Final = 0
STOP: Final = 1
DUE: Final = 2
"""The time to refresh, or to try again, has come."""
SUCCESS: Final = 3
BRIEF: Final = 4
"""423 with a Min-Expires that is acceptable."""
FAILURE: Final = 5
"""No answer, or one that another attempt may better."""
REFUSAL: Final = 6
"""An answer that no other attempt will better."""
FLOW_LOST: Final = 7
"""The flow that the binding stands for is dead (RFC 5626 §4.4)."""
CLEAR: Final = 8
"""As STOP, but of every binding of the address of record, whoever made it (`*`, §10.2.2)."""
INPUT_NAMES: Final = ("start", "stop", "due", "2xx", "423", "failure", "refusal", "flow lost", "clear")

NOTHING: Final = 0
SEND: Final = 1
"""Send a REGISTER for the binding."""
REMOVE: Final = 2
"""Send a REGISTER that removes it."""
KEEP: Final = 4
"""Take what was granted, set the time of the refresh, tell."""
BACK_OFF: Final = 8
"""Count a failure, set the time of the next attempt, tell."""
GIVE_UP: Final = 16
"""Tell that it is of no use."""
GONE: Final = 32
"""Tell that the binding is removed, or was left to expire."""
FORGET: Final = 64
"""What was registered is of no use any more."""
ACTION_NAMES: Final = (
    "send REGISTER", "send removal", "take the grant", "back off", "give up", "tell the end", "forget the binding",
)  # fmt: skip

TABLE: Final[dict[tuple[int, int], tuple[int, int]]] = {
    (IDLE, START): (REGISTERING, SEND),
    (IDLE, STOP): (IDLE, NOTHING),
    (IDLE, CLEAR): (REMOVING, REMOVE),
    (IDLE, DUE): (IDLE, NOTHING),
    (IDLE, SUCCESS): (IDLE, NOTHING),
    (IDLE, BRIEF): (IDLE, NOTHING),
    (IDLE, FAILURE): (IDLE, NOTHING),
    (IDLE, REFUSAL): (IDLE, NOTHING),
    (IDLE, FLOW_LOST): (IDLE, NOTHING),
    (REGISTERING, START): (REGISTERING, NOTHING),
    (REGISTERING, STOP): (STOPPING, NOTHING),
    (REGISTERING, CLEAR): (STOPPING, NOTHING),
    (REGISTERING, DUE): (REGISTERING, NOTHING),
    (REGISTERING, SUCCESS): (REGISTERED, KEEP),
    (REGISTERING, BRIEF): (REGISTERING, SEND),  # §10.2.8
    (REGISTERING, FAILURE): (WAITING, BACK_OFF),
    (REGISTERING, REFUSAL): (FAILED, GIVE_UP),
    (REGISTERING, FLOW_LOST): (REGISTERING, NOTHING),  # the transaction fails by itself
    (REGISTERED, START): (REFRESHING, SEND),
    (REGISTERED, STOP): (REMOVING, REMOVE),  # §10.2.2
    (REGISTERED, CLEAR): (REMOVING, REMOVE),
    (REGISTERED, DUE): (REFRESHING, SEND),  # §10.2.4
    (REGISTERED, SUCCESS): (REGISTERED, NOTHING),
    (REGISTERED, BRIEF): (REGISTERED, NOTHING),
    (REGISTERED, FAILURE): (WAITING, BACK_OFF),  # the flow died soon after it was made
    (REGISTERED, REFUSAL): (REGISTERED, NOTHING),
    (REGISTERED, FLOW_LOST): (REGISTERING, SEND | FORGET),  # RFC 5626 §4.5: no failure before it, so no wait
    (REFRESHING, START): (REFRESHING, NOTHING),
    (REFRESHING, STOP): (STOPPING, NOTHING),
    (REFRESHING, CLEAR): (STOPPING, NOTHING),
    (REFRESHING, DUE): (REFRESHING, NOTHING),
    (REFRESHING, SUCCESS): (REGISTERED, KEEP),
    (REFRESHING, BRIEF): (REFRESHING, SEND),
    (REFRESHING, FAILURE): (WAITING, BACK_OFF),
    (REFRESHING, REFUSAL): (FAILED, GIVE_UP),
    (REFRESHING, FLOW_LOST): (REFRESHING, NOTHING),
    (WAITING, START): (REGISTERING, SEND),  # the user is impatient
    (WAITING, STOP): (REMOVING, REMOVE),  # an earlier binding may be there still
    (WAITING, CLEAR): (REMOVING, REMOVE),
    (WAITING, DUE): (REGISTERING, SEND),
    (WAITING, SUCCESS): (WAITING, NOTHING),
    (WAITING, BRIEF): (WAITING, NOTHING),
    (WAITING, FAILURE): (WAITING, NOTHING),
    (WAITING, REFUSAL): (WAITING, NOTHING),
    (WAITING, FLOW_LOST): (WAITING, NOTHING),
    (STOPPING, START): (REFRESHING, NOTHING),  # it is what is under way
    (STOPPING, STOP): (STOPPING, NOTHING),
    (STOPPING, CLEAR): (STOPPING, NOTHING),
    (STOPPING, DUE): (STOPPING, NOTHING),
    (STOPPING, SUCCESS): (REMOVING, REMOVE),
    (STOPPING, BRIEF): (REMOVING, REMOVE),
    (STOPPING, FAILURE): (REMOVING, REMOVE),  # it may have arrived all the same
    (STOPPING, REFUSAL): (IDLE, GONE),
    (STOPPING, FLOW_LOST): (STOPPING, NOTHING),
    (REMOVING, START): (RESTARTING, NOTHING),
    (REMOVING, STOP): (REMOVING, NOTHING),
    (REMOVING, CLEAR): (REMOVING, NOTHING),
    (REMOVING, DUE): (REMOVING, NOTHING),
    (REMOVING, SUCCESS): (IDLE, GONE),
    (REMOVING, BRIEF): (IDLE, GONE),
    (REMOVING, FAILURE): (IDLE, GONE),  # it expires by itself
    (REMOVING, REFUSAL): (IDLE, GONE),
    (REMOVING, FLOW_LOST): (REMOVING, NOTHING),
    (RESTARTING, START): (RESTARTING, NOTHING),
    (RESTARTING, STOP): (REMOVING, NOTHING),
    (RESTARTING, CLEAR): (REMOVING, NOTHING),
    (RESTARTING, DUE): (RESTARTING, NOTHING),
    (RESTARTING, SUCCESS): (REGISTERING, SEND),
    (RESTARTING, BRIEF): (REGISTERING, SEND),
    (RESTARTING, FAILURE): (REGISTERING, SEND),
    (RESTARTING, REFUSAL): (REGISTERING, SEND),
    (RESTARTING, FLOW_LOST): (RESTARTING, NOTHING),
    (FAILED, START): (REGISTERING, SEND),
    (FAILED, STOP): (IDLE, GONE),
    (FAILED, CLEAR): (REMOVING, REMOVE),
    (FAILED, DUE): (FAILED, NOTHING),
    (FAILED, SUCCESS): (FAILED, NOTHING),
    (FAILED, BRIEF): (FAILED, NOTHING),
    (FAILED, FAILURE): (FAILED, NOTHING),
    (FAILED, REFUSAL): (FAILED, NOTHING),
    (FAILED, FLOW_LOST): (FAILED, NOTHING),
}

_BRIEF_RETRIES: Final = 3
"""How many 423 one registration may meet in a row; a registrar with one minimum sends one."""
SETTLED: Final = 30.0
"""A flow that lasts so many seconds counts as successful: its end is no failure (RFC 5626 §4.5)."""


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """What is registered, where, and how patiently; times in seconds."""

    registrar: Uri
    """The Request-URI: the domain of the address of record, without a user (§10.2)."""
    aor: Address
    """The address of record: From and To."""
    contact: Address
    """The binding; its parameters (q, methods, capabilities) go along."""
    expires: int = 3600
    """How long to ask for."""
    refresh_fraction: float = 0.8
    """When to refresh, as a part of what was granted; grants under two minutes are refreshed at their half."""
    routes: tuple[Address, ...] = ()
    """The pre-loaded route: the outbound proxy."""
    instance: str = ""
    """The URN of this device (`urn:uuid:...`), for GRUU (RFC 5627) and outbound."""
    reg_id: int = 0
    """The number of this flow, 1 and up, of a user agent that does outbound (RFC 5626 §4.2); 0: it does not."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further header fields of every REGISTER."""
    give_up_on: frozenset[int] = frozenset((400, 401, 403, 404, 405, 407, 416, 420, 423, 489, 501, 505, 600, 603, 604))
    """The statuses after which there is no use in another attempt; after others it goes on for ever."""
    base_time: float = 90.0
    """Base of the back-off while another flow of the set is up (RFC 5626 §4.5)."""
    base_time_all_failed: float = 30.0
    """Base of the back-off when no flow is up."""
    max_time: float = 1800.0
    """The longest back-off."""
    longest_retry_after: int = 3600
    """What a longer Retry-After is cut to."""


class Registered(NamedTuple):
    """The binding was made or refreshed: it holds for `expires` seconds.

    `contact` is the binding as the registrar has it.  What it taught: the route of requests to come (RFC 3608), the
    path (RFC 3327), the user's other identities (RFC 7315), GRUUs (RFC 5627), and with `flow_timer` how often, in
    seconds, the flow needs a keep-alive (RFC 5626 §4.4).
    """

    registration: Registration
    expires: int
    contact: Address
    service_route: tuple[Address, ...] = ()
    path: tuple[Address, ...] = ()
    associated_uris: tuple[Address, ...] = ()
    public_gruu: str | None = None
    temporary_gruu: str | None = None
    flow_timer: int | None = None


class RegistrationFailed(NamedTuple):
    """An attempt failed; the next one is at `retry_at` (the clock of `now`), None when there is none.

    `status` is that of the response; without one `error` says what happened, or nothing for a timeout.
    `bound_until` is when an earlier binding expires.
    """

    registration: Registration
    retry_at: float | None
    status: int | None = None
    error: SipError | None = None
    bound_until: float | None = None


class Unregistered(NamedTuple):
    """The end of a registration that was stopped; `removed` tells whether the registrar said so."""

    registration: Registration
    removed: bool


class Registration(ClientUsage):
    """One binding: `start` it, `stop` it, and read its events.

    The same Call-ID and From tag for life, with increasing CSeq (§10.2), so that the registrar sees their order.
    `has_other_flows` says whether another flow of the same instance is up.
    """

    def __init__(
        self,
        settings: RegistrationSettings,
        ids: Identifiers,
        *,
        authenticator: Authenticator | None = None,
        has_other_flows: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(authenticator)
        self.settings = settings
        """May be replaced at any time; `start` then makes the registrar know."""
        self.state = IDLE
        self._ids = ids
        self._has_other_flows = has_other_flows
        self._call_id = ids.token(128)
        self._tag = ids.token()
        self._minimum = 0
        """The Min-Expires that a 423 taught."""
        self._due = NEVER
        self._failures = 0
        self._briefs = 0
        self._bound_until = NEVER
        """When the binding expires, once there is one."""
        self._flow_since = 0.0
        self._remove_all = False
        self._registered: Registered | None = None

    @property
    def is_registered(self) -> bool:
        """Whether the registrar has the binding, for all that is known here."""
        return self.state in (REGISTERED, REFRESHING)

    @property
    def binding(self) -> Registered | None:
        """What the registrar said last; None before the first success and after the end."""
        return self._registered

    # -- the application's side ----------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Register; when registered already, refresh at once (after a change of `settings`, for one)."""
        self._step(START, now)

    def stop(self, now: float, *, remove_all: bool = False) -> None:
        """Remove the binding; with *remove_all* every binding of the address of record (`*`, §10.2.2)."""
        self._remove_all = remove_all
        self._step(CLEAR if remove_all else STOP, now)

    def flow_lost(self, now: float) -> None:
        """The flow is dead: a connection closed, or a keep-alive without pong (RFC 5626 §4.4, §4.5).

        A flow that had settled is replaced at once; the end of a young one counts as a failure, so that a server that
        hangs up on every connection is not overrun.
        """
        young = self.state == REGISTERED and now - self._flow_since < SETTLED
        self._step(FAILURE if young else FLOW_LOST, now)

    # -- TransactionUser -----------------------------------------------------------------------------------------------

    def handle_timers(self, now: float) -> None:
        """Feed time."""
        if self._due <= now:
            self._due = NEVER
            self._step(DUE, now)

    def next_timer(self) -> float:
        """When to refresh or to try again."""
        return self._due

    def _completed(self, sent: UsageRequest, response: Response | None, error: SipError | None, now: float) -> None:
        if response is None:
            self._step(FAILURE, now, error=error)
        elif 200 <= response.status < 300:
            if sent.request.expires == 0:
                self._step(SUCCESS, now, removed=True)
                return
            granted = self._granted(sent.request, response)
            if granted.expires > 0:
                self._step(SUCCESS, now, granted=granted)
            else:
                self._step(FAILURE, now, status=response.status)
        elif response.status == 423 and self._accepts_minimum(response):
            self._step(BRIEF, now)
        elif response.status in self.settings.give_up_on:
            self._step(REFUSAL, now, status=response.status)
        else:
            self._step(FAILURE, now, status=response.status, wait=retry_after(response))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _step(
        self,
        input_: int,
        now: float,
        *,
        granted: Registered | None = None,
        status: int | None = None,
        error: SipError | None = None,
        wait: int | None = None,
        removed: bool = False,
    ) -> None:
        self.state, do = TABLE[self.state, input_]
        if do & FORGET:
            self._registered = None
        if do & SEND:
            self._due = NEVER
            self._register(max(self.settings.expires, self._minimum))
        elif do & REMOVE:
            self._due = NEVER
            self._register(0)
        elif do & KEEP and granted is not None:
            self._keep(granted, now)
        elif do & BACK_OFF:
            self._back_off(status, error, wait, now)
        elif do & GIVE_UP:
            self._due = NEVER
            self._events.append(RegistrationFailed(self, None, status, error, self._left(now)))
        elif do & GONE:
            self._due = NEVER
            self._registered = None
            self._failures = self._briefs = 0
            self._events.append(Unregistered(self, removed))

    def _register(self, expires: int) -> None:
        settings = self.settings
        lines = [("Route", str(route)) for route in settings.routes]
        lines.append(("Contact", str(STAR if expires == 0 and self._remove_all else self._contact())))
        lines.append(("Expires", str(expires)))
        extensions = ["path"]
        if settings.instance:
            extensions.append("gruu")
        if settings.reg_id:
            extensions.append("outbound")
        lines.append(("Supported", ", ".join(extensions)))
        lines.extend(settings.headers)
        self._send(
            Request.build(
                "REGISTER",
                settings.registrar,
                from_=settings.aor.with_param("tag", self._tag),
                to=settings.aor,
                call_id=self._call_id,
                cseq=self._next_seq(),
                headers=lines,
            )
        )

    def _contact(self) -> Address:
        contact = self.settings.contact
        if self.settings.instance:
            contact = contact.with_param("+sip.instance", f"<{self.settings.instance}>")
        if self.settings.reg_id:
            contact = contact.with_param("reg-id", str(self.settings.reg_id))
        return contact

    def _granted(self, request: Request, response: Response) -> Registered:
        """What a 2xx says about our binding; `expires` is 0 when it is not among the bindings (§10.2.4)."""
        contact = self._find(request.contacts[0], response.contacts)
        expires: int | None
        if contact is not None and contact.expires is not None:
            expires = contact.expires
        elif contact is not None or not response.contacts:
            expires = response.expires
        else:
            # Bindings, but not ours: some registrars write down where the request came from in place of it, and
            # then say how long it holds in Expires.
            expires = response.expires or 0
        found = contact if contact is not None else request.contacts[0]
        headers = response.headers
        return Registered(
            self,
            (request.expires or 0) if expires is None else expires,
            found,
            headers.all(SERVICE_ROUTE),
            headers.all(PATH),
            headers.all(P_ASSOCIATED_URI),
            found.params.get("pub-gruu"),
            found.params.get("temp-gruu"),
            headers.one(FLOW_TIMER),
        )

    def _find(self, ours: Address, bindings: tuple[Address, ...]) -> Address | None:
        """Our binding among those of the address of record: by flow where there are flows, else by URI equality."""
        if self.settings.reg_id:
            for binding in bindings:
                same = all(binding.params.get(name) == ours.params.get(name) for name in ("+sip.instance", "reg-id"))
                if same:
                    return binding
        for binding in bindings:
            if binding.uri == ours.uri:
                return binding
        return None

    def _accepts_minimum(self, response: Response) -> bool:
        minimum = response.headers.one(MIN_EXPIRES)
        asked = max(self.settings.expires, self._minimum)
        if minimum is None or not asked < minimum <= LONGEST_INTERVAL or self._briefs >= _BRIEF_RETRIES:
            return False
        self._briefs += 1
        self._minimum = minimum
        return True

    def _keep(self, granted: Registered, now: float) -> None:
        if self._registered is None or self._failures:
            self._flow_since = now
        self._bound_until = now + granted.expires
        self._registered = granted
        self._failures = self._briefs = 0
        self._due = now + refresh_delay(granted.expires, self.settings.refresh_fraction)
        self._events.append(granted)

    def _back_off(self, status: int | None, error: SipError | None, wait: int | None, now: float) -> None:
        settings = self.settings
        self._failures += 1
        others = self._has_other_flows is not None and self._has_other_flows()
        base = settings.base_time if others else settings.base_time_all_failed
        delay = back_off_delay(self._failures, base, settings.max_time, self._ids.random())
        if wait is not None:
            # §20.33: not before; a little later for some, so that not all come at once
            delay = min(wait, settings.longest_retry_after) * (1 + self._ids.random() / 10)
        self._due = now + delay
        self._events.append(RegistrationFailed(self, self._due, status, error, self._left(now)))

    def _left(self, now: float) -> float | None:
        return self._bound_until if self._registered is not None and self._bound_until > now else None


class RegistrationSet:
    """The flows of one user agent through several outbound proxies (RFC 5626 §4.2): a usage made of registrations.

    Each of *proxies* gets a registration with a reg-id of its own, from 1; `settings.instance` is required.
    """

    def __init__(
        self,
        settings: RegistrationSettings,
        proxies: Sequence[Address],
        ids: Identifiers,
        *,
        authenticator: Authenticator | None = None,
    ) -> None:
        if not settings.instance or not proxies:
            raise LocalProtocolError("outbound needs an instance and at least one proxy (RFC 5626 §4.1)")
        self.flows = tuple(
            Registration(
                replace(settings, routes=(proxy,), reg_id=number),
                ids,
                authenticator=authenticator,
                has_other_flows=self._any_up,
            )
            for number, proxy in enumerate(proxies, 1)
        )

    def _any_up(self) -> bool:
        return any(flow.is_registered for flow in self.flows)

    def start(self, now: float) -> None:
        """Register all flows."""
        for flow in self.flows:
            flow.start(now)

    def stop(self, now: float) -> None:
        """Remove the bindings of all flows."""
        for flow in self.flows:
            flow.stop(now)

    def owns(self, request: Request) -> bool:
        """No request of the peer belongs to a registration."""
        return False

    def receive(self, event: Event, now: float) -> None:
        """Feed one event of the transaction layer."""
        for flow in self.flows:
            flow.receive(event, now)

    def handle_timers(self, now: float) -> None:
        """Feed time."""
        for flow in self.flows:
            flow.handle_timers(now)

    def next_timer(self) -> float:
        """When any of the flows has something to do."""
        return min(flow.next_timer() for flow in self.flows)

    def take_orders(self) -> list[Order]:
        """What to do now."""
        return [order for flow in self.flows for order in flow.take_orders()]

    def take_events(self) -> list[object]:
        """What happened to any of the flows."""
        return [event for flow in self.flows for event in flow.take_events()]
