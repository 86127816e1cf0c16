"""Lift from rows, by tea-tasting: DuckDB makes the sums, tea-tasting the statistics, nobody sees a row.

One row per randomised unit gives honest intervals. Where rows are finer than the draw (people in accounts), name the
cluster: the outcome becomes a ratio of cluster sums, whose delta-method error is the cluster-robust one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import duckdb
from duckdb import ColumnExpression as Column
from duckdb import ConstantExpression as Constant
from duckdb import FunctionExpression as Function

from uptake.domain.lift import ArmLift, ArmMean, Lift, SampleRatio
from uptake.errors import UsageError

_ARM, _OUTCOME, _COVARIATE, _UNITS, _UNITS_BEFORE = "arm", "outcome", "covariate", "units", "units_before"


def read_file(path: Path, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
    """Open a CSV (plain or .gz) or Parquet file. Raises UsageError."""
    try:
        if ".parquet" in path.suffixes:
            return connection.read_parquet(str(path))
        return connection.read_csv(str(path))
    except duckdb.Error as error:
        raise UsageError(f"{path}: cannot be read as CSV or Parquet: {str(error).splitlines()[0]}") from error


def estimate(
    rows: duckdb.DuckDBPyRelation,
    *,
    arm: str,
    control: str,
    outcome: str,
    cluster: str | None = None,
    covariate: str | None = None,
    ratio_of: str | None = None,
    allocation: Mapping[str, float] | None = None,
) -> Lift:
    """Estimate the lift of every arm over `control`, with 95 % intervals.

    Args:
        rows: One row per unit, or per member of a cluster.
        arm: Column that names the arm.
        control: The arm to compare with.
        outcome: Numeric or boolean column.
        cluster: Column of the randomised unit, when rows are finer than it.
        covariate: Numeric column from before the draw, for CUPED.
        ratio_of: Column to divide by: the outcome is then sum(outcome) / sum(ratio_of).
        allocation: Intended shares by arm; equal when absent.

    Raises:
        UsageError: A column is missing or not numeric, the control is not among the arms, or nobody is left.
    """
    for column in filter(None, (arm, outcome, cluster, covariate, ratio_of)):
        if column not in rows.columns:
            raise UsageError(f"no column `{column}`; found {', '.join(rows.columns)}")
    import tea_tasting as tt  # with scipy and ibis it takes seconds: only a lift pays for it

    warnings: list[str] = []
    units = _units(rows, arm=arm, outcome=outcome, cluster=cluster, covariate=covariate, ratio_of=ratio_of)
    counts = _counts(units, warnings, total=len(rows) if cluster is None else None)
    if control not in counts:
        raise UsageError(f"control `{control}` is not among the arms: {', '.join(sorted(counts)) or 'none'}")
    if covariate and not _varies(units, _COVARIATE):
        warnings.append(f"covariate `{covariate}` does not vary: left out")
        covariate = None
    arms = [name for name in sorted(counts) if name != control]
    for name, n in counts.items():
        if n < 2:
            raise UsageError(f"arm `{name}` has {n} unit; at least 2 are needed")
    if allocation is not None and set(allocation) != set(counts):
        raise UsageError(f"allocation names {', '.join(sorted(allocation))}; the arms are {', '.join(sorted(counts))}")

    ratio = cluster is not None or ratio_of is not None
    value = (
        tt.RatioOfMeans(_OUTCOME, _UNITS, *((_COVARIATE, _UNITS_BEFORE) if covariate else ()))
        if ratio
        else (tt.Mean(_OUTCOME, _COVARIATE if covariate else None))
    )
    lifts = []
    control_mean = math.nan
    for name in arms:
        pair = units.filter(Column(_ARM).isin(Constant(control), Constant(name))) if len(arms) > 1 else units
        result = tt.Experiment({"lift": value}, variant=_ARM).analyze(pair, control=control)["lift"]
        control_mean = float(result.control)
        effect = float(result.effect_size)
        lifts.append(
            ArmLift(
                arm=name,
                n=counts[name],
                mean=float(result.treatment),
                lift_abs=effect,
                lift_rel=effect / control_mean if control_mean else math.nan,
                ci_lower=float(result.effect_size_ci_lower),
                ci_upper=float(result.effect_size_ci_upper),
                se=_standard_error(effect, float(result.statistic)),
                pvalue=float(result.pvalue),
            )
        )
    return Lift(
        arms=tuple(lifts),
        control=ArmMean(arm=control, n=counts[control], mean=control_mean),
        srm=_sample_ratio(counts, allocation),
        warnings=tuple(warnings),
    )


def _units(
    rows: duckdb.DuckDBPyRelation,
    *,
    arm: str,
    outcome: str,
    cluster: str | None,
    covariate: str | None,
    ratio_of: str | None,
) -> duckdb.DuckDBPyRelation:
    """Return one row per unit: arm, outcome, units, covariate, units_before (the last two only with a covariate)."""
    try:
        columns = [
            Column(arm).cast("VARCHAR").alias(_ARM),
            Column(outcome).cast("DOUBLE").alias(_OUTCOME),
            (Column(ratio_of).cast("DOUBLE") if ratio_of else Constant(1.0)).alias(_UNITS),
        ]
        if covariate:
            columns.append(Column(covariate).cast("DOUBLE").alias(_COVARIATE))
        if cluster:
            columns.append(Column(cluster).alias("cluster"))
        flat = rows.select(*columns).filter(Column(_ARM).isnotnull() & Column(_OUTCOME).isnotnull())
        if cluster:
            sums = [Column(_ARM), Column("cluster")]
            sums += [Function("sum", Column(_OUTCOME)).alias(_OUTCOME), Function("sum", Column(_UNITS)).alias(_UNITS)]
            if covariate:
                sums.append(Function("sum", Column(_COVARIATE)).alias(_COVARIATE))
            flat = flat.aggregate(sums)
        kept = [Column(name) for name in (_ARM, _OUTCOME, _UNITS)]
        if covariate:  # tea-tasting wants a denominator of its own for the covariate, though it is the same column
            kept += [Column(_COVARIATE), Column(_UNITS).alias(_UNITS_BEFORE)]
        flat = flat.select(*kept)
        flat.limit(1).fetchall()
    except duckdb.ConversionException as error:
        raise UsageError(f"outcome and covariate must be numbers: {str(error).splitlines()[0]}") from error
    return flat


def _counts(units: duckdb.DuckDBPyRelation, warnings: list[str], *, total: int | None) -> dict[str, int]:
    try:
        rows = units.aggregate([Column(_ARM), Function("count", Column(_OUTCOME)).alias("n")]).fetchall()
    except duckdb.ConversionException as error:
        raise UsageError(f"outcome and covariate must be numbers: {str(error).splitlines()[0]}") from error
    counts = {str(name): int(n) for name, n in rows}
    if total is not None and total > sum(counts.values()):
        warnings.append(f"{total - sum(counts.values())} of {total} rows have no arm or no outcome: left out")
    return counts


def _varies(units: duckdb.DuckDBPyRelation, column: str) -> bool:
    row = units.aggregate([Function("var_samp", Column(column)).alias("v")]).fetchone()
    return row is not None and row[0] is not None and row[0] > 0


def _standard_error(effect: float, statistic: float) -> float:
    return effect / statistic if statistic else math.nan


def _sample_ratio(counts: Mapping[str, int], allocation: Mapping[str, float] | None) -> SampleRatio:
    import scipy.stats  # takes most of a second: only a lift needs it

    shares = allocation or dict.fromkeys(counts, 1.0)
    total, weight = sum(counts.values()), sum(shares[name] for name in counts)
    names = sorted(counts)
    expected = [total * shares[name] / weight for name in names]
    return SampleRatio(pvalue=float(scipy.stats.chisquare([counts[name] for name in names], expected).pvalue))
