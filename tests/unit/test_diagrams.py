"""The page with the diagrams of the state machines is what the tables say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from switchroom.sip import transaction

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_diagrams", DOCS / "generate_diagrams.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator: ModuleType) -> None:
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), "run `make docs`"


def test_the_four_transaction_machines_are_drawn(generator: ModuleType) -> None:
    names = {name for module, name, _ in generator.tables() if module is transaction}
    assert names == {"CLIENT_INVITE", "CLIENT_OTHER", "SERVER_INVITE", "SERVER_OTHER"}


def test_a_diagram(generator: ModuleType) -> None:
    """Figure 6 of RFC 3261."""
    lines = [line.strip() for line in generator.diagram(transaction, transaction.CLIENT_OTHER)]
    assert lines == [
        "stateDiagram-v2",
        'state "Trying" as s2',
        'state "Proceeding" as s3',
        'state "Completed" as s6',
        'state "Terminated" as s8',
        "[*] --> s2",
        "s2 --> s3 : 1xx / message to TU",
        "s2 --> s6 : 2xx, 300-699 / linger T4 if unreliable, message to TU",
        "s2 --> s2 : retry timer / double the interval, send",
        "s2 --> s8 : expiry timer, transport error, connection closed / inform TU",
        "s3 --> s3 : 1xx / message to TU",
        "s3 --> s6 : 2xx, 300-699 / linger T4 if unreliable, message to TU",
        "s3 --> s3 : retry timer / interval T2, send",
        "s3 --> s8 : expiry timer, transport error / inform TU",
        "s6 --> s8 : expiry timer",
    ]


def test_each_row_is_listed_with_its_reason(generator: ModuleType) -> None:
    section = generator.section(transaction, "SERVER_OTHER", transaction.SERVER_OTHER)
    rows = [line for line in section.split("\n") if line.startswith("| ")][1:]
    assert len(rows) == len(transaction.SERVER_OTHER)
    assert (
        "| Trying | retry timer | Proceeding | send 100 | RFC 4320 §4.1: the client's timer E has reached T2 |" in rows
    )
    assert "| Completed | connection closed |  |  | timer J is 0 on streams, so never |" in rows
