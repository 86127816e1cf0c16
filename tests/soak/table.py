"""The table of docs/reliability.md: one row per test, replaced by the run that made it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_row(path: Path, cells: Sequence[str]) -> None:
    """Replace the row whose first cell is the same, or add it in the order of its number."""
    lines = path.read_text().splitlines()
    rows = [index for index, line in enumerate(lines) if line.startswith("| T")]
    row = f"| {' | '.join(cells)} |"
    for index in rows:
        if _name(lines[index]) == cells[0]:
            lines[index] = row
            break
    else:
        after = [index for index in rows if _number(_name(lines[index])) < _number(cells[0])]
        header = next(index for index, line in enumerate(lines) if line.startswith("|---"))
        lines.insert((max(after) if after else header) + 1, row)
    path.write_text("\n".join(lines) + "\n")


def _name(line: str) -> str:
    return line.split("|")[1].strip()


def _number(name: str) -> int:
    return int(name.removeprefix("T"))
