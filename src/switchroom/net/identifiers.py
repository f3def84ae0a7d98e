"""Identifiers and jitter from the operating system's cryptographic generator."""

from __future__ import annotations

from os import urandom
from random import SystemRandom


class SystemIdentifiers:
    """The `sip.identifiers.Identifiers` of real endpoints: unguessable, as RFC 3261 §19.3 and RFC 5626 demand."""

    __slots__ = ("_random",)

    def __init__(self) -> None:
        self._random = SystemRandom()

    def token(self, bits: int = 64) -> str:
        """A new token of at least *bits* random bits, in hexadecimal."""
        return urandom((bits + 7) // 8).hex()

    def random(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()
