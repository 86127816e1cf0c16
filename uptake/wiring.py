"""The adapters of one home: settings in, ports out.

An adapter is imported by whoever first asks for it: a tick needs neither dbt nor the reports, and every command would
wait for all of them.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from uptake.domain.catalogue import MAPPING_SUFFIXES
from uptake.errors import SettingsError, TransformError

if TYPE_CHECKING:
    from uptake.adapters.clock import SandboxClock
    from uptake.adapters.evidence_duckdb import DuckEvidence
    from uptake.adapters.journeys_duckdb import DuckJourneys
    from uptake.adapters.ledger import SqlLedger
    from uptake.adapters.loaded_marts import LoadedMarts
    from uptake.adapters.mail_sink import SinkMailer
    from uptake.adapters.merge_fields_duckdb import DuckMergeFields
    from uptake.adapters.personal_files import HomeFiles
    from uptake.adapters.playbook_files import PlaybookFiles
    from uptake.adapters.sendgrid import SendGridMailer
    from uptake.adapters.sendgrid_erasure import SendGridEraser
    from uptake.adapters.sendgrid_events import PublicKey, SendGridEvents
    from uptake.adapters.sendgrid_logs import SendGridLogs
    from uptake.adapters.sendgrid_suppressions import SendGridSuppressions
    from uptake.adapters.snapshots_duckdb import DuckSnapshots
    from uptake.adapters.suites_gx import GxSuites
    from uptake.adapters.task_webhook import TaskWebhook
    from uptake.adapters.tokens import Tokens
    from uptake.adapters.transformer_dbt import DbtTransformer
    from uptake.adapters.witness_file import WitnessFile
    from uptake.ports import Clock, Keys
    from uptake.settings import Settings

#: Where a sandbox's time begins: a Monday, so that its first week is a whole one.
SANDBOX_START = datetime(2026, 3, 2, tzinfo=UTC)
_SANDBOX_KEY = SecretStr("the-key-that-fakegrid-takes")


class Wiring:
    """Every adapter of one home, made on first use, and imported then."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home.resolve()

    @cached_property
    def keys(self) -> Keys:
        """The key ring."""
        from uptake.adapters.key_ring import open_key_ring

        return open_key_ring(self.home)

    @cached_property
    def clock(self) -> Clock:
        """The machine's clock, or the sandbox's."""
        from uptake.adapters.clock import SystemClock

        return self.sandbox_clock if self.settings.sandbox else SystemClock()

    @cached_property
    def sandbox_clock(self) -> SandboxClock:
        """The clock that every process of a sandbox reads."""
        from uptake.adapters.clock import SandboxClock

        return SandboxClock(self.home / "sandbox" / "clock", start=SANDBOX_START)

    @cached_property
    def ledger(self) -> SqlLedger:
        """Operational truth."""
        from uptake.adapters.ledger import open_ledger

        self.home.mkdir(parents=True, exist_ok=True)
        return open_ledger(self.settings.ledger, self.keys)

    @cached_property
    def snapshots(self) -> DuckSnapshots:
        """The store of published snapshots."""
        from uptake.adapters.snapshots_duckdb import DuckSnapshots

        # What decides a goal column: a changed definition marks the verdict and holds new entries.
        project = self.settings.dbt_project_dir
        return DuckSnapshots(
            self.home,
            definitions=tuple(
                project / path
                for path in (
                    "seeds/feature_catalog.csv",
                    "seeds/friction_catalog.csv",
                    "macros/windows.sql",
                    "models/staging/catalog/stg_catalog_rows.sql",
                    "models/staging/catalog/stg_features.sql",
                    "models/staging/catalog/stg_feature_patterns.sql",
                    "models/staging/catalog/stg_feature_plans.sql",
                    "models/staging/catalog/stg_friction_patterns.sql",
                    "models/intermediate/int_as_of.sql",
                    "models/intermediate/int_event_features.sql",
                    "models/intermediate/int_contact_feature_days.sql",
                    "models/intermediate/int_feature_use.sql",
                    "models/intermediate/int_feature_use_kept.sql",
                    "models/marts/adoption/account_features.sql",
                    "models/marts/adoption/contact_features.sql",
                    "models/marts/value/fct_outcomes.sql",
                )
            )
            + ((self.mapping,) if self.mapping is not None and self.mapping.is_file() else ()),
        )

    @property
    def mapping(self) -> Path | None:
        """The mapping file that is the source, where it is one."""
        source = self.settings.source
        own = Path(source) if source.endswith(MAPPING_SUFFIXES) else None
        shipped = self.settings.dbt_project_dir / "mappings" / f"{source}.yml"
        return own or (shipped if shipped.is_file() else None)

    @property
    def source(self) -> str:
        """The source's name: a mapping brings its own."""
        from uptake.adapters.source_mapping import read_mapping

        try:
            return self.settings.source if self.mapping is None else read_mapping(self.mapping).name
        except TransformError:  # said by the refresh that reads it, so that the gate hears of it
            return self.settings.source

    @cached_property
    def transformer(self) -> DbtTransformer:
        """The dbt project, ready to run."""
        from uptake.adapters.transformer_dbt import DbtTransformer

        return DbtTransformer(
            project=self.settings.dbt_project_dir,
            home=self.home,
            ledger_export=self.ledger_export,
            mapping=self.mapping,
        )

    @cached_property
    def suites(self) -> GxSuites:
        """Great Expectations."""
        from uptake.adapters.suites_gx import GxSuites

        return GxSuites(self.settings.expectations_dir, self.home)

    @cached_property
    def playbooks(self) -> PlaybookFiles:
        """The playbooks folder."""
        from uptake.adapters.playbook_files import PlaybookFiles

        settings = self.settings
        return PlaybookFiles(
            settings.playbooks_dir,
            catalogue=self.feature_catalogue,
            mapping=self.mapping,
            # A sandbox's clock leaps: what it calls its interval says when silence is odd, not how often it looks.
            tick_interval=timedelta(hours=1) if settings.sandbox else settings.tick_interval,
        )

    @cached_property
    def journeys(self) -> DuckJourneys:
        """The rules of the tick."""
        from uptake.adapters.journeys_duckdb import DuckJourneys

        return DuckJourneys(self.marts)

    @cached_property
    def merge_fields(self) -> DuckMergeFields:
        """What texts may say about people."""
        from uptake.adapters.merge_fields_duckdb import DuckMergeFields

        return DuckMergeFields(self.marts)

    @cached_property
    def marts(self) -> LoadedMarts:
        """The snapshots this process asks."""
        from uptake.adapters.loaded_marts import LoadedMarts

        return LoadedMarts()

    @cached_property
    def mailer(self) -> SendGridMailer | SinkMailer:
        """SendGrid, or what stands in for it; outside production the real one mails nobody but a sink."""
        from uptake.adapters.mail_sink import SinkMailer
        from uptake.adapters.sendgrid import SendGridMailer, is_loopback

        settings = self.settings
        mailer = SendGridMailer(settings.sendgrid_base_url, self._api_key(), clock=self.clock)
        if settings.sandbox or settings.environment == "production" or is_loopback(settings.sendgrid_base_url):
            return mailer
        if settings.mail_sink is None:
            raise SettingsError(
                f"UPTAKE_ENVIRONMENT is {settings.environment}, which mails no customer; expected `production`, or"
                " UPTAKE_MAIL_SINK, the address that gets their mail instead"
            )
        return SinkMailer(
            mailer, settings.mail_sink, allowed=[one.strip() for one in settings.mail_allowed.split(",") if one.strip()]
        )

    @cached_property
    def task_receiver(self) -> TaskWebhook | None:
        """Who is told of tasks; outside production nobody beyond this machine. Raises PlaybookError, SettingsError."""
        webhook, settings = self.playbooks.workspace().task_webhook, self.settings
        if webhook is None:
            return None
        from uptake.adapters.task_webhook import TaskWebhook

        only_loopback = None
        if settings.sandbox or settings.environment != "production":
            only_loopback = "this is a sandbox" if settings.sandbox else f"UPTAKE_ENVIRONMENT is {settings.environment}"
        return TaskWebhook(webhook.url, settings.task_webhook_secret, only_loopback=only_loopback)

    def _api_key(self, special: SecretStr | None = None) -> str:
        """Return the key that SendGrid takes, or fakegrid; '' when none is set."""
        own = special or self.settings.sendgrid_api_key
        if self.settings.sandbox:
            return self.sandbox_key
        return own.get_secret_value() if own else ""

    @cached_property
    def mail_log(self) -> SendGridLogs:
        """SendGrid's log of what it took."""
        from uptake.adapters.sendgrid_logs import SendGridLogs

        key = self._api_key(self.settings.sendgrid_read_key)
        return SendGridLogs(self.settings.sendgrid_base_url, key, pseudonym_key=self.keys.pseudonym)

    @cached_property
    def mail_eraser(self) -> SendGridEraser:
        """What SendGrid keeps of people."""
        from uptake.adapters.sendgrid_erasure import SendGridEraser

        return SendGridEraser(self.settings.sendgrid_base_url, self._api_key())

    @cached_property
    def suppression_lists(self) -> SendGridSuppressions:
        """Whom SendGrid mails no more."""
        from uptake.adapters.sendgrid_suppressions import SendGridSuppressions

        return SendGridSuppressions(self.settings.sendgrid_base_url, self._api_key())

    @property
    def files(self) -> HomeFiles:
        """The files in which a person may stand."""
        from uptake.adapters.personal_files import HomeFiles

        return HomeFiles(self.home, self.settings.raw_dir)

    @cached_property
    def delivery_events(self) -> SendGridEvents:
        """Reads what the mail service tells of messages."""
        from uptake.adapters.sendgrid_events import SendGridEvents

        return SendGridEvents(self.keys.pseudonym)

    @property
    def log_lag(self) -> timedelta:
        """How long the mail service's log may lag behind; fakegrid's does not."""
        from uptake.operations.reconcile import SETTLE

        return timedelta(0) if self.settings.sandbox else SETTLE

    @cached_property
    def witness(self) -> WitnessFile:
        """What was sent last, outside the ledger."""
        from uptake.adapters.witness_file import WitnessFile

        return WitnessFile(self.home)

    @cached_property
    def evidence(self) -> DuckEvidence:
        """What snapshots prove."""
        from uptake.adapters.evidence_duckdb import DuckEvidence

        return DuckEvidence()

    @cached_property
    def tokens(self) -> Tokens:
        """Signs and reads the recipients' links."""
        from uptake.adapters.tokens import Tokens

        return Tokens(self.keys.tokens)

    @cached_property
    def webhook_keys(self) -> tuple[PublicKey, ...]:
        """Whom the event webhook believes."""
        from uptake.adapters.sendgrid_events import public_keys

        if self.settings.sandbox:
            from uptake.sandbox.fakegrid import webhook_public_key

            return public_keys(webhook_public_key(self.home))
        if self.settings.webhook_public_key:
            return public_keys(self.settings.webhook_public_key)
        return ()

    @cached_property
    def git_sha(self) -> str:
        """The commit this code runs at; `unknown` outside a checkout."""
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=self.settings.dbt_project_dir.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() or "unknown"

    @property
    def ledger_export(self) -> Path:
        """The Parquet files that dbt reads outcomes from."""
        return self.home / "ledger_export"

    @property
    def data_docs(self) -> str:
        """Where a person opens what the gate saw: an address in a sandbox, which always serves it, else a file."""
        if self.settings.sandbox:
            from uptake.sandbox.ports import sandbox_ports

            return f"http://127.0.0.1:{sandbox_ports(self.home).internal}/data-docs/"
        return str(self.home / "data_docs" / "index.html")

    @property
    def feature_catalogue(self) -> Path:
        """The seed that names every feature."""
        return self.settings.dbt_project_dir / "seeds" / "feature_catalog.csv"

    @property
    def friction_catalogue(self) -> Path:
        """The seed that names the events which mean friction."""
        return self.settings.dbt_project_dir / "seeds" / "friction_catalog.csv"

    @property
    def owner(self) -> str:
        """Who this process is, among all that decide."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @cached_property
    def sender(self) -> str:
        """Who this process is, among all that send: two containers may share a host's name and a process's number."""
        return f"{self.owner}:{secrets.token_hex(4)}"

    @property
    def sandbox_key(self) -> str:
        """The one API key that fakegrid takes."""
        return _SANDBOX_KEY.get_secret_value()

    def close(self) -> None:
        """Close what was opened."""
        for name in ("ledger", "mailer", "mail_log", "mail_eraser", "suppression_lists", "task_receiver", "marts"):
            if self.__dict__.get(name) is not None:
                self.__dict__[name].close()
