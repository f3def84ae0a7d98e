"""Host names, IPv4 and IPv6 addresses (RFC 3261 §25.1, RFC 5954)."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchroom.sip.host import host_key, ipv6_groups, is_host, is_ipv4, is_ipv6_reference


@pytest.mark.parametrize(
    "text",
    ["example.com", "localhost", "a", "a.b.c.", "a-b.c-d", "1.example", "3com.com", "xn--bcher-kva.example",
     "my_pbx", "_sip._udp.example.com", "a--b.c", "192.0.2.1", "0.0.0.0", "255.255.255.255",
     "2001:db8::10", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1", "1:2:3:4:5:6:192.0.2.1", "2001:DB8::A"],
)  # fmt: skip
def test_host(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", ".a", "-a", "a-", "a-.b", "a.-b", "a.1", "1", "1.2.3", "256.0.0.1", "1.2.3.4.5", "01.2.3.4",
     "a b", "a%41", "é", "a\n", "192.0.2.1\n", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
     "12345::", "g::",
     "fe80::1%eth0", "1:2:3:4:5:6:7::8", "192.0.2.1::", "::192.0.2.256", "::192.0.2.1:1", "[::1]", ":1", "1:",
     "a" * 256, "1" * 60 + "::", "1.2.3.4:5"],
)  # fmt: skip
def test_no_host(text: str) -> None:
    assert not is_host(text)


def test_ipv4() -> None:
    assert is_ipv4("10.0.0.1")
    assert not is_ipv4("10.0.0.1.example")


def test_ipv6_reference() -> None:
    assert is_ipv6_reference("[::1]")
    for text in ("", "[", "]", "[]", "::1", "[::1", "::1]", "[1.2.3.4]", "[a]", "[fe80::1%25eth0]", "[[::1]]"):
        assert not is_ipv6_reference(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Example.COM", "example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("0:2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("::ffff:192.0.2.1", "::ffff:c000:201"),
        ("1::0", "1::"),
        ("NOT:an:address", "not:an:address"),
    ],
)
def test_host_key(text: str, key: str) -> None:
    assert host_key(text) == key


@given(st.integers(min_value=0, max_value=2**128 - 1), st.booleans())
def test_ipv6_agrees_with_the_standard_library(number: int, exploded: bool) -> None:
    address = ipaddress.IPv6Address(number)
    text = address.exploded if exploded else address.compressed
    groups = ipv6_groups(text)
    assert groups is not None
    assert sum(group << 16 * (7 - index) for index, group in enumerate(groups)) == number


@given(st.text("0123456789abcdefg:.", max_size=20))
def test_ipv6_refuses_what_the_standard_library_refuses(text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        assert ipv6_groups(text) is None
    else:
        assert ipv6_groups(text) is not None
