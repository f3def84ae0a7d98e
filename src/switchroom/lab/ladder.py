"""The trace of a run as a ladder."""

from __future__ import annotations

from collections.abc import Iterable

from ..trace.ladder import LadderEvent, LadderNote, render_svg, render_text
from .host import UDP
from .network import MemoryNetwork
from .record import DELIVERED, DUPLICATE, LOST, Passage


def ladder_events(network: MemoryNetwork) -> list[LadderEvent | LadderNote]:
    """What `trace.ladder` draws: every passage and note of the run, in the order of time."""
    events: list[LadderEvent | LadderNote] = []
    events += [_event(network, passage) for passage in network.trace.passages]
    events += [LadderNote(note.time, note.text) for note in network.trace.notes]
    events.sort(key=lambda event: event.time)  # a stable sort: what is equal in time stays in its order
    return events


def ladder_text(network: MemoryNetwork, *, width: int = 100, ascii_only: bool = False) -> str:
    """The run as text; see `trace.ladder.render_text`."""
    return render_text(
        ladder_events(network), width=width, participants=_order(network.trace.passages), ascii_only=ascii_only
    )


def ladder_svg(network: MemoryNetwork, *, title: str = "SIP ladder") -> str:
    """The run as SVG; see `trace.ladder.render_svg`."""
    return render_svg(ladder_events(network), participants=_order(network.trace.passages), title=title)


_OPCODES = {8: "WebSocket close", 9: "WebSocket ping", 10: "WebSocket pong"}


def unframed(data: bytes) -> bytes | str:
    """What one unfragmented WebSocket frame (RFC 6455 §5.2) carries; anything else is returned as it is."""
    if len(data) < 2 or data[0] & 0xF0 != 0x80 or data[0] & 0x0F not in (1, 2, 8, 9, 10):
        return data
    size, start = data[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(data[2:start], "big")
    masked = bool(data[1] & 0x80)
    body = data[start + 4 * masked :]
    if len(body) != size or len(data) < start + 4 * masked:
        return data
    if data[0] & 0x0F in _OPCODES:
        return _OPCODES[data[0] & 0x0F]
    if not masked:
        return body
    key = data[start : start + 4]
    return bytes(octet ^ key[index % 4] for index, octet in enumerate(body))


def _event(network: MemoryNetwork, passage: Passage) -> LadderEvent:
    outcomes = [what for _, what in passage.outcomes]
    message = passage.data if passage.transport == UDP else unframed(passage.data)
    if DELIVERED not in outcomes:
        reasons = [what for what in outcomes if what not in (LOST, "refused")]
        comment = reasons[0] if reasons else "refused" if "refused" in outcomes else "" if outcomes else "under way"
        return LadderEvent(
            passage.time, passage.via_host, _destination(network, passage), message, passage.transport,
            "lost" if outcomes else "arrived", comment,
        )  # fmt: skip
    outcome = "duplicate" if DUPLICATE in outcomes else "late" if passage.late else "arrived"
    return LadderEvent(
        passage.time, passage.via_host, passage.to_host, message, passage.transport, outcome  # type: ignore[arg-type]  # a Literal by parts
    )  # fmt: skip


def _destination(network: MemoryNetwork, passage: Passage) -> str:
    """Who would have got it: the host it reached, or has that address, or the address itself."""
    if passage.to_host:
        return passage.to_host
    address = passage.destination[0]
    node = network.hosts[passage.via_host].subnet.node(address) or network.internet.node(address)
    return address if node is None else node.name


def _order(passages: Iterable[Passage]) -> list[str]:
    """Participants in the order in which they appear, by whom they are sent to first."""
    found: dict[str, None] = {}
    for passage in passages:
        found[passage.via_host] = None
        if passage.to_host:
            found[passage.to_host] = None
    return list(found)
