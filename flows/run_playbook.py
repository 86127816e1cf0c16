"""Run a playbook: plan it, and on an explicit order approve the plan and run it."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from uptake.bootstrap import open_uptake
from uptake.errors import UptakeError, UsageError
from uptake.run_states import done, held, refused
from uptake.summaries.plan import plan_headline, plan_summary
from uptake.summaries.tick import tick_headline, tick_summary


@flow(name="run-playbook", flow_run_name="{playbook}: {mode}")
def run_playbook(
    playbook: str, mode: Literal["plan only", "approve and run"] = "plan only", approved_by: str = ""
) -> State[Any]:
    """Show exactly what a playbook would do now; if you say so, approve that plan and do it.

    Args:
        playbook: The playbook's folder in playbooks/; each deployment has its own, leave it as it is
        mode: "plan only" mails nobody; "approve and run" approves the plan this run makes, then runs a tick
        approved_by: Your name, kept with the approval; only needed to approve
    """
    is_order = mode == "approve and run"
    try:
        if is_order and not approved_by.strip():
            raise UsageError(
                "approved_by is empty; to approve and run, put your name there. Nothing was planned or sent"
            )
        with closing(open_uptake()) as uptake:
            planned = uptake.plan(playbook)
            create_markdown_artifact(
                plan_summary(planned), key=_key(playbook), description="Who would enter, and what they would get"
            )
            if not is_order:
                return done(plan_headline(planned))
            uptake.approve(planned.plan.plan_id, by=approved_by)
            report = uptake.tick()
    except UptakeError as error:
        return refused(error)
    create_markdown_artifact(tick_summary(report), key="tick", description="What this tick decided and sent")
    if report.reasons:
        return held(report.reasons)
    return done(f"approved {planned.plan.plan_id} by {approved_by.strip()}; {tick_headline(report)}")


def _key(playbook: str) -> str:
    """Return the artifact's key: Prefect keeps one history by key, and allows no underscore in it."""
    return f"plan-{playbook}".replace("_", "-")
