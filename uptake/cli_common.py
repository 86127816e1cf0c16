"""What every command of the command line shares: where it prints, how it opens a home."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown

if TYPE_CHECKING:
    from uptake.bootstrap import Uptake

out = Console(highlight=False)
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document")]
Now = Annotated[
    datetime | None, typer.Option("--now", help="Stop the clock at this moment (UTC); what is due then is really sent")
]
By = Annotated[str, typer.Option("--by", help="Who says so; a claim, kept in the ledger")]


def open_home(**overrides: Any) -> Uptake:
    """Open the home that the settings name; what is None is left to them."""
    from uptake.bootstrap import open_uptake  # imports DuckDB, SQLAlchemy and more: `--help` stays quick without

    return open_uptake(**{name: value for name, value in overrides.items() if value is not None})


def print_json(value: Any) -> None:
    """Print one JSON document on one line."""
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


def show(result: Any, *, as_json: bool, markdown: Callable[[Any], str]) -> None:
    """Print a result for a program, or for a person."""
    if as_json:
        print_json(result.as_json() if hasattr(result, "as_json") else _plain(result))
    else:
        out.print(Markdown(markdown(result)))


def utc(moment: datetime | None) -> datetime | None:
    """Return a moment that was typed, as aware UTC; without a zone it is meant as UTC."""
    return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
