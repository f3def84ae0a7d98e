"""The tap: one hook that sees every message of an endpoint (log, live trace, HEP export, tests)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from ..sip.flow import Flow

_logger: Final = logging.getLogger("switchroom.net")

IN: Final = "in"
OUT: Final = "out"


class TapRecord(NamedTuple):
    """One message as it crossed the wire.

    `time` is wall-clock seconds.  `data` are the very bytes: one datagram, one WebSocket message, one message written
    to a stream, or (inbound on TCP and TLS) one piece of the stream as it was read, which may hold a part of a message
    or several.
    """

    time: float
    flow: Flow
    direction: Literal["in", "out"]
    data: bytes


Listener = Callable[[TapRecord], None]


class Tap:
    """Who listens to an endpoint's messages.  Nobody listening costs one truth test per message."""

    __slots__ = ("listeners",)

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* with a `TapRecord` for every message from now on; returns what ends that.

        A listener runs on the event loop and must return at once; one that raises is logged and stays subscribed.
        """
        self.listeners = [*self.listeners, listener]  # a new list: one that is being walked stays whole
        subscribed = True

        def unsubscribe() -> None:
            nonlocal subscribed
            if subscribed:
                subscribed = False
                remaining = list(self.listeners)
                remaining.remove(listener)
                self.listeners = remaining

        return unsubscribe

    def record(self, record: TapRecord) -> None:
        """Show one message to all listeners."""
        for listener in self.listeners:
            try:
                listener(record)
            except Exception:  # a listener's mistake must not cost the message
                _logger.exception("a tap listener failed")
