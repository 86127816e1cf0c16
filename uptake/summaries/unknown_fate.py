"""Messages whose fate nobody knows, and what the mail service's log told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from uptake.summaries.markdown import cell, table, words

if TYPE_CHECKING:
    from uptake.operations.reconcile import ReconcileResult


def held_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """List messages whose fate nobody knows."""
    columns = ["send_id", "playbook", "stage_key", "account_id", "contact_id", "status", "detail", "sending_at"]
    told = table([words(name) for name in columns], [[row[name] for name in columns] for row in rows])
    return f"# {len(rows)} messages of unknown fate\n\n{told}"


def reconcile_summary(result: ReconcileResult) -> str:
    """Say what the mail service's log told."""
    lines = [
        f"{result.asked} messages of unknown fate were looked up, {result.found} had been taken.",
        f"{result.held} are newly held: `uptake held` lists them.",
        f"{result.remembered} messages were taken that this ledger did not know of.",
    ]
    if result.trouble is not None:
        lines.append(f"**The log could not be asked**: {cell(result.trouble)}")
    if result.locked is not None:
        lines.append(f"**Sending stays locked**: {cell(result.locked)}")
    return "\n\n".join(lines)
