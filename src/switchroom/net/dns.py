"""DNS for locating SIP servers (RFC 3263): the `Resolver` protocol, dnspython behind it, and a bounded cache."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Answer(NamedTuple):
    """What a name has of one record type: `records` in any order (none: the name or the type does not exist)."""

    records: tuple[Any, ...]
    ttl: float
    """How long the answer, or the absence, may be kept: seconds."""


class Resolver(Protocol):
    """Where the endpoint's DNS questions go.

    Records are the types of `sip.locating`: NAPTR and SRV records, and plain strings for A and AAAA.
    """

    async def resolve(self, name: str, kind: str) -> Answer:
        """Ask for the records of type *kind* ("NAPTR", "SRV", "A", "AAAA") of *name*.

        Raises `TransportError` when no server answered (a name that does not exist is an empty answer).
        """
        ...
