"""The command line: the same operations as the flows. Exit codes: 0 done, 1 refused or held, 2 wrong use."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markdown import Markdown

from uptake import cli_orders, cli_people, cli_playbooks
from uptake.cli_common import AsJson, By, err, open_home, out, print_json, show, utc
from uptake.errors import Refused, UptakeError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__
)


def main() -> NoReturn:
    """Run the command line; what a person did wrong or must know is one line, never a traceback."""
    code = 0
    try:
        code = app(standalone_mode=False) or 0  # what `typer.Exit` asked for comes back as a value
    except UptakeError as error:
        err.print(f"uptake: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        err.print(f"uptake: {error.strerror or error}: {error.filename or 'a file or socket'}")
        sys.exit(1)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        if not (show := getattr(error, "show", None)):
            raise
        show()  # click's own errors: a wrong option, a missing argument
        sys.exit(2)
    sys.exit(code)


@app.command()
def demo(
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove the last demo and start over")] = False,
    home: Annotated[Path, typer.Option(envvar="UPTAKE_HOME", help="Where the demo lives")] = Path("var/demo"),
) -> None:
    """Live through 45 virtual days of a simulated customer base and see what the mails were worth."""
    from rich.console import Console

    from uptake.demo import demo as live

    live(home=home, fresh=fresh, console=Console(highlight=False, width=max(out.width, 112)))


@app.command()
def refresh(
    source: Annotated[str | None, typer.Option(help="uptake, gharchive, ..., or a mapping file (.yml)")] = None,
    raw: Annotated[Path | None, typer.Option(help="Folder of raw logs")] = None,
    as_of: Annotated[datetime | None, typer.Option(help="The moment the marts describe (UTC)")] = None,
    as_json: AsJson = False,
) -> None:
    """Build the adoption marts from raw logs, validate them, publish a snapshot."""
    from uptake.summaries.refresh import refresh_summary

    uptake = open_home(source=source, raw=raw)
    result = uptake.refresh(as_of=utc(as_of))
    show(result, as_json=as_json, markdown=lambda found: refresh_summary(found, docs=uptake.data_docs))
    if result.gate == "held":
        if not as_json:
            err.print("uptake: HELD, no snapshot was published: " + "; ".join(result.reasons))
        raise typer.Exit(1)


@app.command()
def inspect(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source, or a folder or file nobody mapped yet")],
    raw: Annotated[Path | None, typer.Option(help="Folder of raw logs, for a source")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at raw logs: events by volume, what the catalogue makes of them, fields, oddities. Changes nothing."""
    from uptake.summaries.inspection import inspection_summary, proposals

    found = open_home(raw=raw).inspect(source)
    show(found, as_json=as_json, markdown=inspection_summary)
    if not as_json:
        sys.stdout.write(proposals(found))  # as it is, however narrow the terminal: somebody will paste it


@app.command()
def override(
    snapshot: str,
    by: By,
    reason: Annotated[str, typer.Option(help="Why its data are right, for whoever asks later")],
) -> None:
    """Publish the snapshot that the last refresh held, by name and reason. Data that nobody could read stay held."""
    passed = open_home().override(snapshot, by=by, reason=reason)
    out.print(f"Snapshot {passed.snapshot.snapshot_id} was let pass by {passed.by}. What had failed:", markup=False)
    for failed in passed.checks:
        out.print(f"- {failed.name}: {failed.detail}", markup=False)


@app.command()
def check() -> None:
    """Check every playbook: keys, columns, features, texts, links. Runs nothing."""
    uptake = open_home()
    problems = uptake.check()
    for problem in problems:
        err.print(str(problem))
    if problems:
        raise Refused(f"{len(problems)} problem(s) in the playbooks")
    out.print(f"{len(uptake.playbooks.names())} playbooks are in order: {', '.join(uptake.playbooks.names())}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Examine the home: files, keys, ledger, snapshot, mail service, ticks; says what to do about what is wrong."""
    found = open_home().doctor()
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        for one in found:
            out.print(f"{'ok   ' if one.todo is None else 'WRONG'} {one.name}: {one.found}", markup=False)
            if one.todo is not None:
                out.print(f"      what to do: {one.todo}", markup=False)
    if any(one.todo is not None for one in found):
        raise typer.Exit(1)


@app.command()
def report(account: Annotated[str | None, typer.Option(help="Account id")] = None, as_json: AsJson = False) -> None:
    """Write the value report and the page of one account."""
    written = open_home().report(account_id=account)
    if as_json:
        print_json(asdict(written))
        return
    out.print(f"Value report:  {written.value_report}", markup=False)
    if written.account_page:
        out.print(f"Account page:  {written.account_page}", markup=False)


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
    from uptake.summaries.outcomes import lift_summary

    result = lift_of_file(
        file, arm=arm, control=control, outcome=outcome, cluster=cluster, covariate=covariate, ratio_of=ratio_of,
        allocation=allocation,
    )  # fmt: skip
    if as_json:
        document = asdict(result)
        document["srm"] = {"pvalue": result.srm.pvalue, "alarm": result.srm.alarm}
        print_json(document)
    else:
        out.print(Markdown(lift_summary(result)))


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

    serve_all(open_home(), host=host, public_port=public_port, internal_port=internal_port)


for more in (cli_playbooks, cli_orders, cli_people):
    app.add_typer(more.app)
