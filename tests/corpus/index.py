"""One message per production of the grammar and per limit, valid and invalid, with what must become of it."""

from __future__ import annotations

from typing import Final

from .bodies import BODIES, LIMITS
from .entry import ACCEPTED, DROPPED, INCOMPLETE, Entry
from .header_fields import HEADER_LINES, MANDATORY, VALUES
from .start_lines import REQUEST_LINES, STATUS_LINES

__all__ = ["ACCEPTED", "CORPUS", "DROPPED", "INCOMPLETE", "Entry"]

CORPUS: Final[list[Entry]] = [
    *[
        entry._replace(name=f"{kind}: {entry.name}")
        for kind, entries in (
            ("request-line", REQUEST_LINES),
            ("status-line", STATUS_LINES),
            ("header line", HEADER_LINES),
            ("mandatory", MANDATORY),
            ("value", VALUES),
            ("body", BODIES),
            ("limit", LIMITS),
        )
        for entry in entries
    ]
]
