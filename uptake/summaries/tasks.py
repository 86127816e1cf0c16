"""The list of tasks as a person reads it, and as a spreadsheet does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from uptake.operations.tasks import COLUMNS, Task
from uptake.summaries.markdown import table
from uptake.summaries.spreadsheet import cells

BOARD = 100  # rows that a page shows


def as_rows(tasks: Sequence[Task]) -> Iterator[list[str]]:
    """Yield the cells of each task, in the order of `COLUMNS`; customer data stays data in a spreadsheet."""
    for task in tasks:
        values = asdict(task) | {
            "due_at": task.due_at.isoformat(),
            "opened_at": task.opened_at.isoformat(),
            "is_overdue": "yes" if task.is_overdue else "no",
            "facts": json.dumps(task.facts, ensure_ascii=False),
        }
        yield cells(values[name] for name in COLUMNS)


def task_summary(tasks: Sequence[Task]) -> str:
    """Return the open tasks as Markdown."""
    if not tasks:
        return "No task is open."
    rows = [
        [
            str(task.task_id), task.title, task.owner or "nobody", f"{task.due_at:%Y-%m-%d}" + " !" * task.is_overdue,
            task.account_id, task.contact_name or task.contact_id, f"{task.playbook}/{task.stage_key}",
        ]
        for task in tasks
    ]  # fmt: skip
    head = ["task", "what", "owner", "until", "account", "contact", "playbook"]
    return f"{len(tasks)} open\n\n" + table(head, rows)


def task_board(rows: Sequence[Mapping[str, Any]], *, now: datetime) -> str:
    """Return the open tasks of the ledger as Markdown, for whoever sees Prefect's page: ids alone, no name."""
    if not rows:
        return "# No task is open"
    overdue = sum(row["due_at"] < now for row in rows)
    shown = [
        (
            row["task_id"], row["title"], row["owner"] or "nobody", f"{row['due_at']:%Y-%m-%d}",
            row["due_at"] < now, row["account_id"], row["contact_id"], f"{row['playbook']}/{row['stage_key']}",
        )
        for row in rows[:BOARD]
    ]  # fmt: skip
    head = ("task", "what", "owner", "until", "overdue", "account", "contact", "playbook")
    parts = [f"# {len(rows):,} tasks are open, {overdue:,} of them overdue", table(head, shown)]
    if len(rows) > len(shown):
        parts.append(f"... and {len(rows) - len(shown):,} more: `uptake tasks --csv` lists all.")
    parts.append("`uptake tasks` adds the facts and what could be said, `uptake done TASK` closes one.")
    return "\n\n".join(parts)
