"""One line in the log about a peer per second at most, however much it misbehaves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

_logger: Final = logging.getLogger("switchroom.net")


class Complaints:
    """Writes about peers to the log: at most one line per source address and second.

    What is left out is counted, and told in the source's next line.
    """

    __slots__ = ("_capacity", "_clock", "_last")

    def __init__(self, clock: Callable[[], float], capacity: int) -> None:
        self._clock = clock
        self._capacity = capacity
        self._last: dict[str, tuple[float, int]] = {}

    def complain(self, source: str, text: str, *, mistake: bool = False) -> bool:
        """Write *text*, unless there was a line about *source* within the second; return whether it was written.

        *mistake*: it is not the peer's but a program's, and the exception that is being handled goes with it.
        """
        now = self._clock()
        last = self._last.pop(source, None)
        if last is not None and now - last[0] < 1.0:
            self._last[source] = (last[0], last[1] + 1)
            return False
        if len(self._last) >= self._capacity:
            # Forgetting one may cost a line more; forging sources must not cost a line each.
            oldest = next(iter(self._last))
            if now - self._last[oldest][0] < 1.0:
                return False
            del self._last[oldest]
        self._last[source] = (now, 0)
        more = f" ({last[1]} more were not logged)" if last is not None and last[1] else ""
        # What came from the network stays on its line.
        level = logging.ERROR if mistake else logging.WARNING
        _logger.log(level, "%s%s", text.encode("unicode_escape").decode("ascii"), more, exc_info=mistake)
        return True
