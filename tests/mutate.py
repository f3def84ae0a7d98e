"""Change every row of every state table in turn: some unit test must notice each change.

A row is given another next state, loses one of its actions, or is left out; then the tests of the table's module run,
in this process and until the first that fails.  Prints what no test noticed, and exits with 1 if there is any such
change.  `python tests/mutate.py transaction dialog` looks at those modules alone.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import pkgutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType

import pytest

import switchroom.sip

Row = int | tuple[int, int]
Table = dict[tuple[int, int], Row]
Check = Callable[[], object]

UNIT_TESTS = Path(__file__).parent / "unit" / "sip"
SECONDS_PER_CHANGE = 20


class Hung(BaseException):
    """A changed table made a test run for ever, which is noticed too."""


def tables(wanted: list[str]) -> Iterator[tuple[ModuleType, str, Table]]:
    """Every state table of the core, or of *wanted* modules: a dict from (state, input), beside its `STATE_NAMES`."""
    for found in pkgutil.iter_modules(switchroom.sip.__path__):
        if wanted and found.name not in wanted:
            continue
        module = importlib.import_module(f"switchroom.sip.{found.name}")
        if not hasattr(module, "STATE_NAMES"):
            continue
        source = (Path(switchroom.sip.__path__[0]) / f"{found.name}.py").read_text(encoding="utf-8")
        for name, value in vars(module).items():
            if isinstance(value, dict) and f"\n{name}: Final" in source and all(map(is_pair, value)):
                yield module, name, value


def is_pair(key: object) -> bool:
    """Whether a dict's key is (state, input)."""
    return isinstance(key, tuple) and len(key) == 2 and all(isinstance(item, int) for item in key)


def changes(table: Table, key: tuple[int, int]) -> Iterator[tuple[str, Row | None]]:
    """Every change of one row: what it is, and the row instead (None: no row)."""
    row = table[key]
    states = {state for state, _ in table} | {other if isinstance(other, int) else other[0] for other in table.values()}
    after, actions = (row, 0) if isinstance(row, int) else row
    for state in sorted(states - {after}):
        yield f"next state {state}", state if isinstance(row, int) else (state, actions)
    for bit in range(actions.bit_length()):
        if actions & 1 << bit:
            yield f"without action {1 << bit}", (after, actions & ~(1 << bit))
    yield "no row", None


class Collector:
    """Takes from pytest what it has collected, and runs nothing."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for item in session.items:
            if not isinstance(item, pytest.Function):
                continue
            function = item.obj
            arguments = item.callspec.params if hasattr(item, "callspec") else {}
            if inspect.iscoroutinefunction(function) or hasattr(function, "hypothesis"):
                continue
            if set(inspect.signature(function).parameters) <= set(arguments):
                self.checks.append(bind(function, arguments))
        return True


def bind(function: Callable[..., object], arguments: dict[str, object]) -> Check:
    def check() -> object:
        return function(**arguments)

    return check


def collect(module: ModuleType) -> list[Check]:
    name = module.__name__.rpartition(".")[2]
    collector = Collector()
    path = UNIT_TESTS / f"test_{name}.py"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = pytest.main(["-q", "-p", "no:randomly", "--assert=plain", str(path)], plugins=[collector])
    if not collector.checks:
        print(f"{name}: no tests to run (pytest: {code})\n{printed.getvalue()}")
    return collector.checks


def notices(checks: list[Check]) -> bool:
    """Whether some check fails; it comes first from then on, for it may well notice the next change too."""
    for index, check in enumerate(checks):
        try:
            check()
        except (Exception, pytest.fail.Exception, Hung):
            checks.insert(0, checks.pop(index))
            return True
    return False


def hung(_signal: int, _frame: FrameType | None) -> None:
    raise Hung


def names(module: ModuleType, key: tuple[int, int]) -> str:
    return f"({module.STATE_NAMES[key[0]]}, {module.INPUT_NAMES[key[1]]})"


def main(wanted: list[str]) -> int:
    signal.signal(signal.SIGALRM, hung)
    survivors = total = 0
    for module, name, table in tables(wanted):
        short = module.__name__.rpartition(".")[2]
        checks = collect(module)
        if not checks or notices(checks):
            print(f"{short}: there must be tests, and they must pass with the table as it is")
            survivors += len(table)
            continue
        count = survived = 0
        for key in list(table):
            row = table[key]
            for what, instead in changes(table, key):
                if instead is None:
                    del table[key]
                else:
                    table[key] = instead
                signal.alarm(SECONDS_PER_CHANGE)
                noticed = notices(checks)
                signal.alarm(0)
                table[key] = row
                count += 1
                if not noticed:
                    survived += 1
                    print(f"{short}.{name} {names(module, key)}: {what}: no test notices")
        print(f"{short}.{name}: {len(table)} rows, {count} changes, {count - survived} noticed by {len(checks)} tests")
        survivors += survived
        total += count
    if not total:
        print("no such table")
        return 1
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
