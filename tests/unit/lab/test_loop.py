"""The loop in virtual time."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import math
import socket
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from switchroom.lab import Clock, DeadlockError, LabError, RealWorldError, TimeLimitError, VirtualTimeLoop
from switchroom.lab import loop as loop_module


def run(main: Coroutine[Any, Any, Any], **options: Any) -> Any:
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(**options)) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_hours_take_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(10 * 3600)
        return now()

    started = time.perf_counter()
    assert run(main()) == 36000.0
    assert time.perf_counter() - started < 5.0


@pytest.mark.parametrize("debug", [False, True])
def test_timeouts_and_task_groups(debug: bool) -> None:
    async def main() -> list[float]:
        times = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.Event().wait()
        times.append(now())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(delay, delay)) for delay in (3.0, 1.0, 2.0)]
        times.append(now())
        assert [task.result() for task in tasks] == [3.0, 1.0, 2.0]
        return times

    with asyncio.Runner(loop_factory=VirtualTimeLoop, debug=debug) as runner:
        assert runner.run(main()) == [2.5, 5.5]


def test_equal_deadlines_run_in_the_order_in_which_they_were_set() -> None:
    order: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(50):
            loop.call_at(1.0, order.append, number)
        await asyncio.sleep(2.0)

    run(main())
    assert order == list(range(50))


def test_a_timer_runs_at_its_time_exactly_however_late_it_is() -> None:
    """Adding a delay to a large time rounds; a loop that then jumps to just before its timer would spin for ever."""
    seen: list[tuple[float, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for start in (0.0, 0.1, 1e5, 1e9 + 0.3, 1e12, 1e15):
            await asyncio.sleep(start - loop.time())
            for delay in (1e-9, 0.1, 0.2, 1 / 3, 3600.7):
                when = loop.time() + delay
                handle = loop.call_at(when, lambda when=when: seen.append((when, loop.time())))
                await asyncio.sleep(delay + 1.0)
                assert handle.when() == when

    run(main())
    assert len(seen) == 30
    assert all(when == ran for when, ran in seen)


def test_nothing_runs_before_its_time() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        fired: list[float] = []
        when = math.nextafter(1.0, 2.0)
        loop.call_at(when, lambda: fired.append(loop.time()))
        loop.call_at(1.0, lambda: fired.append(loop.time()))
        await asyncio.sleep(2.0)
        return fired[0], fired[1]

    assert run(main()) == (1.0, math.nextafter(1.0, 2.0))


def test_cancelled_timers_do_not_move_the_clock() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        for handle in [loop.call_later(100.0 + number, print) for number in range(300)]:
            handle.cancel()
        await asyncio.sleep(1.0)
        return now()

    assert run(main()) == 1.0


def test_nan_is_no_deadline() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_at(math.nan, print)

    with pytest.raises(ValueError, match="NaN"):
        run(main())


# -- who waits for ever ----------------------------------------------------------------------------------------------


async def wait_for_nobody(future: asyncio.Future[None]) -> None:
    await future  # here


def test_a_deadlock_names_the_tasks_and_the_lines() -> None:
    async def main() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await asyncio.sleep(3.0)
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_nobody(future), name="the waiter")

    with pytest.raises(DeadlockError) as caught:
        run(main())
    text = str(caught.value)
    assert "at 3 s of virtual time" in text
    assert "the waiter (wait_for_nobody)" in text
    assert "test_loop.py" in text
    assert "in wait_for_nobody: await future  # here" in text
    assert "test_a_deadlock_names_the_tasks_and_the_lines.<locals>.main" in text


def test_a_deadlock_shows_the_innermost_line() -> None:
    async def middle(future: asyncio.Future[None]) -> None:
        await wait_for_nobody(future)

    async def main() -> None:
        await middle(asyncio.get_running_loop().create_future())

    with pytest.raises(DeadlockError) as caught:
        run(main())
    outer, inner, innermost = (line for line in str(caught.value).splitlines() if "test_loop.py" in line)
    assert "in main" in outer
    assert "in middle" in inner
    assert "in wait_for_nobody" in innermost


def test_a_deadlock_without_tasks() -> None:
    loop = VirtualTimeLoop()
    try:
        with pytest.raises(DeadlockError, match="no task at all"):
            loop.run_until_complete(loop.create_future())
    finally:
        loop.close()


def test_a_deadline_that_never_comes_is_a_deadlock() -> None:
    with pytest.raises(DeadlockError):
        run(asyncio.sleep(math.inf))


def test_a_run_without_end_hits_the_limit() -> None:
    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(25.0)

    with pytest.raises(TimeLimitError, match=r"limit of 3600 s.*\n.*main"):
        run(main(), time_limit=3600.0)


def test_a_livelock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "TURNS_WITHOUT_TIME", 1000)

    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(TimeLimitError, match="without time passing"):
        run(main())


# -- the world outside -----------------------------------------------------------------------------------------------


def test_another_thread_may_not_call() -> None:
    errors: list[BaseException] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def intrude() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()

    run(main())
    assert [type(error) for error in errors] == [RealWorldError]
    assert "another thread" in str(errors[0])


def test_the_own_thread_may_call_thread_safely() -> None:
    async def main() -> list[str]:
        called: list[str] = []
        asyncio.get_running_loop().call_soon_threadsafe(called.append, "x")
        await asyncio.sleep(0)
        return called

    assert run(main()) == ["x"]


def test_executors_run_inline() -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, threading.get_ident)
        assert future.done()
        assert await future == threading.get_ident()
        variable.set(7)
        assert await asyncio.to_thread(variable.get) == 7
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await loop.run_in_executor(None, next, iter(()))
        loop.set_default_executor(None)  # type: ignore[arg-type]
        assert now() == 0.0

    run(main())


REFUSED = [
    "add_reader", "remove_reader", "add_writer", "remove_writer", "sock_recv", "sock_recv_into", "sock_recvfrom",
    "sock_recvfrom_into", "sock_sendall", "sock_sendto", "sock_connect", "sock_accept", "sock_sendfile", "sendfile",
    "connect_accepted_socket", "create_unix_connection", "create_unix_server", "start_tls", "subprocess_exec",
    "subprocess_shell", "connect_read_pipe", "connect_write_pipe", "add_signal_handler", "remove_signal_handler",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_the_real_world_is_refused(name: str) -> None:
    async def main() -> None:
        with pytest.raises(RealWorldError, match=name) as caught:
            await getattr(asyncio.get_running_loop(), name)(1, 2)
        assert isinstance(caught.value, NotImplementedError)  # what portable code expects of a loop that cannot
        assert isinstance(caught.value, LabError)

    run(main())


def test_processes_are_refused_through_asyncio_too() -> None:
    async def main() -> None:
        with pytest.raises(RealWorldError, match="processes"):
            await asyncio.create_subprocess_exec("true")

    run(main())


def test_the_class_shows_that_it_has_no_descriptors() -> None:
    assert VirtualTimeLoop.add_reader is asyncio.AbstractEventLoop.add_reader


def test_without_a_network_there_is_none() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for attempt in (
            loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("192.0.2.1", 5060)),
            loop.create_connection(asyncio.Protocol, "192.0.2.1", 5060),
            loop.create_server(asyncio.Protocol, "192.0.2.1", 5060),
            loop.getaddrinfo("a.example", 5060),
            loop.getnameinfo(("192.0.2.1", 5060)),
        ):
            with pytest.raises(RealWorldError, match="no network"):
                await attempt

    run(main())


def test_no_file_descriptor_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "socketpair", refuse)
    run(asyncio.sleep(1.0))


def test_the_clock_is_given() -> None:
    clock = Clock()
    run(asyncio.sleep(60.0), clock=clock)
    assert clock.time() == 60.0


def test_debug_mode_checks_its_callers() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError, match="call_at"):
            loop.call_at(1.0, main)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="run_in_executor"):
            loop.run_in_executor(None, main)

    with asyncio.Runner(loop_factory=VirtualTimeLoop, debug=True) as runner:
        runner.run(main())


def test_a_closed_loop_takes_no_timer() -> None:
    loop = VirtualTimeLoop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1.0, print)


def test_asynchronous_generators_are_closed() -> None:
    closed: list[float] = []

    async def numbers() -> Any:
        try:
            while True:
                yield now()
                await asyncio.sleep(1.0)
        finally:
            closed.append(now())

    async def main() -> None:
        async for number in numbers():
            if number >= 3.0:
                break

    run(main())
    assert closed == [3.0]
