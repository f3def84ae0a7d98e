"""What all figures have in common: how they are taken, which Python they come from, and where they are kept."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import switchroom
from switchroom.sip import message

RESULTS = Path(__file__).parent / "results"


class Timing(NamedTuple):
    """Microseconds of CPU per call: of the best round, and of the middle one."""

    best: float
    median: float


def interleave(
    contestants: dict[str, Callable[[], object]], *, rounds: int = 40, seconds: float = 0.02
) -> dict[str, Timing]:
    """Time each contestant in turn, in another order every round, so that a noisy moment hits all of them."""
    numbers: dict[str, int] = {}
    for name, call in contestants.items():
        call()
        number = 1
        while (spent := _run(call, number)) < seconds / 4:
            number *= 2
        numbers[name] = max(1, int(number * seconds / spent))
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    shuffle = random.Random(1)
    for _ in range(rounds):
        shuffle.shuffle(order)
        for name in order:
            samples[name].append(_run(contestants[name], numbers[name]) / numbers[name] * 1e6)
    return {name: Timing(min(each), statistics.median(each)) for name, each in samples.items()}


def _run(call: Callable[[], object], number: int) -> float:
    start = time.process_time()
    for _ in range(number):
        call()
    return time.process_time() - start


def python_build() -> dict[str, Any]:
    """Which Python runs this; builds differ by a quarter in speed."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    flags = " ".join(str(sysconfig.get_config_var(name) or "") for name in ("PY_CFLAGS", "PY_CFLAGS_NODIST", "LDFLAGS"))
    return {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "compiler": platform.python_compiler(),
        "built": " ".join(platform.python_build()),
        "base": sys.base_prefix,
        # Debian builds with both and takes the flags out of what sysconfig shows, so "not declared" is no "no".
        "pgo": "declared" if "--enable-optimizations" in arguments or "-fprofile-use" in flags else "not declared",
        "lto": "declared" if "--with-lto" in arguments or "-flto" in flags else "not declared",
        "cflags": str(sysconfig.get_config_var("PY_CFLAGS") or ""),
        "loop_us": round(interleave({"loop": _loop}, rounds=15)["loop"].best, 2),
    }


def _loop() -> int:
    """A fixed piece of Python, to tell builds and machines apart."""
    total = 0
    for number in range(1000):
        total += number * 3 % 7
    return total


def compiled() -> bool:
    """Whether the hot modules are compiled by mypyc."""
    return not str(message.__file__).endswith(".py")


def keep(name: str, figures: dict[str, Any], peers: dict[str, str], *, final: bool) -> Path:
    """Add the figures of this run to results/<name>-<version>.json, one entry per Python build; returns the file."""
    path = RESULTS / f"{name}-{switchroom.__version__}.json"
    runs: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    build = python_build()
    key = f"{build['implementation']} {build['version']} ({build['compiler']}, {build['built']})"
    if compiled():
        key += " mypyc"
    runs[key] = {
        "final": final,  # a provisional run was taken on a busy machine
        "taken": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "load_average": os.getloadavg()[0],
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        "python": build,
        "peers": peers,
        **figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(runs, indent=2, ensure_ascii=False) + "\n")
    print(f"\nPython {key}: PGO {build['pgo']}, LTO {build['lto']}; a fixed loop takes {build['loop_us']} µs")
    print(f"{'final' if final else 'provisional'} figures kept in {path.relative_to(Path(__file__).parent.parent)}")
    return path


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
