"""Where a message goes next: RFC 3263 as a machine that asks DNS questions and never a name server.

    locator = Locator(uri, supported=("UDP", "TCP", "TLS"), identifiers=identifiers)
    while not locator.done:
        for question in locator.take_questions():
            locator.answer(question, await resolver.lookup(question), now)
    locator.hops  # in the order in which to try them; empty: `locator.reason` says why

`failover.HopSequence` then walks through the hops of one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import LocalProtocolError
from .flow import TCP, TLS, UDP, WS, WSS
from .uri import OpaqueUri, SipUri, TelUri

if TYPE_CHECKING:
    from .headers import Via
    from .identifiers import Identifiers
    from .uri import Uri

NAPTR: Final = "NAPTR"
SRV: Final = "SRV"
A: Final = "A"
AAAA: Final = "AAAA"

DEFAULT_PORTS: Final[dict[str, int]] = {UDP: 5060, TCP: 5060, TLS: 5061, WS: 80, WSS: 443}
"""The port of a transport when nobody names one (RFC 3261 §19.1.2, RFC 7118 §5.3)."""

_SERVICES: Final[dict[str, str]] = {
    UDP: "_sip._udp.",
    TCP: "_sip._tcp.",
    TLS: "_sips._tcp.",
    WS: "_sip._ws.",
    WSS: "_sips._ws.",
}
_NAPTR_SERVICES: Final[dict[str, str]] = {
    "SIP+D2U": UDP,
    "SIP+D2T": TCP,
    "SIPS+D2T": TLS,
    "SIP+D2W": WS,
    "SIPS+D2W": WSS,
}
_SECURE_TRANSPORTS: Final = frozenset((TLS, WSS))
_TRANSPORT_PARAMETERS: Final[dict[str, str]] = {"udp": UDP, "tcp": TCP, "tls": TLS, "ws": WS, "wss": WSS}
_SECURED: Final[dict[str, str]] = {TCP: TLS, TLS: TLS, WS: WSS, WSS: WSS}
_MAX_ALIASES: Final = 8


# -- DNS -----------------------------------------------------------------------------------------------------------


class Question(NamedTuple):
    """One DNS question: a name in lower case without the final dot, and `NAPTR`, `SRV`, `A` or `AAAA`."""

    name: str
    rtype: str


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403 §4.1)."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


class Address(NamedTuple):
    """An A or AAAA record with its owner: the family shows in `host`, which is the address as text."""

    name: str
    host: str


class Alias(NamedTuple):
    """A CNAME record.  A resolver that follows aliases by itself need not show them."""

    name: str
    target: str


Record = Naptr | Srv | Address | Alias


class LookupFailed(NamedTuple):
    """The answer to a question that could not be answered: `reason` such as "SERVFAIL" or "timed out".

    That a name or its records do not exist is no failure, but an answer without records.
    """

    reason: str


# -- what is looked for, what is found -----------------------------------------------------------------------------


class Target(NamedTuple):
    """What RFC 3263 calls TARGET, and all that its procedures want to know of a URI or a Via."""

    host: str
    """Where to look: the maddr parameter if there is one, else the host; a name or an address without brackets."""
    port: int | None = None
    transport: str | None = None
    """`UDP`, `TCP`, `TLS`, `WS`, `WSS`, any other word for a transport that nobody here speaks, None if not said."""
    secure: bool = False
    """A sips URI: TLS or WSS on this hop, whatever else is said."""
    name: str = ""
    """The identity to expect in the peer's certificate (RFC 5922 §7.3); `host` when empty."""
    ttl: int | None = None
    """The time to live of a multicast datagram."""

    @classmethod
    def from_uri(cls, uri: Uri, *, secure: bool = False) -> Target:
        """The target of a request for *uri*: its first Route, else its Request-URI.

        *secure* says that the Request-URI is a sips URI even though *uri*, a Route, is not (RFC 3261 §16.6 item 7).
        Raises LocalProtocolError for a URI that names no host (tel, urn, ...).
        """
        if not isinstance(uri, SipUri):
            raise LocalProtocolError(f"cannot locate a server for {uri}: map it to a sip or sips URI first")
        word = uri.params.get("transport") or ""
        transport = _TRANSPORT_PARAMETERS.get(word.lower(), word.upper()) or None
        ttl = uri.params.get("ttl") or ""  # 1*3DIGIT, 0 to 255; what is none is as if it were not there
        return cls(
            host=uri.params.get("maddr") or uri.host,
            port=uri.port,
            transport=transport,
            secure=secure or uri.scheme == "sips",
            name=uri.host,
            ttl=int(ttl) if len(ttl) < 4 and ttl.isascii() and ttl.isdigit() and int(ttl) < 256 else None,
        )


def response_targets(via: Via) -> tuple[Target, ...]:
    """Where to try a response whose connection or datagram failed, from the topmost Via.

    RFC 3261 §18.2.2: on a reliable transport first the address in `received`, then what RFC 3263 §5 makes of the
    sent-by.  Nothing for a WebSocket client, which takes no connections (RFC 7118 §5).
    """
    transport = via.transport.upper()
    if transport in (WS, WSS):
        return ()
    target = Target(via.host, via.port, transport)
    received = via.received
    if received and transport in (TCP, TLS):
        return (Target(received, via.port, transport, name=via.host), target)
    return (target,)


class Hop(NamedTuple):
    """One place to send to."""

    transport: str
    host: str
    """An address, IPv6 without brackets."""
    port: int
    name: str
    """The identity to expect in the peer's certificate, and the server name to ask for: the name that was looked
    up, never one that DNS made of it (RFC 5922 §7.3)."""
    ttl: int | None = None
    """Time to live of a datagram to a multicast address; None for all other addresses."""

    def __str__(self) -> str:
        return f"{self.transport}:[{self.host}]:{self.port}" if ":" in self.host else ":".join(map(str, self[:3]))


class LocatingPolicy(NamedTuple):
    """What the RFCs leave open, and the bounds."""

    families: tuple[str, ...] = (AAAA, A)
    """Which address families there is a route for; the first is tried first, then they alternate (RFC 8305 §4)."""
    naptr: bool = True
    """Whether to ask for NAPTR records; without, SRV records of the supported transports are the first question."""
    max_questions: int = 48
    """How many questions one search may ask; a domain that needs more is cut short."""
    max_hops: int = 16
    """How many hops (and how many SRV records of one name) are taken."""


DEFAULT_POLICY: Final = LocatingPolicy()


class Locator:
    """A search for the next hops of a request or a response.

    `targets` is the URI to send a request to, or `Target`s to be tried in that order (`response_targets`).
    `supported` are the transports of this side, the preferred one first.  `identifiers` gives the random choice
    among SRV records by weight; without it the order is the same every time, as a stateless proxy needs it (RFC 3263
    §4.4).  `secure`: see `Target.from_uri`.  With `large` the request is too big for a datagram: reliable transports
    come first (RFC 3261 §18.1.1).  Raises LocalProtocolError for a URI without a host, or without any transport.
    """

    __slots__ = (
        "_answers",
        "_asked",
        "_failures",
        "_identifiers",
        "_large",
        "_pending",
        "_questions",
        "_reasons",
        "_targets",
        "answered_at",
        "done",
        "hops",
        "policy",
        "supported",
    )

    def __init__(
        self,
        targets: Uri | Target | Sequence[Target],
        supported: Sequence[str] = (UDP, TCP),
        identifiers: Identifiers | None = None,
        *,
        policy: LocatingPolicy = DEFAULT_POLICY,
        secure: bool = False,
        large: bool = False,
    ) -> None:
        if not supported:
            raise LocalProtocolError("no transport to locate anything for")
        self.supported: Final = tuple(supported)
        self.policy: Final = policy
        self.done = False
        """Whether there is nothing left to ask."""
        self.hops: tuple[Hop, ...] = ()
        """The hops in the order in which to try them, once `done`."""
        self.answered_at: float | None = None
        """When the last answer came; None if there was no question."""
        self._identifiers = identifiers
        self._large = large
        self._answers: dict[Question, tuple[Record, ...]] = {}
        self._asked = 0
        self._failures: list[str] = []
        self._pending: set[Question] = set()
        self._questions: list[Question] = []
        self._reasons: list[str] = []
        self._targets = _targets(targets, secure)
        if not self._targets:
            self._reasons.append("there is nowhere to look: the peer can be reached by its own connection only")
        self._advance()

    @property
    def reason(self) -> str:
        """Why there is no hop, or why some were left out, in words for a log or a trace."""
        return "; ".join(dict.fromkeys(self._failures + self._reasons))

    def take_questions(self) -> list[Question]:
        """The questions to ask now, all at the same time; each is handed out once."""
        questions, self._questions = self._questions, []
        return questions

    def answer(self, question: Question, records: Iterable[Record | str] | LookupFailed, now: float) -> None:
        """Feed the answer to a question: its records, none if there are none, or why it could not be asked.

        An address may be plain text when it answers a question about A or AAAA.  Addresses that came along in an
        answer about SRV may be among the records (RFC 2782, additional data).  Raises LocalProtocolError for a
        question that is not open.
        """
        if question not in self._pending:
            raise LocalProtocolError(f"nobody asked for {question.rtype} of {question.name}, or not any more")
        self._pending.discard(question)
        self.answered_at = now
        if isinstance(records, LookupFailed):
            # RFC 3263 has no rule for a server that fails.  As if there were no record: what remains to be asked
            # may still be answered, and the reason is kept.
            self._answers[question] = ()
            self._failures.append(f"{question.rtype} of {question.name}: {records.reason}")
        else:
            owner = question.name
            self._take_records(
                question, tuple(Address(owner, each) if isinstance(each, str) else each for each in records)
            )
        if not self._pending:
            self._advance()

    # -- the procedures ------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Run the procedures over the answers so far; what they miss becomes a question and another run."""
        hops: list[Hop] = []
        for target in self._targets:
            hops += self._hops_of(target)
        if self._pending:
            self._reasons.clear()  # of a run that did not see everything
            return
        self.done = True
        if self._large:
            hops = _reliable_first(hops, self.supported)
        self.hops = tuple(dict.fromkeys(hops))[: self.policy.max_hops]

    def _hops_of(self, target: Target) -> list[Hop]:
        """RFC 3263 §4.1 and §4.2."""
        transport = target.transport
        if target.secure:
            if transport is not None:
                # RFC 3261 §26.2.2: with sips, transport=tcp means TLS over TCP; ws means WSS (RFC 7118 §5.3).
                transport = _SECURED.get(transport)
                if transport is None:
                    return self._nothing(f"a sips URI cannot be reached by {target.transport}, only by TLS or WSS")
            elif _SECURE_TRANSPORTS.isdisjoint(self.supported):
                return self._nothing("a sips URI needs TLS or WSS, and neither is among our transports")
        if transport is not None and transport not in self.supported:
            return self._nothing(f"transport {transport} is not among ours ({', '.join(self.supported)})")
        host = canonical_address(target.host)
        if host is not None:
            return [_hop(transport or self._default_transport(target.secure), host, target.port, target)]
        if target.port is not None:
            transport = transport or self._default_transport(target.secure)
            return self._addresses(target.host, target.port, transport, target)
        if transport is not None:
            return self._by_srv(target, (transport,), transport)
        if self.policy.naptr:
            hops = self._by_naptr(target)
            if hops or self._pending:
                return hops
        # §4.1: "the client constructs SRV queries for those transport protocols it supports", with _sip for a SIP
        # URI: TLS for it needs a NAPTR record that offers it, unless we speak nothing else.
        transports = tuple(each for each in self.supported if (each in _SECURE_TRANSPORTS) == target.secure)
        return self._by_srv(target, transports or self.supported, self._default_transport(target.secure))

    def _by_naptr(self, target: Target) -> list[Hop]:
        """RFC 3263 §4.1: the records of the lowest order that lead anywhere, by preference (RFC 3403 §4.1)."""
        usable: list[tuple[int, int, str, Naptr]] = []
        for record in [each for each in self._lookup(target.host, NAPTR) if isinstance(each, Naptr)]:
            transport = _NAPTR_SERVICES.get(record.service.upper())
            if (
                transport in self.supported
                and transport is not None
                and (transport in _SECURE_TRANSPORTS or not target.secure)
                and record.flags.lower() in ("s", "a")
                and not record.regexp
                and record.replacement.rstrip(".")
            ):
                usable.append((record.order, record.preference, transport, record))
        usable.sort()
        hops: list[Hop] = []
        order = -1
        for record_order, _, transport, record in usable[: self.policy.max_hops]:
            if record_order != order and (hops or self._pending):
                break  # "once a match is found" no higher order is considered
            order = record_order
            if record.flags.lower() == "a":
                hops += self._addresses(record.replacement, None, transport, target)
            else:
                hops += self._by_records(self._srv(record.replacement, transport), transport, target)
        return hops

    def _by_srv(self, target: Target, transports: tuple[str, ...], default: str) -> list[Hop]:
        """RFC 3263 §4.2: SRV records of the target for each transport; if there are none, its addresses."""
        hops: list[Hop] = []
        found = False
        for transport in transports:
            records = self._srv(_SERVICES[transport] + target.host, transport)
            found = found or len(records) > 0
            hops += self._by_records(records, transport, target)
        if found or self._pending:
            return hops
        hops = self._addresses(target.host, None, default, target)
        if not hops:
            names = " or ".join(_SERVICES[transport] + target.host for transport in transports)
            self._reasons.append(f"no SRV record for {names}")
        return hops

    def _srv(self, name: str, transport: str) -> list[Srv]:
        """The SRV records of *name* in the order in which to try them."""
        records = [each for each in self._lookup(name, SRV) if isinstance(each, Srv)]
        if records and not any(_normal(each.target) for each in records):
            # RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
            self._reasons.append(f"{_normal(name)} says by its SRV record that it offers no SIP over {transport}")
        return records

    def _by_records(self, records: list[Srv], transport: str, target: Target) -> list[Hop]:
        hops: list[Hop] = []
        for record in records:
            host = _normal(record.target)
            if host and record.port:
                hops += self._addresses(host, record.port, transport, target)
            elif host:
                self._reasons.append(f"an SRV record sends to port 0 of {host}")
        return hops

    def _addresses(self, name: str, port: int | None, transport: str, target: Target) -> list[Hop]:
        """The addresses of a host; those of several families alternate, so that a broken one costs one attempt."""
        literal = canonical_address(name)
        if literal is not None:  # no host name, yet a common mistake in SRV records
            return [_hop(transport, literal, port, target)]
        by_family = [self._hosts(name, family) for family in self.policy.families]
        if not self._pending and not any(by_family):
            self._reasons.append(f"no address ({' or '.join(self.policy.families)}) for {_normal(name)}")
        hops: list[Hop] = []
        for index in range(max(map(len, by_family), default=0)):
            hops += [_hop(transport, each[index], port, target) for each in by_family if index < len(each)]
        return hops

    def _hosts(self, name: str, family: str) -> list[str]:
        return [each.host for each in self._lookup(name, family) if isinstance(each, Address)]

    def _default_transport(self, secure: bool) -> str:
        """What RFC 3263 §4.1 chooses when nothing else does, or the best of ours if we do not speak that."""
        if secure:
            return TLS if TLS in self.supported else WSS
        return UDP if UDP in self.supported else self.supported[0]

    def _nothing(self, reason: str) -> list[Hop]:
        self._reasons.append(reason)
        return []

    # -- answers -------------------------------------------------------------------------------------------------

    def _lookup(self, name: str, rtype: str) -> tuple[Record, ...]:
        """The records of a name; none, and a question, if they are not known yet."""
        question = Question(_normal(name), rtype)
        for _ in range(_MAX_ALIASES):
            records = self._answers.get(question)
            if records is None:
                self._ask(question)
                return ()
            if not records or not isinstance(records[0], Alias):
                return records
            question = Question(records[0].target, rtype)
        self._reasons.append(f"{_normal(name)} is an alias of an alias, more than {_MAX_ALIASES} deep")
        return ()

    def _ask(self, question: Question) -> None:
        if question in self._pending:
            return
        if self._asked >= self.policy.max_questions:
            self._answers[question] = ()
            self._failures.append(f"more than {self.policy.max_questions} DNS questions: gave up")
            return
        if not _is_domain_name(question.name):
            self._answers[question] = ()
            self._failures.append(f"{question.name[:64]!r} is not a domain name")
            return
        self._asked += 1
        self._pending.add(question)
        self._questions.append(question)

    def _take_records(self, question: Question, records: tuple[Record, ...]) -> None:
        """Keep what answers the question, in the order in which to use it."""
        rtype = question.rtype
        answers: list[Record] = []
        if rtype == SRV:
            # Only as many as will be used are put in order: whoever owns the name may answer with thousands.
            srv = order_srv(
                [each for each in records if isinstance(each, Srv)], self._identifiers, self.policy.max_hops
            )
            answers += srv
            self._take_additional(srv, records)
        elif rtype == NAPTR:
            answers += [each for each in records if isinstance(each, Naptr)]
        else:
            answers += _addresses_of(records, rtype)[: self.policy.max_hops]
        if not answers:
            aliases = {_normal(each.name): _normal(each.target) for each in records if isinstance(each, Alias)}
            name = question.name
            for _ in range(_MAX_ALIASES):
                name = aliases.get(name, name)
            if name != question.name:
                answers.append(Alias(question.name, name))
        self._answers[question] = tuple(answers)

    def _take_additional(self, srv: list[Srv], records: tuple[Record, ...]) -> None:
        """Addresses beside SRV records answer for their targets, and for nobody else's."""
        targets = {_normal(each.target) for each in srv}
        for rtype in self.policy.families:
            for name in targets:
                question = Question(name, rtype)
                own = [each for each in records if isinstance(each, Address) and _normal(each.name) == name]
                addresses = _addresses_of(tuple(own), rtype)[: self.policy.max_hops]
                if addresses and question not in self._answers and question not in self._pending:
                    self._answers[question] = tuple(addresses)


def order_srv(records: Iterable[Srv], identifiers: Identifiers | None, count: int | None = None) -> list[Srv]:
    """SRV records in the order in which to try them: by priority, then drawn by weight (RFC 2782, "Weight").

    Without *identifiers* the heavier one is first and the name decides, the same every time (RFC 3263 §4.4).  With
    *count* only that many are drawn; each draw costs a look at all that are left.
    """
    waiting = sorted(records, key=_srv_key)
    if count is None:
        count = len(waiting)
    if identifiers is None:
        return waiting[:count]
    ordered: list[Srv] = []
    while waiting and len(ordered) < count:
        priority = waiting[0].priority
        level = [each for each in waiting if each.priority == priority]
        waiting = waiting[len(level) :]
        level.sort(key=_srv_weight)  # "all those with weight 0 are placed at the beginning of the list"
        total = sum(map(_srv_weight, level))
        while level and len(ordered) < count:
            draw = int(identifiers.random() * (total + 1))  # "between 0 and the sum computed (inclusive)"
            index = 0
            running = level[0].weight
            while running < draw:
                index += 1
                running += level[index].weight
            total -= level[index].weight
            ordered.append(level.pop(index))
    return ordered


def canonical_address(host: str) -> str | None:
    """The usual spelling of a numeric IPv4 or IPv6 address, brackets off; None for a name."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" not in host and not host[-1:].isdigit():
        return None  # no address ends in a letter: spares names the exception
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _targets(given: Uri | Target | Sequence[Target], secure: bool) -> tuple[Target, ...]:
    if isinstance(given, Target):
        return (given._replace(secure=given.secure or secure),)
    if isinstance(given, (SipUri, TelUri, OpaqueUri)):
        return (Target.from_uri(given, secure=secure),)
    return tuple(given)


def _hop(transport: str, host: str, port: int | None, target: Target) -> Hop:
    name = _normal(target.name or target.host)
    ttl = (target.ttl or 1) if _is_multicast(host) else None  # RFC 3261 §18.1.1: 1 unless said otherwise
    return Hop(transport, host, port or DEFAULT_PORTS[transport], name, ttl)


def _is_multicast(address: str) -> bool:
    if ":" in address:
        return address.startswith("ff")
    return 224 <= int(address.partition(".")[0]) <= 239


def _reliable_first(hops: list[Hop], supported: tuple[str, ...]) -> list[Hop]:
    """RFC 3261 §18.1.1: for a large request TCP is tried wherever UDP would be, and UDP remains the last resort."""
    reliable = [hop for hop in hops if hop.transport != UDP]
    datagram = [hop for hop in hops if hop.transport == UDP]
    twins = [hop._replace(transport=TCP) for hop in datagram if hop.ttl is None] if TCP in supported else []
    return reliable + twins + datagram


def _addresses_of(records: tuple[Record, ...], rtype: str) -> list[Record]:
    """The addresses of one family, in the order of the answer."""
    found: list[Record] = []
    for record in records:
        if isinstance(record, Address):
            host = canonical_address(record.host)
            if host is not None and (":" in host) == (rtype == AAAA):
                found.append(Address(record.name, host))
    return found


def _normal(name: str) -> str:
    return name.lower().rstrip(".")


def _is_domain_name(name: str) -> bool:
    """Whether DNS can be asked for it (RFC 1035 §2.3.4)."""
    if not 0 < len(name) <= 253 or not name.isascii():
        return False
    return all(0 < len(label) <= 63 for label in name.split("."))


def _srv_key(record: Srv) -> tuple[int, int, str, int]:
    return (record.priority, -record.weight, record.target, record.port)


def _srv_weight(record: Srv) -> int:
    return record.weight
