from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from uptake.bootstrap import open_uptake
from uptake.errors import Refused, SettingsError
from uptake.settings import Settings


def test_the_ledger_lies_in_the_home_unless_a_server_is_named(tmp_path: Path) -> None:
    assert Settings(home=tmp_path).ledger == f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    assert Settings(home=tmp_path, ledger_url="postgresql://db/uptake").ledger == "postgresql://db/uptake"


def test_a_sandbox_never_touches_the_real_ledger(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, sandbox=True, ledger_url="postgresql://db/uptake")
    assert settings.ledger.startswith("sqlite:///")


def test_mail_that_really_leaves_is_decided_by_the_clock_alone(tmp_path: Path) -> None:
    uptake = open_uptake(home=tmp_path, sendgrid_api_key="SG.x")
    # Beyond what `reconcile` allows for between two clocks, it would not find in the log what was sent.
    for moment in (datetime(2026, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(minutes=10)):
        with pytest.raises(Refused, match="--now lies"):
            uptake.tick(now=moment)


def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", "SG.hushhush")
    monkeypatch.setenv("UPTAKE_TASK_WEBHOOK_SECRET", "whsec_hushhush")
    settings = Settings()
    assert settings.sendgrid_api_key is not None
    assert settings.sendgrid_api_key.get_secret_value() == "SG.hushhush"
    assert "hushhush" not in repr(settings)


def test_a_setting_that_makes_no_sense_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPTAKE_SANDBOX", "perhaps")
    with pytest.raises(SettingsError, match="UPTAKE_SANDBOX") as caught:
        open_uptake()
    assert "\n" not in str(caught.value)


def test_nothing_is_opened_or_written_before_it_is_used(tmp_path: Path) -> None:
    open_uptake(home=tmp_path / "home")
    assert not (tmp_path / "home").exists()
