"""The resolver against a name server on loopback, and the cache against a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from switchroom.net.dns import Answer, DnsCache, DnsResolver
from switchroom.sip.errors import TransportError
from switchroom.sip.locating import Address, LookupFailed, Naptr, Question, Srv

SOA = ("example.test.", 300, "IN", "SOA", "ns.example.test. admin.example.test. 1 2 3 4 42")
ZONE: dict[tuple[str, str], list[tuple[str, int, str, str, str]]] = {
    ("_sip._udp.example.test.", "SRV"): [
        ("_sip._udp.example.test.", 120, "IN", "SRV", "10 60 5080 one.example.test."),
    ],
    ("example.test.", "NAPTR"): [
        ("example.test.", 90, "IN", "NAPTR", '50 40 "s" "SIPS+D2T" "" _sips._tcp.example.test.'),
    ],
    ("one.example.test.", "A"): [("one.example.test.", 60, "IN", "A", "192.0.2.1")],
    ("one.example.test.", "AAAA"): [("one.example.test.", 60, "IN", "AAAA", "2001:db8::1")],
    ("alias.example.test.", "A"): [
        ("alias.example.test.", 30, "IN", "CNAME", "one.example.test."),
        ("one.example.test.", 60, "IN", "A", "192.0.2.1"),
    ],
}


class NameServer(asyncio.DatagramProtocol):
    """Answers from ZONE; `broken.test` gets SERVFAIL, `silent.test` nothing."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # it is one

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        name = query.question[0].name.to_text()
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        if name == "silent.test.":
            return
        if name == "broken.test.":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif (name, kind) in ZONE:
            for owner, ttl, _, rtype, text in ZONE[name, kind]:
                response.answer.append(dns.rrset.from_text(owner, ttl, "IN", rtype, text))
        else:
            if not any(owner == name for owner, _ in ZONE):
                response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority.append(dns.rrset.from_text(*SOA))
        self.transport.sendto(response.to_wire(), addr)


@pytest.fixture
async def resolver() -> AsyncIterator[DnsResolver]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    yield DnsResolver(["127.0.0.1"], port=port, timeout=0.5, hosts=None)
    transport.close()


async def test_records_of_each_kind(resolver: DnsResolver) -> None:
    assert await resolver.resolve("_sip._udp.example.test", "SRV") == Answer(
        (Srv(10, 60, 5080, "one.example.test"),), 120.0
    )
    assert await resolver.resolve("example.test", "NAPTR") == Answer(
        (Naptr(50, 40, "s", "SIPS+D2T", "", "_sips._tcp.example.test"),), 90.0
    )
    assert (await resolver.resolve("one.example.test", "A")).records == (Address("one.example.test", "192.0.2.1"),)
    assert (await resolver.resolve("one.example.test", "AAAA")).records == (Address("one.example.test", "2001:db8::1"),)


async def test_an_alias_is_followed_and_the_shortest_time_to_live_counts(resolver: DnsResolver) -> None:
    assert await resolver.resolve("alias.example.test", "A") == Answer(
        (Address("alias.example.test", "192.0.2.1"),), 30.0
    )


async def test_absence_is_an_answer_and_holds_as_long_as_the_soa_says(resolver: DnsResolver) -> None:
    assert await resolver.resolve("nowhere.example.test", "A") == Answer((), 42.0)
    assert await resolver.resolve("one.example.test", "SRV") == Answer((), 42.0)


async def test_a_server_that_fails_or_says_nothing_is_an_error(resolver: DnsResolver) -> None:
    with pytest.raises(TransportError, match="SERVFAIL or REFUSED"):
        await resolver.resolve("broken.test", "A")
    with pytest.raises(TransportError, match="did not answer in time"):
        await resolver.resolve("silent.test", "A")
    with pytest.raises(TransportError):
        await resolver.resolve("a" * 64 + ".test", "A")


async def test_the_hosts_file_and_localhost_come_first(resolver: DnsResolver, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 pbx PBX.example.test # ours\n\n2001:db8::7 pbx\nnonsense pbx\n")
    own = DnsResolver(["127.0.0.1"], port=1, timeout=0.2, hosts=str(hosts))
    assert (await own.resolve("Pbx.Example.Test", "A")).records == (Address("Pbx.Example.Test", "192.0.2.7"),)
    assert (await own.resolve("pbx", "AAAA")).records == (Address("pbx", "2001:db8::7"),)
    assert (await own.resolve("pbx.example.test", "AAAA")).records == ()
    for absent in (str(tmp_path / "missing"), None):
        own = DnsResolver(["127.0.0.1"], port=1, timeout=0.2, hosts=absent)
        assert (await own.resolve("localhost", "A")).records == (Address("localhost", "127.0.0.1"),)
        assert (await own.resolve("localhost", "AAAA")).records == (Address("localhost", "::1"),)
    with pytest.raises(TransportError):
        await own.resolve("example.test", "A")


# -- the cache ---------------------------------------------------------------------------------------------------------


class Counting:
    """A resolver that counts its questions."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def resolve(self, name: str, kind: str) -> Answer:
        self.asked.append(name)
        await self.gate.wait()
        return self.answer(name)


def found(name: str) -> Answer:
    return Answer(("192.0.2.1",), 30.0)


async def test_an_answer_is_kept_for_its_time_to_live() -> None:
    now = 100.0
    resolver = Counting(found)
    cache = DnsCache(resolver, lambda: now)
    question = Question("a.test", "A")
    assert cache.known(question) is None
    for _ in range(3):
        assert await cache.ask(question) == (Address("a.test", "192.0.2.1"),)
    now = 129.9
    assert cache.known(question) is not None
    now = 130.0
    assert cache.known(question) is None
    await cache.ask(question)
    assert resolver.asked == ["a.test", "a.test"]


async def test_a_time_to_live_is_believed_up_to_an_hour() -> None:
    now = 0.0
    cache = DnsCache(Counting(lambda name: Answer((), 1e9)), lambda: now)
    await cache.ask(Question("a.test", "A"))
    now = DnsCache.LONGEST
    assert cache.known(Question("a.test", "A")) is None


async def test_a_failure_is_kept_for_a_moment() -> None:
    def fail(name: str) -> Answer:
        raise TransportError("nobody answers")

    now = 0.0
    resolver = Counting(fail)
    cache = DnsCache(resolver, lambda: now)
    assert await cache.ask(Question("a.test", "A")) == LookupFailed("nobody answers")
    assert cache.known(Question("a.test", "A")) == LookupFailed("nobody answers")
    now = DnsCache.FAILURE
    assert cache.known(Question("a.test", "A")) is None


async def test_one_question_at_a_time_is_asked_once() -> None:
    resolver = Counting(found)
    resolver.gate.clear()
    cache = DnsCache(resolver, lambda: 0.0)
    asking = [asyncio.create_task(cache.ask(Question("a.test", "A"))) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()  # one who stops waiting does not take the answer from the others
    resolver.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [(Address("a.test", "192.0.2.1"),)] * 4
    assert resolver.asked == ["a.test"]


async def test_the_cache_is_bounded() -> None:
    cache = DnsCache(Counting(found), lambda: 0.0, capacity=3)
    for number in range(10):
        await cache.ask(Question(f"{number}.test", "A"))
    assert len(cache) == 3
    assert cache.known(Question("9.test", "A")) is not None
    assert cache.known(Question("0.test", "A")) is None


async def test_closing_gives_up_what_is_under_way() -> None:
    resolver = Counting(found)
    resolver.gate.clear()
    cache = DnsCache(resolver, lambda: 0.0)
    asking = asyncio.create_task(cache.ask(Question("a.test", "A")))
    await asyncio.sleep(0)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_an_answer_of_thousands_of_records_is_cut_short() -> None:
    cache = DnsCache(
        Counting(lambda name: Answer(tuple(f"192.0.2.{each % 256}" for each in range(10_000)), 60.0)), lambda: 0.0
    )
    answer = await cache.ask(Question("a.test", "A"))
    assert not isinstance(answer, LookupFailed)
    assert len(answer) == DnsCache.MOST
