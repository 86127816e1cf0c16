"""The commands about people: whom nobody mails any more, what is known of somebody, forgetting them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uptake.cli_common import AsJson, By, err, open_home, out, print_json

if TYPE_CHECKING:
    from uptake.operations.forget import Forgotten

app = typer.Typer()

Email = Annotated[
    str, typer.Argument(metavar="EMAIL", help="Whose; - reads it from the terminal, so that no shell remembers it")
]


@app.command(name="import-suppressions")
def import_suppressions(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An address a line, or CSV")],
    by: By,
    reason: Annotated[str, typer.Option(help="Where the list comes from")],
) -> None:
    """Take over a do-not-contact list: nobody on it gets any mail. Only hashes of the addresses are kept."""
    found = open_home().import_suppressions(file, reason=reason, by=by)
    out.print(f"{found.addresses} addresses are suppressed.")
    if found.unreadable:
        lines = ", ".join(map(str, found.unreadable[:10]))
        err.print(f"uptake: {len(found.unreadable)} lines hold no address, the first are {lines}")


@app.command()
def forget(
    email: Email,
    by: By,
    as_json: AsJson = False,
) -> None:
    """Forget a person: ledger, raw files of the home, webhook bodies, SendGrid. They get no mail for good.

    Safe to repeat; exit code 1 while something is left, which it names.
    """
    report = open_home().forget(_address(email), by=by)
    if as_json:
        print_json(asdict(report) | {"is_complete": report.is_complete})
    else:
        for line in _told(report):
            out.print(line, markup=False, soft_wrap=True)
    if not report.is_complete:
        if not as_json:
            err.print("uptake: not everything is forgotten; see to what is named, then run this again")
        raise typer.Exit(1)


@app.command()
def nightly() -> None:
    """Empty old webhook bodies; make our suppressions and SendGrid's the same: whoever is on either is on both."""
    uptake = open_home()
    out.print(f"{uptake.drop_old_bodies()} webhook bodies were old enough to go.")
    done = uptake.sync_suppressions()
    out.print(f"SendGrid was told of {done.told} addresses; {done.learned} were learned from it.")


@app.command()
def export(email: Email) -> None:
    """Print everything the ledger knows of a person, as one JSON document. It holds their name and address."""
    print_json(open_home().export(_address(email)))


def _told(report: Forgotten) -> list[str]:
    lines = [
        f"{report.contacts} contacts blanked; the address gets no mail any more, under the hash {report.address_hash}",
        f"{report.webhook_bodies} webhook bodies rewritten",
        f"{len(report.files)} raw files rewritten ({sum(report.files.values())} lines)"
        + ("; the next refresh builds the warehouse anew" if report.files else ""),
        f"SendGrid: {report.mail_service}",
    ]
    lines += [f"look yourself into {name}: its format is not rewritten" for name in report.unread]
    lines += [f"the address still stands in {name}" for name in report.found]
    if not report.found:
        lines.append("no file of this home holds the address any more")
    return lines


def _address(email: str) -> str:
    return sys.stdin.readline().strip() if email == "-" else email
