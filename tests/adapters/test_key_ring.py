from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from uptake.adapters.key_ring import open_key_ring, rotate
from uptake.errors import SettingsError


def test_the_ring_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = open_key_ring(tmp_path / "home")
    assert open_key_ring(tmp_path / "home") == first
    assert stat.S_IMODE((tmp_path / "home" / "keys.json").stat().st_mode) == 0o600
    assert len(first.pseudonym) == 32


def test_processes_that_start_at_once_agree_on_the_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: open_key_ring(tmp_path), range(32)))
    assert len({ring.pseudonym for ring in rings}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_rotation_adds_and_never_removes(tmp_path: Path) -> None:
    before = open_key_ring(tmp_path)
    rotate(tmp_path)
    after = open_key_ring(tmp_path)
    assert after.pseudonym == before.pseudonym
    assert after.tokens[0] not in before.tokens
    assert after.tokens[1:] == before.tokens


@pytest.mark.parametrize(
    "content", ["", "{}", '{"keys": []}', '{"keys": ["c2hvcnQ="]}', '{"keys": ["not base64!"]}', "[1]"]
)
def test_a_broken_ring_is_one_clear_line_and_is_left_as_it_was(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(SettingsError, match=r"keys\.json: .*restore it from a backup"):
        open_key_ring(tmp_path)
    assert (tmp_path / "keys.json").read_text() == content
