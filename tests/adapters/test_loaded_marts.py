"""A snapshot answers the same from memory and from its files, and what does not fit goes to disk for a while."""

import gc
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from uptake.adapters import loaded_marts
from uptake.adapters.loaded_marts import LoadedMarts
from uptake.testing import write_snapshot

AS_OF = datetime(2026, 3, 3, tzinfo=UTC)
KIND = "select table_type from information_schema.tables where table_name = 'accounts_current'"


@pytest.fixture
def snapshot(tmp_path):
    rows = [{"account_id": f"account-{number}", "arr": float(number)} for number in range(50)]
    return write_snapshot(tmp_path, as_of=AS_OF, marts={"accounts_current": rows})


@pytest.fixture
def marts():
    found = LoadedMarts()
    yield found
    found.close()


def test_a_large_snapshot_stays_in_its_files_for_a_few_questions_alone(snapshot, marts):
    large = replace(snapshot, manifest={"row_counts": {"contacts_current": 5_000_000}})
    kinds, sums = {}, set()
    for size, one in (("small", snapshot), ("large", large)):
        for few in (True, False):
            marts.close()
            with marts.open(one, few_questions=few) as connection:
                kinds[size, few] = connection.execute(KIND).fetchall()[0][0]
                sums |= set(connection.execute("select sum(arr) from accounts_current").fetchall())
    in_memory = "BASE TABLE"
    assert kinds == {
        ("small", True): in_memory,
        ("small", False): in_memory,
        ("large", True): "VIEW",
        ("large", False): in_memory,
    }
    assert sums == {(1225.0,)}


def test_what_does_not_fit_into_memory_goes_to_a_folder_that_goes_with_it(snapshot, marts, tmp_path, monkeypatch):
    monkeypatch.setattr(loaded_marts, "_MEMORY", "20MB")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with marts.open(snapshot, few_questions=True) as connection:
        connection.execute("create temp table many as select md5(i::varchar) as text from range(500_000) as t (i)")
        assert connection.execute("select count(distinct text) from many").fetchall() == [(500_000,)]
        assert _files(tmp_path / "temporary")
    marts.close()
    del connection
    gc.collect()
    assert not _files(tmp_path / "temporary")


def _files(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))
