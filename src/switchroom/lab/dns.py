"""DNS zones in memory, and the resolver that asks them."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from ..net.dns import Answer
from ..sip.errors import TransportError
from ..sip.locating import Naptr, Srv

if TYPE_CHECKING:
    from .network import MemoryNetwork

Failure = Literal["SERVFAIL", "timeout"]

A: Final = "A"
AAAA: Final = "AAAA"
SRV: Final = "SRV"
NAPTR: Final = "NAPTR"
CNAME: Final = "CNAME"

_MAX_ALIASES: Final = 8
_SOCKET_TYPES: Final = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}


class Query(NamedTuple):
    """A question that was asked, for tests that count them."""

    time: float
    name: str
    kind: str


class Zones:
    """All the zones of a network; it is a `net.dns.Resolver`, too.

    Names are compared without regard to case and to a final dot.  Times to live are in seconds.
    """

    def __init__(self, network: MemoryNetwork) -> None:
        self.delay = 0.0
        """How long an answer takes."""
        self.timeout = 5.0
        """How long a question waits for servers that do not answer."""
        self.negative_ttl = 60.0
        """How long the absence of a record may be kept (RFC 2308)."""
        self.queries: list[Query] = []
        """Every question that reached the zones."""
        self._network = network
        self._records: dict[tuple[str, str], tuple[list[Any], float]] = {}
        self._failures: dict[tuple[str, str], Failure] = {}

    # -- contents -----------------------------------------------------------------------------------------------

    def a(self, name: str, *addresses: str, ttl: float = 300.0) -> None:
        """Add A records."""
        self._add(name, A, addresses, ttl)

    def aaaa(self, name: str, *addresses: str, ttl: float = 300.0) -> None:
        """Add AAAA records."""
        self._add(name, AAAA, addresses, ttl)

    def srv(self, name: str, target: str, port: int, *, priority: int = 0, weight: int = 0, ttl: float = 300.0) -> None:
        """Add an SRV record (RFC 2782), such as `srv("_sip._udp.example.com", "a.example.com", 5060)`."""
        self._add(name, SRV, [Srv(priority, weight, port, _normal(target))], ttl)

    def naptr(
        self,
        name: str,
        service: str,
        replacement: str,
        *,
        order: int = 0,
        preference: int = 0,
        flags: str = "s",
        regexp: str = "",
        ttl: float = 300.0,
    ) -> None:
        """Add a NAPTR record (RFC 3403), such as `naptr("example.com", "SIP+D2U", "_sip._udp.example.com")`."""
        self._add(name, NAPTR, [Naptr(order, preference, flags, service, regexp, _normal(replacement))], ttl)

    def cname(self, name: str, target: str, *, ttl: float = 300.0) -> None:
        """Make *name* an alias of *target*."""
        self._add(name, CNAME, [_normal(target)], ttl)

    def remove(self, name: str, kind: str | None = None) -> None:
        """Take the records of *name* away (those of one type, or all)."""
        for key in [key for key in self._records if key[0] == _normal(name) and kind in (None, key[1])]:
            del self._records[key]

    def fail(self, name: str, how: Failure = "SERVFAIL", kind: str | None = None) -> None:
        """Make questions for *name* (of one type, or of all) fail from now on."""
        self._failures[_normal(name), kind or "*"] = how

    def recover(self, name: str, kind: str | None = None) -> None:
        """End what `fail` began."""
        self._failures.pop((_normal(name), kind or "*"), None)

    def name_of(self, address: str) -> str | None:
        """A name that has *address*, as a reverse zone would know it."""
        for (name, kind), (records, _) in self._records.items():
            if kind in (A, AAAA) and address in records:
                return name
        return None

    # -- questions ----------------------------------------------------------------------------------------------

    async def resolve(self, name: str, kind: str) -> Answer:
        """The records of type *kind* of *name*, aliases followed; raises `TransportError` when the zone fails."""
        name = _normal(name)
        self.queries.append(Query(self._network.time(), name, kind))
        failure = self._failures.get((name, kind)) or self._failures.get((name, "*"))
        if failure == "timeout":
            await asyncio.sleep(self.timeout)
            raise TransportError(f"DNS: no answer for {kind} {name} within {self.timeout:g} s")
        if self.delay:
            await asyncio.sleep(self.delay)
        if failure is not None:
            raise TransportError(f"DNS: {failure} for {kind} {name}")
        ttl = self.negative_ttl
        for _ in range(_MAX_ALIASES):
            found = self._records.get((name, kind))
            if found is not None:
                records, record_ttl = found
                return Answer(tuple(records), record_ttl)
            alias = self._records.get((name, CNAME))
            if alias is None:
                return Answer((), ttl)
            name, ttl = alias[0][0], alias[1]
        raise TransportError(f"DNS: {name} is an alias of an alias of an alias without end")

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, kind: int = 0, proto: int = 0
    ) -> list[tuple[Any, ...]]:
        """As `socket.getaddrinfo`, from the zones; ports are numbers."""
        text = host.decode() if isinstance(host, bytes) else host
        number = int(port or 0)
        addresses: list[str] = []
        if not text or text == "localhost":
            addresses = ["127.0.0.1", "::1"]
        else:
            try:
                addresses = [str(ip_address(text))]
            except ValueError:
                try:
                    for wanted, record in ((socket.AF_INET6, AAAA), (socket.AF_INET, A)):
                        if family in (0, wanted):
                            addresses += map(str, (await self.resolve(text, record)).records)
                except TransportError as error:
                    raise socket.gaierror(socket.EAI_AGAIN, f"Temporary failure in name resolution: {error}") from None
        found: list[tuple[Any, ...]] = []
        for address in addresses:
            its_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            if family not in (0, its_family):
                continue
            for socket_type, protocol in _SOCKET_TYPES.items():
                if kind in (0, socket_type) and proto in (0, protocol):
                    where = (address, number, 0, 0) if its_family == socket.AF_INET6 else (address, number)
                    found.append((its_family, socket_type, protocol, "", where))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    def _add(self, name: str, kind: str, records: Any, ttl: float) -> None:
        known, _ = self._records.setdefault((_normal(name), kind), ([], ttl))
        known.extend(records)
        self._records[_normal(name), kind] = (known, ttl)


def _normal(name: str) -> str:
    return name.rstrip(".").lower()
