"""The one renderer of ladders: who sent what to whom and when, as text for terminals or as SVG.

Whatever it is fed (the lab's trace, a capture, the live tap) comes as `LadderEvent` and `LadderNote`.  Nothing that
came from a network reaches the output as it is: `visible` writes control characters as escapes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from ..sip.message import Message

Kind = Literal["request", "provisional", "success", "failure", "other"]
Outcome = Literal["arrived", "lost", "duplicate", "late"]


class LadderEvent(NamedTuple):
    """One message on its way."""

    time: float
    """When it was sent (or captured): seconds, any zero."""
    source: str
    """Who sent it: the key of a participant."""
    destination: str
    message: bytes | Message | str
    """The message itself, or a label to show instead."""
    transport: str = ""
    outcome: Outcome = "arrived"
    """`lost`: it never arrived; `duplicate`: the network delivered it twice; `late`: later ones overtook it."""
    comment: str = ""
    """Shown in brackets, such as the reason of a loss."""


class LadderNote(NamedTuple):
    """A remark at a moment of the ladder."""

    time: float
    text: str


class Label(NamedTuple):
    """What a ladder says of a message, and what sort of message it is."""

    text: str
    kind: Kind


# -- what a message is called ----------------------------------------------------------------------------------------

_START: Final = re.compile(
    rb"(?:SIP/2\.0 (?P<status>\d{3})(?: (?P<reason>[^\r\n]*))?|(?P<method>[!-~]+) \S+ SIP/2\.0)\r?\n"
)
_HTTP: Final = re.compile(rb"([A-Z]+ [!-~]+ HTTP/1\.1|HTTP/1\.1 \d{3}[^\r\n]*)\r\n")
_CSEQ: Final = re.compile(rb"^cseq[ \t]*:[ \t]*(\d+)[ \t]+([!-~]+)", re.IGNORECASE | re.MULTILINE)
_SDP: Final = re.compile(rb"^(?:content-type|c)[ \t]*:[ \t]*application/sdp", re.IGNORECASE | re.MULTILINE)
_LONGEST_START: Final = 80


def label_of(message: bytes | Message | str) -> Label:
    """Name a message: "INVITE (1) SDP", "180 Ringing (1 INVITE)", or what else it is.

    It need not be well-formed: this only looks for the start line and the CSeq.
    """
    if isinstance(message, str):
        return Label(message, "other")
    data = message if isinstance(message, bytes) else message.encode()
    if not data.strip(b"\r\n"):
        return Label({2: "CRLF pong", 4: "CRLF ping"}.get(len(data), f"{len(data)} bytes"), "other")
    start = _START.match(data.lstrip(b"\r\n")[:4096])
    if start is None:
        # A WebSocket is opened by HTTP (RFC 7118 §4).
        other = _HTTP.match(data[:4096])
        return Label(_text(other[1]) if other else f"{len(data)} bytes", "other")
    head = data.partition(b"\r\n\r\n")[0]
    cseq = _CSEQ.search(head)
    sdp = " SDP" if _SDP.search(head) else ""
    if start["method"] is not None:
        number = f" ({cseq[1].decode()})" if cseq else ""
        return Label(f"{_text(start['method'])}{number}{sdp}", "request")
    of = f" ({cseq[1].decode()} {_text(cseq[2])})" if cseq else ""
    status = start["status"].decode()
    reason = f" {_text(start['reason'])}" if start["reason"] else ""
    kind: Kind = {"1": "provisional", "2": "success"}.get(status[0], "failure")  # type: ignore[assignment]  # both are
    return Label(f"{status}{reason}{of}{sdp}", kind)


def _text(data: bytes) -> str:
    text = data[: _LONGEST_START + 1].decode("utf-8", "surrogateescape")
    return text if len(text) <= _LONGEST_START else text[:_LONGEST_START] + "…"


def visible(text: str, *, ascii_only: bool = False) -> str:
    """*text* without anything that a terminal or a page would obey: such characters become escapes like `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(character, ascii_only) for character in text)


def _escape(character: str, ascii_only: bool) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that was no UTF-8
    if character.isprintable() and (code < 128 or not (ascii_only or unicodedata.combining(character))):
        return character
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# -- rows, common to both forms --------------------------------------------------------------------------------------


class _Row(NamedTuple):
    time: float
    source: int
    destination: int
    label: str
    kind: Kind
    marks: tuple[str, ...]
    lost: bool
    again: bool
    full: str


def _rows(
    events: Iterable[LadderEvent | LadderNote], participants: Sequence[str], ascii_only: bool
) -> list[_Row | LadderNote]:
    columns = {name: column for column, name in enumerate(participants)}
    seen: dict[tuple[str, str, str, bytes], int] = {}
    rows: list[_Row | LadderNote] = []
    for event in events:
        if isinstance(event, LadderNote):
            rows.append(LadderNote(event.time, visible(event.text, ascii_only=ascii_only)))
            continue
        label = label_of(event.message)
        marks = []
        again = False
        if not isinstance(event.message, str) and label.kind != "other":
            data = event.message if isinstance(event.message, bytes) else event.message.encode()
            key = (event.source, event.destination, event.transport, data)
            times = seen[key] = seen.get(key, 0) + 1
            again = times > 1
            if again:
                marks.append("again" if times == 2 else f"again, {times - 1}")
        if event.outcome in ("duplicate", "late"):
            marks.append("twice" if event.outcome == "duplicate" else "late")
        if event.comment:
            marks.append(visible(event.comment, ascii_only=ascii_only))
        rows.append(
            _Row(
                event.time,
                columns[event.source],
                columns[event.destination],
                visible(label.text, ascii_only=ascii_only),
                label.kind,
                tuple(marks),
                event.outcome == "lost",
                again,
                " ".join(filter(None, (event.transport, f"{event.source} to {event.destination}"))),
            )
        )
    return rows


def _participants(events: Iterable[LadderEvent | LadderNote], given: Sequence[str] | None) -> list[str]:
    """The given ones first, in their order; then those that appear, in the order of their first message."""
    found = dict.fromkeys(given or ())
    for event in events:
        if isinstance(event, LadderEvent):
            found[event.source] = found[event.destination] = None
    return list(found)


def _fit(row: _Row, room: int, strokes: _Strokes) -> str:
    """The label with its marks in at most *room* cells: the label is cut first, the marks tell more."""
    marks = "".join(f" [{mark}]" for mark in row.marks)
    left = room - _cells(marks)
    if left < min(_cells(row.label), _SHORTEST_LABEL):
        return _cut(row.label + marks, room, strokes)
    return _cut(row.label, left, strokes) + marks


# -- text ------------------------------------------------------------------------------------------------------------

_SHORTEST_LABEL: Final = 8
_NARROWEST: Final = 12
_WIDEST: Final = 44
_TIME_WIDTH: Final = 22


class _Strokes(NamedTuple):
    life: str
    line: str
    right: str
    left: str
    lost: str
    loop: str
    cut: str


_UNICODE: Final = _Strokes("│", "─", ">", "<", "✗", "↺", "…")
_ASCII: Final = _Strokes("|", "-", ">", "<", "X", "@", "~")


def render_text(
    events: Iterable[LadderEvent | LadderNote],
    *,
    width: int = 100,
    participants: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    ascii_only: bool = False,
    clock: Callable[[float], str] | None = None,
) -> str:
    """Draw a ladder of at most *width* columns, one line per message.

    *participants* fixes the order of the columns, *names* gives them titles.  The first column is the time since the
    first event, or what *clock* makes of the time; the second is the time since the line before.  Where there are too
    many participants for the width, the messages come as a list.
    """
    events = list(events)
    people = _participants(events, participants)
    rows = _rows(events, people, ascii_only)
    strokes = _ASCII if ascii_only else _UNICODE
    titles = [visible((names or {}).get(name, name), ascii_only=ascii_only) for name in people]
    times = _times(rows, clock)
    if not people:
        return "\n".join(_cut(f"{time}{row.text}", width, strokes) for time, row in zip(times, rows, strict=True))  # type: ignore[union-attr]  # without participants there are only notes
    margin = max(_TIME_WIDTH, *(_cells(time) for time in times)) if times else _TIME_WIDTH
    first, last = (min(_cells(title) // 2 + 1, _NARROWEST) for title in (titles[0], titles[-1]))
    gap = min((width - margin - first - last) // max(len(people) - 1, 1), _WIDEST)
    if gap < _NARROWEST:
        return _list(rows, times, titles, width, strokes)
    centres = [margin + first + column * gap for column in range(len(people))]
    lines = [_heading(titles, centres, gap, strokes)]
    for time, row in zip(times, rows, strict=True):
        if isinstance(row, LadderNote):
            lines.append(_cut(f"{_pad(time, margin)}({row.text})", width, strokes))
        else:
            lines.append(_pad(time, margin) + _arrow(row, centres, margin, width, strokes))
    return "\n".join(lines)


def _times(rows: Sequence[_Row | LadderNote], clock: Callable[[float], str] | None) -> list[str]:
    times: list[str] = []
    before = first = rows[0].time if rows else 0.0
    for row in rows:
        shown = f"{row.time - first:10.3f}" if clock is None else visible(clock(row.time))
        times.append(f"{shown} {row.time - before:+9.3f}  ")
        before = row.time
    return times


def _heading(titles: Sequence[str], centres: Sequence[int], gap: int, strokes: _Strokes) -> str:
    line = ""
    for title, centre in zip(titles, centres, strict=True):
        title = _cut(title, gap - 2, strokes)
        line = _pad(line, centre - _cells(title) // 2) + title
    return line


def _arrow(row: _Row, centres: Sequence[int], margin: int, width: int, strokes: _Strokes) -> str:
    cells = [" "] * (width - margin)
    for centre in centres:
        cells[centre - margin] = strokes.life
    start, end = centres[row.source] - margin, centres[row.destination] - margin
    if start == end:
        # To itself: the label stands beside the lifeline, on the side where there is more room.
        right = len(cells) - start - 2
        if right >= start:
            return _overlay(cells, start + 2, f"{strokes.loop} {_fit(row, right - 2, strokes)}")
        text = f"{_fit(row, start - 3, strokes)} {strokes.loop}"
        return _overlay(cells, start - 1 - _cells(text), text)
    low, high = sorted((start, end))
    room = high - low - 1
    text = f" {_fit(row, room - 6, strokes)} "
    line = list(strokes.line * room)
    if row.lost:
        # The line breaks off where the label ends, well before the other side.
        reach = min(room - 2, max(room * 2 // 3, _cells(text) + 3))
        rest = [" "] * (room - reach - 1)
        line = [*(strokes.line * reach), strokes.lost, *rest]
        if start > end:
            line.reverse()
    elif start < end:
        line[-1] = strokes.right
    else:
        line[0] = strokes.left
    first = 2 if start < end or not row.lost else room - 2 - _cells(text)
    return _overlay(cells, low + 1, _overlay(line, first, text, strip=False))


def _overlay(cells: list[str], at: int, text: str, *, strip: bool = True) -> str:
    """Lay *text* over *cells* from *at* on; wide characters take two cells."""
    end = at + _cells(text)
    line = "".join(cells[:at]) + text + "".join(cells[end:])
    return line.rstrip() if strip else line


def _list(
    rows: Sequence[_Row | LadderNote], times: Sequence[str], titles: Sequence[str], width: int, strokes: _Strokes
) -> str:
    lines = []
    for time, row in zip(times, rows, strict=True):
        if isinstance(row, LadderNote):
            lines.append(_cut(f"{time}({row.text})", width, strokes))
        else:
            arrow = f"{strokes.line}{strokes.lost if row.lost else strokes.right}"
            lines.append(
                _cut(
                    f"{time}{titles[row.source]} {arrow} {titles[row.destination]}: {_fit(row, width, strokes)}",
                    width,
                    strokes,
                )
            )
    return "\n".join(lines)


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _cut(text: str, room: int, strokes: _Strokes) -> str:
    if _cells(text) <= room:
        return text
    kept = ""
    for character in text:
        if _cells(kept + character) > room - 1:
            break
        kept += character
    return kept + strokes.cut if room > 0 else ""


def _pad(text: str, room: int) -> str:
    return text + " " * (room - _cells(text))


# -- SVG -------------------------------------------------------------------------------------------------------------

_COLUMN: Final = 250
_LETTER: Final = 7  # pixels, about
_LEFT: Final = 150
_ROW: Final = 34
_TOP: Final = 70
_COLOURS: Final[dict[Kind, str]] = {
    "request": "#1f4e9c",
    "provisional": "#5f6b7a",
    "success": "#1b7a3d",
    "failure": "#b3261e",
    "other": "#6b4e9c",
}
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#222}.t{font:11px ui-monospace,monospace;fill:#667}"
    ".p{font-weight:600}.n{font-style:italic;fill:#667}.life{stroke:#c4c9d2;stroke-width:1}"
    ".m{stroke-width:1.6;fill:none}.again{stroke-dasharray:5 3}"
)


def render_svg(
    events: Iterable[LadderEvent | LadderNote],
    *,
    participants: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    title: str = "SIP ladder",
    clock: Callable[[float], str] | None = None,
) -> str:
    """Draw a ladder as one SVG document: the arguments are those of `render_text`."""
    events = list(events)
    people = _participants(events, participants)
    rows = _rows(events, people, ascii_only=False)
    width = _LEFT + _COLUMN * max(len(people), 1)
    height = _TOP + _ROW * len(rows) + 30
    centres = [_LEFT + _COLUMN // 2 + column * _COLUMN for column in range(len(people))]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{_xml(visible(title))}</title><style>{_STYLE}</style>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for name, centre in zip(people, centres, strict=True):
        shown = _shorten(visible((names or {}).get(name, name)), _COLUMN)
        parts.append(f'<text class="p" x="{centre}" y="30" text-anchor="middle">{_xml(shown)}</text>')
        parts.append(f'<line class="life" x1="{centre}" y1="42" x2="{centre}" y2="{height - 15}"/>')
    for number, (time, row) in enumerate(zip(_times(rows, clock), rows, strict=True)):
        y = _TOP + _ROW * number
        parts.append(f'<text class="t" x="10" y="{y + 4}" xml:space="preserve">{_xml(time.rstrip())}</text>')
        if isinstance(row, LadderNote):
            parts.append(f'<text class="n" x="{_LEFT + 10}" y="{y + 4}">{_xml(row.text)}</text>')
        else:
            parts.append(_svg_arrow(row, centres, y))
    parts.append("</svg>\n")
    return "\n".join(parts)


def _svg_arrow(row: _Row, centres: Sequence[int], y: int) -> str:
    start, end = centres[row.source], centres[row.destination]
    colour = _COLOURS[row.kind]
    kind = "m again" if row.again else "m"
    hint = f"<title>{_xml(visible(row.full))}: {_xml(row.label)}</title>"
    label = _xml(_fit(row, (max(abs(end - start), _COLUMN) - 20) // _LETTER, _UNICODE))
    if start == end:
        path = f'<path class="{kind}" stroke="{colour}" d="M{start} {y - 8}h34v16h-34"/>'
        path += _svg_head(start, y + 8, -1, colour)
        text = f'<text x="{start + 42}" y="{y + 4}">{label}</text>'
        return f"<g>{hint}{path}{text}</g>"
    way = 1 if end > start else -1
    stop = start + (end - start) * 2 // 3 if row.lost else end
    path = f'<path class="{kind}" stroke="{colour}" d="M{start} {y}H{stop}"/>'
    if row.lost:
        path += f'<path class="m" stroke="#b3261e" d="M{stop - 6} {y - 6}l12 12m0 -12l-12 12"/>'
    else:
        path += _svg_head(end, y, way, colour)
    middle = (start + end) // 2
    return f'<g>{hint}{path}<text x="{middle}" y="{y - 7}" text-anchor="middle">{label}</text></g>'


def _svg_head(x: int, y: int, way: int, colour: str) -> str:
    return f'<path fill="{colour}" d="M{x} {y}l{-9 * way} -4v8z"/>'


def _shorten(text: str, pixels: int) -> str:
    return _cut(text, pixels // _LETTER, _UNICODE)


def _xml(text: str) -> str:
    """*text*, which is `visible` already, as XML character data and attribute values."""
    return (
        text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&quot;")
        .replace("'", "&#39;")
    )
