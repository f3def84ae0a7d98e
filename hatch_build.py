"""Builds the wheel; with SWITCHROOM_MYPYC=1 its hot modules are compiled by mypyc, unchanged."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# On the path of every message.  Classes that users subclass stay interpreted.
HOT_MODULES = [
    "src/switchroom/sip/grammar.py",
    "src/switchroom/sip/host.py",
    "src/switchroom/sip/uri.py",
    "src/switchroom/sip/headers/registry.py",
    "src/switchroom/sip/headers/via.py",
    "src/switchroom/sip/headers/address.py",
    "src/switchroom/sip/headers/tokens.py",
    "src/switchroom/sip/header_lines.py",
    "src/switchroom/sip/plain_form.py",
    "src/switchroom/sip/status.py",
    "src/switchroom/sip/message.py",
    "src/switchroom/sip/framing.py",
    "src/switchroom/sip/timer_queue.py",
    "src/switchroom/sip/transaction.py",
    "src/switchroom/sip/matching.py",
    "src/switchroom/sip/layer.py",
]


class CompiledWheel(BuildHookInterface[Any]):
    """Adds the compiled modules beside their sources, and the platform's tag to the wheel's name."""

    PLUGIN_NAME = "custom"

    @property
    def _wanted(self) -> bool:
        return self.target_name == "wheel" and os.environ.get("SWITCHROOM_MYPYC") == "1"

    def dependencies(self) -> list[str]:
        """What the build itself needs beyond hatchling."""
        return ["mypy>=1.13", "setuptools>=70"] if self._wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, when asked to, and name the results for the wheel."""
        if not self._wanted or version == "editable":
            return
        from mypyc.build import mypycify
        from setuptools import Distribution
        from setuptools.command.build_ext import build_ext

        os.chdir(self.root)
        target = Path(tempfile.mkdtemp(prefix="switchroom-mypyc-"))
        extensions = mypycify(
            ["--ignore-missing-imports", "--follow-imports=silent", *HOT_MODULES],
            opt_level="3",
            target_dir=str(target / "c"),
        )
        command = build_ext(Distribution({"name": "switchroom", "ext_modules": extensions}))
        command.build_lib = str(target / "lib")
        command.build_temp = str(target / "tmp")
        command.ensure_finalized()
        command.run()
        for built in sorted((target / "lib").rglob("*.so")) + sorted((target / "lib").rglob("*.pyd")):
            build_data["force_include"][str(built)] = str(built.relative_to(target / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
