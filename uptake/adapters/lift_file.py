"""The lift of an experiment that lies in a file."""

from __future__ import annotations

from pathlib import Path

import duckdb

from uptake.adapters.lift_tea_tasting import estimate, read_file
from uptake.domain.lift import Lift
from uptake.errors import UsageError


def lift_of_file(
    file: Path,
    *,
    arm: str,
    control: str,
    outcome: str,
    cluster: str | None,
    covariate: str | None,
    ratio_of: str | None,
    allocation: str | None,
) -> Lift:
    """Estimate the lift of an experiment in a file. Raises UsageError."""
    if not file.is_file():
        raise UsageError(f"{file} is not a file")
    with duckdb.connect() as connection:
        rows = read_file(file, connection)
        shares = None
        if allocation is not None:
            if arm not in rows.columns:
                raise UsageError(f"no column `{arm}`; found {', '.join(rows.columns)}")
            names = sorted(str(name) for (name,) in rows.select(arm).distinct().fetchall() if name is not None)
            try:
                sizes = [float(size) for size in allocation.split(":")]
            except ValueError:
                sizes = []
            if len(sizes) != len(names) or any(size <= 0 for size in sizes):
                raise UsageError(
                    f"allocation {allocation!r} does not fit the arms {', '.join(names)}; expected e.g. "
                    + ":".join("1" for _ in names)
                )
            shares = dict(zip(names, sizes, strict=True))
        return estimate(
            rows,
            arm=arm,
            control=control,
            outcome=outcome,
            cluster=cluster,
            covariate=covariate,
            ratio_of=ratio_of,
            allocation=shares,
        )
