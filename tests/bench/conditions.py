"""A playbook's audience, chosen by a condition over a table, against the same predicate written in SQL by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb

from tests.bench.harness import ROUNDS, Result, alternate, here
from uptake.adapters.conditions_duckdb import condition_names, to_expression
from uptake.domain.conditions import parse

ROWS = 4_000_000
TARGET = 1.5

_CONDITION = "account.plan in ['team', 'business'] and account.age_days >= 14 and feature.adoption_state == 'tried'"
_BY_HAND = """
    select count(*) from candidates
    where "account.plan" in ('team', 'business') and "account.age_days" >= 14 and "feature.adoption_state" = 'tried'
"""


def run(scratch: Path) -> list[Result]:
    """Measure one condition."""
    with duckdb.connect() as marts:
        marts.execute("set threads to 2")
        marts.execute(
            f"""
            create table candidates as
            select ['starter', 'team', 'business', 'enterprise'][1 + i % 4] as "account.plan",
                   i % 900 as "account.age_days", i % 7 = 0 as "account.churned",
                   ['never', 'tried', 'adopted', 'lapsed'][1 + i % 4] as "feature.adoption_state"
            from range({ROWS}) as t (i)
            """
        )
        condition, now = parse(_CONDITION, condition_names()), datetime(2026, 3, 2, tzinfo=UTC)
        floor, ours = alternate(
            lambda: marts.sql(_BY_HAND).fetchall(),
            lambda: marts.table("candidates").filter(to_expression(condition, now)).aggregate("count(*)").fetchall(),
            rounds=ROUNDS + 2,
            told="conditions",
            measure=here,
        )
    return [
        Result(
            work="one audience",
            size=f"{ROWS / 1e6:g} M rows",
            against="the same SQL by hand",
            floor=floor.cpu,
            ours=ours.cpu,
            target=TARGET,
        )
    ]
