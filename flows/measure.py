"""Measure: what each playbook changed, against its own randomised holdout."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from uptake.bootstrap import open_uptake
from uptake.markdown import outcome_summary


@flow(name="measure", log_prints=True)
def measure() -> list[str]:
    """Estimate the lift of every playbook and write the value report."""
    uptake = open_uptake()
    outcomes = uptake.measure()
    reports = uptake.report()
    create_markdown_artifact(
        outcome_summary(outcomes),
        key="value",
        description=f"Lift by playbook; the report is {reports.value_report.name}",
    )
    return [f"{outcome.playbook}: {outcome.verdict}" for outcome in outcomes]
