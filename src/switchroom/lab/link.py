"""What a network does to the packets between two of its nodes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class Link:
    """The behaviour of one direction of one hop; times in seconds, probabilities in 0..1.

    Streams are reliable above it: a lost segment costs them a retransmission time-out, not data.
    """

    latency: float = 0.01
    """Time that every packet takes."""
    jitter: float = 0.0
    """At most so much is added to the latency, evenly distributed.  Jitter alone never changes the order."""
    loss: float = 0.0
    """Share of the packets that vanish."""
    duplication: float = 0.0
    """Share of the datagrams that arrive twice."""
    reordering: float = 0.0
    """Share of the packets that are held back by up to `reorder_delay`, so that later ones overtake them."""
    reorder_delay: float = 0.1
    mtu: int = 1500
    """Largest IP packet, headers included."""
    oversize: Literal["fragment", "drop", "error"] = "fragment"
    """A datagram over the MTU travels in fragments, of which none may be lost; or it vanishes, as on paths that
    drop fragments; or its sender is told EMSGSIZE."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplication", "reordering"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability, in 0..1, not {getattr(self, name)!r}")
        for name in ("latency", "jitter", "reorder_delay"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} is a time in seconds and cannot be negative: {getattr(self, name)!r}")


INTERNET = Link()
"""Between hosts with public addresses: 10 ms each way, nothing lost."""
LAN = Link(latency=0.0005)
"""Behind a NAT box."""


class Delivery(NamedTuple):
    """What a hop did to one packet: the times at which copies of it arrive; none when it was lost."""

    arrivals: tuple[float, ...]
    late: bool
    """The first copy was held back."""


class Line:
    """One direction of one hop, with its own random numbers: traffic elsewhere does not change its decisions."""

    __slots__ = ("_last_arrival", "_random")

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._last_arrival = 0.0

    def decide(self, link: Link, size: int, now: float, reliable: bool) -> Delivery:
        """The fate of a packet of *size* bytes that is sent *now*."""
        # Always the same number of draws, so that other settings keep the decisions of the same seed comparable.
        draw = self._random.random
        lost, jitter, doubled, held, wait, wait_again = draw(), draw(), draw(), draw(), draw(), draw()
        survival = 1.0 - link.loss
        if size > link.mtu and not reliable:
            survival **= -(-size // link.mtu)
        if lost >= survival:
            return Delivery((), False)
        arrival = now + link.latency + link.jitter * jitter
        late = held < link.reordering
        if late:
            arrival += link.reorder_delay * wait
        else:
            arrival = max(arrival, self._last_arrival)
            self._last_arrival = arrival
        if doubled < link.duplication and not reliable:
            return Delivery((arrival, arrival + link.reorder_delay * wait_again), late)
        return Delivery((arrival,), late)
