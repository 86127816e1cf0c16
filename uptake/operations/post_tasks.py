"""Tell the workspace's task webhook of every task that was opened or closed.

At least once: what was posted is recorded after the answer, so a tick that is killed in between posts it again, under
the same key. Never instead of anything: a receiver that is down stops no tick, and `status` says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uptake.errors import TaskNotTaken
from uptake.operations.tasks import said
from uptake.ports import Clock, Ledger, MergeFields, Snapshots, TaskReceiver, Words

AT_MOST = 500  # in one tick
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")


@dataclass(frozen=True, kw_only=True)
class Posted:
    """What the webhook was told by this tick."""

    posted: int = 0
    refused: int = 0
    trouble: str | None = None  # why it could not be told more


def post_tasks(
    ledger: Ledger,
    receiver: TaskReceiver,
    snapshots: Snapshots,
    merge_fields: MergeFields,
    words: Words,
    *,
    clock: Clock,
    at_most: int = AT_MOST,
) -> Posted:
    """Post what is new of tasks, the oldest first, until the receiver is down. Never raises for what it answers."""
    rows = ledger.read("tasks_to_post", at_most=at_most)
    ledger.tasks.note_posts([(row["task_id"], row["event"]) for row in rows], now=clock.now())
    suggested = said(ledger, snapshots, merge_fields, words, rows)
    posted = refused = 0
    trouble = None
    for row in rows:
        key = _key(row)
        body = json.dumps(_document(row, key, suggested.get(row["task_id"])), ensure_ascii=False).encode()
        try:
            receiver.post(body, key=key, at=clock.now())
        except TaskNotTaken as error:
            trouble = str(error)
            ledger.tasks.end_post(row["task_id"], row["event"], trouble=trouble, now=clock.now())
            if error.is_down:
                break
            refused += 1
        else:
            ledger.tasks.end_post(row["task_id"], row["event"], trouble=None, now=clock.now())
            posted += 1
    return Posted(posted=posted, refused=refused, trouble=trouble)


def _key(row: Mapping[str, Any]) -> str:
    """Return what makes two posts the same news: of ids that a restored ledger gives again to the same task only."""
    parts = [row["playbook"], row["account_id"], row["entry_no"], row["stage_key"], row["event"]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _document(row: Mapping[str, Any], key: str, words: str | None) -> dict[str, Any]:
    """Return what is told: ids, facts and words; no address, and no name but where the author's words have one."""
    is_closed = row["event"] == "closed"
    return {
        "type": f"task.{row['event']}",
        "dedupe_key": key,
        "task": {
            "task_id": row["task_id"],
            "playbook": row["playbook"],
            "stage": row["stage_key"],
            "title": row["title"],
            "owner": row["owner"],
            "opened_at": row["opened_at"].isoformat(),
            "due_at": row["due_at"].isoformat(),
            "status": row["status"],
            "closed_at": row["closed_at"].isoformat() if is_closed else None,
            "reason": _ADDRESS.sub("(address)", row["close_reason"] or "") if is_closed else None,
            "account_id": row["account_id"],
            "contact_id": row["contact_id"],
            "contact_role": row["role"],
            "feature_key": row["feature_key"],
            "facts": row["facts"],
            "words": words,
        },
    }
