"""The only place that knows every adapter: settings in, operations out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from uptake.domain.catalogue import source_name
from uptake.errors import SettingsError, UsageError
from uptake.operations import approve as _approve
from uptake.operations import backtest as _backtest
from uptake.operations import by_hand as _by_hand
from uptake.operations import check as _check
from uptake.operations import control as _control
from uptake.operations import explain as _explain
from uptake.operations import forget as _forget
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
from uptake.operations import standing as _standing
from uptake.operations import status as _status
from uptake.operations import sync_suppressions as _sync
from uptake.operations import tasks as _tasks
from uptake.operations.explained import Explanation
from uptake.operations.status import Status
from uptake.operations.tick_report import TickReport
from uptake.settings import Settings
from uptake.wiring import Wiring

if TYPE_CHECKING:
    from uptake.doctor import Finding
    from uptake.domain.lift import Lift
    from uptake.domain.outcomes import PlaybookOutcome
    from uptake.previewing import PreviewedMail

#: A sandbox's clock leaps from tick to tick; hours without one are no sign of a restored ledger there.
_SANDBOX_TICKS = timedelta(days=1)


class Uptake(Wiring):
    """Every operation of one home."""

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
        self.suites.tell(result.checks)
        if docs:
            self.suites.build_docs()
        return result

    def inspect(self, source: str) -> _inspect.Inspection:
        """Look at the raw logs of a source; or, before there is one, at a folder or file."""
        from uptake.adapters.catalogue_file import read_catalogue, read_friction
        from uptake.adapters.log_profile_dbt import DbtStagedEvents
        from uptake.adapters.log_profile_duckdb import DuckLogProfiler

        staged = DbtStagedEvents(project=self.settings.dbt_project_dir, home=self.home)
        name = staged.name_of(source)
        folder = Path(source) if name is None else None
        if folder is not None and self.settings.raw is not None:
            raise UsageError(f"--raw goes with a source; {source!r} is none of {', '.join(staged.sources)}")
        if folder is not None and not folder.exists():
            raise UsageError(f"no source, file or folder {source!r}; the sources are {', '.join(staged.sources)}")
        rows, columns = read_catalogue(self.feature_catalogue, staged.mapping_of(source))
        return _inspect.inspect(
            DuckLogProfiler(staged),
            raw=folder or self.settings.raw_dir,
            source=source if folder is None else None,
            name=name or source_name(Path(source).resolve().stem),
            catalogue=rows,
            friction=read_friction(self.friction_catalogue),
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

    def plan(self, name: str, *, now: datetime | None = None, against: str | None = None) -> _plan.PlanResult:
        """Plan a playbook over the current snapshot; `against`: and tell how another snapshot differs."""
        return _plan.plan(
            self.playbooks,
            self.journeys,
            self.snapshots,
            self.ledger,
            name=name,
            git_sha=self.git_sha,
            now=now or self.clock.now(),
            against=against,
        )

    def plans(
        self, names: Sequence[str], *, now: datetime | None = None, against: str | None = None
    ) -> Iterator[_plan.PlanResult]:
        """Plan playbooks one after the other, over one state of the ledger."""
        return _plan.plans(
            self.playbooks,
            self.journeys,
            self.snapshots,
            self.ledger,
            names=names,
            git_sha=self.git_sha,
            now=now or self.clock.now(),
            against=against,
        )

    def backtest(
        self, names: Sequence[str] = (), *, first: date | None = None, last: date | None = None, days: int = 28
    ) -> _backtest.Backtest:
        """Say what playbooks (none: all) would have done from `first` (or `days` days) to `last` (or today)."""
        now = self.clock.now()
        last = last or now.date()
        return _backtest.backtest(
            self.playbooks,
            self.journeys,
            self.snapshots,
            self.ledger,
            names=names,
            source=self.source,
            first=first or last - timedelta(days=days - 1),
            last=last,
            now=now,
        )

    def approve(self, plan_id: str, *, by: str) -> datetime:
        """Approve a plan's release; return when that expires."""
        return _approve.approve(self.ledger, plan_id=plan_id, by=by, now=self.clock.now()).expires_at

    def approve_within_limits(self, plan_id: str) -> datetime:
        """Approve a plan without a person, where one has allowed that; return when it expires."""
        return _approve.approve_within_limits(self.ledger, plan_id=plan_id, now=self.clock.now()).expires_at

    def tick(self, *, now: datetime | None = None) -> TickReport:
        """Fold what is known, decide for everybody, send what is due; `now` stops the clock for all three."""
        from uptake.ticking import tick

        return tick(self, now=now)

    def record_delivery(self) -> _record_delivery.DeliveryResult:
        """Fold the webhook bodies that are stored."""
        return _record_delivery.record_delivery(self.ledger, self.delivery_events, clock=self.clock)

    def reconcile(self) -> _reconcile.ReconcileResult:
        """Ask the mail service's log about everything nobody knows the fate of, and open a lock that waits for it."""
        return _reconcile.reconcile(
            self.ledger,
            self.mail_log,
            self.delivery_events,
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
        from uptake.adapters.templates import fill_words

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

    def sync_suppressions(self) -> _sync.Synced:
        """Compare our suppressions with the mail service's lists and add to each what the other has."""
        topics = self.playbooks.workspace().topics
        return _sync.sync_suppressions(self.ledger, self.keys, self.suppression_lists, topics, now=self.clock.now())

    def tell_stops(self, *, since: datetime) -> int:
        """Tell the mail service of whoever unsubscribed here since; return of how many."""
        topics = self.playbooks.workspace().topics
        return _sync.tell_stops(self.ledger, self.suppression_lists, topics, since=since)

    def drop_old_bodies(self) -> int:
        """Empty the webhook bodies that are older than they may be kept; return how many."""
        return self.ledger.delivery.drop_bodies(before=self.clock.now() - self.settings.keep_bodies)

    def forget(self, address: str, *, by: str) -> _forget.Forgotten:
        """Forget a person; what the mail service has told so far is folded first."""
        self.record_delivery()
        return _forget.forget(
            self.ledger, self.keys, self.files, self.mail_eraser, address=address, by=by, now=self.clock.now()
        )

    def export(self, address: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return everything the ledger knows of a person."""
        return _forget.export(self.ledger, self.keys, address=address)

    def measure(self) -> list[PlaybookOutcome]:
        """Return every playbook's outcome as of the current snapshot."""
        return _measure.measure(self.evidence, self.snapshots, self.ledger)

    def report(self, *, account_id: str | None = None) -> _report.Reports:
        """Write the value report and one account's page."""
        from uptake.adapters.report_pages import HtmlPages

        return _report.report(
            self.evidence,
            HtmlPages(),
            self.snapshots,
            self.ledger,
            directory=self.home / "reports",
            account_id=account_id,
        )

    def explain(self, contact_id: str, playbook: str | None = None) -> Explanation:
        """Say why a contact did or did not get a mail."""
        from uptake.adapters.no_pandas import no_pandas

        with no_pandas():
            return _explain.explain(
                self.journeys,
                self.snapshots,
                self.ledger,
                contact_id=contact_id,
                playbook=playbook,
                now=self.clock.now(),
            )

    def control(
        self,
        action: _control.Action,
        playbook: str | None = None,
        *,
        account_id: str | None = None,
        reason: str,
        by: str,
    ) -> str:
        """Pause, resume or stop a playbook, an account, or everything; return what.

        A lock of sending stays: `resume_sending` opens it.
        """
        return _control.control(
            self.playbooks,
            self.ledger,
            action,
            playbook=playbook,
            account_id=account_id,
            reason=reason,
            by=by,
            now=self.clock.now(),
        )

    def resume_sending(self, *, reason: str, by: str) -> None:
        """Open the lock that a refused key, credits or sender put on sending, and end a rate limit."""
        by = _release.person(by)
        self.ledger.releases.control("sending", "*", "resume", reason=reason, by=by, now=self.clock.now())

    def status(self) -> Status:
        """Return how everything stands."""
        now = self.clock.now()
        found = _standing.standings(self.playbooks, self.journeys, self.snapshots, self.ledger, now=now)
        return _status.status(self.ledger, found, now=now, tick_interval=self.settings.tick_interval)

    def doctor(self) -> list[Finding]:
        """Examine the home: what it needs to send, and what to do about what it lacks."""
        from uptake.doctor import examine

        return examine(self)

    def preview(self, name: str, *, stage: str | None = None, contact_id: str | None = None) -> PreviewedMail:
        """Render one stage for one person as it would be sent."""
        from uptake.previewing import previewed

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
        return previewed(shown, self.ledger, self.merge_fields, public_url=self.settings.public_url)


def lift_of_file(file: Path, **columns: Any) -> Lift:
    """Estimate the lift of an experiment in a file; see `uptake.adapters.lift_file`."""
    from uptake.adapters.lift_file import lift_of_file as estimate

    return estimate(file, **columns)


def open_uptake(**overrides: Any) -> Uptake:
    """Read the settings and return everything of that home. Raises SettingsError."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"UPTAKE_{name.removeprefix('UPTAKE_')}: {first['msg']}") from error
    from uptake.sandbox.ports import marker_path, sandbox_ports

    if "sandbox" not in settings.model_fields_set and marker_path(settings.home).exists():
        settings = settings.model_copy(update={"sandbox": True})  # the demo's home: its clock and mail are its own
    if settings.sandbox:
        ports = sandbox_ports(settings.home)
        settings = settings.model_copy(
            update={
                "sendgrid_base_url": f"http://127.0.0.1:{ports.fakegrid}",
                "public_url": f"http://127.0.0.1:{ports.public}",
                "tick_interval": max(settings.tick_interval, _SANDBOX_TICKS),
            }
        )
    return Uptake(settings)
