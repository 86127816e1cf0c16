"""Refresh: raw logs to a published snapshot, if the gate lets it pass."""

from __future__ import annotations

from datetime import datetime

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from uptake.bootstrap import open_uptake
from uptake.markdown import refresh_summary


@flow(name="refresh", log_prints=True)
def refresh(as_of: datetime | None = None) -> State[None]:
    """Build the adoption marts, validate them, and publish a snapshot if every critical check passed.

    A held gate is a normal end of this flow: it is named Held, and nothing is sent until a later refresh passes.

    Args:
        as_of: The moment the marts describe; empty means now
    """
    result = open_uptake().refresh(as_of=as_of)
    create_markdown_artifact(
        refresh_summary(result), key="refresh", description="What came in, and what the gate found"
    )
    if result.gate == "held":
        return Completed(name="Held", message="; ".join(result.reasons)[:500])
    return Completed(message=f"snapshot {result.snapshot_id}")
