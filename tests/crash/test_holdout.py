"""T20: a hundred thousand accounts drawn everywhere, kept by both ledgers, and a town whose holdout gets nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import pytest

from tests.crash.holdout import ids, mailed, pythons, wrong_draws, wrong_in_ledger
from uptake.domain.arms import Arm

COUNT = 100_000


def test_an_arm_depends_on_salt_and_account_only():
    assert wrong_draws(ids(COUNT, 1), "feature-breadth") == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_ledger_keeps_the_arms_that_were_drawn(ledger_url: str):
    assert wrong_in_ledger(ledger_url, ids(500, 2)) == []


def test_nobody_held_out_is_mailed_while_the_holdout_grows(tmp_path: Path):
    mails, losses = mailed(tmp_path, 1, accounts=30, days=2)
    assert losses == []
    assert mails > 10


def test_a_draw_that_knows_more_than_the_account_is_seen(monkeypatch):
    """Here `hash`, whose answer differs from process to process; and a draw of other shares."""
    accounts = ids(2_000, 3)
    monkeypatch.setattr("tests.crash.holdout.draw", lambda salt, one: hash((salt, one)) % 997 / 997)
    monkeypatch.setattr("tests.crash.holdout.pythons", lambda: {"this": sys.executable})
    assert "DuckDB draws otherwise" in wrong_draws(accounts, "p")
    with mock.patch(
        "tests.crash.holdout._arm", lambda one, _salt, share: Arm.HOLDOUT if share < 0.2 else Arm.TREATMENT
    ):
        assert {loss.split(" of ")[0] for loss in wrong_draws(accounts, "p")} >= {"a holdout", "0"}


def test_every_python_that_can_is_asked():
    assert sys.executable in pythons().values()
