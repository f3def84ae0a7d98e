"""Host names and addresses (RFC 3261 §25.1, with the corrections of RFC 5954)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

# hostname     =  *( domainlabel "." ) toplabel [ "." ]
# domainlabel  =  alphanum / alphanum *( alphanum / "-" ) alphanum
# toplabel     =  ALPHA / ALPHA *( alphanum / "-" ) alphanum
# IPv4address  =  dec-octet "." dec-octet "." dec-octet "." dec-octet   (RFC 5954 §4.1)
# Underscores are no part of the grammar; they are taken because containers and Windows machines have such names.
_LABEL_REST: Final = r"(?:[A-Za-z0-9_]|-++(?=[A-Za-z0-9_]))*+"
_HOSTNAME: Final = re.compile(rf"(?:[A-Za-z0-9_]{_LABEL_REST}\.)*[A-Za-z_]{_LABEL_REST}\.?")
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}")
_HEX4: Final = re.compile(r"[0-9A-Fa-f]{1,4}")


def is_ipv4(text: str) -> bool:
    """Whether *text* is an IPv4 address in dotted decimal, no part above 255 or with a leading zero."""
    return _IPV4.fullmatch(text) is not None


def ipv6_groups(text: str) -> tuple[int, ...] | None:
    """The eight 16-bit groups of an IPv6 address without brackets, or None if it is none; a zone id makes it none."""
    if not 2 <= len(text) <= 45:
        return None
    head, gap, tail = text.partition("::")
    left = _hex_groups(head, last=not gap)
    right = _hex_groups(tail, last=True)
    if left is None or right is None:
        return None
    missing = 8 - len(left) - len(right)
    if (missing < 1) if gap else (missing != 0):
        return None
    return (*left, *([0] * missing), *right)


def _hex_groups(text: str, last: bool) -> list[int] | None:
    """The groups on one side of the `::`; an IPv4 address may stand for the two at the very end."""
    groups: list[int] = []
    if not text:
        return groups
    pieces = text.split(":")
    for index, piece in enumerate(pieces):
        if _HEX4.fullmatch(piece) is not None:
            groups.append(int(piece, 16))
        elif last and index == len(pieces) - 1 and is_ipv4(piece):
            a, b, c, d = piece.split(".")
            groups += [int(a) << 8 | int(b), int(c) << 8 | int(d)]
        else:
            return None
    return groups


def is_host(text: str) -> bool:
    """Whether *text* is a host name of at most 255 characters, an IPv4 address, or an IPv6 address without brackets."""
    return len(text) < 256 and _is_host(text)  # the cache must not keep what is longer


@lru_cache(maxsize=1024)
def _is_host(text: str) -> bool:
    if ":" in text:
        return ipv6_groups(text) is not None
    return _HOSTNAME.fullmatch(text) is not None or _IPV4.fullmatch(text) is not None


def is_ipv6_reference(text: str) -> bool:
    """Whether *text* is an IPv6 address in brackets."""
    return text[:1] == "[" and text[-1:] == "]" and ipv6_groups(text[1:-1]) is not None


@lru_cache(maxsize=1024)
def host_key(text: str) -> str:
    """The form in which hosts are compared: lower case, and IPv6 addresses in their shortest form (RFC 5952)."""
    if ":" not in text:
        return text.lower()
    groups = ipv6_groups(text)
    if groups is None:
        return text.lower()
    best_start = best_length = 0
    start = 0
    while start < 8:
        length = 0
        while start + length < 8 and groups[start + length] == 0:
            length += 1
        if length > best_length and length > 1:
            best_start, best_length = start, length
        start += length + 1
    if not best_length:
        return ":".join([f"{group:x}" for group in groups])
    head = ":".join([f"{group:x}" for group in groups[:best_start]])
    tail = ":".join([f"{group:x}" for group in groups[best_start + best_length :]])
    return f"{head}::{tail}"
