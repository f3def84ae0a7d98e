"""Addresses to listen on, to show, and to come from."""

from __future__ import annotations

import asyncio

import pytest

from switchroom.lab import VirtualTimeLoop
from switchroom.net.address import ListenAddress, SourceAddresses, host_port, parse_listen, split_host_port
from switchroom.sip.errors import LocalProtocolError, TransportError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("udp:0.0.0.0:5060", ("UDP", "0.0.0.0", 5060)),
        ("TLS:[::1]:0", ("TLS", "::1", 0)),
        ("tcp:192.0.2.1", ("TCP", "192.0.2.1", 5060)),
        ("wss:[2001:DB8:0::1]", ("WSS", "2001:db8::1", 443)),
    ],
)
def test_what_to_listen_on(text: str, address: tuple[str, str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "udp", "udp:", "sctp:192.0.2.1:5060", "udp:example.com:5060", "udp:192.0.2.1:port", "udp:192.0.2.1:65536"],
)
def test_what_cannot_be_listened_on(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="write transport:address:port"):
        parse_listen(text)


def test_a_listen_address_as_text_and_back() -> None:
    for text in ("udp:0.0.0.0:5060", "tls:[::1]:5061"):
        assert str(parse_listen(text)) == text
    assert parse_listen("udp:[::]:1").wildcard
    assert not ListenAddress("UDP", "127.0.0.1", 1).wildcard


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("example.com", ("example.com", None)),
        ("example.com:5080", ("example.com", 5080)),
        ("[2001:db8::1]:5080", ("2001:db8::1", 5080)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("example.com:x", ("example.com", -1)),
        ("example.com:", ("example.com", None)),
    ],
)
def test_host_and_port(text: str, parts: tuple[str, int | None]) -> None:
    assert split_host_port(text) == parts


def test_an_ipv6_address_is_bracketed_before_a_port() -> None:
    assert host_port("192.0.2.1", 5060) == "192.0.2.1:5060"
    assert host_port("2001:db8::1", 5060) == "[2001:db8::1]:5060"


async def test_the_source_address_towards_a_peer() -> None:
    sources = SourceAddresses(asyncio.get_running_loop(), 2)
    assert sources.towards("127.0.0.1", "0.0.0.0") == "127.0.0.1"
    assert sources.towards("::1", "::") == "::1"
    assert sources.towards("127.0.0.1", "192.0.2.9") == "192.0.2.9"  # bound to one: that is it
    for number in range(2, 9):  # remembered within bounds, and asked anew after that
        assert sources.towards(f"127.0.0.{number}", "0.0.0.0") == f"127.0.0.{number}" or number
    with pytest.raises(TransportError, match=r"cannot reach not an address"):
        sources.towards("not an address", "0.0.0.0")


def test_on_a_loop_without_sockets_the_bound_address_is_all_there_is() -> None:
    loop = VirtualTimeLoop()
    assert SourceAddresses(loop, 2).towards("192.0.2.1", "0.0.0.0") == "0.0.0.0"
    loop.close()
