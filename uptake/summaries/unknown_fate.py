"""Messages whose fate nobody knows, and what the mail service's log told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from uptake.summaries.markdown import bullets, cell

if TYPE_CHECKING:
    from uptake.operations.reconcile import ReconcileResult

_WAITS = (
    "Unknown waits for evidence, which the next ticks ask for; held waits for you: `uptake release SEND --by NAME"
    " --reason WHY` sends it again, and whoever got the first one gets it twice."
)


def held_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """List messages whose fate nobody knows."""
    title = f"# {len(rows)} messages of unknown fate"
    if not rows:
        return f"{title}\n\nNone."
    # No table: a narrow terminal would cut the ids, and `uptake release` and `uptake explain` take whole ones.
    told = bullets(
        f"{row['send_id']} is {row['status']}: {row['playbook']}, stage {row['stage_key']},"
        f" account {row['account_id']}, contact {row['contact_id']},"
        f" sent at {cell(row['sending_at'])} UTC: {cell(row['detail'])}"
        for row in rows
    )
    return f"{title}\n\n{told}\n\n{_WAITS}"


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
