"""The examples that are tests in the lab."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from switchroom.lab import Lab
from switchroom.lab.pytest_plugin import OverSeeds


def example(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_one_seed(lab: Lab) -> None:
    await example("lab_with_loss").test_one_seed(lab)


def test_many_seeds(over_seeds: OverSeeds) -> None:
    example("lab_with_loss").test_many_seeds(over_seeds)
