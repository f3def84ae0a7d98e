"""Datagrams between hosts: delivery, links, partitions, refusals, addresses."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from typing import Any

import pytest

from switchroom.lab import Lab, LabError, Link, MemoryNetwork, RealWorldError, VirtualTimeLoop

ALICE, BOB, CAROL = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.fixture(autouse=True)
def hosts(lab: Lab) -> None:
    lab.host("alice", ALICE, "2001:db8::1")
    lab.host("bob", BOB, "2001:db8::2")
    lab.host("carol", CAROL)


async def test_a_datagram_arrives_after_the_latency(lab: Lab, datagrams: Any) -> None:
    alice, bob = await datagrams((ALICE, 5060)), await datagrams((BOB, 5060))
    alice.send(b"hello", (BOB, 5060))
    assert bob.got == []
    await asyncio.sleep(1)
    assert bob.got == [(0.01, b"hello", (ALICE, 5060))]
    assert [str(passage) for passage in lab.trace.passages] == [
        "0.000000 UDP alice 192.0.2.1:5060 > 192.0.2.2:5060 bob [delivered 0.010000] b'hello'"
    ]


async def test_ipv6_has_socket_addresses_of_four_fields(datagrams: Any) -> None:
    alice, bob = await datagrams(("2001:db8::1", 5060)), await datagrams(("2001:DB8:0::2", 5060))
    alice.send(b"hello", ("2001:db8::2", 5060, 0, 0))
    await asyncio.sleep(1)
    assert bob.got == [(0.01, b"hello", ("2001:db8::1", 5060, 0, 0))]
    assert bob.transport.get_extra_info("sockname") == ("2001:db8::2", 5060, 0, 0)


async def test_wildcard_addresses_belong_to_the_current_host(lab: Lab, datagrams: Any) -> None:
    with lab.network.hosts["alice"]:
        alice = await datagrams(("0.0.0.0", 5060))
        with lab.network.hosts["bob"]:
            bob = await datagrams(("::", 5060))
        other = await datagrams(("0.0.0.0", 0))
    assert other.transport.get_extra_info("sockname") == ("0.0.0.0", 49152)
    alice.send(b"4", (CAROL, 1))
    bob.send(b"6", ("2001:db8::1", 5060))
    alice.send(b"to itself", (ALICE, 49152))
    await asyncio.sleep(1)
    assert [(p.via_host, p.source[0]) for p in lab.trace.passages] == [
        ("alice", ALICE), ("bob", "2001:db8::2"), ("alice", ALICE)
    ]  # fmt: skip
    assert other.data == [b"to itself"]
    assert alice.data == []  # bound to IPv4 only


async def test_the_host_is_that_of_the_receiver_in_its_callbacks(lab: Lab, datagrams: Any) -> None:
    async def main() -> str:
        return lab.network.current_host().name

    found: list[str] = []
    bob = await datagrams((BOB, 5060))
    bob.datagram_received = lambda data, addr: found.append(lab.network.current_host().name)
    with lab.network.hosts["alice"]:
        alice = await datagrams(("0.0.0.0", 5060))
        task = asyncio.create_task(main())
    alice.send(b"x", (BOB, 5060))
    await asyncio.sleep(1)
    assert (await task, found) == ("alice", ["bob"])


async def test_many_tasks_may_be_on_one_host(lab: Lab) -> None:
    alice, bob = lab.network.hosts["alice"], lab.network.hosts["bob"]
    seen: list[str] = []

    async def visit(delay: float) -> None:
        with alice:
            await asyncio.sleep(delay)
            with bob:
                seen.append(lab.network.current_host().name)
                await asyncio.sleep(delay)
            seen.append(lab.network.current_host().name)

    async with asyncio.TaskGroup() as group:
        for delay in (1.0, 1.5, 1.2):
            group.create_task(visit(delay))
    assert sorted(seen) == ["alice"] * 3 + ["bob"] * 3
    with pytest.raises(LabError, match="on which host"):
        lab.network.current_host()


async def test_which_host_must_be_said_once_there_are_several(datagrams: Any) -> None:
    with pytest.raises(LabError, match=r"with network\.host"):
        await datagrams(("0.0.0.0", 5060))


async def test_one_host_needs_no_context() -> None:
    network = MemoryNetwork()
    only = network.host("only", ALICE)
    assert network.current_host() is only


async def test_loopback_stays_on_its_host(lab: Lab, datagrams: Any) -> None:
    with lab.network.hosts["alice"]:
        one, two = await datagrams(("127.0.0.1", 0)), await datagrams(("127.0.0.1", 0))
    elsewhere = await datagrams(("127.0.0.1", 49153))  # on a host of its own: nobody said which
    port = two.transport.get_extra_info("sockname")[1]
    assert port == 49153
    one.send(b"x", ("127.0.0.1", port))
    await asyncio.sleep(1)
    assert two.got == [(0.0, b"x", ("127.0.0.1", 49152))]
    assert elsewhere.got == []


async def test_ports_are_used_once(lab: Lab, datagrams: Any) -> None:
    alice = await datagrams((ALICE, 5060))
    for host in (ALICE, "0.0.0.0"):
        with lab.network.hosts["alice"], pytest.raises(OSError, match="Address already in use") as caught:
            await datagrams((host, 5060))
        assert caught.value.errno == errno.EADDRINUSE
    alice.transport.close()
    await datagrams((ALICE, 5060))


async def test_foreign_addresses_cannot_be_bound(datagrams: Any) -> None:
    with pytest.raises(OSError, match="no host has the address") as caught:
        await datagrams(("198.51.100.1", 5060))
    assert caught.value.errno == errno.EADDRNOTAVAIL


async def test_names_are_looked_up(lab: Lab, datagrams: Any) -> None:
    lab.dns.a("alice.example", ALICE)
    alice = await datagrams(("alice.example", 5060))
    assert alice.transport.get_extra_info("sockname") == (ALICE, 5060)


async def test_sockets_of_the_world_outside_are_refused(lab: Lab) -> None:
    with pytest.raises(RealWorldError, match="real sockets"):
        await lab.loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=object())
    with pytest.raises(RealWorldError, match="real sockets"):
        await lab.loop.create_connection(asyncio.Protocol, sock=object())
    with pytest.raises(RealWorldError, match="real sockets"):
        await lab.loop.create_server(asyncio.Protocol, sock=object())


async def test_an_address_or_a_family_is_needed(lab: Lab) -> None:
    with pytest.raises(ValueError, match="unexpected address family"):
        await lab.loop.create_datagram_endpoint(asyncio.DatagramProtocol)
    with lab.network.hosts["alice"]:
        transport, _ = await lab.loop.create_datagram_endpoint(asyncio.DatagramProtocol, family=socket.AF_INET)
    assert transport.get_extra_info("sockname") == ("0.0.0.0", 49152)


async def test_a_protocol_needs_its_methods(lab: Lab) -> None:
    with pytest.raises(TypeError, match="connection_made"):
        await lab.loop.create_datagram_endpoint(object, local_addr=(ALICE, 5060))  # type: ignore[arg-type]


# -- the transport ---------------------------------------------------------------------------------------------------


async def test_a_connected_endpoint_hears_its_peer_only(lab: Lab, datagrams: Any) -> None:
    bob, carol = await datagrams((BOB, 5060)), await datagrams((CAROL, 5060))
    with lab.network.hosts["alice"]:
        alice = await datagrams(remote_addr=(BOB, 5060))
    where = alice.transport.get_extra_info("sockname")
    assert where == (ALICE, 49152)
    assert alice.transport.get_extra_info("peername") == (BOB, 5060)
    alice.send(b"out")
    bob.send(b"in", where)
    carol.send(b"stray", where)
    await asyncio.sleep(1)
    assert (bob.data, alice.data) == ([b"out"], [b"in"])
    with pytest.raises(ValueError, match="must be None or"):
        alice.send(b"x", (CAROL, 5060))


async def test_what_cannot_be_sent(datagrams: Any) -> None:
    alice = await datagrams((ALICE, 5060))
    with pytest.raises(TypeError, match="bytes-like"):
        alice.send("text", (BOB, 5060))
    with pytest.raises(ValueError, match="no address"):
        alice.send(b"x")
    with pytest.raises(ValueError, match="does not appear"):
        alice.send(b"x", ("bob.example", 5060))
    alice.send(bytes(65508), (BOB, 5060))
    await asyncio.sleep(0)
    assert [error.errno for error in alice.errors] == [errno.EMSGSIZE]


async def test_no_address_of_the_family(lab: Lab, datagrams: Any) -> None:
    with lab.network.hosts["carol"]:
        carol = await datagrams(("0.0.0.0", 5060))
    carol.send(b"x", ("2001:db8::1", 5060))
    await asyncio.sleep(0)
    assert [error.errno for error in carol.errors] == [errno.ENETUNREACH]


async def test_closing(datagrams: Any) -> None:
    alice, bob = await datagrams((ALICE, 5060)), await datagrams((BOB, 5060))
    bob.send(b"under way", (ALICE, 5060))
    alice.transport.close()
    alice.transport.abort()
    assert alice.transport.is_closing()
    alice.send(b"too late", (BOB, 5060))
    await asyncio.sleep(1)
    assert (alice.lost, alice.got, bob.got) == ([None], [], [])


async def test_the_rest_of_the_transport(datagrams: Any) -> None:
    alice = await datagrams((ALICE, 5060))
    transport = alice.transport
    transport.set_write_buffer_limits(high=1)  # type: ignore[attr-defined]
    assert transport.get_write_buffer_size() == 0  # type: ignore[attr-defined]
    assert transport.get_write_buffer_limits() == (16384, 65536)  # type: ignore[attr-defined]
    assert transport.get_protocol() is alice  # type: ignore[attr-defined]


# -- links -----------------------------------------------------------------------------------------------------------


async def burst(lab: Lab, datagrams: Any, link: Link, count: int = 1000, spacing: float = 0.01) -> list[int]:
    """Send numbered datagrams and return the numbers in the order of their arrival."""
    lab.network.link = link
    alice, bob = await datagrams((ALICE, 0)), await datagrams((BOB, 0))
    to = bob.transport.get_extra_info("sockname")
    for number in range(count):
        alice.send(number.to_bytes(2, "big"), to)
        await asyncio.sleep(spacing)
    await asyncio.sleep(10)
    return [int.from_bytes(data, "big") for data in bob.data]


async def test_loss(lab: Lab, datagrams: Any) -> None:
    arrived = await burst(lab, datagrams, Link(loss=0.3))
    assert 640 <= len(arrived) <= 760
    assert arrived == sorted(set(arrived))
    lost = [passage for passage in lab.trace.passages if passage.delivered_at is None]
    assert len(lost) == 1000 - len(arrived)
    assert all(passage.outcomes[0].what == "lost" for passage in lost)


async def test_duplication(lab: Lab, datagrams: Any) -> None:
    arrived = await burst(lab, datagrams, Link(duplication=0.2))
    assert set(arrived) == set(range(1000))
    assert 1140 <= len(arrived) <= 1260
    twice = [p for p in lab.trace.passages if [what for _, what in p.outcomes] == ["delivered", "duplicate"]]
    assert len(twice) == len(arrived) - 1000


async def test_reordering(lab: Lab, datagrams: Any) -> None:
    arrived = await burst(lab, datagrams, Link(reordering=0.1, reorder_delay=0.1))
    assert sorted(arrived) == list(range(1000))
    overtaken = sum(later < earlier for earlier, later in itertools.pairwise(arrived))
    assert 50 <= overtaken <= 150
    assert 60 <= sum(passage.late for passage in lab.trace.passages) <= 140


async def test_jitter_alone_keeps_the_order(lab: Lab, datagrams: Any) -> None:
    arrived = await burst(lab, datagrams, Link(jitter=0.1))
    assert arrived == list(range(1000))
    delays = [p.outcomes[0].time - p.time for p in lab.trace.passages]
    assert min(delays) >= 0.01 - 1e-9
    assert max(delays) <= 0.11 + 1e-9
    assert max(delays) - min(delays) > 0.05


async def test_a_reordered_datagram_is_late_but_in_its_bounds(lab: Lab, datagrams: Any) -> None:
    await burst(lab, datagrams, Link(latency=0.2, reordering=1.0, reorder_delay=0.5), 200)
    delays = [p.outcomes[0].time - p.time for p in lab.trace.passages]
    assert min(delays) >= 0.2 - 1e-9
    assert max(delays) <= 0.7 + 1e-9


async def test_the_most_specific_link_counts(lab: Lab, datagrams: Any) -> None:
    network = lab.network
    network.link = Link(latency=1.0)
    network.set_link("alice", "bob", Link(latency=2.0), both_ways=False)
    network.set_link("bob", "*", Link(latency=3.0), both_ways=False)
    network.set_link("*", "alice", Link(latency=4.0), both_ways=False)
    network.set_link("carol", "bob", Link(latency=5.0))
    expected = {
        ("alice", "bob"): 2.0, ("alice", "carol"): 1.0, ("bob", "alice"): 3.0, ("bob", "carol"): 5.0,
        ("carol", "alice"): 4.0, ("carol", "bob"): 5.0,
    }  # fmt: skip
    assert {pair: network.link_between(*pair).latency for pair in expected} == expected


@pytest.mark.parametrize("field", ["loss", "duplication", "reordering"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_probabilities_have_bounds(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is a probability"):
        Link(**{field: value})


@pytest.mark.parametrize("field", ["latency", "jitter", "reorder_delay"])
def test_times_are_not_negative(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is a time"):
        Link(**{field: -1.0})


async def test_the_size_of_a_packet(lab: Lab, datagrams: Any) -> None:
    """1500 bytes of MTU hold 1472 of payload on IPv4 and 1452 on IPv6."""
    lab.network.link = Link(oversize="drop")
    alice, bob = await datagrams((ALICE, 5060)), await datagrams((BOB, 5060))
    alice6, bob6 = await datagrams(("2001:db8::1", 5060)), await datagrams(("2001:db8::2", 5060))
    for size in (1472, 1473):
        alice.send(bytes(size), (BOB, 5060))
    for size in (1452, 1453):
        alice6.send(bytes(size), ("2001:db8::2", 5060))
    await asyncio.sleep(1)
    assert [len(data) for data in bob.data + bob6.data] == [1472, 1452]
    assert [p.outcomes[0].what for p in lab.trace.passages if p.delivered_at is None] == ["over the MTU"] * 2
    assert alice.errors == []


async def test_an_oversized_packet_may_be_an_error(lab: Lab, datagrams: Any) -> None:
    lab.network.link = Link(oversize="error")
    alice = await datagrams((ALICE, 5060))
    alice.send(bytes(1473), (BOB, 5060))
    assert [error.errno for error in alice.errors] == [errno.EMSGSIZE]


async def test_every_fragment_may_be_lost(lab: Lab, datagrams: Any) -> None:
    lab.network.link = Link(loss=0.1)
    alice, bob = await datagrams((ALICE, 5060)), await datagrams((BOB, 5060))
    for _ in range(500):
        alice.send(bytes(14000), (BOB, 5060))
    await asyncio.sleep(1)
    assert 130 <= len(bob.got) <= 220  # 0.9 ** 10 is 0.35


# -- partitions and silence ------------------------------------------------------------------------------------------


async def reach(lab: Lab, datagrams: Any) -> set[tuple[str, str]]:
    """Who reaches whom."""
    names = {ALICE: "alice", BOB: "bob", CAROL: "carol"}
    found = set()
    ends = {address: await datagrams((address, 0)) for address in names}
    for sender in ends.values():
        for receiver in ends.values():
            if sender is not receiver:
                sender.send(b"x", receiver.transport.get_extra_info("sockname"))
    await asyncio.sleep(1)
    for address, end in ends.items():
        found |= {(names[source[0]], names[address]) for _, _, source in end.got}
        end.transport.close()
    return found


ALL = {(a, b) for a in ("alice", "bob", "carol") for b in ("alice", "bob", "carol") if a != b}


async def test_partitions(lab: Lab, datagrams: Any) -> None:
    assert await reach(lab, datagrams) == ALL
    lab.network.partition({"alice"}, {"bob"})
    assert await reach(lab, datagrams) == ALL - {("alice", "bob"), ("bob", "alice")}
    lab.network.heal()
    lab.network.partition({"alice", "bob"})
    assert await reach(lab, datagrams) == {("alice", "bob"), ("bob", "alice")}
    lab.network.heal()
    lab.network.partition({"alice"}, {"bob", "carol"}, both_ways=False)
    assert await reach(lab, datagrams) == ALL - {("alice", "bob"), ("alice", "carol")}
    lab.network.heal()
    assert await reach(lab, datagrams) == ALL


async def test_a_host_that_is_down(lab: Lab, datagrams: Any) -> None:
    lab.network.hosts["bob"].up = False
    assert await reach(lab, datagrams) == {("alice", "carol"), ("carol", "alice")}
    lab.network.hosts["bob"].up = True
    assert await reach(lab, datagrams) == ALL


async def test_a_host_that_goes_down_while_a_packet_is_under_way(lab: Lab, datagrams: Any) -> None:
    alice, bob = await datagrams((ALICE, 5060)), await datagrams((BOB, 5060))
    alice.send(b"x", (BOB, 5060))
    lab.network.hosts["bob"].up = False
    await asyncio.sleep(1)
    assert bob.got == []
    assert lab.trace.passages[0].outcomes[0].what == "bob is down"


async def test_no_route(lab: Lab, datagrams: Any) -> None:
    alice = await datagrams((ALICE, 5060))
    alice.send(b"x", ("203.0.113.99", 5060))
    await asyncio.sleep(1)
    assert [what for _, what in lab.trace.passages[0].outcomes] == ["no route"]


async def test_a_refused_port_is_told_to_connected_endpoints(lab: Lab, datagrams: Any) -> None:
    plain = await datagrams((ALICE, 5060))
    with lab.network.hosts["alice"]:
        connected = await datagrams(remote_addr=(BOB, 9))
    plain.send(b"x", (BOB, 9))
    connected.send(b"x")
    await asyncio.sleep(0.015)
    assert connected.errors == []  # the way back takes its time
    await asyncio.sleep(0.01)
    assert [type(error) for error in connected.errors] == [ConnectionRefusedError]
    assert plain.errors == []
    lab.network.icmp_to_all = True
    plain.send(b"x", (BOB, 9))
    await asyncio.sleep(1)
    assert [type(error) for error in plain.errors] == [ConnectionRefusedError]


async def test_a_firewall_does_not_refuse(lab: Lab, datagrams: Any) -> None:
    lab.network.hosts["bob"].refuses = False
    with lab.network.hosts["alice"]:
        alice = await datagrams(remote_addr=(BOB, 9))
    alice.send(b"x")
    await asyncio.sleep(1)
    assert alice.errors == []
    assert lab.trace.passages[0].outcomes[0].what == "nobody listens"


async def test_a_crash_takes_the_sockets(lab: Lab, datagrams: Any) -> None:
    alice, bob = await datagrams((ALICE, 5060)), await datagrams((BOB, 5060))
    lab.network.hosts["bob"].crash()
    alice.send(b"x", (BOB, 5060))
    await asyncio.sleep(1)
    assert [type(error) for error in bob.lost] == [ConnectionAbortedError]
    assert bob.got == []
    await datagrams((BOB, 5060))  # after the reboot


async def test_roaming(lab: Lab, datagrams: Any) -> None:
    with lab.network.hosts["alice"]:
        alice = await datagrams(("0.0.0.0", 5060))
    bob = await datagrams((BOB, 5060))
    alice.send(b"before", (BOB, 5060))
    lab.network.hosts["alice"].set_addresses("198.51.100.7")
    alice.send(b"after", (BOB, 5060))
    await asyncio.sleep(1)
    assert [(data, addr[0]) for _, data, addr in bob.got] == [(b"before", ALICE), (b"after", "198.51.100.7")]


# -- names -----------------------------------------------------------------------------------------------------------


def test_names_and_addresses_are_unique(lab: Lab) -> None:
    with pytest.raises(LabError, match="host alice already"):
        lab.host("alice", "192.0.2.50")
    with pytest.raises(LabError, match="belongs to bob already"):
        lab.host("dave", BOB)


def test_a_network_without_a_loop_says_so() -> None:
    with pytest.raises(LabError, match="no loop yet"):
        MemoryNetwork().time()


# -- the seed --------------------------------------------------------------------------------------------------------


def trace_of(seed: int | str, link: Link) -> str:
    async def main(lab: Lab) -> None:
        lab.host("alice", ALICE)
        lab.host("bob", BOB)
        ends = []
        for address in (ALICE, BOB):
            transport, _ = await lab.loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(address, 5060))
            ends.append(transport)
        for number in range(100):
            ends[number % 2].sendto(b"%d" % number, ((BOB, ALICE)[number % 2], 5060))
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        for transport in ends:
            transport.close()

    with Lab(seed, link=link) as lab:
        lab.run(main(lab))
        return str(lab.trace)


BAD = Link(jitter=0.01, loss=0.2, duplication=0.1, reordering=0.1)


def test_the_same_seed_gives_the_same_trace() -> None:
    assert trace_of(7, BAD) == trace_of(7, BAD)


def test_another_seed_gives_another_trace() -> None:
    assert len({trace_of(seed, BAD) for seed in range(10)}) == 10


def test_a_link_decides_alike_whatever_the_other_settings_are() -> None:
    """So that one can take duplication out of a failing run without changing what is lost in it."""

    def lost(link: Link) -> list[bool]:
        with Lab(3, link=link) as lab:
            loop = VirtualTimeLoop(lab.network)
            loop.close()
        return ["lost" in line for line in trace_of(3, link).splitlines()]

    assert lost(Link(loss=0.2)) == lost(BAD)
