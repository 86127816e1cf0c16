"""Lift of one outcome with a covariate, against the sums it is made of as one SQL statement."""

from __future__ import annotations

from pathlib import Path

import duckdb

from tests.bench.harness import ROUNDS, Result, alternate, here
from uptake.adapters.lift_tea_tasting import estimate

ROWS = 10_000_000
TARGET = 4.0

_SUMS = """
    select arm, count(*), avg(outcome), avg(before), var_samp(outcome), var_samp(before), covar_samp(outcome, before)
    from units group by arm order by arm
"""


def run(scratch: Path) -> list[Result]:
    """Measure one estimate."""
    with duckdb.connect() as marts:
        marts.execute("set threads to 2")
        marts.execute(
            f"""
            create table units as
            select case when hash(i) % 2 = 0 then 'holdout' else 'treatment' end as arm,
                   (hash(i * 7) % 100)::double as outcome, (hash(i * 7) % 90)::double as before
            from range({ROWS}) as t (i)
            """
        )

        def by_hand() -> int:
            (_, _, *_), (arm, units, *_) = marts.sql(_SUMS).fetchall()
            assert arm == "treatment"
            return int(units)

        def by_uptake() -> int:
            result = estimate(marts.table("units"), arm="arm", control="holdout", outcome="outcome", covariate="before")
            return result.arms[0].n

        floor, ours = alternate(by_hand, by_uptake, rounds=ROUNDS + 2, told="lift", measure=here)
    return [
        Result(
            work="lift of one outcome",
            size=f"{ROWS / 1e6:g} M units",
            against="its sums as one statement",
            floor=floor.cpu,
            ours=ours.cpu,
            target=TARGET,
        )
    ]
