"""Measure: what each playbook changed, against its own randomised holdout."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from uptake.bootstrap import open_uptake
from uptake.errors import UptakeError
from uptake.run_states import done, refused
from uptake.summaries.outcomes import outcome_summary


@flow(name="measure")
def measure() -> State[Any]:
    """Estimate the lift of every playbook against its holdout, and write the value report. Mails nobody."""
    try:
        with closing(open_uptake()) as uptake:
            outcomes = uptake.measure()
            reports = uptake.report()
    except UptakeError as error:
        return refused(error)
    create_markdown_artifact(
        outcome_summary(outcomes, report=reports.value_report.name),
        key="value",
        description="What each playbook changed, with its verdict",
    )
    verdicts = "; ".join(f"{outcome.playbook}: {outcome.verdict}" for outcome in outcomes)
    return done(verdicts or "no playbook has taken anybody in yet")
