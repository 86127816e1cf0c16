from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.formula.api as smf

from uptake.adapters.lift_tea_tasting import estimate, read_file
from uptake.errors import UsageError


def rows(table: dict[str, object]) -> duckdb.DuckDBPyRelation:
    data = pa.table(table)
    return duckdb.connect().from_arrow(data)


def test_published_lifts_are_reproduced(shared_data: Path) -> None:
    folder = shared_data / "hillstrom"
    reference = json.loads((folder / "reference_results.json").read_text())
    with duckdb.connect() as connection:
        customers = read_file(folder / "hillstrom.csv.gz", connection)
        for outcome in ("visit", "conversion", "spend"):
            lift = estimate(customers, arm="segment", control="No E-Mail", outcome=outcome)
            for arm in lift.arms:
                published = reference[f"{arm.arm} vs No E-Mail | {outcome}"]
                assert arm.n == published["n_t"]
                assert arm.lift_abs == pytest.approx(published["abs_lift"])
                assert arm.se == pytest.approx(published["se_welch"])
                assert (arm.ci_lower, arm.ci_upper) == pytest.approx(tuple(published["ci95"]))
            assert lift.srm.pvalue == pytest.approx(0.904, abs=0.001)
            assert not lift.srm.alarm


def test_people_in_accounts_get_cluster_robust_errors() -> None:
    # The oracle is OLS with cluster-robust errors; errors that ignore the accounts would be far too small.
    draw = np.random.default_rng(3)
    account = np.repeat(np.arange(400), draw.integers(2, 30, 400))
    arm = (np.arange(400) % 2)[account]
    value = draw.normal(0, 1, 400)[account] + 0.3 * arm + draw.normal(0, 1, len(account))
    table = {"account": account, "arm": np.where(arm == 1, "treatment", "holdout"), "value": value}
    lift = estimate(rows(table), arm="arm", control="holdout", outcome="value", cluster="account").arms[0]
    frame = pd.DataFrame({"value": value, "arm": arm})
    fit = smf.ols("value ~ arm", frame).fit(cov_type="cluster", cov_kwds={"groups": account})
    assert lift.n == 200
    assert lift.lift_abs == pytest.approx(fit.params["arm"])
    assert lift.se == pytest.approx(fit.bse["arm"], rel=0.03)
    assert lift.se > 1.5 * smf.ols("value ~ arm", frame).fit().bse["arm"]


def test_a_covariate_narrows_the_interval() -> None:
    draw = np.random.default_rng(5)
    before = draw.normal(0, 1, 1_000)
    arm = np.where(np.arange(1_000) % 2 == 0, "holdout", "treatment")
    table = {"arm": arm, "before": before, "after": before + draw.normal(0, 0.3, 1_000)}
    plain = estimate(rows(table), arm="arm", control="holdout", outcome="after").arms[0]
    adjusted = estimate(rows(table), arm="arm", control="holdout", outcome="after", covariate="before").arms[0]
    assert adjusted.se < 0.5 * plain.se


def test_a_ratio_is_a_ratio_of_sums() -> None:
    table = {"arm": ["a", "a", "b", "b"] * 2, "spend": [1.0, 9.0, 2.0, 2.0] * 2, "visits": [1, 3, 1, 1] * 2}
    lift = estimate(rows(table), arm="arm", control="a", outcome="spend", ratio_of="visits")
    assert lift.control.mean == pytest.approx(10 / 4)
    assert lift.arms[0].mean == pytest.approx(4 / 2)


def test_arms_that_are_not_what_was_drawn_raise_the_alarm() -> None:
    table = {"arm": ["t"] * 900 + ["c"] * 600, "y": [0.0, 1.0] * 750}
    assert estimate(rows(table), arm="arm", control="c", outcome="y").srm.alarm
    assert not estimate(rows(table), arm="arm", control="c", outcome="y", allocation={"t": 0.6, "c": 0.4}).srm.alarm


def test_what_is_left_out_is_said() -> None:
    table = {"arm": ["t", "c", None, "t", "c"], "y": [1.0, 0.0, 1.0, None, 1.0], "x": [1.0] * 5}
    with pytest.raises(UsageError, match="arm `t` has 1 unit"):
        estimate(rows(table), arm="arm", control="c", outcome="y")
    table = {"arm": ["t", "c", None, "t", "c", "t"], "y": [1.0, 0.0, 1.0, None, 1.0, 0.0], "x": [1.0] * 6}
    lift = estimate(rows(table), arm="arm", control="c", outcome="y", covariate="x")
    assert lift.warnings == (
        "2 of 6 rows have no arm or no outcome: left out",
        "covariate `x` does not vary: left out",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outcome": "z"}, "no column `z`; found arm, y"),
        ({"control": "x"}, "control `x` is not among the arms: c, t"),
        ({"outcome": "arm"}, "must be numbers"),
        ({"allocation": {"t": 1.0}}, "allocation names t; the arms are c, t"),
    ],
)
def test_a_wrong_question_is_refused(options: dict[str, object], message: str) -> None:
    table = rows({"arm": ["t", "t", "c", "c"], "y": [1.0, 0.0, 1.0, 0.0]})
    with pytest.raises(UsageError, match=message):
        estimate(table, **{"arm": "arm", "control": "c", "outcome": "y", **options})  # type: ignore[arg-type]


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("not parquet")
    with duckdb.connect() as connection, pytest.raises(UsageError, match="cannot be read") as caught:
        read_file(path, connection)
    assert "\n" not in str(caught.value)
