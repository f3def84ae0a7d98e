"""Draw the state machines of the core from their tables: writes `topics/state-machines.md`.

Every module of `switchroom.sip` that has `STATE_NAMES` and a dict from (state, input) is drawn, as a Mermaid diagram
and as a list of its rows with the comments beside them in the source.  A test compares the page with the tables.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import switchroom.sip

PAGE = Path(__file__).parent / "topics" / "state-machines.md"

Row = int | tuple[int, int]
Table = dict[tuple[int, int], Row]

HEAD = """\
# State machines

Where an RFC draws a figure, Switchroom has a table: from a state and an input to the next state and what to do. The
code runs these tables, and this page is drawn from them by `make docs`. Below each diagram are all rows of its table
with the reasons given in the source; a row without effect is not in the diagram. What has no row cannot come from the
network: it is a mistake of the caller, who is told so by `LocalProtocolError`.
"""

# (STATE, INPUT): ...,  # reason
_SOURCE_ROW = re.compile(r"^ +\((\w+), (\w+)\): .*?(?:#\s*(.*))?$")
_SOURCE_TABLE = re.compile(r"^(\w+): Final\[.*\] = \{$")


def tables() -> Iterator[tuple[ModuleType, str, Table]]:
    """Every state table of the core, with its module and its name there."""
    for found in pkgutil.iter_modules(switchroom.sip.__path__):
        module = importlib.import_module(f"switchroom.sip.{found.name}")
        if not hasattr(module, "STATE_NAMES"):
            continue
        source = source_of(found.name)
        for name, value in vars(module).items():
            if isinstance(value, dict) and f"\n{name}: Final" in source and all(map(is_pair, value)):
                yield module, name, value


def source_of(name: str) -> str:
    """The source of a module of the core, which may be compiled."""
    return (Path(switchroom.sip.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")


def is_pair(key: object) -> bool:
    """Whether a dict's key is (state, input)."""
    return isinstance(key, tuple) and len(key) == 2 and all(isinstance(item, int) for item in key)


def reasons(module: ModuleType) -> dict[tuple[str, int, int], str]:
    """The comment beside each row, by table, state and input."""
    found: dict[tuple[str, int, int], str] = {}
    table = ""
    for line in source_of(module.__name__.rpartition(".")[2]).split("\n"):
        if (start := _SOURCE_TABLE.match(line)) is not None:
            table = start[1]
        elif line.startswith("}"):
            table = ""
        elif table and (row := _SOURCE_ROW.match(line)) is not None:
            found[table, getattr(module, row[1]), getattr(module, row[2])] = row[3] or ""
    return found


def split(row: Row) -> tuple[int, int]:
    """The next state and the actions of a row; some tables have no actions."""
    return (row, 0) if isinstance(row, int) else row


def action_names(module: ModuleType, actions: int) -> str:
    """What a row does, in words."""
    names: tuple[str, ...] = getattr(module, "ACTION_NAMES", ())
    return ", ".join(name for bit, name in enumerate(names) if actions & 1 << bit)


def diagram(module: ModuleType, table: Table) -> list[str]:
    """The lines of a Mermaid diagram; inputs that do the same share an arrow."""
    used = sorted({state for state, _ in table})
    initial = next(iter(table))[0]
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{module.STATE_NAMES[state]}" as s{state}' for state in used]
    lines.append(f"    [*] --> s{initial}")
    arrows: dict[tuple[int, int, int], list[str]] = {}
    for (state, event), row in table.items():
        after, actions = split(row)
        if after != state or actions:
            arrows.setdefault((state, after, actions), []).append(module.INPUT_NAMES[event])
    for (state, after, actions), inputs in arrows.items():
        done = action_names(module, actions)
        lines.append(f"    s{state} --> s{after} : {', '.join(inputs)}{' / ' if done else ''}{done}")
    return lines


def section(module: ModuleType, name: str, table: Table) -> str:
    """One table: its title, diagram and rows."""
    summary = (inspect.getdoc(module) or "").split("\n")[0]
    short = module.__name__.rpartition(".")[2]
    title = f"{short}.{name}" if name != "TABLE" else short
    why = reasons(module)
    lines = [f"## {title}", "", summary, "", "```mermaid", *diagram(module, table), "```", ""]
    lines += ["| state | input | next state | actions | why |", "|---|---|---|---|---|"]
    for (state, event), row in table.items():
        after, actions = split(row)
        cells = (
            module.STATE_NAMES[state],
            module.INPUT_NAMES[event],
            "" if after == state else module.STATE_NAMES[after],
            action_names(module, actions),
            why.get((name, state, event), ""),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(module, name, table) for module, name, table in tables())])


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
