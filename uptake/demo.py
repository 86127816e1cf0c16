"""`uptake demo`: the product, wired to the simulated customer base and fakegrid, on one sandbox clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

from uptake.bootstrap import Uptake, open_uptake
from uptake.domain.arms import Arm
from uptake.domain.sends import TAKEN
from uptake.errors import Refused
from uptake.sandbox import ACCOUNTS, CONTACTS, SEED
from uptake.sandbox.base import HISTORY_DAYS, simulate
from uptake.sandbox.catalogue import read_catalogue
from uptake.sandbox.demo import DAYS, TICK_HOURS, DemoPlan, Refreshed, prepare_home, run_demo
from uptake.sandbox.demo_table import Figures, MeasuredLift, PlaybookFigures
from uptake.sandbox.fakegrid import EventPoster, create_fakegrid
from uptake.sandbox.inbox import write_inbox
from uptake.sandbox.people import SimulatedPeople
from uptake.sandbox.ports import sandbox_ports
from uptake.sandbox.serving import Serving
from uptake.sandbox.truth import Enrollment
from uptake.web_public import create_public_app

PLAYBOOKS = ("feature-breadth", "scheduled-reports")


class Product:
    """The product as the demo drives it (`uptake.sandbox.demo.DemoWorld`)."""

    def __init__(self, uptake: Uptake, poster: EventPoster) -> None:
        self._uptake = uptake
        self._poster = poster

    def refresh(self, *, now: datetime) -> Refreshed:
        """Build, validate, publish."""
        result = self._uptake.refresh(as_of=now, docs=False)
        return Refreshed(is_passed=result.gate == "passed", reasons=result.reasons)

    def plan(self, playbook: str, *, now: datetime) -> str:
        """Plan a playbook; return the plan's id."""
        return self._uptake.plan(playbook, now=now).plan.plan_id

    def approve(self, plan_id: str, *, by: str, now: datetime) -> None:  # noqa: ARG002
        """Approve a plan."""
        self._uptake.approve(plan_id, by=by)

    def tick(self, *, now: datetime) -> int:
        """Decide and send; return how many mails were accepted."""
        return self._uptake.tick(now=now).sent.accepted

    def post_events(self, *, now: datetime) -> int:
        """Let fakegrid tell what has happened by now."""
        return self._poster.post_due(now)

    def record_delivery(self, *, now: datetime) -> int:  # noqa: ARG002
        """Fold what the webhook stored."""
        return self._uptake.record_delivery().new_events

    def measure(self, *, now: datetime) -> None:  # noqa: ARG002
        """Estimate every lift, so that an error shows before the report is written."""
        self._uptake.measure()

    def report(self, *, now: datetime) -> Mapping[str, Path]:
        """Write the pages."""
        reports = self._uptake.report()
        inbox = write_inbox(self._uptake.home, self._uptake.home / "reports" / "inbox.html")
        pages = {"Value report": reports.value_report}
        if reports.account_page is not None:
            pages["Account page"] = reports.account_page
        try:
            docs = self._uptake.suites.build_docs()
        except Refused:  # killed since the last refresh: these suites belong to a process that is gone
            self.refresh(now=now)
            docs = self._uptake.suites.build_docs()
        return {**pages, "Inbox": inbox, "Data docs": docs}

    def enrollments(self) -> Sequence[Enrollment]:
        """Return every enrollment with the features taught in it, as the last refresh exported them."""
        export = self._uptake.ledger_export
        features: dict[int, set[str]] = {}
        for row in pq.read_table(export / "enrollment_contacts.parquet").to_pylist():
            features.setdefault(row["enrollment_id"], set()).add(row["feature_key"])
        return [
            Enrollment(
                playbook=row["playbook"],
                account_id=row["account_id"],
                arm=row["arm"],
                enrolled_at=_aware(row["enrolled_at"]),
                window_ends_at=_aware(row["window_ends_at"]),
                features=frozenset(features.get(row["enrollment_id"], ())),
            )
            for row in pq.read_table(export / "enrollments.parquet").to_pylist()
        ]

    def figures(self, *, now: datetime) -> Figures:  # noqa: ARG002
        """Return what the closing table shows."""
        uptake = self._uptake
        current = uptake.snapshots.current()
        assert current is not None, "the last refresh of a demo must pass"
        first = uptake.snapshots.history(str(current.manifest["source"]))[-1]
        before = uptake.evidence.overview(uptake.snapshots.open(str(first["snapshot_id"])))
        after = uptake.evidence.overview(current)
        sent: dict[str, int] = {}
        for row in uptake.ledger.read("sends_by_playbook"):
            if row["status"] in TAKEN:
                sent[row["playbook"]] = sent.get(row["playbook"], 0) + row["count_sends"]
        withheld: dict[str, int] = {}
        for row in uptake.ledger.read("withheld_by_reason"):
            withheld[row["reason"]] = withheld.get(row["reason"], 0) + row["count_contacts"]
        return Figures(
            count_accounts=after.count_accounts,
            breadth_before=before.in_use_share or 0.0,
            breadth_after=after.in_use_share or 0.0,
            playbooks=tuple(
                PlaybookFigures(
                    playbook=outcome.playbook,
                    enrolled={str(arm): outcome.count_enrolled.get(arm, 0) for arm in Arm},
                    count_sent=sent.get(outcome.playbook, 0),
                    lift=None
                    if outcome.lift is None
                    else MeasuredLift(
                        lift_abs=outcome.lift.arms[0].lift_abs,
                        ci_lower=outcome.lift.arms[0].ci_lower,
                        ci_upper=outcome.lift.arms[0].ci_upper,
                    ),
                )
                for outcome in uptake.measure()
            ),
            withheld=withheld,
        )


def demo(
    *,
    home: Path,
    fresh: bool,
    console: Console,
    accounts: int = ACCOUNTS,
    contacts: int = CONTACTS,
    days: int = DAYS,
    tick_hours: tuple[int, ...] = TICK_HOURS,
    history_days: int = HISTORY_DAYS,
) -> Figures:
    """Live through the demo, or what is left of it, and print its table.

    Raises:
        Refused: `home` holds something that is no demo, or another one.
        SettingsError: Its ports are taken.
    """
    prepare_home(home, fresh=fresh)
    uptake = open_uptake(home=home, source="uptake", raw=home / "raw", sandbox=True)
    base = simulate(SEED, read_catalogue(uptake.feature_catalogue), accounts=accounts, contacts=contacts)
    ports = sandbox_ports(home)
    fakegrid = create_fakegrid(uptake.home, clock=uptake.clock, api_key=uptake.sandbox_key)
    public = create_public_app(
        uptake.ledger,
        tokens=uptake.tokens,
        clock=uptake.clock,
        webhook_keys=uptake.webhook_keys,
        topics=list(uptake.playbooks.workspace().topics),
    )
    with Serving(fakegrid, port=ports.fakegrid), Serving(public, port=ports.public) as web:
        poster = EventPoster(uptake.home, f"{web.url}/webhooks/sendgrid", SimulatedPeople(base))
        try:
            return run_demo(
                Product(uptake, poster),
                base=base,
                plan=DemoPlan(playbooks=PLAYBOOKS, days=days, tick_hours=tick_hours, history_days=history_days),
                home=uptake.home,
                raw=uptake.settings.raw_dir,
                clock=uptake.sandbox_clock,
                console=console,
            )
        finally:
            poster.close()
            uptake.close()


def _aware(moment: datetime) -> datetime:

    return moment.replace(tzinfo=UTC)
