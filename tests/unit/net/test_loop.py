"""Which loop runs what."""

from __future__ import annotations

import asyncio
import sys

import pytest

from switchroom import net
from switchroom.lab import VirtualTimeLoop
from switchroom.net.loop import has_sockets


async def name_of_loop() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_uvloop_where_it_exists() -> None:
    pytest.importorskip("uvloop")
    assert net.run(name_of_loop(), debug=True).startswith("uvloop")


def test_asyncio_where_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # what an import sees when it is not installed
    assert net.run(name_of_loop()).startswith("asyncio")


def test_who_can_watch_sockets() -> None:
    loops = [net.new_event_loop(), asyncio.SelectorEventLoop()]
    assert all(has_sockets(loop) for loop in loops)
    lab = VirtualTimeLoop()
    assert not has_sockets(lab)
    for loop in (*loops, lab):
        loop.close()
