"""Refresh: raw logs to a published snapshot, if the gate lets it pass."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from uptake.bootstrap import open_uptake
from uptake.errors import UptakeError
from uptake.run_states import done, held, refused
from uptake.summaries.refresh import refresh_summary


@flow(name="refresh")
def refresh(as_of: datetime | None = None) -> State[Any]:
    """Build the adoption marts, validate them, and publish a snapshot if every critical check passed. Mails nobody.

    Ends Held when a check did not pass: nothing is published, and nothing is sent until a later refresh passes.

    Args:
        as_of: The moment the marts describe, in UTC; None means now
    """
    if as_of is not None:
        as_of = (as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC)).astimezone(UTC)
    try:
        with closing(open_uptake()) as uptake:
            result = uptake.refresh(as_of=as_of)
            docs = uptake.data_docs
    except UptakeError as error:
        return refused(error)
    create_markdown_artifact(
        refresh_summary(result, docs=docs), key="refresh", description="What came in, and what the gate found"
    )
    if result.gate == "held":
        return held(result.reasons)
    return done(f"published snapshot {result.snapshot_id}: {result.events:,} events, {result.accounts:,} accounts")
