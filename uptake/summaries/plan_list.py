"""A plan line by line, as a spreadsheet reads it: who enters and what comes first, who is left out and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from uptake.summaries.spreadsheet import cells

if TYPE_CHECKING:
    from uptake.operations.plan import PlanResult

COLUMNS = (
    "decision", "reason", "account_id", "contact_id", "arm", "feature_key", "first_stage", "first_tick", "first_reason",
)  # fmt: skip


def as_rows(result: PlanResult) -> Iterator[list[str]]:
    """Yield the cells of each contact that enters or is left out; without a contact it is the whole account."""
    first = {row["contact_id"]: row for row in result.first_tick.to_pylist()}
    for row in result.entry.contacts.to_pylist():
        then = first.get(row["contact_id"], {})  # nothing for those held out
        yield cells(
            [
                "enters", None, row["account_id"], row["contact_id"], row["arm"], row["feature_key"],
                then.get("stage_key"), then.get("verdict"), then.get("reason"),
            ]
        )  # fmt: skip
    for row in result.entry.left_out.to_pylist():
        yield cells(["left_out", row["reason"], row["account_id"], row["contact_id"], *[None] * 5])
