"""The code in the README and on the pages of docs/ runs: the Python blocks of a page are a test module."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
README = DOCS.parent / "README.md"
PAGES = [page for page in [README, *sorted(DOCS.rglob("*.md"))] if BLOCK.search(page.read_text(encoding="utf-8"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+?)(#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_on_the_page_runs(page: Path, tmp_path: Path) -> None:
    module = tmp_path / "test_page.py"
    module.write_text("\n\n".join(BLOCK.findall(page.read_text(encoding="utf-8"))), encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:asyncio", "-W", "error"]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", str(module)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ passed", done.stdout), done.stdout


def test_there_are_pages_with_code() -> None:
    assert {page.name for page in PAGES} >= {"write-your-own-driver.md", "test-a-call-flow.md"}


@pytest.mark.parametrize("page", [*sorted(DOCS.rglob("*.md")), *sorted(DOCS.parent.glob("*.md"))], ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    dead = [target for target, _ in LINK.findall(text) if not (page.parent / target).exists()]
    assert dead == []
