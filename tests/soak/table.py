"""What `make soak` has counted so far: the sums, and the table of docs/reliability.md that shows them."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_IS_ROW = re.compile(r"\| [A-Z]\d+ \|")


def read_totals(path: Path) -> dict[str, dict[str, int]]:
    """The sums of each test, by its name."""
    return json.loads(path.read_text()) if path.exists() else {}  # type: ignore[no-any-return]


def add_totals(path: Path, name: str, sums: Mapping[str, int]) -> dict[str, int]:
    """Add to a test's sums and return them; two soaks at once wait for each other."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        totals = read_totals(path)
        mine = totals.setdefault(name, {})
        for key, value in sums.items():
            mine[key] = mine.get(key, 0) + value
        ordered = dict(sorted(totals.items(), key=lambda item: _number(item[0])))
        path.write_text(json.dumps(ordered, indent=2) + "\n")
    return mine


def write_row(path: Path, cells: Sequence[str]) -> None:
    """Replace the row whose first cell is the same, or add it in the order of its number."""
    lines = path.read_text().splitlines()
    rows = [index for index, line in enumerate(lines) if _IS_ROW.match(line)]
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


def _number(name: str) -> tuple[bool, int]:
    """T1 before T2 before T10, and what has another letter after them all."""
    return (name[0] != "T", int(name[1:]))
