"""An asyncio loop whose clock jumps to the next timer when nothing is runnable.

There is no selector below it, and so no file descriptor, no socket and no waiting: an hour of timers takes as long
as the callbacks that they run.  Datagram endpoints, streams and name look-ups come from a `MemoryNetwork`.
"""

from __future__ import annotations

import asyncio
import heapq
import linecache
import math
import os
import threading
from collections.abc import Callable
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple, Unpack

from .clock import Clock
from .errors import DeadlockError, RealWorldError, TimeLimitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Context

    from .network import MemoryNetwork

_Ts = TypeVarTuple("_Ts")

TURNS_WITHOUT_TIME: Final = 1_000_000
"""Turns of the loop without any virtual time passing after which a run is given up as a livelock."""

# What would touch the world outside.  These are refused by attributes of the instance, not of the class: drivers that
# ask whether the loop's *class* can watch file descriptors must see that it cannot (`AbstractEventLoop.add_reader`).
_REFUSED: Final = {
    "real sockets do not exist in the lab; use datagram endpoints, create_connection and create_server": (
        "add_reader", "remove_reader", "add_writer", "remove_writer",
        "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall", "sock_sendto",
        "sock_connect", "sock_accept", "sock_sendfile", "sendfile", "connect_accepted_socket",
        "create_unix_connection", "create_unix_server",
    ),
    "there are no processes and no pipes in the lab; hand in what the process would have answered": (
        "subprocess_exec", "subprocess_shell", "connect_read_pipe", "connect_write_pipe",
    ),
    "a stream of the lab is secure from its start or not at all; give ssl= to create_connection or create_server": (
        "start_tls",
    ),
    "signals come from outside, at times that no seed can repeat; call the handler instead": (
        "add_signal_handler", "remove_signal_handler",
    ),
}  # fmt: skip


class _Timer(asyncio.TimerHandle):
    """A timer handle among whose equals the one set first runs first; a bare heap would not keep that order."""

    __slots__ = ("order",)

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: VirtualTimeLoop,
        context: Context | None,
        order: int,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.order = order

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self.when(), self.order) < (other.when(), other.order)


class _Jump:
    """Stands where a selector would: instead of waiting for *timeout*, it moves the clock."""

    __slots__ = ("_loop", "_turns")

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None) -> tuple[()]:
        loop = self._loop
        if timeout is not None and timeout <= 0:
            self._turns += 1
            if self._turns > TURNS_WITHOUT_TIME:
                self._turns = 0
                raise TimeLimitError(
                    f"{TURNS_WITHOUT_TIME:,} turns of the loop at {loop.time():g} s without time passing; "
                    f"something keeps itself busy:\n{loop.describe_tasks()}"
                )
            return ()
        self._turns = 0
        # Not now + timeout: the sum may be rounded to just before the timer, which would then not be due.
        when = loop.next_timer() if timeout is not None else math.inf
        if when == math.inf:
            raise DeadlockError(
                f"nothing can happen any more at {loop.time():g} s of virtual time: no callback is ready, "
                f"no timer is set, and these wait:\n{loop.describe_tasks()}"
            )
        if when > loop.time_limit:
            raise TimeLimitError(
                f"the run is not over at its limit of {loop.time_limit:g} s of virtual time; these wait:\n"
                f"{loop.describe_tasks()}"
            )
        loop.move_to(when)
        return ()


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time; use it as `asyncio.Runner(loop_factory=VirtualTimeLoop)` or through `Lab`.

    `time_limit` is the virtual time, in seconds, at which a run that has not ended raises `TimeLimitError`.
    Timers that are due at the same instant run in the order in which they were set.  `run_in_executor` runs the
    function at once, in the same thread; another thread that calls `call_soon_threadsafe` gets a `RealWorldError`,
    as does whoever asks for a real socket, a process, a pipe or a signal.
    """

    # State of the base class, which its type stubs do not show.
    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float
    _thread_id: int | None

    if TYPE_CHECKING:

        def _check_closed(self) -> None: ...
        def _check_thread(self) -> None: ...
        def _check_callback(self, callback: object, method: str) -> None: ...

    def __init__(
        self, network: MemoryNetwork | None = None, *, clock: Clock | None = None, time_limit: float = math.inf
    ) -> None:
        self.clock = Clock() if clock is None else clock
        super().__init__()
        self.time_limit = time_limit
        self._selector = _Jump(self)
        self._order = 0
        self._owner = threading.get_ident()
        self._network = network
        self._set_resolution()
        if network is not None:
            network.attach(self)
        for reason, names in _REFUSED.items():
            for name in names:
                setattr(self, name, _refusal(name, reason))

    # -- time ---------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the start of the run."""
        return self.clock.time()

    def next_timer(self) -> float:
        """When the next timer is due; infinity if none is set."""
        return self._scheduled[0].when() if self._scheduled else math.inf

    def move_to(self, when: float) -> None:
        """Jump to *when*.  Called by the loop itself, between two turns."""
        self.clock.advance_to(when)
        self._set_resolution()

    def _set_resolution(self) -> None:
        # The base class runs what is due before time + resolution.  One unit in the last place makes that "at or
        # before now" exactly: the nanosecond of the real clock would vanish in the rounding of a large time, and
        # no timer would ever be due.
        self._clock_resolution = math.ulp(self.clock.time())

    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Like the base class's, but timers with equal deadlines run first come, first served."""
        self._check_closed()
        if math.isnan(when):
            raise ValueError("a timer cannot be set to NaN")
        if self.get_debug():
            self._check_thread()
            self._check_callback(callback, "call_at")
        self._order += 1
        timer = _Timer(when, callback, args, self, context, self._order)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # so that cancelling it is counted by the base class
        return timer

    # -- threads ------------------------------------------------------------------------------------------------

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Like `call_soon`; raises `RealWorldError` in any thread but the loop's own."""
        owner = self._owner if self._thread_id is None else self._thread_id
        if threading.get_ident() != owner:
            raise RealWorldError(
                "another thread called call_soon_threadsafe: when it does so depends on the machine, so no seed can "
                "repeat it; let the lab's loop run the work (run_in_executor runs inline)"
            )
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # the stubs want two more type variables for the same thing
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run *func* now, in this thread, whatever the executor; return a future that is done."""
        self._check_closed()
        if self.get_debug():
            self._check_callback(func, "run_in_executor")
        future = self.create_future()
        try:
            result = func(*args)
        except StopIteration as error:
            stopped = RuntimeError("the function raised StopIteration, which no future can carry")
            stopped.__cause__ = error
            future.set_exception(stopped)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def set_default_executor(self, executor: object) -> None:
        """Accepted and ignored: `run_in_executor` runs inline."""

    def _process_events(self, event_list: object) -> None:
        """Part of the base class's turn; there are no events of file descriptors."""

    # -- the network --------------------------------------------------------------------------------------------

    @property
    def network(self) -> MemoryNetwork:
        """The network that this loop's endpoints are on; `RealWorldError` if it was made without one."""
        if self._network is None:
            raise RealWorldError("this loop has no network; make it as VirtualTimeLoop(MemoryNetwork(seed))")
        return self._network

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Ask the zones of the network; see `MemoryNetwork.getaddrinfo`."""
        return await self.network.getaddrinfo(host, port, **options)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """Ask the zones of the network; see `MemoryNetwork.getnameinfo`."""
        return await self.network.getnameinfo(sockaddr, flags)

    async def create_datagram_endpoint(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """A datagram endpoint in the network; see `MemoryNetwork.create_datagram_endpoint`."""
        return await self.network.create_datagram_endpoint(protocol_factory, *args, **options)

    async def create_connection(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """A stream in the network; see `MemoryNetwork.create_connection`."""
        return await self.network.create_connection(protocol_factory, *args, **options)

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """A listener in the network; see `MemoryNetwork.create_server`."""
        return await self.network.create_server(protocol_factory, *args, **options)

    # -- who waits ----------------------------------------------------------------------------------------------

    def describe_tasks(self) -> str:
        """Every unfinished task and the lines at which it waits, outermost call first; one indented text."""
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: (len(task.get_name()), task.get_name()))
        if not tasks:
            return "  no task at all: what was to be awaited is a future that nobody will complete"
        return "\n".join(_describe(task) for task in tasks)


def _refusal(name: str, reason: str) -> Callable[..., Any]:
    def refuse(*args: object, **options: object) -> Any:
        raise RealWorldError(f"{name}: {reason}")

    return refuse


def _describe(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    lines = [f"  {task.get_name()} ({getattr(coroutine, '__qualname__', coroutine)})"]
    for frame in _frames(coroutine):
        path, number = frame.f_code.co_filename, frame.f_lineno
        source = linecache.getline(path, number).strip()
        lines.append(f"    {_short(path)}:{number} in {frame.f_code.co_name}: {source}")
    return "\n".join(lines)


def _frames(awaited: object) -> Iterator[FrameType]:
    # Task.get_stack() shows only the outermost frame of a suspended coroutine; the one that waits is the innermost.
    while awaited is not None:
        frame: FrameType | None
        if isinstance(awaited, CoroutineType):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        else:
            frame = getattr(awaited, "gi_frame", None) or getattr(awaited, "ag_frame", None)
            awaited = getattr(awaited, "gi_yieldfrom", None) or getattr(awaited, "ag_await", None)
        if frame is not None:
            yield frame


def _short(path: str) -> str:
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return path if relative.startswith("..") else relative
