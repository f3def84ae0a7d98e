"""Run the benchmarks: `python benchmarks/run.py [--final] [parse] [transactions] [options_udp]`, all by default.

They run in .venv-bench, which holds switchroom and the peers at the versions named here.  The Python of that
environment is the one that runs this file, or SWITCHROOM_BENCH_PYTHON.  A peer that cannot be installed is named in
the results, with the reason.  Close everything else first; --final says that this was done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-bench"
PEERS = {"sippy": "2.5.0", "aiosip": "0.2.0", "pyVoIP": "1.6.8", "aiosipua": "0.7.1"}
BENCHMARKS = ("parse", "transactions", "options_udp")


def install() -> Path:
    """Make .venv-bench ready, and return its python."""
    base = os.environ.get("SWITCHROOM_BENCH_PYTHON") or str(getattr(sys, "_base_executable", sys.executable))
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "ready.json"
    wanted = {"python": base, "peers": PEERS}
    if stamp.exists() and {key: json.loads(stamp.read_text()).get(key) for key in wanted} == wanted:
        return python
    print(f"making {ENVIRONMENT.name} with {base}")
    subprocess.run([base, "-m", "venv", "--clear", "--without-pip", ENVIRONMENT], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--editable", str(ROOT), "uvloop"], check=True)
    failures: dict[str, str] = {}
    for name, version in PEERS.items():
        outcome = subprocess.run([*pip, f"{name}=={version}"], capture_output=True, text=True, check=False)
        if outcome.returncode:
            failures[name] = f"not installed: {outcome.stderr.strip().splitlines()[-1]}"
            print(f"{name} {failures[name]}")
    stamp.write_text(json.dumps({**wanted, "failures": failures}))
    return python


def main(arguments: list[str]) -> int:
    """Run what is asked for, one after the other."""
    chosen = [each for each in arguments if not each.startswith("--")] or list(BENCHMARKS)
    options = [each for each in arguments if each.startswith("--")]
    unknown = set(chosen) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    python = install()
    failures = 0
    for name in chosen:
        print(f"\n=== {name} ===", flush=True)
        outcome = subprocess.run([python, ROOT / "benchmarks" / f"{name}.py", *options], cwd=ROOT, check=False)
        failures += outcome.returncode != 0
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
