"""Run a playbook: plan it, and on an explicit order approve the plan and run it."""

from __future__ import annotations

from typing import Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from uptake.bootstrap import open_uptake
from uptake.errors import UsageError
from uptake.markdown import plan_summary, tick_summary


@flow(name="run-playbook", log_prints=True)
def run_playbook(
    playbook: str, mode: Literal["plan only", "approve and run"] = "plan only", approved_by: str = ""
) -> str:
    """Show exactly what a playbook would do now; if you say so, approve that plan and do it.

    Args:
        playbook: Name of the folder in playbooks/
        mode: "plan only" mails nobody; "approve and run" approves this very plan and runs a tick
        approved_by: Your name, kept with the approval; needed to approve
    """
    uptake = open_uptake()
    if mode == "approve and run" and not approved_by.strip():
        raise UsageError("approved_by is empty; an approval needs the name of the person who gives it")
    planned = uptake.plan(playbook)
    plan_id = planned.plan.plan_id
    create_markdown_artifact(
        plan_summary(planned),
        key=f"plan-{playbook.replace('_', '-')}",
        description="Who would enter, and what they would get",
    )
    if mode == "approve and run":
        uptake.approve(plan_id, by=approved_by)
        create_markdown_artifact(tick_summary(uptake.tick()), key="tick", description="What this tick decided and sent")
    return plan_id
