"""Zones: records, aliases, failures, and what getaddrinfo makes of them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from switchroom.lab import Lab
from switchroom.net.dns import Answer, Resolver
from switchroom.sip.errors import TransportError
from switchroom.sip.locating import Naptr, Srv


async def test_records_of_every_type(lab: Lab) -> None:
    dns = lab.dns
    dns.a("a.example.", "192.0.2.1", "192.0.2.2", ttl=60)
    dns.aaaa("A.Example", "2001:db8::1")
    dns.srv("_sip._udp.example", "A.example.", 5062, priority=1, weight=2)
    dns.srv("_sip._udp.example", "b.example", 5063, ttl=30)
    dns.naptr("example", "SIP+D2U", "_sip._udp.example", order=10, preference=20)
    resolver: Resolver = dns
    assert await resolver.resolve("A.EXAMPLE", "A") == Answer(("192.0.2.1", "192.0.2.2"), 60)
    assert await resolver.resolve("a.example", "AAAA") == Answer(("2001:db8::1",), 300)
    assert await resolver.resolve("_sip._udp.example", "SRV") == Answer(
        (Srv(1, 2, 5062, "a.example"), Srv(0, 0, 5063, "b.example")), 30
    )
    assert await resolver.resolve("example", "NAPTR") == Answer(
        (Naptr(10, 20, "s", "SIP+D2U", "", "_sip._udp.example"),), 300
    )


async def test_what_does_not_exist_is_an_empty_answer(lab: Lab) -> None:
    lab.dns.a("a.example", "192.0.2.1")
    assert await lab.dns.resolve("b.example", "A") == Answer((), 60)
    assert await lab.dns.resolve("a.example", "AAAA") == Answer((), 60)
    lab.dns.remove("a.example", "A")
    assert (await lab.dns.resolve("a.example", "A")).records == ()


async def test_removing_a_name(lab: Lab) -> None:
    lab.dns.a("a.example", "192.0.2.1")
    lab.dns.aaaa("a.example", "2001:db8::1")
    lab.dns.remove("a.example")
    assert (await lab.dns.resolve("a.example", "A")).records == ()
    assert (await lab.dns.resolve("a.example", "AAAA")).records == ()


async def test_aliases(lab: Lab) -> None:
    lab.dns.cname("www.example", "a.example", ttl=10)
    lab.dns.cname("old.example", "www.example")
    lab.dns.a("a.example", "192.0.2.1")
    assert (await lab.dns.resolve("old.example", "A")).records == ("192.0.2.1",)
    assert await lab.dns.resolve("www.example", "AAAA") == Answer((), 10)
    lab.dns.cname("x.example", "y.example")
    lab.dns.cname("y.example", "x.example")
    with pytest.raises(TransportError, match="without end"):
        await lab.dns.resolve("x.example", "A")


async def test_failures(lab: Lab) -> None:
    lab.dns.a("a.example", "192.0.2.1")
    lab.dns.fail("a.example")
    with pytest.raises(TransportError, match=r"SERVFAIL for A a\.example"):
        await lab.dns.resolve("a.example", "A")
    lab.dns.recover("a.example")
    lab.dns.fail("a.example", "timeout", "SRV")
    assert (await lab.dns.resolve("a.example", "A")).records == ("192.0.2.1",)
    with pytest.raises(TransportError, match="no answer for SRV"):
        await lab.dns.resolve("a.example", "SRV")
    assert lab.time() == lab.dns.timeout == 5.0


async def test_answers_take_time_and_questions_are_counted(lab: Lab) -> None:
    lab.dns.delay = 0.25
    await lab.dns.resolve("a.example", "A")
    await lab.dns.resolve("a.example", "SRV")
    assert lab.time() == 0.5
    assert [(query.time, query.name, query.kind) for query in lab.dns.queries] == [
        (0.0, "a.example", "A"), (0.25, "a.example", "SRV")
    ]  # fmt: skip


# -- getaddrinfo -----------------------------------------------------------------------------------------------------


async def addresses(host: Any, port: Any, **options: Any) -> list[tuple[Any, ...]]:
    loop = asyncio.get_running_loop()
    return [found[4] for found in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, **options)]


async def test_getaddrinfo_asks_the_zones(lab: Lab) -> None:
    lab.dns.a("a.example", "192.0.2.1")
    lab.dns.aaaa("a.example", "2001:db8::1")
    assert await addresses("a.example", 5060) == [("2001:db8::1", 5060, 0, 0), ("192.0.2.1", 5060)]
    assert await addresses(b"a.example", "5060", family=socket.AF_INET) == [("192.0.2.1", 5060)]
    assert await addresses("a.example", None, family=socket.AF_INET6) == [("2001:db8::1", 0, 0, 0)]
    assert await asyncio.get_running_loop().getaddrinfo("a.example", 1, family=socket.AF_INET) == [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("192.0.2.1", 1)),
        (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP, "", ("192.0.2.1", 1)),
    ]
    assert len(await asyncio.get_running_loop().getaddrinfo("192.0.2.1", 1, proto=socket.IPPROTO_UDP)) == 1


async def test_getaddrinfo_without_questions(lab: Lab) -> None:
    assert await addresses("192.0.2.9", 5060) == [("192.0.2.9", 5060)]
    assert await addresses("2001:DB8::0:9", 5060) == [("2001:db8::9", 5060, 0, 0)]
    assert await addresses("localhost", 1) == [("127.0.0.1", 1), ("::1", 1, 0, 0)]
    assert await addresses(None, 1) == [("127.0.0.1", 1), ("::1", 1, 0, 0)]
    assert lab.dns.queries == []


async def test_getaddrinfo_fails_as_the_real_one_does(lab: Lab) -> None:
    with pytest.raises(socket.gaierror) as caught:
        await addresses("nobody.example", 1)
    assert caught.value.errno == socket.EAI_NONAME
    with pytest.raises(socket.gaierror) as caught:
        await addresses("192.0.2.1", 1, family=socket.AF_INET6)
    assert caught.value.errno == socket.EAI_NONAME
    lab.dns.fail("a.example")
    with pytest.raises(socket.gaierror) as caught:
        await addresses("a.example", 1)
    assert caught.value.errno == socket.EAI_AGAIN


async def test_getnameinfo(lab: Lab) -> None:
    lab.dns.a("a.example", "192.0.2.1")
    loop = asyncio.get_running_loop()
    assert await loop.getnameinfo(("192.0.2.1", 5060)) == ("a.example", "5060")
    assert await loop.getnameinfo(("192.0.2.1", 5060), socket.NI_NUMERICHOST) == ("192.0.2.1", "5060")
    assert await loop.getnameinfo(("192.0.2.2", 5060)) == ("192.0.2.2", "5060")
