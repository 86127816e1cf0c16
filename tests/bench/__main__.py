"""`make bench`: what our own code costs, as a ratio to the plainest way to do the same work in the same run.

Each pair runs alternately (floor, ours, floor, ours, ...); the medians of CPU seconds are compared, because the wall
clock of a shared machine is not to be trusted. The table goes to docs/performance.md.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from uptake.adapters.conditions_duckdb import condition_names, to_expression
from uptake.adapters.lift_tea_tasting import estimate
from uptake.domain.conditions import parse

ROUNDS = 5
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


@dataclass(frozen=True)
class Result:
    """One row of the table; seconds of CPU."""

    name: str
    floor: float
    ours: float
    target: float

    @property
    def ratio(self) -> float:
        """How many times the floor ours costs."""
        return self.ours / self.floor


def compare(name: str, floor: Callable[[], object], ours: Callable[[], object], *, target: float) -> Result:
    """Run both alternately and compare medians; both must give the same answer."""
    assert floor() == ours(), f"{name}: the floor and ours disagree"
    floors, own = [], []
    for _ in range(ROUNDS):
        floors.append(_cpu(floor))
        own.append(_cpu(ours))
    return Result(name, statistics.median(floors), statistics.median(own), target)


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def conditions(marts: duckdb.DuckDBPyConnection) -> Result:
    """A playbook's audience over a million contacts, against the same predicate written by hand."""
    marts.execute(
        """
        create table candidates as
        select ['starter', 'team', 'business', 'enterprise'][1 + i % 4] as "account.plan",
               i % 900 as "account.age_days", i % 7 = 0 as "account.churned",
               ['never', 'tried', 'adopted', 'lapsed'][1 + i % 4] as "feature.adoption_state"
        from range(4_000_000) as t (i)
        """
    )
    text = "account.plan in ['team', 'business'] and account.age_days >= 14 and feature.adoption_state == 'tried'"
    condition = parse(text, condition_names())
    now = datetime(2026, 3, 2, tzinfo=UTC)
    by_hand = """
        select count(*) from candidates
        where "account.plan" in ('team', 'business') and "account.age_days" >= 14 and "feature.adoption_state" = 'tried'
    """
    return compare(
        "condition over 4 M rows : the same SQL by hand",
        lambda: marts.sql(by_hand).fetchall(),
        lambda: marts.table("candidates").filter(to_expression(condition, now)).aggregate("count(*)").fetchall(),
        target=1.5,
    )


def lift(marts: duckdb.DuckDBPyConnection) -> Result:
    """Lift with CUPED over ten million units, against the sums it needs in one SQL statement."""
    marts.execute(
        """
        create table units as
        select case when hash(i) % 2 = 0 then 'holdout' else 'treatment' end as arm,
               (hash(i * 7) % 100)::double as outcome, (hash(i * 7) % 90)::double as before
        from range(10_000_000) as t (i)
        """
    )
    sums = """
        select arm, count(*), avg(outcome), avg(before), var_samp(outcome), var_samp(before),
               covar_samp(outcome, before)
        from units group by arm
    """
    counts = "select count(*) from units where arm = 'treatment'"

    def floor() -> int:
        marts.sql(sums).fetchall()
        return int(marts.sql(counts).fetchall()[0][0])

    def ours() -> int:
        result = estimate(marts.table("units"), arm="arm", control="holdout", outcome="outcome", covariate="before")
        return result.arms[0].n

    return compare("lift with covariate over 10 M rows : its sums as one statement", floor, ours, target=4.0)


def main() -> None:
    """Run every benchmark and write the table."""
    with duckdb.connect() as marts:
        marts.execute("set threads to 2")
        results = [conditions(marts), lift(marts)]
    lines = [
        "# Performance",
        "",
        "Written by `make bench`. CPU seconds, medians of alternating runs; a target is a ratio, never a time.",
        "",
        "| work : floor | floor s | ours s | ratio | target |",
        "|---|---|---|---|---|",
        *(f"| {r.name} | {r.floor:.3f} | {r.ours:.3f} | {r.ratio:.2f} | <= {r.target:g} |" for r in results),
        "",
    ]
    DOCUMENT.write_text("\n".join(lines))
    print("\n".join(lines))  # noqa: T201
    if missed := [r.name for r in results if r.ratio > r.target]:
        raise SystemExit(f"over target: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
