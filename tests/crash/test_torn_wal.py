"""T14: after a loss of power the ledger is what some commit left, and no acknowledged commit is missing."""

from __future__ import annotations

import shutil

import pytest

from tests.crash.power_loss import live, lose_power
from uptake.adapters.ledger import store

CUTS = 50


@pytest.mark.parametrize("journal", ["truncate", "wal"])
def test_a_loss_of_power_at_any_moment_leaves_a_state_that_was_committed(journal, planned, home, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_WAL_SAFE", (3,) if journal == "wal" else (99,))
    lived = live(planned, home)
    kinds = {call.kind for call in lived.recording.calls}
    assert {"write", "sync", "mark"} <= kinds
    assert any(call.file.endswith("-wal") for call in lived.recording.calls) == (journal == "wal")
    wrong = []
    for seed in range(CUTS):
        wrong.append(lose_power(lived, tmp_path / f"cut-{seed}", seed=seed))
        shutil.rmtree(tmp_path / f"cut-{seed}")
    assert [one for one in wrong if one] == []
