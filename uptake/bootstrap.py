"""The only place that knows every adapter: settings in, operations out."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr, ValidationError

from uptake.adapters.catalogue_file import read_catalogue
from uptake.adapters.clock import SandboxClock, StoppedClock, SystemClock
from uptake.adapters.evidence_duckdb import DuckEvidence
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.key_ring import open_key_ring
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.lift_file import lift_of_file as lift_of_file  # for the command line, which knows no adapter
from uptake.adapters.loaded_marts import LoadedMarts
from uptake.adapters.log_profile_dbt import DbtStagedEvents
from uptake.adapters.log_profile_duckdb import DuckLogProfiler
from uptake.adapters.merge_fields_duckdb import DuckMergeFields
from uptake.adapters.playbook_files import PlaybookFiles
from uptake.adapters.report_pages import HtmlPages
from uptake.adapters.sendgrid import SendGridMailer, is_loopback
from uptake.adapters.sendgrid_events import PublicKey, SendGridEvents, public_keys
from uptake.adapters.sendgrid_logs import SendGridLogs
from uptake.adapters.snapshots_duckdb import DuckSnapshots
from uptake.adapters.source_mapping import SUFFIXES, read_mapping
from uptake.adapters.suites_gx import GxSuites
from uptake.adapters.templates import compile_release, fill_words
from uptake.adapters.tokens import RecipientLinks, Tokens
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.adapters.witness_file import WitnessFile
from uptake.domain.catalogue import source_name
from uptake.domain.outcomes import PlaybookOutcome
from uptake.errors import Refused, SettingsError, TransformError, UsageError
from uptake.operations import approve as _approve
from uptake.operations import by_hand as _by_hand
from uptake.operations import check as _check
from uptake.operations import explain as _explain
from uptake.operations import import_suppressions as _import_suppressions
from uptake.operations import inspect as _inspect
from uptake.operations import measure as _measure
from uptake.operations import override as _override
from uptake.operations import plan as _plan
from uptake.operations import preview as _preview
from uptake.operations import reconcile as _reconcile
from uptake.operations import record_delivery as _record_delivery
from uptake.operations import refresh as _refresh
from uptake.operations import release as _release
from uptake.operations import report as _report
from uptake.operations import send as _send
from uptake.operations import tasks as _tasks
from uptake.operations import tick as _tick
from uptake.ports import Claimed, Clock, Keys
from uptake.settings import Settings

#: Where a sandbox's time begins: a Monday, so that its first week is a whole one.
SANDBOX_START = datetime(2026, 3, 2, tzinfo=UTC)
#: How far a tick's moment may lie from the clock when the mail service is not on this machine.
_SKEW = timedelta(hours=1)
#: A sandbox's clock leaps from tick to tick; hours without one are no sign of a restored ledger there.
_SANDBOX_TICKS = timedelta(days=1)
_SANDBOX_KEY = SecretStr("the-key-that-fakegrid-takes")


@dataclass(frozen=True, kw_only=True)
class TickReport:
    """What folding, deciding and sending came to."""

    folded: _record_delivery.DeliveryResult
    decided: _tick.TickResult
    sent: _send.SendResult
    reconciled: _reconcile.ReconcileResult | None = None  # where there was anything to ask the mail service's log

    @property
    def counts(self) -> Mapping[str, int]:
        """Everything that was counted, by name."""
        return {
            "delivery_events": self.folded.new_events,
            **{f"entered:{name}": count for name, count in self.decided.entered.items()},
            **self.decided.counts,
            "accepted": self.sent.accepted,
            "unknown": self.sent.unknown,
            "failed": self.sent.failed,
            **({} if self.reconciled is None else {"found": self.reconciled.found, "held": self.reconciled.held}),
        }

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why something did not happen."""
        stuck = (f"{self.folded.stuck} webhook bodies cannot be folded: `uptake status`",) if self.folded.stuck else ()
        reconciled = self.reconciled
        unasked = (reconciled.trouble,) if reconciled is not None and reconciled.trouble is not None else ()
        stopped = () if self.sent.stopped is None else (f"sending stopped: {self.sent.stopped}",)
        return (*stuck, *unasked, *self.decided.reasons, *stopped)

    @property
    def stopped(self) -> str | None:
        """Why no mail could leave at all; None when the way was free."""
        return self.decided.gate_held or self.sent.stopped

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON takes it."""
        return {
            "status": self.decided.status,
            "snapshot_id": self.decided.snapshot_id,
            "counts": dict(self.counts),
            "withheld": {str(reason): count for reason, count in self.sent.withheld.items()},
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, kw_only=True)
class PreviewedMail:
    """One stage as one person would get it; no address in it."""

    stage_key: str
    contact_id: str
    subject: str
    html: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """How everything stands."""

    gate: Mapping[str, Any] | None
    playbooks: list[Mapping[str, Any]]  # enrollments by playbook and arm
    sends: list[Mapping[str, Any]]
    held: list[Mapping[str, Any]]  # sends whose fate nobody knows
    approvals: list[Mapping[str, Any]]
    controls: list[Mapping[str, Any]]
    audiences: list[Mapping[str, Any]] = field(default_factory=list)  # of each playbook, and why it takes nobody in
    alarms: list[str] = field(default_factory=list)  # what somebody has to look at now


class Uptake:
    """Everything of one home, opened on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home.resolve()

    # --- adapters ---------------------------------------------------------------------------------------

    @cached_property
    def keys(self) -> Keys:
        """The key ring."""
        return open_key_ring(self.home)

    @cached_property
    def clock(self) -> Clock:
        """The machine's clock, or the sandbox's."""
        return self.sandbox_clock if self.settings.sandbox else SystemClock()

    @cached_property
    def sandbox_clock(self) -> SandboxClock:
        """The clock that every process of a sandbox reads."""
        return SandboxClock(self.home / "sandbox" / "clock", start=SANDBOX_START)

    @cached_property
    def ledger(self) -> SqlLedger:
        """Operational truth."""
        self.home.mkdir(parents=True, exist_ok=True)
        return open_ledger(self.settings.ledger, self.keys)

    @cached_property
    def snapshots(self) -> DuckSnapshots:
        """The store of published snapshots."""
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
        own = Path(source) if source.endswith(SUFFIXES) else None
        shipped = self.settings.dbt_project_dir / "mappings" / f"{source}.yml"
        return own or (shipped if shipped.is_file() else None)

    @property
    def source(self) -> str:
        """The source's name: a mapping brings its own."""
        try:
            return self.settings.source if self.mapping is None else read_mapping(self.mapping).name
        except TransformError:  # said by the refresh that reads it, so that the gate hears of it
            return self.settings.source

    @cached_property
    def transformer(self) -> DbtTransformer:
        """The dbt project, ready to run."""
        return DbtTransformer(
            project=self.settings.dbt_project_dir,
            home=self.home,
            ledger_export=self.ledger_export,
            mapping=self.mapping,
        )

    @cached_property
    def suites(self) -> GxSuites:
        """Great Expectations."""
        return GxSuites(self.settings.expectations_dir, self.home)

    @cached_property
    def playbooks(self) -> PlaybookFiles:
        """The playbooks folder."""
        return PlaybookFiles(self.settings.playbooks_dir, catalogue=self.feature_catalogue)

    @cached_property
    def journeys(self) -> DuckJourneys:
        """The rules of the tick."""
        return DuckJourneys(self.marts)

    @cached_property
    def merge_fields(self) -> DuckMergeFields:
        """What texts may say about people."""
        return DuckMergeFields(self.marts)

    @cached_property
    def marts(self) -> LoadedMarts:
        """The snapshots this process asks."""
        return LoadedMarts()

    @cached_property
    def mailer(self) -> SendGridMailer:
        """SendGrid, or what stands in for it."""
        if self.settings.sandbox:
            url, key = self.settings.sendgrid_base_url, _SANDBOX_KEY.get_secret_value()
        else:
            url = self.settings.sendgrid_base_url
            key = self.settings.sendgrid_api_key.get_secret_value() if self.settings.sendgrid_api_key else ""
        return SendGridMailer(url, key, clock=self.clock)

    @cached_property
    def mail_log(self) -> SendGridLogs:
        """SendGrid's log of what it took."""
        if self.settings.sandbox:
            key = self.sandbox_key
        else:
            own = self.settings.sendgrid_read_key or self.settings.sendgrid_api_key
            key = own.get_secret_value() if own else ""
        return SendGridLogs(self.settings.sendgrid_base_url, key, pseudonym_key=self.keys.pseudonym)

    @property
    def log_lag(self) -> timedelta:
        """How long the mail service's log may lag behind; fakegrid's does not."""
        return timedelta(0) if self.settings.sandbox else _reconcile.SETTLE

    @cached_property
    def witness(self) -> WitnessFile:
        """What was sent last, outside the ledger."""
        return WitnessFile(self.home)

    @cached_property
    def evidence(self) -> DuckEvidence:
        """What snapshots prove."""
        return DuckEvidence()

    @cached_property
    def tokens(self) -> Tokens:
        """Signs and reads the recipients' links."""
        return Tokens(self.keys.tokens)

    @cached_property
    def webhook_keys(self) -> tuple[PublicKey, ...]:
        """Whom the event webhook believes."""
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
    def owner(self) -> str:
        """Who this process is, among all that decide and send."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @property
    def sandbox_key(self) -> str:
        """The one API key that fakegrid takes."""
        return _SANDBOX_KEY.get_secret_value()

    # --- operations -------------------------------------------------------------------------------------

    def refresh(self, *, as_of: datetime | None = None, docs: bool = True) -> _refresh.RefreshResult:
        """Raw logs to a published snapshot, if the gate lets it pass; `docs` writes the data docs, too."""
        if as_of is None and self.settings.sandbox:
            as_of = self.clock.now()
        result = _refresh.refresh(
            self.transformer,
            self.suites,
            self.snapshots,
            self.ledger,
            source=self.source,
            raw=self.settings.raw_dir,
            ledger_export=self.ledger_export,
            as_of=as_of,
            git_sha=self.git_sha,
            clock=self.clock,
        )
        if docs:
            self.suites.build_docs()
        return result

    def inspect(self, source: str) -> _inspect.Inspection:
        """Look at the raw logs of a source; or, before there is one, at a folder or file."""
        staged = DbtStagedEvents(project=self.settings.dbt_project_dir, home=self.home)
        name = staged.name_of(source)
        folder = Path(source) if name is None else None
        if folder is not None and self.settings.raw is not None:
            raise UsageError(f"--raw goes with a source; {source!r} is none of {', '.join(staged.sources)}")
        if folder is not None and not folder.exists():
            raise UsageError(f"no source, file or folder {source!r}; the sources are {', '.join(staged.sources)}")
        rows, columns = read_catalogue(self.feature_catalogue)
        return _inspect.inspect(
            DuckLogProfiler(staged),
            raw=folder or self.settings.raw_dir,
            source=source if folder is None else None,
            name=name or source_name(Path(source).resolve().stem),
            catalogue=rows,
            columns=columns,
            now=self.clock.now(),
        )

    def override(self, snapshot_id: str, *, by: str, reason: str) -> _override.Overridden:
        """Publish the snapshot that the last refresh held, by name and reason."""
        return _override.override(
            self.snapshots,
            self.ledger,
            snapshot_id=snapshot_id,
            by=by,
            reason=reason,
            people=lambda: self.transformer.people(self.transformer.warehouse),
            now=self.clock.now(),
        )

    def check(self) -> list[str]:
        """Return every problem of the playbooks folder."""
        return [str(problem) for problem in _check.check(self.playbooks)]

    def plan(self, name: str, *, now: datetime | None = None) -> _plan.PlanResult:
        """Plan a playbook over the current snapshot."""
        return _plan.plan(
            self.playbooks,
            self.journeys,
            self.snapshots,
            self.ledger,
            name=name,
            git_sha=self.git_sha,
            now=now or self.clock.now(),
        )

    def approve(self, plan_id: str, *, by: str) -> datetime:
        """Approve a plan's release; return when that expires."""
        return _approve.approve(self.ledger, plan_id=plan_id, by=by, now=self.clock.now()).expires_at

    def tick(self, *, now: datetime | None = None) -> TickReport:
        """Fold what is known, decide for everybody, send what is due; `now` stops the clock for all three."""
        clock = self.clock if now is None else StoppedClock(now)
        if now is not None and not is_loopback(self.settings.sendgrid_base_url):
            away = abs(now - self.clock.now())
            if away > _SKEW:
                raise Refused(
                    f"--now lies {away} from the clock; mail that really leaves is decided by the clock alone"
                )
        mailer = self.mailer  # a missing key is said before anything is decided
        folded = self.record_delivery()
        _reconcile.guard(self.ledger, self.witness, now=clock.now(), interval=self.settings.tick_interval)
        reconciled = None
        if self.ledger.releases.controls().forgotten is not None or self.ledger.read("unresolved_sends"):
            reconciled = _reconcile.reconcile(
                self.ledger, self.mail_log, SendGridEvents(self.keys.pseudonym), clock=clock, settle=self.log_lag
            )
        decided = _tick.tick(
            self.journeys,
            self.snapshots,
            self.ledger,
            now=clock.now(),
            git_sha=self.git_sha,
            owner=self.owner,
        )
        sent = _send.send_due(
            self.ledger,
            mailer,
            self.merge_fields,
            RecipientLinks(self.tokens, self.settings.public_url),
            self.snapshots,
            clock=clock,
            owner=self.owner,
            witness=self.witness,
        )
        return TickReport(folded=folded, decided=decided, sent=sent, reconciled=reconciled)

    def record_delivery(self) -> _record_delivery.DeliveryResult:
        """Fold the webhook bodies that are stored."""
        return _record_delivery.record_delivery(self.ledger, SendGridEvents(self.keys.pseudonym), clock=self.clock)

    def reconcile(self) -> _reconcile.ReconcileResult:
        """Ask the mail service's log about everything nobody knows the fate of, and open a lock that waits for it."""
        return _reconcile.reconcile(
            self.ledger,
            self.mail_log,
            SendGridEvents(self.keys.pseudonym),
            clock=self.clock,
            settle=self.log_lag,
            include_held=True,
        )

    def trust_ledger(self, *, by: str, reason: str) -> bool:
        """Open that lock without asking, by name and reason; tell whether there was one."""
        return _reconcile.trust(self.ledger, by=_release.person(by), reason=reason, now=self.clock.now())

    def held(self) -> list[Mapping[str, Any]]:
        """Return what waits for evidence (unknown) or for a person (held)."""
        return self.ledger.read("stuck_sends")

    def release(self, send_ids: Sequence[str] | None, *, by: str, reason: str) -> int:
        """Send messages of unknown fate again, by name and reason; None: every held one."""
        return _release.release(self.ledger, send_ids, by=_release.person(by), reason=reason, now=self.clock.now())

    def tasks(self) -> list[_tasks.Task]:
        """Return every open task, the most urgent first."""
        return _tasks.tasks(self.ledger, self.snapshots, self.merge_fields, fill_words, now=self.clock.now())

    def close_task(self, task_id: int, *, outcome: _tasks.Outcome, reason: str, by: str) -> None:
        """Close a task; its stage is over."""
        _tasks.close_task(self.ledger, task_id=task_id, outcome=outcome, reason=reason, by=by, now=self.clock.now())

    def enter(self, account_id: str, playbook: str, *, reason: str, by: str) -> int:
        """Take an account into a playbook by hand; return how many of its people are in."""
        return _by_hand.enter(
            self.journeys,
            self.snapshots,
            self.ledger,
            account_id=account_id,
            playbook=playbook,
            reason=reason,
            by=by,
            now=self.clock.now(),
        )

    def leave(self, account_id: str, playbook: str, *, reason: str, by: str) -> None:
        """Take an account out of a playbook."""
        _by_hand.leave(
            self.ledger, account_id=account_id, playbook=playbook, reason=reason, by=by, now=self.clock.now()
        )

    def import_suppressions(self, file: Path, *, reason: str, by: str) -> _import_suppressions.Imported:
        """Take over a do-not-contact list."""
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            return _import_suppressions.import_suppressions(
                self.ledger, self.keys, lines, reason=reason, by=by, now=self.clock.now()
            )

    def measure(self) -> list[PlaybookOutcome]:
        """Return every playbook's outcome as of the current snapshot."""
        return _measure.measure(self.evidence, self.snapshots, self.ledger)

    def report(self, *, account_id: str | None = None) -> _report.Reports:
        """Write the value report and one account's page."""
        return _report.report(
            self.evidence,
            HtmlPages(),
            self.snapshots,
            self.ledger,
            directory=self.home / "reports",
            account_id=account_id,
        )

    def explain(self, contact_id: str, playbook: str | None = None) -> _explain.Explanation:
        """Say why a contact did or did not get a mail."""
        return _explain.explain(
            self.journeys,
            self.snapshots,
            self.ledger,
            contact_id=contact_id,
            playbook=playbook,
            now=self.clock.now(),
        )

    def control(
        self, action: Literal["pause", "resume", "stop"], playbook: str | None, *, reason: str, by: str
    ) -> None:
        """Pause, resume or stop one playbook, or everything. A lock of sending stays: `resume_sending` opens it."""
        now, by = self.clock.now(), _release.person(by)
        releases = self.ledger.releases
        if playbook is None:
            releases.control("all", "*", action, reason=reason, by=by, now=now)
            return
        if playbook not in self.playbooks.names() and releases.latest_plan(playbook) is None:
            raise UsageError(f"no playbook {playbook!r}; expected one of {', '.join(self.playbooks.names())}")
        releases.control("playbook", playbook, action, reason=reason, by=by, now=now)

    def resume_sending(self, *, reason: str, by: str) -> None:
        """Open the lock that a refused key, credits or sender put on sending, and end a rate limit."""
        by = _release.person(by)
        self.ledger.releases.control("sending", "*", "resume", reason=reason, by=by, now=self.clock.now())

    def alarms(self) -> list[str]:
        """Return what somebody has to look at now, one sentence each."""
        found = []
        if (locked := self.ledger.releases.controls().sending_locked) is not None:
            found.append(f"sending is locked: {locked}")
        unfolded = self.ledger.read("unfolded_batches")[0]
        if unfolded["count_batches"] and self.clock.now() - unfolded["received_at"] > 2 * self.settings.tick_interval:
            found.append(
                f"{unfolded['count_batches']} webhook bodies are not folded, the first is batch "
                f"{unfolded['first_batch_id']} of {unfolded['received_at']:%Y-%m-%d %H:%M} UTC: what they tell is "
                "unknown to every decision"
            )
        if held := sum(row["status"] == "held" for row in self.held()):
            found.append(f"{held} messages are held: `uptake held` lists them, `uptake release` sends them again")
        return found

    def status(self) -> Status:
        """Return how everything stands."""
        read = self.ledger.read
        return Status(
            gate=self.ledger.gates.latest(),
            playbooks=read("enrollments_by_playbook"),
            sends=read("sends_by_playbook"),
            held=read("stuck_sends"),
            approvals=read("approvals"),
            controls=read("controls")[:20],
            audiences=read("audiences"),
            alarms=self.alarms(),
        )

    def preview(self, name: str, *, stage: str | None = None, contact_id: str | None = None) -> PreviewedMail:
        """Render one stage for one person as it would be sent."""
        shown = _preview.preview(
            self.playbooks,
            self.journeys,
            self.snapshots,
            self.ledger,
            name=name,
            now=self.clock.now(),
            stage_key=stage,
            contact_id=contact_id,
            limit=1,
        )
        if not shown.samples:
            raise UsageError(f"nobody in snapshot {shown.snapshot.snapshot_id} could be shown {name}")
        sample = shown.samples[0]
        person = self.ledger.people.person(sample.contact_id) or {}
        claimed = Claimed(
            send_id="preview",
            enrollment_id=0,
            version_id=0,
            playbook=name,
            stage_key=shown.stage_key,
            account_id=sample.account_id,
            contact_id=sample.contact_id,
            feature_key=sample.feature_key or "",
            snapshot_id=shown.snapshot.snapshot_id,
            address="",
            given_name=person.get("given_name"),
            full_name=person.get("full_name"),
            locale=person.get("locale"),
        )
        fields = self.merge_fields.values(shown.snapshot, shown.release, [claimed])["preview"]
        compiled = compile_release(shown.release, shown.stage_key)
        blocks = compiled.fill(fields, unsubscribe_url=f"{self.settings.public_url}/u/preview")
        html, text = compiled.whole(blocks)
        return PreviewedMail(
            stage_key=shown.stage_key, contact_id=sample.contact_id, subject=blocks.subject, html=html, text=text
        )

    def close(self) -> None:
        """Close what was opened."""
        for name in ("ledger", "mailer", "mail_log", "marts"):
            if name in self.__dict__:
                self.__dict__[name].close()


def open_uptake(**overrides: Any) -> Uptake:
    """Read the settings and return everything of that home. Raises SettingsError."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"UPTAKE_{name.removeprefix('UPTAKE_')}: {first['msg']}") from error
    if settings.sandbox:
        from uptake.sandbox.ports import sandbox_ports

        ports = sandbox_ports(settings.home)
        settings = settings.model_copy(
            update={
                "sendgrid_base_url": f"http://127.0.0.1:{ports.fakegrid}",
                "public_url": f"http://127.0.0.1:{ports.public}",
                "tick_interval": max(settings.tick_interval, _SANDBOX_TICKS),
            }
        )
    return Uptake(settings)
