"""The commands about people: whom nobody mails any more, what is known of somebody, forgetting them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from uptake.operations.forget import Forgotten

app = typer.Typer()

_out = Console(highlight=False, markup=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

Email = Annotated[
    str, typer.Argument(metavar="EMAIL", help="Whose; - reads it from the terminal, so that no shell remembers it")
]


@app.command()
def forget(
    email: Email,
    by: Annotated[str, typer.Option("--by", help="Who says so; a claim, kept in the ledger")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document")] = False,
) -> None:
    """Forget a person: ledger, raw files of the home, webhook bodies, SendGrid. They get no mail for good.

    Safe to repeat; exit code 1 while something is left, which it names.
    """
    from uptake.bootstrap import open_uptake

    report = open_uptake().forget(_address(email), by=by)
    if as_json:
        _print_json(asdict(report) | {"is_complete": report.is_complete})
    else:
        for line in _told(report):
            _out.print(line)
    if not report.is_complete:
        if not as_json:
            _err.print("uptake: not everything is forgotten; see to what is named, then run this again")
        raise typer.Exit(1)


@app.command()
def nightly() -> None:
    """Empty old webhook bodies; make our suppressions and SendGrid's the same: whoever is on either is on both."""
    from uptake.bootstrap import open_uptake

    uptake = open_uptake()
    _out.print(f"{uptake.drop_old_bodies()} webhook bodies were old enough to go.")
    done = uptake.sync_suppressions()
    _out.print(f"SendGrid was told of {done.told} addresses; {done.learned} were learned from it.")


@app.command()
def export(email: Email) -> None:
    """Print everything the ledger knows of a person, as one JSON document. It holds their name and address."""
    from uptake.bootstrap import open_uptake

    _print_json(open_uptake().export(_address(email)))


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


def _print_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, default=_plain, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else list(value)
