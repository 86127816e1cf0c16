"""Values as Markdown: whatever they hold is data, never markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

SHOWN = 15  # rows or lines of a list; the rest is counted
# Whatever Markdown, or the HTML within it, could take for markup anywhere in a line; and where a line begins.
_ESCAPES = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>#|~&$"})
_LEADING = re.compile(r"^(\d*)([-+=.)])")

_DECISIONS = {
    "send": "send",
    "task": "open a task",
    "retry": "not now",
    "pass_over": "stage passed over",
    "end": "contact leaves",
    "account_end": "enrollment ends",
}


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "None.") -> str:
    """Return a Markdown table; cells are data, never markup."""
    lines = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    if not lines:
        return empty
    return "\n".join(["| " + " | ".join(map(cell, header)) + " |", "|" + "---|" * len(header), *lines])


def bullets(lines: Iterable[str]) -> str:
    """Return a list; lines are data, never markup."""
    return "\n".join("- " + _LEADING.sub(r"\1\\\2", cell(line)) for line in lines)


def cell(value: Any) -> str:
    """Return a value as text that Markdown takes for nothing else."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return " ".join(str(value).split()).translate(_ESCAPES)


def words(name: Any) -> str:
    """Return a name of the code as words."""
    return {"re_entry": "entered before"}.get(str(name), str(name).replace("_", " "))


def decision(name: str) -> tuple[str, str | None]:
    """Return a count's name, like `retry:paused`, as what was decided and why."""
    verdict, _, reason = name.partition(":")
    return _DECISIONS.get(verdict, words(verdict)), words(reason) if reason else None


def count_accounts(count: int) -> str:
    """Return `1 account`, `2 accounts`."""
    return f"{count:,} account{'' if count == 1 else 's'}"
