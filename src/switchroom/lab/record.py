"""The record of a run: every packet that code under test sent, and what became of it."""

from __future__ import annotations

from typing import Final, NamedTuple

Address = tuple[str, int]

DELIVERED: Final = "delivered"
DUPLICATE: Final = "duplicate"
LOST: Final = "lost"


class Outcome(NamedTuple):
    """One thing that happened to a passage: *what* is `DELIVERED`, `DUPLICATE`, `LOST`, or a reason in words."""

    time: float
    what: str


class Passage:
    """One datagram, or one write to a stream, on its way from one host to another."""

    __slots__ = ("data", "destination", "late", "outcomes", "source", "time", "to_host", "transport", "via_host")

    def __init__(
        self, time: float, transport: str, via_host: str, source: Address, destination: Address, data: bytes
    ) -> None:
        self.time = time
        """When it was sent, in seconds since the start of the run."""
        self.transport = transport
        """`UDP`, `TCP` or `TLS`."""
        self.via_host = via_host
        """Name of the host that sent it."""
        self.source = source
        """As the sender sees itself: behind a NAT box, the inside address."""
        self.destination = destination
        """As the sender addressed it."""
        self.to_host = ""
        """Name of the host that it reached; empty while or if it has reached none."""
        self.data = data
        self.outcomes: list[Outcome] = []
        self.late = False
        """It was held back, so that later packets could overtake it."""

    def ends(self, time: float, what: str) -> None:
        """Note an outcome; a second delivery is a duplicate."""
        if what == DELIVERED and self.delivered_at is not None:
            what = DUPLICATE
        self.outcomes.append(Outcome(time, what))

    @property
    def delivered_at(self) -> float | None:
        """When it first arrived; None if it has not."""
        for outcome in self.outcomes:
            if outcome.what == DELIVERED:
                return outcome.time
        return None

    def __str__(self) -> str:
        outcomes = ", ".join(f"{what} {time:.6f}" for time, what in self.outcomes) or "under way"
        source, destination = _join(self.source), _join(self.destination)
        return (
            f"{self.time:.6f} {self.transport} {self.via_host} {source} > {destination} {self.to_host or '?'} "
            f"[{outcomes}] {self.data!r}"
        )


class Note(NamedTuple):
    """A remark of the test, or of the lab, at a moment of the run."""

    time: float
    text: str


class Trace:
    """Everything that travelled in a run, in the order in which it was sent."""

    def __init__(self) -> None:
        self.passages: list[Passage] = []
        self.notes: list[Note] = []

    def __len__(self) -> int:
        return len(self.passages)

    def __str__(self) -> str:
        """One line per passage, exact to the microsecond: equal texts mean equal runs."""
        return "\n".join(str(passage) for passage in self.passages)


def _join(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
