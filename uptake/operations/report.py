"""Report: the value report and one account's page, as files that open offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from uptake.errors import Refused
from uptake.operations.gate import override_of, refuse_held_reports
from uptake.operations.measure import drawn_holdouts
from uptake.ports import Evidence, Ledger, Pages, Snapshot, Snapshots, ValueReport

_SHOWN_SNAPSHOTS = 60


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Where the pages are."""

    value_report: Path
    account_page: Path | None


def report(
    evidence: Evidence,
    pages: Pages,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    directory: Path,
    account_id: str | None = None,
) -> Reports:
    """Write the value report of the current snapshot, and the page of one account (the most telling one by default).

    Raises:
        Refused: No snapshot is published, or it does not have the account.
        Held: A check of value did not pass for it.
    """
    snapshot = snapshots.current()
    if snapshot is None:
        raise Refused("nothing to report: no snapshot is published; run `uptake refresh` first")
    refuse_held_reports(ledger, snapshot)
    chosen = account_id or evidence.telling_account(snapshot)
    page = evidence.account(snapshot, chosen) if chosen else None
    if account_id and page is None:
        raise Refused(f"account `{account_id}` is not in snapshot {snapshot.snapshot_id}")

    directory.mkdir(parents=True, exist_ok=True)
    account_page = None
    if page is not None:
        account_page = directory / f"account-{_file_name(page.account_id)}.html"
        playbooks = [row["playbook"] for row in ledger.read("playbooks_of_account", account_id=page.account_id)]
        _write(account_page, pages.account(page, playbooks=playbooks))
    value_report = directory / "value-report.html"
    content = ValueReport(
        overview=evidence.overview(snapshot),
        over_time=_share_over_time(evidence, snapshots, snapshot),
        outcomes=evidence.outcomes(snapshot, holdouts=drawn_holdouts(ledger)),
        sends=_pivot(ledger.read("sends_by_playbook"), "status", "count_sends"),
        withheld=_pivot(ledger.read("withheld_by_reason"), "reason", "count_contacts"),
        gate=_gate(ledger, snapshot),
        manifest=snapshot.manifest,
    )
    _write(value_report, pages.leadership(content, account_link=account_page.name if account_page else None))
    return Reports(value_report=value_report, account_page=account_page)


def _share_over_time(evidence: Evidence, snapshots: Snapshots, current: Snapshot) -> list[tuple[datetime, float]]:
    """Return the share of paid functionality in use at each snapshot of this source up to this one, oldest first."""
    history = snapshots.history(str(current.manifest.get("source", "")))[:_SHOWN_SNAPSHOTS]
    points = []
    for manifest in reversed(history):
        snapshot = snapshots.open(str(manifest["snapshot_id"]))
        share = evidence.overview(snapshot).in_use_share
        if share is not None and snapshot.as_of <= current.as_of:
            points.append((snapshot.as_of, share))
    return points


def _pivot(rows: list[Mapping[str, Any]], column: str, count: str) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = table.setdefault(row["playbook"], {})
        counts[row[column]] = counts.get(row[column], 0) + row[count]
    return table


def _gate(ledger: Ledger, snapshot: Snapshot) -> Mapping[str, Any]:
    rows = ledger.read("gate_of_snapshot", snapshot_id=snapshot.snapshot_id)
    if not rows:
        return {"status": "unknown", "count_checks": 0}
    row = rows[0]
    return {"status": row["status"], "count_checks": len(row["checks"]), "overridden": override_of(row)}


def _file_name(account_id: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in account_id)


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
