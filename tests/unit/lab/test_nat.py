"""NAT boxes: mapping and filtering by table, bindings and their ends, hairpins, levels."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.lab.conftest import StreamRecorder

from switchroom.lab import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence,
    Lab,
    LabError,
    NatBehaviour,
    NatBox,
)

INSIDE, OUTSIDE, FIRST, SECOND = "192.168.7.10", "203.0.113.2", "203.0.113.10", "203.0.113.11"

# What each of the kinds does, as measured on real boxes: the mapping towards (the same end, another port of the same
# host, another host) is the same or not; what comes in from (the end sent to, another port of it, another host).
KINDS: list[tuple[str, NatBehaviour, tuple[bool, bool], tuple[bool, bool, bool]]] = [
    ("full cone", FULL_CONE, (True, True), (True, True, True)),
    ("address-restricted", ADDRESS_RESTRICTED, (True, True), (True, True, False)),
    ("port-restricted", PORT_RESTRICTED, (True, True), (True, False, False)),
    ("symmetric", SYMMETRIC, (False, False), (True, False, False)),
]

INDEPENDENT, ADDRESS, BOTH = Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS, Dependence.ADDRESS_AND_PORT
SAME_MAPPING = {INDEPENDENT: (True, True), ADDRESS: (True, False), BOTH: (False, False)}
LETS_IN = {INDEPENDENT: (True, True, True), ADDRESS: (True, True, False), BOTH: (True, False, False)}


def behind(lab: Lab, behaviour: NatBehaviour = FULL_CONE) -> NatBox:
    """The topology of the table: a client behind a box, and two servers."""
    lab.host("first", FIRST)
    lab.host("second", SECOND)
    box = lab.network.nat("home", OUTSIDE, behaviour=behaviour)
    box.host("client", INSIDE)
    return box


async def mapping(datagrams: Any) -> tuple[bool, bool]:
    """Whether the outside port is the same towards another port, and towards another host."""
    client = await datagrams((INSIDE, 5060))
    ends = [await datagrams((FIRST, 1000)), await datagrams((FIRST, 2000)), await datagrams((SECOND, 1000))]
    for port, host in ((1000, FIRST), (2000, FIRST), (1000, SECOND)):
        client.send(b"x", (host, port))
    await asyncio.sleep(1)
    seen = [end.got[0][2] for end in ends]
    assert {host for host, _ in seen} == {OUTSIDE}
    return seen[0] == seen[1], seen[0] == seen[2]


async def filtering(datagrams: Any) -> tuple[bool, bool, bool]:
    """Whether the end sent to, another port of it, and another host get through to the client."""
    client = await datagrams((INSIDE, 5070))
    ends = [await datagrams((FIRST, 3000)), await datagrams((FIRST, 4000)), await datagrams((SECOND, 3000))]
    client.send(b"x", (FIRST, 3000))
    await asyncio.sleep(1)
    outside = ends[0].got[0][2]
    for number, end in enumerate(ends):
        end.send(b"%d" % number, outside)
    await asyncio.sleep(1)
    one, two, three = (b"%d" % number in client.data for number in range(3))
    return one, two, three


@pytest.mark.parametrize(("name", "behaviour", "same", "in_"), KINDS, ids=[kind[0] for kind in KINDS])
async def test_the_four_classic_kinds(
    lab: Lab, datagrams: Any, name: str, behaviour: NatBehaviour, same: tuple[bool, bool], in_: tuple[bool, bool, bool]
) -> None:
    behind(lab, behaviour)
    assert await mapping(datagrams) == (same[0], same[1])
    assert await filtering(datagrams) == in_


@pytest.mark.parametrize("mapped", list(Dependence))
@pytest.mark.parametrize("filtered", list(Dependence))
async def test_every_mapping_with_every_filter(
    lab: Lab, datagrams: Any, mapped: Dependence, filtered: Dependence
) -> None:
    behind(lab, NatBehaviour(mapping=mapped, filtering=filtered))
    assert await mapping(datagrams) == SAME_MAPPING[mapped]
    assert await filtering(datagrams) == LETS_IN[filtered]


async def test_a_blocked_packet_says_why(lab: Lab, datagrams: Any) -> None:
    behind(lab, PORT_RESTRICTED)
    client, stranger = await datagrams((INSIDE, 5060)), await datagrams((SECOND, 5060))
    stranger.send(b"x", (OUTSIDE, 5060))
    await asyncio.sleep(1)
    client.send(b"x", (FIRST, 5060))
    stranger.send(b"x", (OUTSIDE, 5060))
    await asyncio.sleep(1)
    reasons = [p.outcomes[0].what for p in lab.trace.passages if p.via_host == "second"]
    assert reasons == ["no binding at home", "filtered at home"]
    assert client.got == []


async def test_ports_are_preserved_where_they_are_free(lab: Lab, datagrams: Any) -> None:
    box = behind(lab)
    box.host("other", "192.168.7.11")
    server = await datagrams((FIRST, 1000))
    for host in (INSIDE, "192.168.7.11"):
        client = await datagrams((host, 5060))
        client.send(b"x", (FIRST, 1000))
    await asyncio.sleep(1)
    (_, _, one), (_, _, two) = server.got
    assert one == (OUTSIDE, 5060)
    assert two[0] == OUTSIDE
    assert two[1] != 5060
    assert box.bindings == {("UDP", (INSIDE, 5060)): one, ("UDP", ("192.168.7.11", 5060)): two}


async def test_ports_that_are_not_preserved(lab: Lab, datagrams: Any) -> None:
    behind(lab, NatBehaviour(preserve_ports=False))
    server, client = await datagrams((FIRST, 1000)), await datagrams((INSIDE, 5060))
    client.send(b"x", (FIRST, 1000))
    await asyncio.sleep(1)
    assert server.got[0][2][1] != 5060


async def test_an_idle_binding_is_forgotten(lab: Lab, datagrams: Any) -> None:
    box = behind(lab, NatBehaviour(udp_timeout=30.0))
    server, client = await datagrams((FIRST, 1000)), await datagrams((INSIDE, 5060))
    for _ in range(3):  # kept alive from inside
        client.send(b"out", (FIRST, 1000))
        await asyncio.sleep(29)
    server.send(b"in time", (OUTSIDE, 5060))
    await asyncio.sleep(5)  # what comes in does not keep it alive
    assert client.data == [b"in time"]
    server.send(b"late", (OUTSIDE, 5060))
    await asyncio.sleep(1)
    assert client.data == [b"in time"]
    assert box.bindings == {}
    client.send(b"out", (FIRST, 1000))
    server.send(b"again", (OUTSIDE, 5060))
    await asyncio.sleep(1)
    assert client.data == [b"in time", b"again"]


async def test_inbound_packets_may_refresh(lab: Lab, datagrams: Any) -> None:
    behind(lab, NatBehaviour(udp_timeout=30.0, inbound_refresh=True))
    server, client = await datagrams((FIRST, 1000)), await datagrams((INSIDE, 5060))
    client.send(b"out", (FIRST, 1000))
    for number in range(10):
        await asyncio.sleep(20)
        server.send(b"%d" % number, (OUTSIDE, 5060))
    await asyncio.sleep(1)
    assert len(client.got) == 10


async def test_a_permission_ends_by_itself(lab: Lab, datagrams: Any) -> None:
    behind(lab, NatBehaviour(filtering=Dependence.ADDRESS, udp_timeout=30.0))
    first, second = await datagrams((FIRST, 1000)), await datagrams((SECOND, 1000))
    client = await datagrams((INSIDE, 5060))
    client.send(b"x", (SECOND, 1000))
    for _ in range(3):
        await asyncio.sleep(20)
        client.send(b"x", (FIRST, 1000))
    first.send(b"first", (OUTSIDE, 5060))
    second.send(b"second", (OUTSIDE, 5060))
    await asyncio.sleep(1)
    assert client.data == [b"first"]


async def test_a_port_of_a_dead_binding_is_used_again(lab: Lab, datagrams: Any) -> None:
    box = behind(lab, NatBehaviour(udp_timeout=30.0))
    box.host("other", "192.168.7.11")
    server = await datagrams((FIRST, 1000))
    one, two = await datagrams((INSIDE, 5060)), await datagrams(("192.168.7.11", 5060))
    one.send(b"1", (FIRST, 1000))
    await asyncio.sleep(31)
    two.send(b"2", (FIRST, 1000))
    one.send(b"3", (FIRST, 1000))
    await asyncio.sleep(1)
    ports = [addr[1] for _, _, addr in server.got]
    assert ports[:2] == [5060, 5060]
    assert ports[2] != 5060
    server.send(b"for two", (OUTSIDE, 5060))
    server.send(b"for one", (OUTSIDE, ports[2]))
    await asyncio.sleep(1)
    assert (one.data, two.data) == ([b"for one"], [b"for two"])


async def test_rebinding(lab: Lab, datagrams: Any) -> None:
    box = behind(lab)
    server, client = await datagrams((FIRST, 1000)), await datagrams((INSIDE, 5060))
    client.send(b"before", (FIRST, 1000))
    await asyncio.sleep(1)
    box.rebind()
    server.send(b"lost", (OUTSIDE, 5060))
    await asyncio.sleep(1)
    client.send(b"after", (FIRST, 1000))
    await asyncio.sleep(1)
    before, after = (addr for _, _, addr in server.got)
    assert before == (OUTSIDE, 5060)
    assert after[1] != 5060
    assert client.got == []
    box.rebind("203.0.113.3")
    client.send(b"moved", (FIRST, 1000))
    server.send(b"to the old address", after)
    await asyncio.sleep(1)
    assert server.got[2][2][0] == "203.0.113.3"
    assert client.got == []


@pytest.mark.parametrize("hairpin", [False, True])
async def test_hairpins(lab: Lab, datagrams: Any, hairpin: bool) -> None:
    box = behind(lab, NatBehaviour(hairpin=hairpin))
    box.host("other", "192.168.7.11")
    await datagrams((FIRST, 1000))
    one, two = await datagrams((INSIDE, 5060)), await datagrams(("192.168.7.11", 5070))
    two.send(b"x", (FIRST, 1000))  # so that it has an outside port
    one.send(b"hello", (OUTSIDE, 5070))
    await asyncio.sleep(1)
    assert [(data, addr) for _, data, addr in two.got] == ([(b"hello", (OUTSIDE, 5060))] if hairpin else [])
    if not hairpin:
        assert lab.trace.passages[1].outcomes[0].what == "no hairpin at home"


async def test_neighbours_need_no_translation(lab: Lab, datagrams: Any) -> None:
    box = behind(lab)
    box.host("other", "192.168.7.11")
    one, two = await datagrams((INSIDE, 5060)), await datagrams(("192.168.7.11", 5060))
    one.send(b"x", ("192.168.7.11", 5060))
    await asyncio.sleep(1)
    assert [(round(at, 6), data, addr) for at, data, addr in two.got] == [(0.0005, b"x", (INSIDE, 5060))]
    assert box.bindings == {}


async def test_private_addresses_mean_nothing_outside(lab: Lab, datagrams: Any) -> None:
    behind(lab)
    await datagrams((INSIDE, 5060))
    server = await datagrams((FIRST, 1000))
    server.send(b"x", (INSIDE, 5060))
    await asyncio.sleep(1)
    assert lab.trace.passages[0].outcomes[0].what == "no route"


async def test_the_same_private_address_behind_two_boxes(lab: Lab, datagrams: Any) -> None:
    behind(lab)
    box = lab.network.nat("office", "203.0.113.3")
    office = box.host("colleague", INSIDE)
    server = await datagrams((FIRST, 1000))
    with pytest.raises(LabError, match="client, colleague all have the address"):
        await datagrams((INSIDE, 5060))
    for host in (office, lab.network.hosts["client"]):
        with host:
            (await datagrams((INSIDE, 5060))).send(host.name.encode(), (FIRST, 1000))
    await asyncio.sleep(1)
    assert [(data, addr[0]) for _, data, addr in server.got] == [(b"colleague", "203.0.113.3"), (b"client", OUTSIDE)]


async def test_two_levels(lab: Lab, datagrams: Any) -> None:
    carrier = lab.network.nat("carrier", OUTSIDE, behaviour=SYMMETRIC)
    home = carrier.nat("home", "100.64.0.2", behaviour=FULL_CONE)
    home.host("client", INSIDE)
    lab.host("first", FIRST)
    lab.host("second", SECOND)
    client, one, two = await datagrams((INSIDE, 5060)), await datagrams((FIRST, 1000)), await datagrams((SECOND, 1000))
    client.send(b"x", (FIRST, 1000))
    client.send(b"x", (SECOND, 1000))
    await asyncio.sleep(1)
    assert one.got[0][2][0] == two.got[0][2][0] == OUTSIDE
    assert one.got[0][2] != two.got[0][2]
    assert home.bindings == {("UDP", (INSIDE, 5060)): ("100.64.0.2", 5060)}
    one.send(b"back", one.got[0][2])
    two.send(b"wrong way", one.got[0][2])
    await asyncio.sleep(1)
    assert client.data == [b"back"]


async def test_port_forwarding(lab: Lab, datagrams: Any) -> None:
    box = behind(lab, PORT_RESTRICTED)
    box.forward("UDP", 6000, (INSIDE, 5060))
    client, stranger = await datagrams((INSIDE, 5060)), await datagrams((SECOND, 1000))
    stranger.send(b"hello", (OUTSIDE, 6000))
    await asyncio.sleep(3600)
    box.rebind()
    client.send(b"answer", (SECOND, 1000))
    await asyncio.sleep(1)
    assert client.data == [b"hello"]
    assert stranger.got[0][2] == (OUTSIDE, 6000)
    with pytest.raises(LabError, match="uses UDP port 6000 already"):
        box.forward("UDP", 6000, (INSIDE, 5061))


async def test_addresses_of_the_other_family_do_not_pass(lab: Lab, datagrams: Any) -> None:
    box = lab.network.nat("home", "2001:db8::1")
    box.host("client", INSIDE)
    lab.host("first", FIRST)
    client = await datagrams((INSIDE, 5060))
    client.send(b"x", (FIRST, 1000))
    await asyncio.sleep(1)
    assert lab.trace.passages[0].outcomes[0].what == "no outside address at home"


async def test_a_box_that_is_down(lab: Lab, datagrams: Any) -> None:
    box = behind(lab)
    box.up = False
    client = await datagrams((INSIDE, 5060))
    client.send(b"x", (FIRST, 1000))
    await asyncio.sleep(1)
    assert lab.trace.passages[0].outcomes[0].what == "home is down"


async def test_partitions_know_who_is_behind_the_box(lab: Lab, datagrams: Any) -> None:
    box = behind(lab)
    box.host("other", "192.168.7.11")
    server = await datagrams((FIRST, 1000))
    lab.network.partition({"client"}, {"first"})
    for host in (INSIDE, "192.168.7.11"):
        (await datagrams((host, 5060))).send(host.encode(), (FIRST, 1000))
    await asyncio.sleep(1)
    assert server.data == [b"192.168.7.11"]


async def test_streams_through_a_box(lab: Lab) -> None:
    box = behind(lab, PORT_RESTRICTED)
    accepted: list[StreamRecorder] = []

    def accept() -> StreamRecorder:
        accepted.append(StreamRecorder(lab))
        return accepted[-1]

    server = await lab.loop.create_server(accept, FIRST, 5060)
    with lab.network.hosts["client"]:
        _, client = await lab.loop.create_connection(lambda: StreamRecorder(lab), FIRST, 5060)
    await asyncio.sleep(1)
    assert accepted[0].transport.get_extra_info("peername")[0] == OUTSIDE
    accepted[0].transport.write(b"from outside")
    await asyncio.sleep(1)
    assert client.data == b"from outside"
    # A reboot of the box: the client's next segment comes from another port, where the server knows no connection.
    box.rebind()
    client.transport.write(b"from inside")
    await asyncio.sleep(1)
    assert isinstance(client.error, ConnectionResetError)
    assert accepted[0].told == ["made"]  # half open
    accepted[0].transport.write(b"anybody there?")
    await asyncio.sleep(2000)
    assert isinstance(accepted[0].error, TimeoutError)
    server.close()


async def test_nobody_connects_to_a_box(lab: Lab) -> None:
    behind(lab)
    with lab.network.hosts["first"], pytest.raises(TimeoutError):
        await lab.loop.create_connection(lambda: StreamRecorder(lab), OUTSIDE, 5060)


async def test_an_idle_stream_is_forgotten_too(lab: Lab) -> None:
    behind(lab, NatBehaviour(tcp_timeout=600.0))
    accepted: list[StreamRecorder] = []

    def accept() -> StreamRecorder:
        accepted.append(StreamRecorder(lab))
        return accepted[-1]

    server = await lab.loop.create_server(accept, FIRST, 5060)
    with lab.network.hosts["client"]:
        await lab.loop.create_connection(lambda: StreamRecorder(lab), FIRST, 5060)
    await asyncio.sleep(601)
    accepted[0].transport.write(b"x")
    await asyncio.sleep(1000)
    assert isinstance(accepted[0].error, TimeoutError)
    server.close()
