"""The list of tasks as a person reads it, and as a spreadsheet does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from uptake.markdown import table
from uptake.operations.tasks import COLUMNS, Task

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would take such a cell for a formula, and run it


def as_rows(tasks: Sequence[Task]) -> Iterator[list[str]]:
    """Yield the cells of each task, in the order of `COLUMNS`; customer data stays data in a spreadsheet."""
    for task in tasks:
        values = asdict(task) | {
            "due_at": task.due_at.isoformat(),
            "opened_at": task.opened_at.isoformat(),
            "is_overdue": "yes" if task.is_overdue else "no",
            "facts": json.dumps(task.facts, ensure_ascii=False),
        }
        cells = ["" if values[name] is None else str(values[name]) for name in COLUMNS]
        yield [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells]


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
