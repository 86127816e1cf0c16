"""What every check of the gate has in common: a name that says what it protects, and a detail fit to be shown."""

from __future__ import annotations

import re
from typing import Literal

import duckdb

from uptake.ports import Check, Protects

Severity = Literal["critical", "warning"]
Status = Literal["passed", "failed", "errored", "missing", "baseline"]

#: Marts that say what was achieved, and that no decision to mail rests on.
VALUE_MARTS = frozenset({"fct_outcomes"})
#: What is seen in a value mart, and says that sending itself is wrong.
OF_SENDING = frozenset({"gx:fct_outcomes:unexpected_rows_expectation:holdout_got_no_mail"})
#: Columns that say which row it is. Nothing else of a row is ever shown.
IDS = (
    "account_id", "contact_id", "feature_key", "date_day", "week_ends_on", "playbook", "enrollment_id",
    "recommendation_rank", "event_id", "subscription_id", "ticket_id", "source",
)  # fmt: skip
_ADDRESS = re.compile(r"\S+@\S+")
_HARMLESS = re.compile(r"[\w.:/-]{1,64}")


def protects(name: str) -> Protects:
    """Return what a check stands before, by its name.

    What is wrong with a value mart blocks reports and never mail: `gx:<mart>:...`, `gate:rows:<mart>`, and tests of
    dbt, which are named after the model they test. A value mart that cannot be published at all blocks everything, and
    so does a holdout that was mailed.
    """
    tool, _, rest = name.partition(":")
    if name in OF_SENDING or (tool == "gate" and rest.startswith("columns:")):
        return "mail"
    parts = rest.split(":")
    about_value = any(part == mart or part.startswith(f"{mart}_") for part in parts for mart in VALUE_MARTS)
    return "reports" if about_value else "mail"


def checked(
    name: str, status: Status, detail: str, severity: Severity = "critical", rows: tuple[str, ...] = ()
) -> Check:
    """Return a check that was decided."""
    return Check(name=name, status=status, severity=severity, detail=detail, protects=protects(name), rows=rows)


def told(error: BaseException | str) -> str:
    """Return what went wrong in one line, without an address in it."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return _ADDRESS.sub("(address)", " ".join(text.split()))[:400] or "no message"


def shown(value: object) -> str:
    """Return a value as it may be shown: numbers, dates and plain identifiers; never an address."""
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value)
    return text if _HARMLESS.fullmatch(text := str(value)) else "(text not shown)"


def rows_by_id(found: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Return the rows of an executed query as they may be shown: `account_id=a1, feature_key=api`.

    Each row by its ids alone; none when the query has no column that is one.
    """
    names = [column[0] for column in found.description]
    return tuple(
        ", ".join(f"{name}={shown(value)}" for name, value in zip(names, row, strict=True) if name in IDS)
        for row in found.fetchall()
        if set(names) & set(IDS)
    )
