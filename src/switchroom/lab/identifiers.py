"""Identifiers and jitter that a seed repeats."""

from __future__ import annotations

import random


class SeededIdentifiers:
    """The `sip.identifiers.Identifiers` of the lab: the same seed gives the same tokens in the same order."""

    __slots__ = ("_random",)

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(f"{seed}/identifiers")

    def token(self, bits: int = 64) -> str:
        """A new token of at least *bits* bits, in hexadecimal."""
        digits = -(-bits // 4)
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"

    def random(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()
