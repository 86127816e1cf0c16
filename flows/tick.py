"""Tick: take in, move on, decide and send for every approved playbook."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from uptake.bootstrap import open_uptake
from uptake.markdown import tick_summary


@flow(name="tick", log_prints=True)
def tick() -> dict[str, int]:
    """Fold in what the mail service told, decide for everybody who is in, and send what is due.

    Safe to run at any time and as often as you like: a second run changes nothing.
    """
    result = open_uptake().tick()
    create_markdown_artifact(tick_summary(result), key="tick", description="What this tick decided and sent")
    return dict(result.counts)
