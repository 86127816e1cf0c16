"""Tick: take in, move on, decide and send for every approved playbook."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State

from uptake.bootstrap import open_uptake
from uptake.errors import UptakeError
from uptake.run_states import done, held, refused
from uptake.summaries.tasks import task_board
from uptake.summaries.tick import tick_headline, tick_summary


@flow(name="tick")
def tick() -> State[Any]:
    """Take in what the mail service told, decide for everybody who is in, and send what is due.

    Safe to run at any time and as often as you like: nobody gets the same mail twice. Ends Held when the data, a
    pause or the mail service stands in the way; the artifact says what.
    """
    try:
        with closing(open_uptake()) as uptake:
            report = uptake.tick()
            board = task_board(uptake.ledger.read("open_tasks"), now=uptake.clock.now())
    except UptakeError as error:
        return refused(error)
    create_markdown_artifact(tick_summary(report), key="tick", description="What this tick decided and sent")
    create_markdown_artifact(board, key="tasks", description="What people are to do, the most urgent first")
    return held(report.reasons) if report.reasons else done(tick_headline(report))
