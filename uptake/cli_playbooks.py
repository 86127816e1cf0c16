"""The commands about playbooks and who is in them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markdown import Markdown

from uptake.cli_common import AsJson, By, Now, err, open_home, out, print_json, show, utc
from uptake.errors import UsageError

app = typer.Typer()


@app.command()
def plan(
    playbooks: Annotated[list[str], typer.Argument(metavar="PLAYBOOK...", help="Which; each is planned alone")],
    against: Annotated[str | None, typer.Option(help="A snapshot's id: who enters and leaves between the two")] = None,
    now: Annotated[datetime | None, typer.Option("--now", help="As if it were this moment (UTC)")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line for each who enters or is left out")] = False,
    as_json: AsJson = False,
) -> None:
    """Show who would enter playbooks now, in which arm, and what they would get. Mails nobody."""
    from uptake.summaries.plan import plan_summary
    from uptake.summaries.plan_list import COLUMNS, as_rows

    if as_csv and as_json:
        raise UsageError("print the plan as CSV or as JSON, not as both")
    if as_csv and len(playbooks) > 1:
        raise UsageError(f"print one plan as CSV, not {len(playbooks)} as one")
    found = open_home().plans(playbooks, now=utc(now), against=against)
    if as_csv:
        _print_csv(COLUMNS, as_rows(next(found)))
    for planned in found:
        show(planned, as_json=as_json, markdown=plan_summary)


@app.command()
def backtest(
    playbooks: Annotated[
        list[str] | None, typer.Argument(metavar="[PLAYBOOK]...", help="Which, together; none: every one")
    ] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], metavar="DAY", help="First day, as 2026-03-02")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], metavar="DAY", help="Last day; default: today")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="Instead of --from: how many days up to the last; default 28")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let playbooks live through the snapshots of past days: who enters, what is sent, where they overlap."""
    from uptake.summaries.backtest import backtest_summary

    if first is not None and days is not None:
        raise UsageError("say where it begins with --from DAY or with --days, not with both")
    found = open_home().backtest(
        playbooks or (),
        first=None if first is None else first.date(),
        last=None if last is None else last.date(),
        days=days or 28,
    )
    show(found, as_json=as_json, markdown=backtest_summary)


@app.command()
def approve(
    plan_id: str,
    by: Annotated[str | None, typer.Option(help="Who says so; a claim, kept in the ledger")] = None,
    within_limits: Annotated[
        bool, typer.Option("--within-limits", help="Nobody does: only if it is within `approval.automatic`")
    ] = False,
) -> None:
    """Approve the release of a plan: from now on ticks may take people in."""
    if (by is None) != within_limits:
        raise UsageError("say who approves it with --by NAME, or --within-limits for nobody")
    if by is None:
        expires_at = open_home().approve_within_limits(plan_id)
        out.print(f"Approved {plan_id}: it is within the limits. Until {expires_at:%Y-%m-%d}.", markup=False)
    else:
        expires_at = open_home().approve(plan_id, by=by)
        out.print(f"Approved {plan_id} by {by}, until {expires_at:%Y-%m-%d}.")


@app.command()
def tick(now: Now = None, as_json: AsJson = False) -> None:
    """Fold in delivery events, decide for everybody, send what is due. Safe to repeat."""
    from uptake.summaries.tick import tick_summary

    report = open_home().tick(now=utc(now))
    show(report, as_json=as_json, markdown=tick_summary)
    if report.stopped:
        err.print(f"uptake: HELD, {report.stopped}")
        raise typer.Exit(1)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the gate, where every playbook stands and what it will send, tasks, and what is held."""
    from uptake.summaries.status import status_summary

    show(open_home().status(), as_json=as_json, markdown=status_summary)


@app.command()
def preview(
    playbook: str,
    stage: Annotated[str | None, typer.Option(help="Stage key; default: the first e-mail")] = None,
    contact: Annotated[str | None, typer.Option(help="Contact id; default: the first who would enter")] = None,
    file: Annotated[Path | None, typer.Option("--out", help="Write the HTML here")] = None,
) -> None:
    """Render one stage for one person, exactly as it would be sent. Sends nothing."""
    mail = open_home().preview(playbook, stage=stage, contact_id=contact)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(mail.html, encoding="utf-8")
    out.print(f"Subject: {mail.subject}\nTo:      contact {mail.contact_id}, stage {mail.stage_key}", markup=False)
    out.print()
    out.print(mail.text, markup=False)
    if file is not None:
        out.print(f"\nHTML: {file}", markup=False)


@app.command()
def explain(contact_id: str, playbook: Annotated[str | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """Say why somebody did or did not get a mail."""
    from uptake.summaries.explanation import explanation_summary

    show(open_home().explain(contact_id, playbook), as_json=as_json, markdown=explanation_summary)


@app.command()
def tasks(
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line per task")] = False, as_json: AsJson = False
) -> None:
    """List what people are to do: by whom, until when, with what is known and what could be said."""
    from uptake.operations.tasks import COLUMNS
    from uptake.summaries.tasks import as_rows, task_summary

    if as_csv and as_json:
        raise UsageError("print the tasks as CSV or as JSON, not as both")
    found = open_home().tasks()
    if as_csv:
        _print_csv(COLUMNS, as_rows(found))
    elif as_json:
        print_json([asdict(task) for task in found])
    else:
        out.print(Markdown(task_summary(found)))


@app.command()
def done(
    task_id: int,
    outcome: Annotated[Literal["done", "declined"], typer.Option("--as", help="How it ended")],
    reason: Annotated[str, typer.Option(help="What came of it")],
    by: By,
) -> None:
    """Close a task: its stage is over, and it counts as a touch."""
    open_home().close_task(task_id, outcome=outcome, reason=reason, by=by)
    out.print(f"Task {task_id} is {outcome}.", markup=False)


@app.command()
def enter(account: str, playbook: str, by: By, reason: Annotated[str, typer.Option(help="Why this account")]) -> None:
    """Take an account into an approved playbook by hand. It stays outside lift; exclusions and consent hold as ever."""
    count = open_home().enter(account, playbook, reason=reason, by=by)
    out.print(f"{account} is in {playbook}, with {count} of its people.", markup=False)


@app.command(name="exit")
def leave(account: str, playbook: str, by: By, reason: Annotated[str, typer.Option(help="Why it leaves")]) -> None:
    """Take an account out of a playbook: nothing more is sent to it from there."""
    open_home().leave(account, playbook, reason=reason, by=by)
    out.print(f"{account} is out of {playbook}.", markup=False)


def _print_csv(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
