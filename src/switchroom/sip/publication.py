"""Event state publication: the publisher, and the compositor's table of entity tags (RFC 3903)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from .client_usage import LONGEST_INTERVAL, ClientUsage, UsageRequest, back_off_delay, refresh_delay, retry_after
from .errors import LocalProtocolError, RemoteProtocolError
from .headers import EVENT, MIN_EXPIRES, SIP_ETAG, SIP_IF_MATCH, Address, Event
from .message import Request
from .timers import NEVER, Timed, TimerQueue
from .uri import Uri

if TYPE_CHECKING:
    from .client_request import Authenticator
    from .errors import SipError
    from .identifiers import Identifiers
    from .message import Response

IDLE: Final = 0
PUBLISHING: Final = 1
"""An initial PUBLISH is under way, or one that modifies."""
PUBLISHED: Final = 2
REFRESHING: Final = 3
WAITING: Final = 4
"""An attempt failed; another one follows."""
STOPPING: Final = 5
"""To be removed, once the PUBLISH under way is answered: only one at a time (§4.1)."""
REMOVING: Final = 6
RESTARTING: Final = 7
"""To be published again, once the removal under way is answered."""
STATE_NAMES: Final = (
    "idle", "publishing", "published", "refreshing", "waiting", "stopping", "removing", "restarting",
)  # fmt: skip

PUBLISH: Final = 0
"""The application has a state to publish."""
STOP: Final = 1
DUE: Final = 2
SUCCESS: Final = 3
BRIEF: Final = 4
"""423 with an acceptable Min-Expires."""
MISMATCH: Final = 5
"""412: the compositor does not know our entity tag (any more)."""
FAILURE: Final = 6
"""No answer, or one that another attempt may better."""
REFUSAL: Final = 7
INPUT_NAMES: Final = ("publish", "stop", "due", "2xx", "423", "412", "failure", "refusal")

NOTHING: Final = 0
SEND: Final = 1
"""PUBLISH with the state: initial, or modifying when there is an entity tag."""
REFRESH: Final = 2
"""PUBLISH without a body."""
REMOVE: Final = 4
"""PUBLISH with Expires 0."""
KEEP: Final = 8
"""Take the entity tag, set the time of the refresh, tell; publish what changed meanwhile."""
LATER: Final = 16
"""Remember that the state changed while a PUBLISH was under way."""
AGAIN: Final = 32
"""Forget the entity tag, and publish from the start (§4.5)."""
BACK_OFF: Final = 64
GIVE_UP: Final = 128
GONE: Final = 256
ACTION_NAMES: Final = (
    "send PUBLISH", "send PUBLISH without a body", "send removal", "take the tag", "remember the change",
    "send an initial PUBLISH", "back off", "give up", "tell the end",
)  # fmt: skip

# RFC 3903 §4.
TABLE: Final[dict[tuple[int, int], tuple[int, int]]] = {
    (IDLE, PUBLISH): (PUBLISHING, SEND),  # §4.2
    (IDLE, STOP): (IDLE, NOTHING),
    (IDLE, DUE): (IDLE, NOTHING),
    (IDLE, SUCCESS): (IDLE, NOTHING),
    (IDLE, BRIEF): (IDLE, NOTHING),
    (IDLE, MISMATCH): (IDLE, NOTHING),
    (IDLE, FAILURE): (IDLE, NOTHING),
    (IDLE, REFUSAL): (IDLE, NOTHING),
    (PUBLISHING, PUBLISH): (PUBLISHING, LATER),
    (PUBLISHING, STOP): (STOPPING, NOTHING),
    (PUBLISHING, DUE): (PUBLISHING, NOTHING),
    (PUBLISHING, SUCCESS): (PUBLISHED, KEEP),
    (PUBLISHING, BRIEF): (PUBLISHING, SEND),  # §4.2
    (PUBLISHING, MISMATCH): (PUBLISHING, AGAIN),  # §4.4
    (PUBLISHING, FAILURE): (WAITING, BACK_OFF),
    (PUBLISHING, REFUSAL): (IDLE, GIVE_UP),
    (PUBLISHED, PUBLISH): (PUBLISHING, SEND),  # §4.4
    (PUBLISHED, STOP): (REMOVING, REMOVE),  # §4.5
    (PUBLISHED, DUE): (REFRESHING, REFRESH),  # §4.3
    (PUBLISHED, SUCCESS): (PUBLISHED, NOTHING),
    (PUBLISHED, BRIEF): (PUBLISHED, NOTHING),
    (PUBLISHED, MISMATCH): (PUBLISHED, NOTHING),
    (PUBLISHED, FAILURE): (PUBLISHED, NOTHING),
    (PUBLISHED, REFUSAL): (PUBLISHED, NOTHING),
    (REFRESHING, PUBLISH): (REFRESHING, LATER),
    (REFRESHING, STOP): (STOPPING, NOTHING),
    (REFRESHING, DUE): (REFRESHING, NOTHING),
    (REFRESHING, SUCCESS): (PUBLISHED, KEEP),
    (REFRESHING, BRIEF): (REFRESHING, REFRESH),
    (REFRESHING, MISMATCH): (PUBLISHING, AGAIN),  # §4.3
    (REFRESHING, FAILURE): (WAITING, BACK_OFF),
    (REFRESHING, REFUSAL): (IDLE, GIVE_UP),
    (WAITING, PUBLISH): (WAITING, NOTHING),  # it goes along with the next attempt
    (WAITING, STOP): (REMOVING, REMOVE),
    (WAITING, DUE): (PUBLISHING, SEND),
    (WAITING, SUCCESS): (WAITING, NOTHING),
    (WAITING, BRIEF): (WAITING, NOTHING),
    (WAITING, MISMATCH): (WAITING, NOTHING),
    (WAITING, FAILURE): (WAITING, NOTHING),
    (WAITING, REFUSAL): (WAITING, NOTHING),
    (STOPPING, PUBLISH): (PUBLISHING, LATER),
    (STOPPING, STOP): (STOPPING, NOTHING),
    (STOPPING, DUE): (STOPPING, NOTHING),
    (STOPPING, SUCCESS): (REMOVING, REMOVE),
    (STOPPING, BRIEF): (REMOVING, REMOVE),
    (STOPPING, MISMATCH): (IDLE, GONE),
    (STOPPING, FAILURE): (REMOVING, REMOVE),
    (STOPPING, REFUSAL): (IDLE, GONE),
    (REMOVING, PUBLISH): (RESTARTING, NOTHING),
    (REMOVING, STOP): (REMOVING, NOTHING),
    (REMOVING, DUE): (REMOVING, NOTHING),
    (REMOVING, SUCCESS): (IDLE, GONE),
    (REMOVING, BRIEF): (IDLE, GONE),
    (REMOVING, MISMATCH): (IDLE, GONE),
    (REMOVING, FAILURE): (IDLE, GONE),  # it expires by itself
    (REMOVING, REFUSAL): (IDLE, GONE),
    (RESTARTING, PUBLISH): (RESTARTING, NOTHING),
    (RESTARTING, STOP): (REMOVING, NOTHING),
    (RESTARTING, DUE): (RESTARTING, NOTHING),
    (RESTARTING, SUCCESS): (PUBLISHING, AGAIN),
    (RESTARTING, BRIEF): (PUBLISHING, AGAIN),
    (RESTARTING, MISMATCH): (PUBLISHING, AGAIN),
    (RESTARTING, FAILURE): (PUBLISHING, AGAIN),
    (RESTARTING, REFUSAL): (PUBLISHING, AGAIN),
}

_BRIEF_RETRIES: Final = 3
_MISMATCHES: Final = 3
"""How many 412 in a row before the compositor counts as broken."""


@dataclass(frozen=True, slots=True)
class PublicationSettings:
    """Whose state of which package is published, and how patiently; times in seconds."""

    target: Uri
    """The Request-URI: the resource (§4.1)."""
    event: Event
    local: Address
    """The publisher: From."""
    expires: int = 3600
    refresh_fraction: float = 0.8
    """When to refresh, as a part of what was granted; short grants are refreshed at their half."""
    routes: tuple[Address, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    give_up_on: frozenset[int] = frozenset((400, 401, 403, 404, 405, 407, 413, 415, 416, 420, 423, 489, 501, 603, 604))
    """The statuses after which there is no use in another attempt."""
    base_time: float = 30.0
    """Base of the back-off between attempts (the formula of RFC 5626 §4.5)."""
    max_time: float = 1800.0
    longest_retry_after: int = 3600
    """What a longer Retry-After is cut to."""


class Published(NamedTuple):
    """The compositor has our state, under this entity tag, for `expires` seconds."""

    publication: Publication
    entity_tag: str
    expires: int


class PublicationFailed(NamedTuple):
    """An attempt failed; the next one is at `retry_at`, None when there is none."""

    publication: Publication
    retry_at: float | None
    status: int | None = None
    error: SipError | None = None


class Unpublished(NamedTuple):
    """The end of a publication that was stopped; `removed` tells whether the compositor said so."""

    publication: Publication
    removed: bool


class Publication(ClientUsage):
    """One state of ours at a compositor: `publish` it as often as it changes, and `stop`."""

    def __init__(
        self, settings: PublicationSettings, ids: Identifiers, *, authenticator: Authenticator | None = None
    ) -> None:
        super().__init__(authenticator)
        self.settings = settings
        self.state = IDLE
        self.entity_tag: str | None = None
        """The tag of the state that the compositor has; None when it has none."""
        self._ids = ids
        self._call_id = ids.token(128)
        self._tag = ids.token()
        self._body = b""
        self._content_type: str | None = None
        self._changed = False
        self._due = NEVER
        self._minimum = 0
        self._briefs = 0
        self._mismatches = 0
        self._failures = 0

    # -- the application's side ----------------------------------------------------------------------------------------

    def publish(self, now: float, body: bytes, content_type: str) -> None:
        """Publish this state in place of the one before; LocalProtocolError for an empty body, which means no state."""
        if not body:
            raise LocalProtocolError("a published state has a body; use stop to remove it (RFC 3903 §4.5)")
        self._body = body
        self._content_type = content_type
        self._step(PUBLISH, now)

    def stop(self, now: float) -> None:
        """Remove the state (§4.5)."""
        self._step(STOP, now)

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
        removal = sent.request.expires == 0
        if response is None:
            self._step(FAILURE, now, error=error)
        elif response.status < 300:
            if removal:
                self._step(SUCCESS, now, removed=True)
            else:
                self._succeeded(response, now)
        elif response.status == 412:
            self._mismatches += 1
            known, self.entity_tag = self.entity_tag, None
            # a 412 to what named no tag, or to each new one, makes no sense: let some time pass
            sensible = known is not None and self._mismatches <= _MISMATCHES
            self._step(MISMATCH if sensible else FAILURE, now, status=412)
        elif response.status == 423 and self._accepts_minimum(response):
            self._step(BRIEF, now)
        elif response.status in self.settings.give_up_on:
            self._step(REFUSAL, now, status=response.status)
        else:
            self._step(FAILURE, now, status=response.status, wait=retry_after(response))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _succeeded(self, response: Response, now: float) -> None:
        tag = response.headers.one(SIP_ETAG)
        if tag is None:  # §4.1: without it nothing can be refreshed
            self._step(FAILURE, now, error=RemoteProtocolError("a 2xx to PUBLISH without a SIP-ETag", None))
            return
        expires = response.expires
        self.entity_tag = tag
        self._briefs = self._mismatches = self._failures = 0
        self._step(SUCCESS, now, granted=self._asked() if expires is None else expires)

    def _step(
        self,
        input_: int,
        now: float,
        *,
        granted: int = 0,
        status: int | None = None,
        error: SipError | None = None,
        wait: int | None = None,
        removed: bool = False,
    ) -> None:
        self.state, do = TABLE[self.state, input_]
        if do & (SEND | AGAIN):
            if do & AGAIN:
                self.entity_tag = None
            self._changed = False
            self._request(self._asked(), with_body=True)
        elif do & REFRESH:
            self._request(self._asked(), with_body=False)
        elif do & REMOVE:
            self._remove(now)
        elif do & LATER:
            self._changed = True
        elif do & KEEP:
            self._keep(granted, now)
        elif do & BACK_OFF:
            self._back_off(status, error, wait, now)
        elif do & GIVE_UP:
            self.entity_tag = None
            self._due = NEVER
            self._events.append(PublicationFailed(self, None, status, error))
        elif do & GONE:
            self.entity_tag = None
            self._due = NEVER
            self._failures = self._briefs = self._mismatches = 0
            self._events.append(Unpublished(self, removed))

    def _asked(self) -> int:
        return max(self.settings.expires, self._minimum)

    def _request(self, expires: int, *, with_body: bool) -> None:
        settings = self.settings
        lines = [("Route", str(route)) for route in settings.routes]
        lines.append(("Event", str(settings.event)))
        lines.append(("Expires", str(expires)))
        if self.entity_tag is not None:
            lines.append(("SIP-If-Match", self.entity_tag))
        lines.extend(settings.headers)
        self._due = NEVER
        self._send(
            Request.build(
                "PUBLISH",
                settings.target,
                from_=settings.local.with_param("tag", self._tag),
                to=Address("", settings.target),
                call_id=self._call_id,
                cseq=self._next_seq(),
                headers=lines,
                body=self._body if with_body else b"",
                content_type=self._content_type if with_body else None,
            )
        )

    def _remove(self, now: float) -> None:
        if self.entity_tag is None:
            self._step(FAILURE, now)  # there is nothing that could be named in a SIP-If-Match
        else:
            self._request(0, with_body=False)

    def _keep(self, granted: int, now: float) -> None:
        assert self.entity_tag is not None  # _succeeded has taken it
        self._events.append(Published(self, self.entity_tag, granted))
        if self._changed:
            self._step(PUBLISH, now)
        else:
            self._due = now + refresh_delay(granted, self.settings.refresh_fraction)

    def _accepts_minimum(self, response: Response) -> bool:
        minimum = response.headers.one(MIN_EXPIRES)
        if minimum is None or not self._asked() < minimum <= LONGEST_INTERVAL or self._briefs >= _BRIEF_RETRIES:
            return False
        self._briefs += 1
        self._minimum = minimum
        return True

    def _back_off(self, status: int | None, error: SipError | None, wait: int | None, now: float) -> None:
        settings = self.settings
        self._failures += 1
        delay = back_off_delay(self._failures, settings.base_time, settings.max_time, self._ids.random())
        if wait is not None:
            delay = min(wait, settings.longest_retry_after) * (1 + self._ids.random() / 10)
        self._due = now + delay
        self._events.append(PublicationFailed(self, self._due, status, error))


# -- the compositor ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CompositorSettings:
    """What a compositor takes, and its bounds; times in seconds."""

    packages: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Event packages, and the body types taken for each, in lower case; none: any type."""
    default_expires: int = 3600
    min_expires: int = 60
    """Less is refused with 423 (§6 step 5)."""
    max_expires: int = 3600
    """More is cut to this."""
    max_publications: int = 100_000
    """In all; more get 503."""
    max_publications_per_resource: int = 10
    """Devices of one user; more get 503."""
    retry_after: int = 60
    """The Retry-After of that 503."""


class StoredState(Timed):
    """A published state: what `resource` and `package` say, until `expire_at`; `entity_tag` names this version."""

    __slots__ = ("body", "content_type", "entity_tag", "package", "resource")

    def __init__(self, resource: str, package: str) -> None:
        super().__init__()
        self.resource = resource
        self.package = package
        self.entity_tag = ""
        self.body = b""
        self.content_type = ""


class StateChanged(NamedTuple):
    """The states published for a resource are others now: these, oldest first.  Compose and notify."""

    resource: str
    package: str
    states: tuple[StoredState, ...]


class EventStateCompositor:
    """The table behind the processing of PUBLISH requests (§6): which entity tag stands for which state.

    `receive` gives the response; events say when a resource's states changed, or expired.  `name` makes the resource's
    name of a request; default: its Request-URI in text.  Whoever asks must have been authenticated and authorised
    before (§6 step 3).
    """

    def __init__(
        self,
        settings: CompositorSettings,
        ids: Identifiers,
        *,
        name: Callable[[Request], str] | None = None,
    ) -> None:
        self.settings = settings
        self._ids = ids
        self._name = name
        self._states: dict[str, StoredState] = {}
        self._by_resource: dict[tuple[str, str], OrderedDict[StoredState, None]] = {}
        self._clocks = TimerQueue()
        self._events: list[StateChanged] = []

    def __len__(self) -> int:
        """States that are stored."""
        return len(self._states)

    def states(self, resource: str, package: str) -> tuple[StoredState, ...]:
        """What is published for a resource, oldest first."""
        return tuple(self._by_resource.get((resource, package), ()))

    def receive(self, request: Request, now: float) -> Response:
        """Process a PUBLISH by the steps of §6; the response to send."""
        try:
            return self._process(request, now)
        except RemoteProtocolError as error:
            return self._answer(request, error.status_hint or 400)

    def handle_timers(self, now: float) -> None:
        """Feed time: what has expired goes."""
        while (item := self._clocks.pop_due(now)) is not None:
            assert isinstance(item, StoredState)
            self._drop(item)

    def next_timer(self) -> float:
        """When the next state expires."""
        return self._clocks.next_at()

    def take_events(self) -> list[StateChanged]:
        """What changed."""
        events, self._events = self._events, []
        return events

    # -- inside --------------------------------------------------------------------------------------------------------

    def _answer(self, request: Request, status: int, *headers: tuple[str, str]) -> Response:
        return request.create_response(status, to_tag=self._ids.token(), headers=headers)

    def _process(self, request: Request, now: float) -> Response:
        settings = self.settings
        event = request.headers.one(EVENT)
        if event is None or event.package not in settings.packages:  # step 2
            return self._answer(request, 489, ("Allow-Events", ", ".join(settings.packages)))
        resource = request.uri_text if self._name is None else self._name(request)
        match = request.headers.one(SIP_IF_MATCH)
        stored: StoredState | None = None
        if match is not None:  # step 4
            stored = self._states.get(match)
            if stored is None or (stored.resource, stored.package) != (resource, event.package):
                return self._answer(request, 412)
        expires = request.expires  # step 5
        expires = settings.default_expires if expires is None else min(expires, settings.max_expires)
        if 0 < expires < settings.min_expires:
            return self._answer(request, 423, ("Min-Expires", str(settings.min_expires)))
        if not request.body and stored is None:
            return self._answer(request, 400)  # step 6: an initial publication has a body
        kind = ""
        if request.body:
            content_type = request.content_type
            kind = "" if content_type is None else content_type.essence
            taken = settings.packages[event.package]
            if not kind or (taken and kind not in taken):
                return self._answer(request, 415, ("Accept", ", ".join(sorted(taken))))
        if expires == 0:
            if stored is not None:
                self._clocks.discard(stored)
                self._drop(stored)
            return self._answer(request, 200, ("SIP-ETag", self._ids.token()), ("Expires", "0"))
        if stored is None:
            full = len(self.states(resource, event.package)) >= settings.max_publications_per_resource
            if full or len(self._states) >= settings.max_publications:
                return self._answer(request, 503, ("Retry-After", str(settings.retry_after)))
            stored = StoredState(resource, event.package)
            self._by_resource.setdefault((resource, event.package), OrderedDict())[stored] = None
        else:
            del self._states[stored.entity_tag]
        stored.entity_tag = self._ids.token()  # a new one each time, refreshes included (step 7)
        self._states[stored.entity_tag] = stored
        stored.expire_at = now + expires
        self._clocks.touch(stored)
        if request.body:
            stored.body = request.body
            stored.content_type = kind
            self._changed(stored)
        return self._answer(request, 200, ("SIP-ETag", stored.entity_tag), ("Expires", str(expires)))

    def _drop(self, stored: StoredState) -> None:
        del self._states[stored.entity_tag]
        key = (stored.resource, stored.package)
        states = self._by_resource[key]
        del states[stored]
        if not states:
            del self._by_resource[key]
        self._changed(stored)

    def _changed(self, stored: StoredState) -> None:
        states = self.states(stored.resource, stored.package)
        self._events.append(StateChanged(stored.resource, stored.package, states))
