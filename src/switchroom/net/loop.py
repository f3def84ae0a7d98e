"""Which event loop to run on: uvloop where it is installed, else asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new event loop: uvloop's, or asyncio's where uvloop does not exist (Windows, PyPy, base install)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Like `asyncio.run`, on the loop of `new_event_loop`."""
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def has_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether *loop* can watch raw sockets.

    The lab's loop and Windows' proactor loop cannot: they offer datagram endpoints and streams only.
    """
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader
