from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uptake.adapters import mart_files, snapshots_duckdb
from uptake.adapters.marts import MARTS
from uptake.adapters.snapshots_duckdb import DuckSnapshots, open_marts
from uptake.errors import SnapshotError
from uptake.ports import Build, Check, Snapshot
from uptake.testing import write_snapshot

AS_OF = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
CHECKS = (Check(name="gx:dim_accounts:keys", status="passed", severity="critical"),)
Rows = Mapping[str, Sequence[Mapping[str, Any]]]

MARCH = [
    {"account_id": f"a{n}", "feature_key": "reports", "date_day": date(2026, month, 1), "count_events": n}
    for n in range(5)
    for month in (2, 3)
]
ROWS: Rows = {
    "dim_accounts": [{"account_id": "a2"}, {"account_id": "a1", "arr": 10.0}],
    "dim_features": [{"feature_key": "reports", "adopted_days": 3, "name": "Reports"}],
    "fct_account_feature_daily": MARCH,
}


def warehouse(path: Path, rows: Rows, *, without: str = "") -> Path:
    """Write a warehouse file whose marts hold these rows."""
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts")
        for mart, schema in MARTS.items():
            full = [{name: row.get(name) for name in schema.names} for row in rows.get(mart, [])]
            connection.register("rows", pa.Table.from_pylist(full, schema=schema))
            if mart != without:
                connection.execute(f"create table marts.{mart} as from rows")
    return path


@pytest.fixture
def build(tmp_path: Path) -> Build:
    path = warehouse(tmp_path / "warehouse.duckdb", ROWS)
    return Build(warehouse=path, invocation_id="i1", as_of=AS_OF, checks=(), counts={}, unmapped_events={})


@pytest.fixture
def store(tmp_path: Path) -> DuckSnapshots:
    return DuckSnapshots(tmp_path / "home")


def publish(store: DuckSnapshots, build: Build, **changed: Any) -> Snapshot:
    return store.publish(replace(build, **changed), CHECKS, source="uptake", git_sha="abc", now=AS_OF)


def rebuild(build: Build, changes: Rows, *, without: str = "") -> Build:
    warehouse(build.warehouse, {**ROWS, **changes}, without=without)
    return build


def test_nothing_is_current_before_the_first_publication(store: DuckSnapshots) -> None:
    assert store.current() is None
    assert store.history("uptake") == []


def test_what_is_published_is_what_readers_see(store: DuckSnapshots, build: Build) -> None:
    snapshot = publish(store, build)
    assert store.current() == snapshot
    with open_marts(snapshot) as marts:
        assert marts.execute("select account_id, arr from dim_accounts").fetchall() == [("a1", 10.0), ("a2", None)]
        assert marts.execute("select count(*) from fct_account_feature_daily").fetchone() == (10,)
        assert marts.execute("select count(*) from fct_outcomes").fetchone() == (0,)
        for mart, schema in MARTS.items():
            assert marts.execute(f"from {mart}").to_arrow_table().schema.names == schema.names


def test_the_manifest_tells_where_a_snapshot_comes_from(store: DuckSnapshots, build: Build) -> None:
    manifest = publish(store, build).manifest
    assert manifest["as_of"] == "2026-03-02T05:00:00+00:00"
    assert (manifest["source"], manifest["git_sha"], manifest["dbt_invocation_id"]) == ("uptake", "abc", "i1")
    assert manifest["row_counts"]["fct_account_feature_daily"] == 10
    assert manifest["gate"]["gx:dim_accounts:keys"] == {
        "status": "passed", "severity": "critical", "mart": "dim_accounts", "detail": "",
    }  # fmt: skip
    assert {name for name in manifest["files"] if "/" in name} == {
        "fct_account_feature_daily/month=2026-02.parquet",
        "fct_account_feature_daily/month=2026-03.parquet",
    }


def test_the_id_names_moment_and_content(store: DuckSnapshots, build: Build) -> None:
    first = publish(store, build).snapshot_id
    assert first.startswith("20260302T050000Z-")
    assert publish(store, build).snapshot_id == first
    later = publish(store, build, as_of=AS_OF + timedelta(days=1)).snapshot_id
    assert later.split("-")[0] != first.split("-")[0]
    assert later.split("-")[1] == first.split("-")[1]
    assert publish(store, rebuild(build, {"dim_accounts": []})).snapshot_id != first


def test_publishing_the_same_content_twice_keeps_the_first_manifest(store: DuckSnapshots, build: Build) -> None:
    first = publish(store, build)
    again = store.publish(replace(build, invocation_id="i2"), (), source="uptake", git_sha="def", now=AS_OF)
    assert again == first


def test_the_order_of_rows_in_the_warehouse_does_not_matter(store: DuckSnapshots, build: Build) -> None:
    first = publish(store, build)
    turned = {mart: list(reversed(rows)) for mart, rows in ROWS.items()}
    assert publish(store, rebuild(build, turned)) == first


def test_months_that_did_not_change_are_stored_once(store: DuckSnapshots, build: Build) -> None:
    first = publish(store, build)
    more = [*MARCH, {"account_id": "a9", "feature_key": "reports", "date_day": date(2026, 3, 2), "count_events": 1}]
    second = publish(store, rebuild(build, {"fct_account_feature_daily": more}), as_of=AS_OF + timedelta(days=1))

    def inode(snapshot: Snapshot, month: str) -> int:
        return (snapshot.directory / "fct_account_feature_daily" / f"month={month}.parquet").stat().st_ino

    assert inode(first, "2026-02") == inode(second, "2026-02")
    assert inode(first, "2026-03") != inode(second, "2026-03")
    objects = list((first.directory.parent / "objects").glob("*.parquet"))
    assert len(objects) == len(set(first.manifest["files"].values()) | set(second.manifest["files"].values()))


def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that are written from rows from now on."""
    names: list[str] = []
    copy = mart_files._copy
    monkeypatch.setattr(mart_files, "_copy", lambda *args: names.append(args[2].name) or copy(*args))
    return names


@pytest.mark.parametrize("change", [{"count_events": 7}, {"feature_key": "exports"}, {"sum_quantity": 0.5}, {}])
def test_a_month_is_written_again_when_any_of_its_rows_is_another_one(
    store: DuckSnapshots, build: Build, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    publish(store, build)
    names = copied(monkeypatch)
    march = [MARCH[0] | change, *MARCH[1:]]
    second = publish(store, rebuild(build, {"fct_account_feature_daily": march}), as_of=AS_OF + timedelta(days=1))
    assert [name for name in names if "month" in name] == (["month=2026-02.parquet"] if change else [])
    wholly = DuckSnapshots(store._root.parent.parent / "another")
    assert publish(wholly, build, as_of=second.as_of).manifest["files"] == second.manifest["files"]


def test_of_a_month_whose_rows_change_places_every_value_counts(store: DuckSnapshots, build: Build) -> None:
    first = publish(store, build)
    counts = {0: 1, 2: 0}  # two accounts of February have swapped theirs
    swapped = [row | {"count_events": counts.get(place, row["count_events"])} for place, row in enumerate(MARCH)]
    second = publish(store, rebuild(build, {"fct_account_feature_daily": swapped}), as_of=AS_OF + timedelta(days=1))
    name = "fct_account_feature_daily/month=2026-02.parquet"
    assert first.manifest["files"][name] != second.manifest["files"][name]


def test_a_damaged_month_of_the_last_snapshot_is_written_again(store: DuckSnapshots, build: Build) -> None:
    first = publish(store, build)
    name = "fct_account_feature_daily/month=2026-02.parquet"
    damaged = store._objects / f"{first.manifest['files'][name]}.parquet"
    damaged.chmod(0o644)
    damaged.write_bytes(b"PAR1")
    second = publish(store, build, as_of=AS_OF + timedelta(days=1))
    assert store.verify(second.snapshot_id).manifest["files"] == first.manifest["files"]


def test_an_earlier_snapshot_stays_as_it_was(store: DuckSnapshots, build: Build) -> None:
    first = publish(store, build)
    publish(store, rebuild(build, {"dim_accounts": []}), as_of=AS_OF + timedelta(days=1))
    assert store.verify(first.snapshot_id) == first


def test_an_empty_daily_mart_can_be_read(store: DuckSnapshots, build: Build) -> None:
    with open_marts(publish(store, rebuild(build, {"fct_account_feature_daily": []}))) as marts:
        assert marts.execute("select count(*) from fct_account_feature_daily").fetchone() == (0,)


def test_history_is_newest_first_and_by_source(store: DuckSnapshots, build: Build) -> None:
    days = [publish(store, build, as_of=AS_OF + timedelta(days=day)).snapshot_id for day in (1, 2, 0)]
    store.publish(build, CHECKS, source="gharchive", git_sha="abc", now=AS_OF)
    assert [manifest["snapshot_id"] for manifest in store.history("uptake")] == [days[1], days[0], days[2]]


@pytest.mark.parametrize("mart", ["dim_accounts", "fct_account_feature_daily", "fct_outcomes"])
def test_a_missing_mart_is_not_published(store: DuckSnapshots, build: Build, mart: str) -> None:
    first = publish(store, build)
    with pytest.raises(SnapshotError, match=mart):
        publish(store, rebuild(build, {}, without=mart), as_of=AS_OF + timedelta(days=1))
    assert store.current() == first


def test_a_fact_without_a_day_is_not_dropped_in_silence(store: DuckSnapshots, build: Build) -> None:
    with pytest.raises(SnapshotError, match="date_day is NULL"):
        publish(store, rebuild(build, {"fct_account_feature_daily": [*MARCH, {"account_id": "a1"}]}))
    assert store.current() is None


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


STEPS: list[tuple[object, str]] = [
    (os, "link"), (os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "mkdir"), (Path, "chmod"),
    (mart_files, "_copy"), (snapshots_duckdb, "_sha256"), (snapshots_duckdb, "_write_durably"),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
def test_killed_at_any_step_the_old_snapshot_stands_and_a_rerun_heals(
    store: DuckSnapshots, build: Build, monkeypatch: pytest.MonkeyPatch, owner: object, step: str
) -> None:
    before = publish(store, build)
    rebuild(build, {"dim_accounts": [{"account_id": "a3"}], "fct_account_feature_daily": []})
    real: Callable[..., Any] = getattr(owner, step)
    for deadly in range(1, 100):
        calls = 0

        def dying(*args: Any, deadly: int = deadly, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == deadly:
                raise Killed
            return real(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(owner, step, dying)
            # A killed process cleans nothing up.
            patched.setattr("uptake.adapters.snapshots_duckdb.shutil.rmtree", lambda *_, **__: None)
            try:
                later = publish(store, build, as_of=AS_OF + timedelta(days=deadly))
            except Killed:
                later = None
        seen = store.current()
        assert seen is not None
        store.verify(seen.snapshot_id)
        assert all(store.verify(manifest["snapshot_id"]) for manifest in store.history("uptake"))
        if later is not None:
            assert calls < deadly
            assert deadly > 1, f"{step} was never reached"
            return
        healed = publish(store, build, as_of=AS_OF + timedelta(days=deadly))
        assert store.current() == store.verify(healed.snapshot_id)
        assert seen.snapshot_id in {before.snapshot_id, healed.snapshot_id}
        before = healed
    pytest.fail("the step never ended")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "dim_accounts.parquet").unlink(), "lacks dim_accounts.parquet"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest.json is damaged"),
        (lambda folder: (folder / "manifest.json").write_text('{"as_of": "2026-03-02"}'), "manifest.json is damaged"),
    ],
)
def test_a_damaged_snapshot_is_refused_in_one_line(
    store: DuckSnapshots, build: Build, damage: Callable[[Path], None], told: str
) -> None:
    damage(publish(store, build).directory)
    with pytest.raises(SnapshotError, match=told) as caught:
        store.current()
    assert "\n" not in str(caught.value)


def test_a_manifest_that_leaves_a_mart_out_is_refused(store: DuckSnapshots, build: Build) -> None:
    path = publish(store, build).directory / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"]["contacts_current.parquet"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(SnapshotError, match="without the mart contacts_current"):
        store.current()


def test_verify_reads_every_byte(store: DuckSnapshots, build: Build) -> None:
    snapshot = publish(store, build)
    path = snapshot.directory / "dim_accounts.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert store.open(snapshot.snapshot_id)
    with pytest.raises(SnapshotError, match=r"dim_accounts\.parquet has sha256"):
        store.verify(snapshot.snapshot_id)


def test_publishing_again_heals_a_damaged_snapshot(store: DuckSnapshots, build: Build) -> None:
    snapshot = publish(store, build)
    path = snapshot.directory / "dim_accounts.parquet"
    path.chmod(0o644)
    path.write_bytes(b"no Parquet")  # the object of the same inode is damaged, too
    assert store.verify(publish(store, build).snapshot_id)


@pytest.mark.parametrize("name", ["", "../../etc", "latest", "20260302T050000Z-XYZ"])
def test_only_an_id_opens_a_snapshot(store: DuckSnapshots, name: str) -> None:
    with pytest.raises(SnapshotError, match="is not a snapshot id"):
        store.open(name)


def test_a_pointer_to_nowhere_is_an_error_and_not_an_empty_store(store: DuckSnapshots, build: Build) -> None:
    publish(store, build)
    store._pointer.write_text("20200101T000000Z-00000000\n")
    with pytest.raises(SnapshotError, match="does not exist"):
        store.current()


def test_published_files_cannot_be_written(store: DuckSnapshots, build: Build) -> None:
    directory = publish(store, build).directory
    assert {path.stat().st_mode & 0o777 for path in directory.rglob("*.parquet")} == {0o444}


def test_the_goal_hash_changes_with_the_meaning_of_a_goal_only(tmp_path: Path, build: Build) -> None:
    model = tmp_path / "account_features.sql"
    model.write_text("select 1 -- one\n")
    store = DuckSnapshots(tmp_path / "home", definitions=[model])
    first = publish(store, build).manifest["goal_hash"]

    def next_hash(day: int) -> str:
        return publish(store, build, as_of=AS_OF + timedelta(days=day)).manifest["goal_hash"]  # type: ignore[no-any-return]

    model.write_text("select\n    1 -- a better comment\n")
    assert next_hash(1) == first
    rebuild(build, {"dim_features": [{"feature_key": "reports", "adopted_days": 3, "name": "The reports"}]})
    assert next_hash(2) == first
    model.write_text("select 2\n")
    changed_model = next_hash(3)
    assert changed_model != first
    rebuild(build, {"dim_features": [{"feature_key": "reports", "adopted_days": 2}]})
    assert next_hash(4) not in {first, changed_model}


def test_open_marts_reads_nothing_else_and_cannot_be_reconfigured(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    snapshot = write_snapshot(tmp_path, as_of=AS_OF, marts=ROWS)
    with open_marts(snapshot) as marts:
        for forbidden in (
            f"select * from read_text('{tmp_path}/secret.txt')",
            f"copy dim_accounts to '{tmp_path}/copy.parquet'",
            f"attach '{tmp_path}/x.duckdb'",
            "set enable_external_access = true",
            "set threads = 1",
        ):
            with pytest.raises(duckdb.Error):
                marts.execute(forbidden)


def test_open_marts_takes_arrow_tables_beside_the_marts(tmp_path: Path) -> None:
    with open_marts(write_snapshot(tmp_path, as_of=AS_OF, marts=ROWS)) as marts:
        marts.register("chosen", pa.table({"account_id": ["a1"]}))
        query = "select arr from dim_accounts join chosen using (account_id)"
        assert marts.execute(query).fetchall() == [(10.0,)]


def test_open_marts_names_what_is_missing(tmp_path: Path) -> None:
    snapshot = write_snapshot(tmp_path, as_of=AS_OF, marts=ROWS)
    (snapshot.directory / "dim_contacts.parquet").unlink()
    with pytest.raises(SnapshotError, match=r"dim_contacts\.parquet"):
        open_marts(snapshot)


def test_a_snapshot_that_other_code_wrote_names_what_it_lacks_and_what_to_do(tmp_path):
    snapshot = write_snapshot(tmp_path, as_of=datetime(2026, 3, 3, tzinfo=UTC), marts={})
    file = snapshot.directory / "accounts_current.parquet"
    kept = [name for name in MARTS["accounts_current"].names if name not in ("arr", "health")]
    pq.write_table(pq.read_table(file).select(kept), file)
    with pytest.raises(SnapshotError, match=r"lacks accounts_current\.arr, accounts_current\.health: .*`uptake re"):
        open_marts(snapshot)
