"""Old snapshots leave the store whole, never while somebody reads or cites them, whenever the run is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from uptake.adapters.marts import MARTS
from uptake.adapters.snapshots_duckdb import DuckSnapshots, open_marts
from uptake.errors import SnapshotError
from uptake.ports import Build, Snapshot

FIRST = datetime(2026, 3, 2, 5, tzinfo=UTC)
DAY = timedelta(days=1)


class Store(DuckSnapshots):
    """A store with a warehouse of one account, which is another one in each snapshot."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.home = home
        home.mkdir()
        with duckdb.connect(str(home / "warehouse.duckdb")) as warehouse:
            warehouse.execute("create schema marts")
            for mart, schema in MARTS.items():
                warehouse.register("empty", pa.Table.from_pylist([], schema=schema))
                warehouse.execute(f"create table marts.{mart} as from empty")

    def add(self, as_of: datetime) -> Snapshot:
        """Publish a snapshot of that moment."""
        with duckdb.connect(str(self.home / "warehouse.duckdb")) as warehouse:
            warehouse.execute("delete from marts.dim_accounts")
            warehouse.execute("insert into marts.dim_accounts (account_id) values (?)", [f"{as_of}"])
        build = Build(
            warehouse=self.home / "warehouse.duckdb", invocation_id="i", as_of=as_of, checks=(), counts={},
            unmapped_events={},
        )  # fmt: skip
        return self.publish(build, (), source="uptake", git_sha="abc", now=as_of)

    @property
    def ids(self) -> set[str]:
        """The ids that its history knows, each snapshot whole."""
        return {self.verify(manifest["snapshot_id"]).snapshot_id for manifest in self.history("uptake")}

    @property
    def objects(self) -> set[str]:
        """The stored files."""
        return {path.name for path in (self.home / "snapshots" / "objects").iterdir()}

    @property
    def needed(self) -> set[str]:
        """The files that its snapshots are made of."""
        return {f"{digest}.parquet" for one in self.history("uptake") for digest in one["files"].values()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def three(store: Store) -> list[Snapshot]:
    """Two of one day, and one of a later day: the first is superfluous from the third on."""
    return [store.add(FIRST), store.add(FIRST + timedelta(hours=1)), store.add(FIRST + 3 * DAY)]


NOW = FIRST + 3 * DAY


def test_what_is_superfluous_goes_with_all_that_it_shared_with_nobody(store: Store, three: list[Snapshot]) -> None:
    before = store.objects
    assert store.prune(cited=(), now=NOW) == [three[0].snapshot_id]
    assert store.ids == {three[1].snapshot_id, three[2].snapshot_id}
    assert store.objects == store.needed
    assert len(before - store.objects) == 1  # dim_accounts; every other mart is shared
    assert store.current() == three[2]
    assert store.prune(cited=(), now=NOW) == []
    with pytest.raises(SnapshotError, match="does not exist"):
        store.open(three[0].snapshot_id)


def test_what_the_ledger_cites_stays(store: Store, three: list[Snapshot]) -> None:
    assert store.prune(cited={three[0].snapshot_id}, now=NOW) == []
    assert len(store.ids) == 3


def test_what_a_report_names_stays(store: Store, three: list[Snapshot]) -> None:
    (store.home / "reports").mkdir()
    page = store.home / "reports" / "value-report.html"
    page.write_text(f"<li>Snapshot <code>{three[0].snapshot_id}</code> of source uptake</li>")
    assert store.prune(cited=(), now=NOW) == []
    page.write_text("another one")
    assert store.prune(cited=(), now=NOW) == [three[0].snapshot_id]


def test_what_is_current_stays_however_old(store: Store, three: list[Snapshot]) -> None:
    store._point_to(three[0].snapshot_id)
    assert store.prune(cited=(), now=NOW) == []


def test_what_somebody_reads_stays_until_they_have_done(store: Store, three: list[Snapshot]) -> None:
    marts = open_marts(three[0])
    assert store.prune(cited=(), now=NOW) == []
    assert marts.execute("select count(*) from dim_accounts").fetchone() == (1,)
    marts.close()
    del marts
    assert store.prune(cited=(), now=NOW) == [three[0].snapshot_id]
    with pytest.raises(SnapshotError, match=f"{three[0].snapshot_id} cannot be read"):
        open_marts(three[0])


def test_a_held_candidate_stays(store: Store, three: list[Snapshot]) -> None:
    build = Build(
        warehouse=store.home / "warehouse.duckdb", invocation_id="i", as_of=NOW, checks=(), counts={},
        unmapped_events={},
    )  # fmt: skip
    held = store.hold(build, (), source="uptake", git_sha="abc", now=NOW)
    store.prune(cited=(), now=NOW)
    assert store.verify(store.release(held).snapshot_id)


def test_a_damaged_manifest_is_said_and_nothing_goes(store: Store, three: list[Snapshot]) -> None:
    (three[1].directory / "manifest.json").write_text("{")
    with pytest.raises(SnapshotError, match="damaged"):
        store.prune(cited=(), now=NOW)
    assert three[0].directory.is_dir()


def test_a_snapshot_that_goes_while_the_history_is_read_is_no_damage(
    store: Store, three: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = sorted(path for path in three[0].directory.parent.iterdir())
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    shutil.rmtree(three[0].directory)
    assert {one["snapshot_id"] for one in store.history("uptake")} == {three[1].snapshot_id, three[2].snapshot_id}


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def _half_of_it(folder: Path, **_: object) -> None:
    """Delete as rmtree does, and be killed on the way."""
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file())[:3]:
        path.unlink()
    if Path(folder).is_dir():
        raise Killed


STEPS: list[tuple[object, str]] = [(os, "fsync"), (Path, "rename"), (Path, "unlink"), (Path, "mkdir")]


def test_killed_before_or_after_any_step_every_snapshot_is_whole_or_gone(
    store: Store, three: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {three[1].snapshot_id, three[2].snapshot_id}
    for owner, step in STEPS:
        real: Callable[..., Any] = getattr(owner, step)
        for deadly in range(2, 80):  # before and after the first call, the second ...
            if not three[0].directory.is_dir():
                store.add(FIRST)
                store._point_to(three[2].snapshot_id)
            calls = 0

            def dying(*args: Any, deadly: int = deadly, real: Any = real, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                if 2 * calls == deadly:
                    raise Killed
                result = real(*args, **kwargs)
                if 2 * calls + 1 == deadly:
                    raise Killed
                return result

            with monkeypatch.context() as patched:
                patched.setattr(owner, step, dying)
                try:
                    store.prune(cited=(), now=NOW)
                    killed = False
                except Killed:
                    killed = True
            assert kept <= store.ids
            assert store.current() == three[2]
            store.prune(cited=(), now=NOW)
            assert store.ids == kept
            assert store.objects == store.needed
            if not killed:
                assert deadly > 3, f"{step} was never reached"
                break
        else:
            pytest.fail("the step never ended")


def test_killed_amid_deleting_nothing_half_is_ever_read(
    store: Store, three: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("uptake.adapters.snapshot_files.shutil.rmtree", _half_of_it)
        with pytest.raises(Killed):
            store.prune(cited=(), now=NOW)
    assert store.ids == {three[1].snapshot_id, three[2].snapshot_id}
    store.prune(cited=(), now=NOW)
    assert store.objects == store.needed
    assert not (store.home / "snapshots" / ".removed").exists()
