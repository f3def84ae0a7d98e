"""The lab as a whole, and scenarios over many seeds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

import switchroom.lab
from switchroom.lab import EPOCH, Certificate, DeadlockError, Lab, LabError, Link, SeededIdentifiers, TimeLimitError
from switchroom.lab.ladder import unframed
from switchroom.lab.seeds import SEEDS_VARIABLE, run_over_seeds, seed_count
from switchroom.net.dns import Answer
from switchroom.net.endpoint import Endpoint
from switchroom.net.incoming import IncomingRequest
from switchroom.sip.errors import TransportError
from switchroom.sip.headers import Address
from switchroom.sip.message import Request
from switchroom.sip.uri import parse_uri

INVITE = b"INVITE sip:bob@example.com SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n"


async def exchange(lab: Lab) -> None:
    """Alice sends ten messages to bob."""
    lab.host("alice", "192.0.2.1")
    lab.host("bob", "192.0.2.2")
    ends = []
    for address in ("192.0.2.1", "192.0.2.2"):
        transport, _ = await lab.loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(address, 5060))
        ends.append(transport)
    for _ in range(10):
        ends[0].sendto(INVITE + lab.identifiers.token().encode(), ("192.0.2.2", 5060))
        await asyncio.sleep(lab.identifiers.random())
    lab.note("over")
    await asyncio.sleep(1)
    for transport in ends:
        transport.close()


def test_time_goes_on_from_run_to_run() -> None:
    with Lab() as lab:
        assert lab.run(asyncio.sleep(5, "result")) == "result"
        lab.run(asyncio.sleep(5))
        assert (lab.time(), lab.wall()) == (10.0, EPOCH + 10.0)


def test_closing_cancels_what_still_runs() -> None:
    ended: list[float] = []

    async def forever(lab: Lab) -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append(lab.time())

    async def main(lab: Lab) -> asyncio.Task[None]:
        task = asyncio.create_task(forever(lab))
        await asyncio.sleep(1)
        return task

    lab = Lab()
    task = lab.run(main(lab))
    lab.close()
    lab.close()
    assert ended == [1.0]
    assert task.cancelled()
    assert lab.loop.is_closed()


def test_an_unused_lab_closes_its_loop() -> None:
    lab = Lab()
    lab.close()
    assert lab.loop.is_closed()


def test_nothing_fails_unseen() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(1, lambda: 1 // 0)
        await asyncio.sleep(2)

    async def complain() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "something is odd"})

    with Lab() as lab:
        with pytest.raises(ExceptionGroup) as caught:
            lab.run(main())
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        with pytest.raises(ExceptionGroup) as caught:
            lab.run(complain())
        assert [str(error) for error in caught.value.exceptions] == ["something is odd"]
        assert isinstance(caught.value.exceptions[0], LabError)
        lab.run(asyncio.sleep(1))


def test_a_week_is_the_limit() -> None:
    with Lab() as lab, pytest.raises(TimeLimitError):
        lab.run(asyncio.sleep(8 * 86400))
    with Lab(time_limit=60) as lab, pytest.raises(TimeLimitError):
        lab.run(asyncio.sleep(61))


def test_a_deadlock_comes_through() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with Lab() as lab, pytest.raises(DeadlockError, match="main"):
        lab.run(main())


def test_identifiers_follow_the_seed() -> None:
    one, again, other = SeededIdentifiers(1), SeededIdentifiers(1), SeededIdentifiers(2)
    tokens = [one.token() for _ in range(100)]
    assert tokens == [again.token() for _ in range(100)]
    assert tokens != [other.token() for _ in range(100)]
    assert len(set(tokens)) == 100
    assert {len(token) for token in tokens} == {16}
    assert len(one.token(128)) == 32
    assert len(one.token(65)) == 17
    assert 0.0 <= one.random() < 1.0


def test_the_ladder_of_a_run() -> None:
    with Lab(5, link=Link(loss=0.3, duplication=0.4, reordering=0.6)) as lab:
        lab.run(exchange(lab))
    text = lab.ladder()
    assert "alice" in text.splitlines()[0]
    assert text.count("INVITE (1)") == 10
    assert "(over)" in text
    assert "[refused]" not in text
    for mark in ("✗", "[twice]", "[late]"):
        assert mark in text, mark
    assert lab.ladder(ascii_only=True).isascii()
    assert lab.ladder_svg().startswith("<svg")
    assert "seed 5" in lab.ladder_svg()


def test_the_ladder_says_why_nothing_arrived() -> None:
    async def main(lab: Lab) -> None:
        lab.host("alice", "192.0.2.1")
        lab.host("bob", "192.0.2.2")
        transport, _ = await lab.loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("192.0.2.1", 5060))
        transport.sendto(INVITE, ("192.0.2.2", 9))
        transport.sendto(INVITE, ("203.0.113.9", 9))
        lab.network.partition({"alice"})
        transport.sendto(INVITE, ("192.0.2.2", 9))
        await asyncio.sleep(1)
        lab.network.heal()
        transport.sendto(INVITE, ("192.0.2.2", 9))

    with Lab() as lab:
        lab.run(main(lab))
        _, refused, no_route, partition, under_way = lab.ladder(width=150).splitlines()
    assert "[refused]" in refused
    assert "[no route]" in no_route
    assert "203.0.113.9" in lab.ladder().splitlines()[0]
    assert "[partition]" in partition
    assert "[under way]" in under_way


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [0, 5, 125, 126, 300, 70_000])
def test_websocket_frames_are_opened(size: int, masked: bool) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    bits = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x82, bits | size))
    elif size < 65536:
        head = bytes((0x82, bits | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x82, bits | 127)) + size.to_bytes(8, "big")
    key = b"\x01\x80\xff\x37"
    body = key + bytes(octet ^ key[n % 4] for n, octet in enumerate(payload)) if masked else payload
    assert unframed(head + body) == payload
    assert unframed(head + body + b"x") == head + body + b"x"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x88\x02\x03\xe8", "WebSocket close"),
        (b"\x89\x00", "WebSocket ping"),
        (b"\x8a\x00", "WebSocket pong"),
        (b"\x02\x01x", b"\x02\x01x"),  # a fragment
        (b"", b""),
        (b"\x82", b"\x82"),
        (b"\x82\xfe", b"\x82\xfe"),
        (b"INVITE sip:x SIP/2.0", b"INVITE sip:x SIP/2.0"),
    ],
)
def test_other_frames(data: bytes, shown: bytes | str) -> None:
    assert unframed(data) == shown


SCRIPT = """
import asyncio
from switchroom.lab import Lab, Link
from tests.unit.lab.test_lab import exchange
with Lab(9, link=Link(loss=0.3, jitter=0.01, duplication=0.2, reordering=0.2)) as lab:
    lab.run(exchange(lab))
print(lab.trace)
"""


def test_a_seed_means_the_same_in_every_process() -> None:
    """Hash randomization, which differs from process to process, must not reach the order of anything."""
    outputs = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."}, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count("UDP alice") == 10


# -- many seeds ------------------------------------------------------------------------------------------------------


def test_the_first_seed_that_fails_tells_how_to_repeat_it() -> None:
    tried: list[Any] = []

    async def scenario(lab: Lab) -> None:
        tried.append(lab.seed)
        await exchange(lab)
        assert lab.seed != 3

    with pytest.raises(AssertionError) as caught:
        run_over_seeds(scenario, range(20), replay=lambda seed: f"try {seed} again")
    assert tried == [0, 1, 2, 3]
    (note,) = caught.value.__notes__
    assert "seed 3, failed at" in note
    assert "replay with: try 3 again" in note
    assert "INVITE (1)" in note


def test_the_check_belongs_to_the_run() -> None:
    checked: list[Any] = []

    def check(lab: Lab) -> None:
        checked.append(lab.seed)
        assert lab.seed != "b"

    with pytest.raises(AssertionError) as caught:
        run_over_seeds(exchange, ["a", "b", "c"], link=Link(loss=1.0), check=check)
    assert checked == ["a", "b"]
    assert "seed b" in caught.value.__notes__[0]
    assert "replay" not in caught.value.__notes__[0]


def test_how_many_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SEEDS_VARIABLE, raising=False)
    assert seed_count(20) == 20
    monkeypatch.setenv(SEEDS_VARIABLE, "10000")
    assert seed_count(20) == 10000
    monkeypatch.setenv(SEEDS_VARIABLE, "0")
    with pytest.raises(ValueError, match="at least one seed"):
        seed_count(20)


# -- the package -----------------------------------------------------------------------------------------------------


def test_every_public_name_can_be_imported() -> None:
    for name in switchroom.lab.__all__:
        assert getattr(switchroom.lab, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        switchroom.lab.Nothing  # noqa: B018


def test_the_plugin_loads_nothing_but_itself() -> None:
    """It is loaded by every pytest run wherever Switchroom is installed."""
    script = (
        "import sys, switchroom.lab.pytest_plugin;"
        "print(sorted(name for name in sys.modules if name.startswith('switchroom')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['switchroom', 'switchroom.lab', 'switchroom.lab.pytest_plugin']"


# -- endpoints -------------------------------------------------------------------------------------------------------


def options(target: str) -> Request:
    uri = parse_uri(target)
    someone = Address("", parse_uri("sip:someone@example.com")).with_param("tag", "1")
    return Request.build("OPTIONS", uri, from_=someone, to=Address("", uri), call_id="1@example.com", cseq=1)


def answering(lab: Lab, *arguments: Any, **named: Any) -> Endpoint:
    endpoint = lab.endpoint(*arguments, **named)

    @endpoint.on("OPTIONS")
    def answer(incoming: IncomingRequest) -> None:
        incoming.respond(200)

    return endpoint


async def test_an_endpoint_on_an_address(lab: Lab) -> None:
    bob = answering(lab, "192.0.2.2", name="bob")
    async with lab.endpoint("192.0.2.1") as alice, bob:
        response = await alice.request(options("sip:192.0.2.2"))
        assert response.status == 200
        assert [str(listener) for listener in bob.listeners] == ["udp:192.0.2.2:5060", "tcp:192.0.2.2:5060"]
    assert set(lab.network.hosts) == {"192.0.2.1", "bob"}
    assert [(passage.via_host, passage.to_host) for passage in lab.trace.passages] == [
        ("192.0.2.1", "bob"), ("bob", "192.0.2.1")
    ]  # fmt: skip


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "ws", "wss"])
async def test_an_endpoint_for_every_transport(lab: Lab, transport: str) -> None:
    host = lab.host("bob", "192.0.2.2", "2001:db8::2")
    certificate = Certificate(("example.com",))
    lab.dns.a("example.com", "192.0.2.2")
    bob = answering(lab, host, [f"{transport}:5070"], certificate=certificate)
    lab.host("alice", "192.0.2.1", "2001:db8::1")
    async with lab.endpoint("192.0.2.1", [transport], certificate=Certificate(("alice.example",))) as alice, bob:
        assert [listener.host for listener in bob.listeners] == ["192.0.2.2", "2001:db8::2"]
        assert {listener.port for listener in bob.listeners} == {5070}
        response = await alice.request(options(f"sip:example.com:5070;transport={transport}"))
        assert response.status == 200


@pytest.mark.parametrize(
    "certificate",
    [
        Certificate(("other.example",)),
        Certificate(("*.com",)),
        Certificate(("example.com",), not_after=EPOCH - 1),
        Certificate(("example.com",), issuer="Nobody"),
    ],
)
async def test_an_endpoint_refuses_a_peer_that_is_not_whom_it_wants(lab: Lab, certificate: Certificate) -> None:
    lab.dns.a("example.com", "192.0.2.2")
    async with lab.endpoint("192.0.2.1") as alice, answering(lab, "192.0.2.2", ["tls"], certificate=certificate):
        with pytest.raises(TransportError):
            await alice.request(options("sip:example.com;transport=tls"))


def test_endpoints_have_identifiers_of_their_own() -> None:
    def branches(count: int) -> list[bytes]:
        async def main(lab: Lab) -> None:
            async with answering(lab, "192.0.2.2"):
                for _ in range(count):
                    async with lab.endpoint("192.0.2.1") as alice:
                        await alice.request(options("sip:192.0.2.2"))

        with Lab(4) as lab:
            lab.run(main(lab))
            return [passage.data for passage in lab.trace.passages if passage.via_host == "192.0.2.1"]

    first, second = branches(2)
    assert first != second
    assert branches(1) == [first]


async def test_an_endpoint_asks_the_zones(lab: Lab) -> None:
    lab.dns.srv("_sip._udp.example.com", "bob.example.com", 5066)
    lab.dns.a("bob.example.com", "192.0.2.2")
    async with lab.endpoint("192.0.2.1") as alice, answering(lab, "192.0.2.2", ["udp:5066"]):
        assert (await alice.request(options("sip:example.com"))).status == 200
    assert ("_sip._udp.example.com", "SRV") in [(query.name, query.kind) for query in lab.dns.queries]


async def test_an_endpoint_may_have_options_of_its_own(lab: Lab) -> None:
    class Deaf:
        async def resolve(self, name: str, kind: str) -> Answer:
            raise TransportError("no")

    async with lab.endpoint("192.0.2.1", resolver=Deaf(), wall=lambda: 5.0) as alice:
        with pytest.raises(TransportError):
            await alice.request(options("sip:example.com"))


async def test_datagrams_lost_on_purpose(lab: Lab) -> None:
    stop = lab.network.lose(lambda passage: passage.data.startswith(b"SIP/2.0 200 "))
    async with lab.endpoint("192.0.2.1") as alice, answering(lab, "192.0.2.2"):
        with pytest.raises(TransportError):
            await alice.request(options("sip:192.0.2.2"))
        assert {passage.outcomes[0].what for passage in lab.trace.passages if passage.to_host == ""} == {
            "lost on purpose"
        }
        stop()
        stop()
        assert (await alice.request(options("sip:192.0.2.2"))).status == 200
