"""What importing a room loads: the core must stay free of I/O, and the package itself free of everything."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import switchroom.sip

FORBIDDEN = ["asyncio", "socket", "ssl", "threading", "random", "logging", "secrets", "select", "selectors", "uuid"]


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after *statement* and had not before."""
    code = f"import sys; before = set(sys.modules)\n{statement}\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_room() -> None:
    assert {name for name in loaded_by("import switchroom") if name.startswith("switchroom")} == {"switchroom"}


@pytest.mark.parametrize("module", [m.name for m in pkgutil.walk_packages(switchroom.sip.__path__, "switchroom.sip.")])
def test_the_core_loads_no_io_even_through_the_standard_library(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert loaded & set(FORBIDDEN) == set()
    assert {
        name for name in loaded if name.startswith("switchroom.") and not name.startswith("switchroom.sip")
    } == set()
