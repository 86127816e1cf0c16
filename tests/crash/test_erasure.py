"""T21: the forgotten are in no byte of what is kept or shown, and get no mail. `make soak` forgets more."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from tests.crash.erasure import live_and_forget


def test_of_the_forgotten_no_byte_is_left_anywhere(tmp_path: Path):
    found = live_and_forget(tmp_path, 1, subjects=10, others=12)
    assert found.losses == ()


def test_what_is_left_out_is_seen(tmp_path: Path):
    """Bodies that are not rewritten."""
    with mock.patch("uptake.adapters.ledger.erasures.SqlErasures.redact_bodies", return_value=0):
        found = live_and_forget(tmp_path, 2, subjects=3, others=12)
    assert any("ledger.sqlite3" in loss for loss in found.losses)
