"""Every setting in one class, read once in `bootstrap`; nothing else looks at the environment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Settings from the environment, prefix `UPTAKE_`."""

    model_config = SettingsConfigDict(env_prefix="UPTAKE_", extra="ignore", populate_by_name=True)

    home: Path = Field(default=Path("var"), description="Every file Uptake writes is under here")
    source: str = Field(default="uptake", description="A staging source of dbt_project, or a mapping file")
    raw: Path | None = Field(default=None, description="Folder of raw logs; default HOME/raw")
    ledger_url: str | None = Field(default=None, description="SQLAlchemy URL; default SQLite in HOME")
    playbooks_dir: Path = _ROOT / "playbooks"
    dbt_project_dir: Path = _ROOT / "dbt_project"
    expectations_dir: Path = _ROOT / "expectations"
    sendgrid_base_url: str = "https://api.sendgrid.com"
    sendgrid_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("SENDGRID_API_KEY", "UPTAKE_SENDGRID_API_KEY", "sendgrid_api_key")
    )
    sendgrid_read_key: SecretStr | None = Field(
        default=None, description="A key that may read SendGrid's logs; default the one that sends"
    )
    environment: Literal["development", "staging", "production"] = Field(
        default="development", description="Only in production do customers get mail of the real SendGrid"
    )
    mail_sink: str | None = Field(
        default=None, description="Outside production: the address that gets everybody's mail instead of them"
    )
    mail_allowed: str = Field(
        default="", description="Outside production: addresses and domains (@example.com), by comma, that are mailed"
    )
    tick_interval: timedelta = Field(
        default=timedelta(hours=1), description="How often ticks come; a gap of over two locks sending until reconcile"
    )
    keep_bodies: timedelta = Field(
        default=timedelta(days=30), description="How long a webhook body, which holds addresses, is kept as it came"
    )
    webhook_public_key: str | None = Field(default=None, description="SendGrid's event webhook key, base64 DER")
    task_webhook_secret: SecretStr | None = Field(
        default=None, description="Signs what the workspace's task_webhook is told; whsec_ and base64, or any text"
    )
    public_url: str = Field(default="http://127.0.0.1:8025", description="Where recipients reach web_public")
    sandbox: bool = Field(default=False, description="Run on the sandbox clock against fakegrid")

    @property
    def raw_dir(self) -> Path:
        """The folder of raw logs."""
        return self.raw or self.home / "raw"

    @property
    def ledger(self) -> str:
        """The ledger's SQLAlchemy URL."""
        url = None if self.sandbox else self.ledger_url  # a sandbox never touches the real one
        return url or f"sqlite:///{(self.home / 'ledger.sqlite3').resolve()}"
