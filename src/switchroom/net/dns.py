"""DNS for locating SIP servers (RFC 3263): the `Resolver` protocol, dnspython behind it, and a bounded cache."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver
import dns.rrset
from dns.rdtypes.IN.NAPTR import NAPTR as NaptrData
from dns.rdtypes.IN.SRV import SRV as SrvData

from ..sip.errors import TransportError
from ..sip.locating import Address, LookupFailed, Naptr, Question, Record, Srv, canonical_address


class Answer(NamedTuple):
    """What a name has of one record type: `records` in any order (none: the name or the type does not exist).

    Records are the types of `sip.locating`; an A or AAAA record may be the plain address, too.
    """

    records: tuple[Record | str, ...]
    ttl: float
    """How long the answer, or the absence, may be kept: seconds."""


class Resolver(Protocol):
    """Where the endpoint's DNS questions go."""

    async def resolve(self, name: str, kind: str) -> Answer:
        """Ask for the records of type *kind* ("NAPTR", "SRV", "A", "AAAA") of *name*.

        Raises `TransportError` when no server answered (a name that does not exist is an empty answer).
        """
        ...


# -- dnspython -------------------------------------------------------------------------------------------------------


class DnsResolver:
    """Asks name servers by dnspython: those of the system, or those given.

    Addresses of names in the hosts file come from there, as they do for every other program.  What is looked up is
    absolute: no search domains.
    """

    NEGATIVE_TTL: Final = 60.0
    """For absences about which no SOA record says how long they hold (RFC 2308 §5)."""
    HOSTS_TTL: Final = 10.0

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        port: int = 53,
        timeout: float = 5.0,
        hosts: str | None = "/etc/hosts",
    ) -> None:
        """*timeout* is in seconds for one question, all servers and repetitions included.

        Without *nameservers* those of the system (/etc/resolv.conf) are asked; where there are none every question
        that the hosts file does not answer fails.
        """
        self._hosts = hosts
        self._resolver: dns.asyncresolver.Resolver | None
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=nameservers is None)
        except dns.exception.DNSException:  # no resolv.conf, or nothing in it
            self._resolver = None
            return
        if nameservers is not None:
            self._resolver.nameservers = list(nameservers)
            self._resolver.port = port
        self._resolver.lifetime = timeout

    async def resolve(self, name: str, kind: str) -> Answer:
        """See `Resolver`."""
        if kind in ("A", "AAAA"):
            addresses = self._from_hosts(name, kind)
            if addresses is not None:
                return Answer(addresses, self.HOSTS_TTL)
        if self._resolver is None:
            raise TransportError("no name server is configured: name one in /etc/resolv.conf or in the settings")
        try:
            answer = await self._resolver.resolve(
                dns.name.from_text(name), kind, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN as error:
            return Answer((), self._negative_ttl(error))
        except dns.resolver.LifetimeTimeout as error:
            raise TransportError("the name servers did not answer in time") from error
        except dns.resolver.NoNameservers as error:
            raise TransportError("no name server gave an answer (SERVFAIL or REFUSED)") from error
        except (dns.exception.DNSException, OSError) as error:
            raise TransportError(str(error) or type(error).__name__) from error
        chain = answer.chaining_result
        if answer.rrset is None:
            return Answer((), float(chain.minimum_ttl) if answer.response.authority else self.NEGATIVE_TTL)
        return Answer(_records(answer.rrset, name), float(chain.minimum_ttl))

    def _negative_ttl(self, error: dns.resolver.NXDOMAIN) -> float:
        for response in error.kwargs.get("responses", {}).values():
            for rrset in response.authority:
                if rrset.rdtype == dns.rdatatype.SOA:
                    return float(min(rrset.ttl, rrset[0].minimum))
        return self.NEGATIVE_TTL

    def _from_hosts(self, name: str, kind: str) -> tuple[Record, ...] | None:
        """The addresses of *name* in the hosts file; None when it is not there."""
        wanted = name.lower()
        found: list[str] = []
        try:
            if self._hosts is not None and os.path.exists(self._hosts):
                with open(self._hosts, encoding="utf-8", errors="replace") as lines:
                    for line in lines:
                        words = line.partition("#")[0].split()
                        if wanted in (word.lower() for word in words[1:]):
                            found.append(words[0])
        except OSError:
            pass  # not readable for us: then DNS alone answers
        if not found and wanted == "localhost":  # RFC 6761 §6.3: never asked of a name server
            found = ["127.0.0.1", "::1"]
        if not found:
            return None
        addresses = [host for host in map(canonical_address, found) if host is not None]
        return tuple(Address(name, host) for host in addresses if (":" in host) == (kind == "AAAA"))


def _records(rrset: dns.rrset.RRset, name: str) -> tuple[Record, ...]:
    records: list[Record] = []
    for data in rrset:
        if isinstance(data, SrvData):
            records.append(Srv(data.priority, data.weight, data.port, _text(data.target)))
        elif isinstance(data, NaptrData):
            records.append(
                Naptr(
                    data.order,
                    data.preference,
                    _decoded(data.flags),
                    _decoded(data.service),
                    _decoded(data.regexp),
                    _text(data.replacement),
                )
            )
        elif data.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            records.append(Address(name, data.to_text()))
    return tuple(records)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


def _decoded(value: bytes) -> str:
    return value.decode("ascii", "replace")


# -- cache -----------------------------------------------------------------------------------------------------------


class DnsCache:
    """The answers of a resolver for as long as they may be kept, failures for a moment; one query per question.

    Bounded: the answer that was asked for first is forgotten first.
    """

    LONGEST: Final = 3600.0
    """Seconds that an answer is kept at most, whatever its time to live says."""
    FAILURE: Final = 5.0
    """Seconds that a failure is kept, so that a dead name server is not asked once per request (RFC 2308 §7)."""

    MOST: Final = 256
    """Records of an answer that are kept: one message can hold thousands, and a search uses a few of them."""

    __slots__ = ("_capacity", "_clock", "_known", "_resolver", "_under_way")

    def __init__(self, resolver: Resolver, clock: Callable[[], float], capacity: int = 4096) -> None:
        self._resolver = resolver
        self._clock = clock
        self._capacity = capacity
        self._known: dict[Question, tuple[tuple[Record, ...] | LookupFailed, float]] = {}
        self._under_way: dict[Question, asyncio.Task[tuple[Record, ...] | LookupFailed]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def known(self, question: Question) -> tuple[Record, ...] | LookupFailed | None:
        """The answer, if there is one that still holds."""
        entry = self._known.get(question)
        if entry is None:
            return None
        if entry[1] <= self._clock():
            del self._known[question]
            return None
        return entry[0]

    async def ask(self, question: Question) -> tuple[Record, ...] | LookupFailed:
        """The answer from the cache or the resolver.  Never raises for what a resolver reports."""
        known = self.known(question)
        if known is not None:
            return known
        task = self._under_way.get(question)
        if task is None:
            task = asyncio.get_running_loop().create_task(
                self._resolve(question), name=f"DNS {question.rtype} {question.name}"
            )
            self._under_way[question] = task
            task.add_done_callback(partial(self._answered, question))
        return await asyncio.shield(task)  # one who stops waiting must not take the answer from the others

    def _answered(self, question: Question, task: asyncio.Task[tuple[Record, ...] | LookupFailed]) -> None:
        self._under_way.pop(question, None)
        if not task.cancelled():
            task.exception()  # those who wait have it; nobody waiting any more is no mistake

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resolve(self, question: Question) -> tuple[Record, ...] | LookupFailed:
        answer: tuple[Record, ...] | LookupFailed
        try:
            records, ttl = await self._resolver.resolve(question.name, question.rtype)
            answer = tuple(
                Address(question.name, each) if isinstance(each, str) else each for each in records[: self.MOST]
            )
        except (TransportError, OSError) as error:
            answer, ttl = LookupFailed(str(error)), self.FAILURE
        self._known.pop(question, None)
        if len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[question] = (answer, self._clock() + min(ttl, self.LONGEST))
        return answer
