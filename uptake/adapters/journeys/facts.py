"""Rows for conditions: the base of a question, joined with every mart that the condition names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb

from uptake.adapters.conditions_duckdb import column, to_expression
from uptake.adapters.marts import CONDITION_MARTS, MARTS
from uptake.domain.conditions import Condition

# What a contact that never used a feature has in `contact_features`: no row, which means these.
_ABSENT_FEATURE = {"adoption_state": "'never'", "days_used_28": "0"}

_JOINS = {
    "account": "left join accounts_current as account on account.account_id = base.account_id",
    "contact": "left join contacts_current as contact on contact.contact_id = base.contact_id",
    "feature": (
        "left join contact_features as feature"
        " on feature.contact_id = base.contact_id and feature.feature_key = base.feature_key"
    ),
    "account_feature": (
        "left join account_features as account_feature"
        " on account_feature.account_id = base.account_id and account_feature.feature_key = base.feature_key"
    ),
    "sends": "left join mails_to_contacts as sends on sends.contact_id = base.contact_id",
    "enrollment": "",
}

_OTHER_COLUMNS = {
    "sends.count_28d": "coalesce(sends.count_28d, 0)",
    "sends.days_since_last": "sends.days_since_last",
    "enrollment.entry_no": "base.entry_no",
    "enrollment.age_days": "base.age_days",
}


def rows(
    connection: duckdb.DuckDBPyConnection, base: str, names: frozenset[str], *, only: str = "true"
) -> duckdb.DuckDBPyRelation:
    """Return the rows of `base` with the columns `names`, each under its dotted name.

    Args:
        connection: Has the marts, the ledger's side and `base`.
        base: A relation with contact_id, account_id, feature_key and, where `enrollment.*` may be named, entry_no
            and age_days.
        names: Dotted names of condition columns.
        only: A filter on `base`, written here in the adapters and nowhere else.
    """
    prefixes = sorted({name.split(".")[0] for name in names})
    columns = "".join(f', {_column(name)} as "{name}"' for name in sorted(names))
    joins = " ".join(_JOINS[prefix] for prefix in prefixes)
    return connection.sql(f"select base.*{columns} from {base} as base {joins} where {only}")  # noqa: S608


def matching(
    connection: duckdb.DuckDBPyConnection, base: str, condition: Condition, now: datetime, *, only: str = "true"
) -> duckdb.DuckDBPyRelation:
    """Return the columns of `base` and `holds`: true, false, or NULL for unknown."""
    columns = [duckdb.ColumnExpression(name) for name in connection.table(base).columns]
    holds = to_expression(condition, now).alias("holds")
    return rows(connection, base, condition.names, only=only).select(*columns, holds)


def as_json(names: Sequence[str]) -> duckdb.Expression:
    """Return these columns of `rows` as one JSON object, in their order."""
    pairs = [(duckdb.ConstantExpression(name), column(name)) for name in names]
    return duckdb.FunctionExpression("json_object", *(part for pair in pairs for part in pair)).cast(
        duckdb.sqltypes.VARCHAR
    )


def _column(name: str) -> str:
    """Return the SQL of one condition column; the name was checked by the parser."""
    prefix, column = name.split(".")
    if prefix not in CONDITION_MARTS:
        return _OTHER_COLUMNS[name]
    if column not in MARTS[CONDITION_MARTS[prefix]].names:
        raise KeyError(name)
    if prefix == "feature" and column in _ABSENT_FEATURE:
        return f"case when base.feature_key is not null then coalesce(feature.{column}, {_ABSENT_FEATURE[column]}) end"
    if prefix == "feature" and column in ("contact_id", "account_id", "feature_key"):
        return f"base.{column}"
    return f"{prefix}.{column}"
