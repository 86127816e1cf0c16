"""Refresh: raw logs to candidate marts, through the gate, to a published snapshot. Fails closed.

One gate row holds every check. What protects mail decides whether the snapshot is published; what protects reports is
kept in the same row, and stops them alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from uptake.errors import LedgerError, SnapshotError, TransformError
from uptake.operations.gate import SKEW, reason_of
from uptake.ports import Build, Check, Clock, Ledger, Protects, Snapshots, Status, SuiteRunner, Transformer

_log = logging.getLogger(__name__)

QUARANTINE_LIMIT = 0.05  # of all lines: more is a broken file and not a broken line
FEW_LINES = 20  # of so few unreadable lines nobody can tell
FRESHNESS = "dbt:source_freshness"  # of whichever source; by its own limits, beside the gate's
COUNTS = ("lines", "events", "duplicates", "quarantined", "unattributed", "accounts", "users", "features")


@dataclass(frozen=True, kw_only=True)
class RefreshResult:
    """What a refresh came to; the fields of `uptake refresh --json`."""

    lines: int
    events: int
    duplicates: int
    quarantined: int
    unattributed: int
    unmapped_events: Mapping[str, int]  # event name -> how many
    accounts: int
    users: int
    features: int
    snapshot_id: str | None  # None while held: nothing was published
    gate: Status
    reasons: tuple[str, ...]  # a line for each check that held: its name, what was found and expected
    count_removed: int = 0  # old snapshots that nothing cites (`domain.retention`)
    report_reasons: tuple[str, ...] = ()  # the same for checks that hold reports alone
    held_snapshot_id: str | None = None  # what was kept instead, for a person to look at and perhaps to let pass
    checks: tuple[Check, ...] = ()

    @property
    def reports(self) -> Status:
        """Say whether reports may be made of it."""
        return "held" if self.report_reasons else "passed"

    @property
    def unsound(self) -> tuple[Check, ...]:
        """The checks that did not pass, what holds first."""
        return tuple(sorted((one for one in self.checks if not one.is_sound), key=lambda one: not one.blocks))

    def as_json(self) -> dict[str, Any]:
        """Return the fields of the command's contract, as JSON takes them; `status --json` has the whole gate row."""
        fields = {name: getattr(self, name) for name in (*COUNTS, "snapshot_id", "gate")}
        return {**fields, "unmapped_events": dict(self.unmapped_events), "reasons": list(self.reasons)}


def refresh(
    transformer: Transformer,
    suites: SuiteRunner,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    source: str,
    raw: Path,
    ledger_export: Path,
    as_of: datetime | None,
    git_sha: str,
    clock: Clock,
) -> RefreshResult:
    """Build the marts, run every check, and publish a snapshot when nothing blocks.

    The order makes a kill harmless: until the gate row is written, no mail leaves from the new snapshot; and running
    again publishes the same content under the same name. After that, old snapshots that nothing cites are removed.

    Raises:
        TransformError: dbt could not build the marts; a held gate row tells it, too.
        LedgerError: The ledger cannot be read or written.
    """
    ledger.export(ledger_export)
    try:
        build = replace(transformer.build(source=source, raw=raw, as_of=as_of), source=source, raw=raw)
    except TransformError as error:
        ledger.gates.record(
            snapshot_id=None, status="held", checks=(), reasons=[f"dbt: {error}"], as_of=as_of, now=clock.now()
        )
        raise
    now = clock.now()
    checks = [
        *(replace(check, protects=suites.protects(check.name)) for check in build.checks),
        *_run_suites(suites, snapshots, ledger, build, source, now),
        *_own_checks(build, now),
    ]
    checks += _missing(checks, suites.required_names, suites)
    snapshot_id = held_snapshot_id = None
    try:
        if _reasons(checks):
            held_snapshot_id = snapshots.hold(build, checks, source=source, git_sha=git_sha, now=now)
        else:
            people = transformer.people(build.warehouse)
            snapshot_id = snapshots.publish(build, checks, source=source, git_sha=git_sha, now=now).snapshot_id
            # Before the gate row: nobody may be mailed by yesterday's consent from today's snapshot.
            ledger.people.load(people, now=now)
    except SnapshotError as error:
        checks.append(_check("gate:publish", "errored", str(error)))
    reasons = _reasons(checks)
    status: Status = "held" if reasons else "passed"
    ledger.gates.record(
        snapshot_id=snapshot_id or held_snapshot_id,
        status=status,
        checks=checks,
        reasons=reasons,
        as_of=build.as_of,
        now=now,
    )
    count_removed = _prune(snapshots, ledger, now) if snapshot_id else 0
    return RefreshResult(
        **{name: build.counts.get(name, 0) for name in COUNTS},
        unmapped_events=build.unmapped_events,
        snapshot_id=snapshot_id,
        held_snapshot_id=held_snapshot_id,
        gate=status,
        reasons=tuple(reasons),
        count_removed=count_removed,
        report_reasons=tuple(_reasons(checks, "reports")),
        checks=tuple(checks),
    )


def _run_suites(
    suites: SuiteRunner, snapshots: Snapshots, ledger: Ledger, build: Build, source: str, now: datetime
) -> Sequence[Check]:
    """Run the suites against the history; whatever goes wrong is a check that did not pass.

    Each manifest comes with the names of the checks that a person let pass for it: these compare from there on.
    """
    try:
        let_pass = ledger.gates.let_pass()
        history = [{**one, "let_pass": let_pass.get(one["snapshot_id"], ())} for one in snapshots.history(source)]
        return suites.run(build, history=history, now=now)
    except SnapshotError as error:
        return (_check("gate:history", "errored", str(error)),)
    except Exception as error:  # a gate that crashes holds; its message may hold data, its type does not
        return (_check("gate:suites", "errored", f"the suites stopped with {type(error).__name__}"),)


def _own_checks(build: Build, now: datetime) -> Iterable[Check]:
    """Check what only the whole refresh knows: the load's arithmetic, the moment, that dbt tested at all."""
    if not build.checks:
        yield _check("gate:dbt", "missing", "dbt reported no test; expected its tests and source freshness")
    if not any(check.name.startswith(FRESHNESS) for check in build.checks):
        yield _check(FRESHNESS, "missing", "nobody looked how old the newest event is; expected it of every source")
    absent = [name for name in COUNTS if name not in build.counts]
    if absent:
        yield _check("gate:lines", "missing", f"the load did not count {', '.join(absent)}")
        return
    lines, kept, twice, bad = (build.counts[name] for name in ("lines", "events", "duplicates", "quarantined"))
    told = f"{lines} lines; {kept} events, {twice} duplicates, {bad} quarantined"
    whole = lines == kept + twice + bad
    yield _check("gate:lines", "passed" if whole else "failed", told if whole else f"{told}; expected the same sum")
    readable = bad <= max(FEW_LINES, lines * QUARANTINE_LIMIT)
    limit = f"{bad} of {lines} lines cannot be read; expected at most {QUARANTINE_LIMIT:.0%}"
    yield _check("gate:quarantine", "passed" if readable else "failed", limit)
    past = build.as_of <= now + SKEW
    moment = f"as_of {build.as_of:%Y-%m-%d %H:%M}, now {now:%Y-%m-%d %H:%M}; expected none in the future"
    yield _check("gate:as_of", "passed" if past else "failed", moment)


def _missing(checks: Sequence[Check], required: frozenset[str], suites: SuiteRunner) -> list[Check]:
    """Name the checks that should have run and did not even appear."""
    absent = sorted(required - {check.name for check in checks})
    told = "did not run; expected it in every refresh"
    return [replace(_check(name, "missing", told), protects=suites.protects(name)) for name in absent]


def _prune(snapshots: Snapshots, ledger: Ledger, now: datetime) -> int:
    """Remove old snapshots; trouble with that is logged, and takes back nothing of what was published."""
    try:
        cited = {str(row["snapshot_id"]) for row in ledger.read("cited_snapshots")}
        return len(snapshots.prune(cited=cited, now=now))
    except (SnapshotError, LedgerError, OSError) as error:
        _log.warning("no old snapshot was removed: %s", error)
        return 0


def _reasons(checks: Sequence[Check], protects: Protects = "mail") -> list[str]:
    """Return a line for each check that holds what is protected."""
    return [reason_of(check) for check in checks if check.blocks and check.protects == protects]


def _check(name: str, status: Any, detail: str) -> Check:
    return Check(name=name, status=status, severity="critical", detail=detail)
