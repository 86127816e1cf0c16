"""The command line: the same operations as the flows. Exit codes: 0 done, 1 refused or held, 2 wrong use."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.markdown import Markdown

from uptake import cli_people
from uptake.errors import Refused, UptakeError, UsageError

if TYPE_CHECKING:
    from uptake.bootstrap import Uptake

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__
)

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document")]
Now = Annotated[
    datetime | None, typer.Option("--now", help="Stop the clock at this moment (UTC); what is due then is really sent")
]
By = Annotated[str, typer.Option("--by", help="Who says so; a claim, kept in the ledger")]


def main() -> NoReturn:
    """Run the command line; what a person did wrong or must know is one line, never a traceback."""
    code = 0
    try:
        code = app(standalone_mode=False) or 0  # what `typer.Exit` asked for comes back as a value
    except UptakeError as error:
        _err.print(f"uptake: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        _err.print(f"uptake: {error.strerror or error}: {error.filename or 'a file or socket'}")
        sys.exit(1)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        if not (show := getattr(error, "show", None)):
            raise
        show()  # click's own errors: a wrong option, a missing argument
        sys.exit(2)
    sys.exit(code)


def _open(**overrides: Any) -> Uptake:
    from uptake.bootstrap import open_uptake  # imports DuckDB, SQLAlchemy and more: `--help` stays quick without

    return open_uptake(**{name: value for name, value in overrides.items() if value is not None})


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)


def _show(result: Any, *, as_json: bool, markdown: Callable[[Any], str]) -> None:
    if as_json:
        _print_json(result.as_json() if hasattr(result, "as_json") else _plain(result))
    else:
        _out.print(Markdown(markdown(result)))


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


@app.command()
def demo(
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the last demo and start over")] = False,
    home: Annotated[Path, typer.Option(envvar="UPTAKE_HOME", help="Where the demo lives")] = Path("var/demo"),
) -> None:
    """Live through 45 virtual days of a simulated customer base and see what the mails were worth."""
    from uptake.demo import demo as live

    live(home=home, fresh=fresh, console=Console(highlight=False, width=max(_out.width, 112)))


@app.command()
def refresh(
    source: Annotated[str | None, typer.Option(help="uptake, gharchive, ..., or a mapping file (.yml)")] = None,
    raw: Annotated[Path | None, typer.Option(help="Folder of raw logs")] = None,
    as_of: Annotated[datetime | None, typer.Option(help="The moment the marts describe (UTC)")] = None,
    as_json: AsJson = False,
) -> None:
    """Build the adoption marts from raw logs, validate them, publish a snapshot."""
    from uptake.markdown import refresh_summary

    uptake = _open(source=source, raw=raw)
    result = uptake.refresh(as_of=_utc(as_of))
    _show(result, as_json=as_json, markdown=lambda found: refresh_summary(found, docs=uptake.data_docs))
    if result.gate == "held":
        if not as_json:
            _err.print("uptake: HELD, no snapshot was published: " + "; ".join(result.reasons))
        raise typer.Exit(1)


@app.command()
def inspect(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source, or a folder or file nobody mapped yet")],
    raw: Annotated[Path | None, typer.Option(help="Folder of raw logs, for a source")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at raw logs: events by volume, what the catalogue makes of them, fields, oddities. Changes nothing."""
    from uptake.log_summary import inspection_summary, proposals

    found = _open(raw=raw).inspect(source)
    _show(found, as_json=as_json, markdown=inspection_summary)
    if not as_json:
        sys.stdout.write(proposals(found))  # as it is, however narrow the terminal: somebody will paste it


@app.command()
def override(
    snapshot: str,
    by: By,
    reason: Annotated[str, typer.Option(help="Why its data are right, for whoever asks later")],
) -> None:
    """Publish the snapshot that the last refresh held, by name and reason. Data that nobody could read stay held."""
    passed = _open().override(snapshot, by=by, reason=reason)
    _out.print(f"Snapshot {passed.snapshot.snapshot_id} was let pass by {passed.by}. What had failed:", markup=False)
    for failed in passed.checks:
        _out.print(f"- {failed.name}: {failed.detail}", markup=False)


@app.command()
def check() -> None:
    """Check every playbook: keys, columns, features, texts, links. Runs nothing."""
    uptake = _open()
    problems = uptake.check()
    for problem in problems:
        _err.print(str(problem))
    if problems:
        raise Refused(f"{len(problems)} problem(s) in the playbooks")
    _out.print(f"{len(uptake.playbooks.names())} playbooks are in order: {', '.join(uptake.playbooks.names())}")


@app.command()
def plan(
    playbook: str,
    against: Annotated[str | None, typer.Option(help="A snapshot's id: who enters and leaves between the two")] = None,
    now: Now = None,
    as_json: AsJson = False,
) -> None:
    """Show who would enter a playbook now, in which arm, and what they would get. Mails nobody."""
    from uptake.plan_summary import plan_summary

    _show(_open().plan(playbook, now=_utc(now), against=against), as_json=as_json, markdown=plan_summary)


@app.command()
def backtest(
    playbook: str,
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days back")] = 28,
    as_json: AsJson = False,
) -> None:
    """Let a playbook live through the snapshots of past days: who would have entered, what would have been sent."""
    from uptake.backtest_summary import backtest_summary

    _show(_open().backtest(playbook, days=days), as_json=as_json, markdown=backtest_summary)


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
        expires_at = _open().approve_within_limits(plan_id)
        _out.print(f"Approved {plan_id}: it is within the limits. Until {expires_at:%Y-%m-%d}.", markup=False)
    else:
        expires_at = _open().approve(plan_id, by=by)
        _out.print(f"Approved {plan_id} by {by}, until {expires_at:%Y-%m-%d}.")


@app.command()
def tick(now: Now = None, as_json: AsJson = False) -> None:
    """Fold in delivery events, decide for everybody, send what is due. Safe to repeat."""
    from uptake.markdown import tick_summary

    report = _open().tick(now=_utc(now))
    _show(report, as_json=as_json, markdown=tick_summary)
    if report.stopped:
        _err.print(f"uptake: HELD, {report.stopped}")
        raise typer.Exit(1)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the gate, where every playbook stands and what it will send, tasks, and what is held."""
    from uptake.status_summary import status_summary

    _show(_open().status(), as_json=as_json, markdown=status_summary)


@app.command()
def preview(
    playbook: str,
    stage: Annotated[str | None, typer.Option(help="Stage key; default: the first e-mail")] = None,
    contact: Annotated[str | None, typer.Option(help="Contact id; default: the first who would enter")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the HTML here")] = None,
) -> None:
    """Render one stage for one person, exactly as it would be sent. Sends nothing."""
    mail = _open().preview(playbook, stage=stage, contact_id=contact)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(mail.html, encoding="utf-8")
    _out.print(f"Subject: {mail.subject}\nTo:      contact {mail.contact_id}, stage {mail.stage_key}", markup=False)
    _out.print()
    _out.print(mail.text, markup=False)
    if out is not None:
        _out.print(f"\nHTML: {out}", markup=False)


@app.command()
def explain(contact_id: str, playbook: Annotated[str | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """Say why somebody did or did not get a mail."""
    from uptake.explanation import explanation_summary

    _show(_open().explain(contact_id, playbook), as_json=as_json, markdown=explanation_summary)


@app.command()
def tasks(
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line per task")] = False, as_json: AsJson = False
) -> None:
    """List what people are to do: by whom, until when, with what is known and what could be said."""
    from uptake.operations.tasks import COLUMNS
    from uptake.task_list import as_rows, task_summary

    if as_csv and as_json:
        raise UsageError("print the tasks as CSV or as JSON, not as both")
    found = _open().tasks()
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(as_rows(found))
    elif as_json:
        _print_json([asdict(task) for task in found])
    else:
        _out.print(Markdown(task_summary(found)))


@app.command()
def done(
    task_id: int,
    outcome: Annotated[Literal["done", "declined"], typer.Option("--as", help="How it ended")],
    reason: Annotated[str, typer.Option(help="What came of it")],
    by: By,
) -> None:
    """Close a task: its stage is over, and it counts as a touch."""
    _open().close_task(task_id, outcome=outcome, reason=reason, by=by)
    _out.print(f"Task {task_id} is {outcome}.", markup=False)


@app.command()
def enter(account: str, playbook: str, by: By, reason: Annotated[str, typer.Option(help="Why this account")]) -> None:
    """Take an account into an approved playbook by hand. It stays outside lift; exclusions and consent hold as ever."""
    count = _open().enter(account, playbook, reason=reason, by=by)
    _out.print(f"{account} is in {playbook}, with {count} of its people.", markup=False)


@app.command(name="exit")
def leave(account: str, playbook: str, by: By, reason: Annotated[str, typer.Option(help="Why it leaves")]) -> None:
    """Take an account out of a playbook: nothing more is sent to it from there."""
    _open().leave(account, playbook, reason=reason, by=by)
    _out.print(f"{account} is out of {playbook}.", markup=False)


@app.command(name="import-suppressions")
def import_suppressions(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An address a line, or CSV")],
    by: By,
    reason: Annotated[str, typer.Option(help="Where the list comes from")],
) -> None:
    """Take over a do-not-contact list: nobody on it gets any mail. Only hashes of the addresses are kept."""
    found = _open().import_suppressions(file, reason=reason, by=by)
    _out.print(f"{found.addresses} addresses are suppressed.")
    if found.unreadable:
        lines = ", ".join(map(str, found.unreadable[:10]))
        _err.print(f"uptake: {len(found.unreadable)} lines hold no address, the first are {lines}")


Account = Annotated[str | None, typer.Option("--account", help="One account, in every playbook")]


@app.command()
def pause(
    by: By,
    reason: Annotated[str, typer.Option(help="Why")],
    playbook: Annotated[str | None, typer.Argument(help="One playbook; everything with --all")] = None,
    account: Account = None,
    everything: Annotated[bool, typer.Option("--all", help="Pause everything")] = False,
) -> None:
    """Stop new mail at once: of a playbook, to an account, or all. Goals and delivery events are still taken in."""
    _control("pause", playbook, account, everything, reason=reason, by=by)


@app.command()
def stop(
    by: By,
    reason: Annotated[str, typer.Option(help="Why")],
    playbook: Annotated[str | None, typer.Argument(help="One playbook")] = None,
    account: Account = None,
) -> None:
    """End a playbook for all who are in it, or all playbooks for one account. Nothing planned for them leaves."""
    _control("stop", playbook, account, False, reason=reason, by=by)


@app.command()
def resume(
    by: By,
    reason: Annotated[str, typer.Option(help="Why")],
    playbook: Annotated[str | None, typer.Argument(help="One playbook; everything with --all")] = None,
    account: Account = None,
    everything: Annotated[bool, typer.Option("--all", help="Take back `pause --all`")] = False,
    sending: Annotated[
        bool, typer.Option("--sending", help="Open the lock that a refused key, credits or sender put on sending")
    ] = False,
) -> None:
    """Take a pause or a stop back. Who was taken out by a stop stays out; others may enter again."""
    if sending:
        if playbook is not None or account is not None or everything:
            raise UsageError("--sending stands alone; playbooks, accounts and --all are resumed by themselves")
        uptake = _open()
        uptake.resume_sending(reason=reason, by=by)
        _out.print("resumed sending", markup=False)
    else:
        uptake = _control("resume", playbook, account, everything, reason=reason, by=by)
    controls = uptake.ledger.releases.controls()
    if controls.sending_locked is not None:
        command = "`uptake reconcile`" if controls.forgotten is not None else "`uptake resume --sending`"
        _out.print(f"Sending is still locked: {controls.sending_locked}. {command} opens it.", markup=False)


_ORDERED = {"pause": "paused", "stop": "stopped", "resume": "resumed"}


def _control(
    action: Literal["pause", "resume", "stop"],
    playbook: str | None,
    account: str | None,
    everything: bool,
    *,
    reason: str,
    by: str,
) -> Uptake:
    if (playbook is not None) + (account is not None) + everything != 1:
        whole = "" if action == "stop" else ", or everything with --all"
        raise UsageError(f"{action} one playbook by its name, one account with --account{whole}")
    uptake = _open()
    about = uptake.control(action, playbook, account_id=account, reason=reason, by=by)
    _out.print(f"{_ORDERED[action]} {about}", markup=False)
    return uptake


@app.command()
def held(as_json: AsJson = False) -> None:
    """List messages whose fate nobody knows: unknown (waits for evidence) and held (waits for you)."""
    from uptake.markdown import held_summary

    found = _open().held()
    if as_json:
        _print_json([dict(row) for row in found])
    else:
        _out.print(Markdown(held_summary(found)))


@app.command()
def release(
    by: By,
    reason: Annotated[str, typer.Option(help="Why they may be sent once more")],
    send_ids: Annotated[list[str] | None, typer.Argument(metavar="[SEND]...", help="Send ids")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every held message")] = False,
) -> None:
    """Send messages of unknown fate again. Whoever got the first one gets it twice: this is your decision."""
    if bool(send_ids) == everything:
        raise UsageError("release messages by their ids, or every held one with --all")
    count = _open().release(send_ids or None, by=by, reason=reason)
    _out.print(f"Released {count} messages by {by}; the next tick sends them, if they pass every check.", markup=False)


@app.command()
def reconcile(
    trust_ledger: Annotated[
        bool, typer.Option("--trust-ledger", help="Open the lock without asking the mail service; needs --by, --reason")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Who says so")] = None,
    reason: Annotated[str | None, typer.Option(help="Why the ledger is known to be whole")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the mail service's log about messages of unknown fate, and about what a restored ledger has forgotten."""
    from uptake.markdown import reconcile_summary

    uptake = _open()
    if trust_ledger:
        if not by or not reason:
            raise UsageError("--trust-ledger needs --by NAME and --reason")
        opened = uptake.trust_ledger(by=by, reason=reason)
        _out.print("The lock is open." if opened else "Nothing was locked.", markup=False)
        return
    result = uptake.reconcile()
    _show(result, as_json=as_json, markdown=reconcile_summary)
    if result.locked or result.trouble:
        raise typer.Exit(1)


@app.command()
def report(account: Annotated[str | None, typer.Option(help="Account id")] = None, as_json: AsJson = False) -> None:
    """Write the value report and the page of one account."""
    written = _open().report(account_id=account)
    if as_json:
        _print_json(asdict(written))
        return
    _out.print(f"Value report:  {written.value_report}", markup=False)
    if written.account_page:
        _out.print(f"Account page:  {written.account_page}", markup=False)


@app.command()
def lift(
    file: Path,
    arm: Annotated[str, typer.Option(help="Column that names the arm")],
    control: Annotated[str, typer.Option(help="The arm to compare with")],
    outcome: Annotated[str, typer.Option(help="Numeric outcome column")],
    cluster: Annotated[str | None, typer.Option(help="Column of the randomised unit, if rows are finer")] = None,
    covariate: Annotated[str | None, typer.Option(help="Numeric column from before the draw")] = None,
    ratio_of: Annotated[str | None, typer.Option(help="Divide by the sum of this column")] = None,
    allocation: Annotated[
        str | None, typer.Option(help="Intended sizes of the arms, A:B in alphabetical order")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the lift of an experiment in a CSV or Parquet file."""
    from uptake.bootstrap import lift_of_file
    from uptake.markdown import lift_summary

    result = lift_of_file(
        file, arm=arm, control=control, outcome=outcome, cluster=cluster, covariate=covariate, ratio_of=ratio_of,
        allocation=allocation,
    )  # fmt: skip
    if as_json:
        document = asdict(result)
        document["srm"] = {"pvalue": result.srm.pvalue, "alarm": result.srm.alarm}
        _print_json(document)
    else:
        _out.print(Markdown(lift_summary(result)))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Where to listen")] = "127.0.0.1",
    public_port: Annotated[int, typer.Option(min=0, max=65_535, help="Webhook, unsubscribe, preferences")] = 8025,
    internal_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Reports, inbox, data docs; loopback only")
    ] = 8026,
) -> None:
    """Serve the public pages and, on loopback, the internal ones; in a sandbox fakegrid too."""
    from uptake.serving import serve_all

    serve_all(_open(), host=host, public_port=public_port, internal_port=internal_port)


app.add_typer(cli_people.app)
