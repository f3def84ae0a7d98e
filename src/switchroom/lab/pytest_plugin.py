"""The `lab` and `over_seeds` fixtures for pytest.

    def test_answered(lab):                     # a plain function hands its coroutine to the lab ...
        lab.run(call(lab))

    async def test_answered_too(lab):           # ... a coroutine function with a `lab` runs on the lab's own loop
        await call(lab)

    def test_answered_whatever_is_lost(over_seeds):
        over_seeds(call, 20, link=Link(loss=0.1))

`--lab-seed N` runs everything with that seed; without it, `lab` has the seed of `@pytest.mark.lab_seed(N)`, else 0, and
`over_seeds` takes the numbers from 0 on, as many as the test asks for, or as SWITCHROOM_LAB_SEEDS says.  A test that
fails prints its seed, how to replay it, and its ladder.  `--lab-failures DIR` keeps the ladder as SVG and the
exact trace of each run that failed.
"""

# pytest loads this module wherever Switchroom is installed: everything but pytest is imported on first use.
from __future__ import annotations

import functools
import inspect
import pathlib
import re
import shlex
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from .lab import Lab
    from .link import Link
    from .seeds import Scenario

_LAB = pytest.StashKey["Lab"]()


class OverSeeds(Protocol):
    """What the `over_seeds` fixture is."""

    def __call__(
        self,
        scenario: Scenario,
        count: int = 20,
        *,
        link: Link | None = None,
        check: Callable[[Lab], None] | None = None,
    ) -> None:
        """Run *scenario* over *count* seeds, then *check* each; see `lab.seeds.run_over_seeds`."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--lab-seed`."""
    group = parser.getgroup("switchroom", "Switchroom's virtual-time lab")
    group.addoption("--lab-seed", metavar="N", default=None, help="run every lab with this seed only")
    group.addoption(
        "--lab-failures", metavar="DIR", default=None, help="keep ladder and trace of failed lab runs there"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker, for `--strict-markers`."""
    config.addinivalue_line("markers", "lab_seed(seed): the seed of this test's `lab` fixture (default: 0)")


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of its own for one test: network, clocks, loop, zones and identifiers of one seed."""
    from .lab import Lab

    with Lab(_seed_of(request)) as made:
        request.node.stash[_LAB] = made
        yield made
        made.check()


@pytest.fixture
def over_seeds(request: pytest.FixtureRequest) -> OverSeeds:
    """Runs a scenario over many seeds."""
    from .link import INTERNET
    from .seeds import run_over_seeds, seed_count

    def run(
        scenario: Scenario, count: int = 20, *, link: Link | None = None, check: Callable[[Lab], None] | None = None
    ) -> None:
        given = request.config.getoption("--lab-seed")
        seeds = range(seed_count(count)) if given is None else [_number(given)]
        replay = functools.partial(_replay, request.node.nodeid)
        keep = functools.partial(_keep, request.node)
        run_over_seeds(
            scenario, seeds, link=INTERNET if link is None else link, check=check, replay=replay, on_failure=keep
        )

    return run


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> Generator[None, Any, Any]:
    """Make plain functions of coroutine functions that use `lab`, before any plugin for asyncio takes them."""
    made = yield
    for item in made if isinstance(made, list) else [made]:
        if isinstance(item, pytest.Function) and "lab" in item.fixturenames and inspect.iscoroutinefunction(item.obj):
            item.obj = _on_lab_loop(item, item.obj)
    return made


def _on_lab_loop(item: pytest.Function, test: Callable[..., Any]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        item.stash[_LAB].run(test(*args, **fixtures))

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the seed and the ladder to the report of a test that failed."""
    report = yield
    made = item.stash.get(_LAB, None)
    if made is not None and report.failed:
        from .seeds import failure_report

        replay = functools.partial(_replay, item.nodeid)
        report.sections.append(("the lab's run", failure_report(made, replay)))
        _keep(item, made)
    return report


def _keep(item: pytest.Item, made: Lab) -> None:
    """Write what happened in a failed run into the folder that was asked for."""
    folder = item.config.getoption("--lab-failures")
    if folder is None or not len(made.trace):
        return
    name = re.sub(r"[^\w.-]+", "_", f"{item.nodeid}-seed-{made.seed}")[-150:]
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / f"{name}.svg").write_text(made.ladder_svg(), encoding="utf-8")
    (path / f"{name}.txt").write_text(f"{made.trace}\n", encoding="utf-8")


def _seed_of(request: pytest.FixtureRequest) -> int | str:
    given = request.config.getoption("--lab-seed")
    if given is not None:
        return _number(given)
    marker = request.node.get_closest_marker("lab_seed")
    seed: int | str = marker.args[0] if marker is not None else 0
    return seed


def _number(text: str) -> int | str:
    """Seeds are numbers as a rule, but any text will do."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def _replay(nodeid: str, seed: int | str) -> str:
    return f"pytest {shlex.quote(nodeid)} --lab-seed {shlex.quote(str(seed))}"
