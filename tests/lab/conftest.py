"""How many seeds a scenario runs over in a soak."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

SOAK_SEEDS = int(os.environ.get("SWITCHROOM_SOAK_SEEDS", "0"))
"""Seeds for each scenario on each quality of link, shared out among the scenario's variants."""


@pytest.fixture
def over_seeds(over_seeds: Callable[..., None], request: pytest.FixtureRequest) -> Callable[..., None]:
    """The lab's `over_seeds`, with this test's share of the seeds of a soak.

    What has no `link` is no scenario of ours: an example may well meet a seed that loses every packet.
    """
    if not SOAK_SEEDS or quality(request.node) is None:
        return over_seeds
    share = -(-SOAK_SEEDS // variants(request.node))

    def run(scenario: Callable[..., Any], count: int = 20, **options: Any) -> None:
        over_seeds(scenario, max(count, share), **options)

    return run


def variants(item: pytest.Function) -> int:
    """How many tests run the same scenario on the same quality of link."""
    return sum(
        isinstance(other, pytest.Function) and other.function is item.function and quality(other) == quality(item)
        for other in item.session.items
    )


def quality(item: pytest.Function) -> object:
    """The `link` of a test's parameters, if it has one."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("link")
