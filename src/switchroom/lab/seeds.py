"""One scenario over many seeds; the first that fails says how to repeat it."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from .lab import Lab
from .link import INTERNET, Link

SEEDS_VARIABLE: Final = "SWITCHROOM_LAB_SEEDS"
"""The environment variable that says over how many seeds scenarios run."""

Scenario = Callable[[Lab], Coroutine[Any, Any, object]]


def seed_count(default: int) -> int:
    """How many seeds to run: `SWITCHROOM_LAB_SEEDS`, else *default*.  Raises ValueError for less than one."""
    text = os.environ.get(SEEDS_VARIABLE, "")
    count = int(text) if text else default
    if count < 1:
        raise ValueError(f"{SEEDS_VARIABLE} is {text!r}: it takes at least one seed to run a scenario")
    return count


def run_over_seeds(
    scenario: Scenario,
    seeds: Iterable[int | str],
    *,
    link: Link = INTERNET,
    check: Callable[[Lab], None] | None = None,
    replay: Callable[[int | str], str] | None = None,
    on_failure: Callable[[Lab], object] | None = None,
) -> None:
    """Run *scenario* once per seed, each in a lab of its own, and then *check* on that lab.

    What the first failing seed raises carries a note with the seed, what *replay* says about repeating it, and the
    ladder of the run.  *on_failure* gets its lab.
    """
    for seed in seeds:
        with Lab(seed, link=link) as lab:
            try:
                lab.run(scenario(lab))
                if check is not None:
                    check(lab)
            except Exception as error:
                error.add_note(failure_report(lab, replay))
                if on_failure is not None:
                    on_failure(lab)
                raise


def failure_report(lab: Lab, replay: Callable[[int | str], str] | None = None) -> str:
    """The seed of a run, how to repeat it, and its ladder."""
    lines = [f"seed {lab.seed}, failed at {lab.time():g} s of virtual time"]
    if replay is not None:
        lines.append(f"replay with: {replay(lab.seed)}")
    if len(lab.trace):
        lines.append(lab.ladder(width=_WIDTH))
    return "\n".join(lines)


_WIDTH: Final = 110
