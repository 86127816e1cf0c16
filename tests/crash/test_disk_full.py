"""T13: a full disk sends nothing without an intent, acknowledges nothing it has not stored, and costs nothing later."""

from __future__ import annotations

import pytest

from tests.crash.disk_full import small_disk, with_kilobytes, with_pages


@pytest.mark.parametrize("pages", range(4))
def test_a_ledger_that_may_not_grow_doubles_and_loses_nothing(planned, home, pages):
    found = with_pages(planned, home, pages=pages)
    assert (found.duplicates, found.losses) == (0, ())
    assert found.was_full or pages > 2


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    with small_disk(tmp_path_factory.mktemp("disk") / "small", megabytes=3) as folder:
        if folder is None:
            pytest.skip("no file system can be mounted here")
        yield folder


@pytest.mark.parametrize("kilobytes", [0, 18, 22, 26, 32])
def test_nor_does_a_disk_that_is_full(planned, home, disk, kilobytes):
    found = with_kilobytes(planned, home, disk, kilobytes=kilobytes)
    assert (found.duplicates, found.losses) == (0, ())
