"""Where branches, tags, Call-IDs and back-off jitter come from: injected, so that a run can be replayed."""

from __future__ import annotations

from typing import Protocol


class Identifiers(Protocol):
    """A source of unguessable names and of random fractions.

    Drivers hand in one backed by the system's cryptographic generator; the lab hands in a seeded one.
    """

    def token(self, bits: int = 64) -> str:
        """A new token of at least *bits* random bits, in characters legal in any SIP token (RFC 3261 §19.3)."""
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter and for weighted choice (RFC 2782)."""
        ...
