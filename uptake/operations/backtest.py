"""What a playbook would have done over the snapshots of the past days: the engine's own rules, and nothing written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from uptake.domain.eligibility import LeftOut, Verdict
from uptake.domain.playbooks import Release
from uptake.errors import Held
from uptake.operations.hypothetical import appended, as_if_in
from uptake.ports import Advance, ControlState, Journeys, Ledger, Playbooks, Snapshot, Snapshots

EVERY = timedelta(hours=3)  # a tick; often enough to find every window open
_VERSION = 1
_AT = pa.timestamp("us", "UTC")


@dataclass
class Day:
    """One day of it. Counts are of accounts for who enters and ends, of contacts for all else."""

    day: date
    snapshot_id: str
    entered: Counter[str] = field(default_factory=Counter)  # by arm
    decided: Counter[str] = field(default_factory=Counter)  # `send`, `pass_over:too_late`, `end:goal_reached`, ...


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """What would have happened."""

    playbook: str
    release_hash: str
    days: list[Day]
    left_out: Mapping[str, int]  # on the last snapshot: accounts and contacts by reason


def backtest(
    playbooks: Playbooks,
    journeys: Journeys,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    name: str,
    source: str,
    days: int,
    now: datetime,
) -> Backtest:
    """Let the playbook, as its files say now, live through the newest snapshot of each of the past days.

    It lives alone: no other playbook's mail takes room or attention, nobody pauses it, mail is taken at once, tasks are
    done on their last day. People, suppressions and consents are as the ledger knows them now. On the first day it is
    launched.

    Raises:
        PlaybookError: Its files are wrong.
        Held: There is no snapshot of these days.
    """
    release = playbooks.release(name)
    newest: dict[date, str] = {}
    for manifest in snapshots.history(source):  # the newest first
        as_of = datetime.fromisoformat(str(manifest["as_of"]))
        if now - timedelta(days=days) < as_of <= now:
            newest.setdefault(as_of.date(), manifest["snapshot_id"])
    if not newest:
        raise Held(f"{name} cannot be tried on the past: there is no snapshot of the last {days} days")
    run = _Run(release, journeys, ledger.enrollments.tables(now=now))
    found = []
    ordered = [snapshots.open(snapshot_id) for _, snapshot_id in sorted(newest.items())]
    for place, snapshot in enumerate(ordered):
        until = ordered[place + 1].as_of if place + 1 < len(ordered) else now
        until = min(until, snapshot.as_of + timedelta(days=1))
        day = Day(snapshot.as_of.date(), snapshot.snapshot_id)
        if place == 0:
            run.launch(snapshot)
        moment = snapshot.as_of
        while moment < until:
            run.tick(snapshot, moment, day)
            moment += EVERY
        found.append(day)
    return Backtest(
        playbook=name, release_hash=release.release_hash, days=found, left_out=run.left_out(ordered[-1], now)
    )


class _Run:
    """The ledger's tables of a playbook that lives in memory."""

    def __init__(self, release: Release, journeys: Journeys, tables: Mapping[str, pa.Table]) -> None:
        self._release, self._journeys = release, journeys
        fresh = ("enrollments", "enrollment_contacts", "stage_ends", "open_sends", "open_tasks", "touches", "launches")
        empty = (*fresh, "launch_accounts", "verdicts")
        self._tables = {**tables, **{name: tables[name].schema.empty_table() for name in empty}}

    def launch(self, snapshot: Snapshot) -> None:
        """Whoever matches already stays out, where the playbook takes in only who comes to match."""
        entry = self._journeys.entrants(self._release, snapshot, self._tables, snapshot.as_of, controls=ControlState())
        is_old = pc.equal(entry.left_out["reason"], LeftOut.MATCHED_BEFORE_LAUNCH.value)
        accounts = entry.left_out.filter(is_old)["account_id"].unique()
        names = pa.array([self._release.name] * len(accounts), pa.string())
        rows = pa.table({"playbook": names, "account_id": accounts})
        self._add("launch_accounts", rows)
        self._add("launches", pa.table({"playbook": [self._release.name]}))

    def tick(self, snapshot: Snapshot, now: datetime, day: Day) -> None:
        """Take in, decide, and let everything happen at once."""
        self._close_tasks(now)
        entry = self._journeys.entrants(self._release, snapshot, self._tables, now, controls=ControlState())
        if entry.contacts.num_rows:
            arms = entry.contacts.group_by("arm").aggregate([("account_id", "count_distinct")]).to_pylist()
            day.entered.update({row["arm"]: row["account_id_count_distinct"] for row in arms})
            first_id = self._tables["enrollments"].num_rows + 1
            self._tables = as_if_in(
                self._release.name, entry, self._tables, now, version_id=_VERSION, first_id=first_id
            )
        advance = self._journeys.advance(
            {_VERSION: self._release}, snapshot, self._tables, now,
            following={}, controls=ControlState(), gate_held=None,
        )  # fmt: skip
        self._end(advance, now)
        self._decide(advance.verdicts, now)
        for what, count in self._count(advance).items():
            # Whoever waits is found again by every tick of the day, and counts once: at the fullest of them.
            waits = what.startswith(Verdict.RETRY)
            day.decided[what] = max(day.decided[what], count) if waits else day.decided[what] + count

    def left_out(self, snapshot: Snapshot, now: datetime) -> dict[str, int]:
        """Count who matches and would not enter now, by reason."""
        entry = self._journeys.entrants(self._release, snapshot, self._tables, now, controls=ControlState())
        counted = entry.left_out.group_by("reason").aggregate([([], "count_all")]).to_pylist()
        return {row["reason"]: row["count_all"] for row in sorted(counted, key=lambda row: str(row["reason"]))}

    def _close_tasks(self, now: datetime) -> None:
        tasks = self._tables["open_tasks"]
        is_due = pc.less_equal(tasks["due_at"], pa.scalar(now, tasks.schema.field("due_at").type))
        self._pass(tasks.filter(is_due).select(["enrollment_id", "contact_id", "stage_key"]), now)
        self._tables["open_tasks"] = tasks.filter(pc.invert(is_due))

    def _end(self, advance: Advance, now: datetime) -> None:
        """End enrollments and contacts, and what waited for them."""
        ended = advance.account_endings["enrollment_id"]
        enrollments = self._tables["enrollments"]
        is_ended = pc.is_in(enrollments["enrollment_id"], ended.combine_chunks())
        at = enrollments.schema.get_field_index("ended_at")
        moment = pa.scalar(now, enrollments.schema.field(at).type)
        self._tables["enrollments"] = enrollments.set_column(
            at, enrollments.schema.field(at), pc.if_else(is_ended, moment, enrollments["ended_at"])
        )
        for name in ("enrollment_contacts", "open_tasks"):
            table = self._tables[name]
            table = table.filter(pc.invert(pc.is_in(table["enrollment_id"], ended.combine_chunks())))
            kept = table.join(advance.endings, keys=["enrollment_id", "contact_id"], join_type="left anti")
            self._tables[name] = kept.select(table.schema.names).cast(table.schema)

    def _decide(self, verdicts: pa.Table, now: datetime) -> None:
        keys = ["enrollment_id", "contact_id", "stage_key"]
        self._pass(verdicts.filter(pc.equal(verdicts["verdict"], Verdict.PASS_OVER.value)).select(keys), now)
        sent = verdicts.filter(pc.equal(verdicts["verdict"], Verdict.SEND.value)).select(keys)
        self._pass(sent, now)
        people = self._tables["people"].select(["contact_id", "account_id", "address_hash"])
        touches = sent.select(["contact_id"]).join(people, keys="contact_id")
        moments = pa.array([now] * touches.num_rows, _AT)
        touches = touches.append_column("accepted_at", moments)
        self._add("touches", touches.append_column("is_mail", pa.array([True] * touches.num_rows, pa.bool_())))
        opened = verdicts.filter(pc.equal(verdicts["verdict"], Verdict.TASK.value)).select(keys)
        if opened.num_rows:
            accounts = self._tables["enrollments"].select(["enrollment_id", "account_id"])
            stages = self._release.playbook.stages
            of_stage = [(key, stages[key]) for key in opened["stage_key"].to_pylist()]
            opened = opened.append_column(
                "dedupe_key", pa.array([one.dedupe_key(self._release.name, key) for key, one in of_stage])
            )
            opened = opened.append_column("due_at", pa.array([now + one.time_to_do for _, one in of_stage], _AT))
            opened = opened.append_column("decided_at", pa.array([now] * opened.num_rows, _AT))
            self._add("open_tasks", opened.join(accounts, keys="enrollment_id"))

    def _pass(self, rows: pa.Table, now: datetime) -> None:
        """Say that these stages are over."""
        self._add("stage_ends", rows.append_column("ended_at", pa.array([now] * rows.num_rows, _AT)))

    def _add(self, name: str, rows: pa.Table) -> None:
        self._tables[name] = appended(self._tables[name], rows)

    @staticmethod
    def _count(advance: Advance) -> Counter[str]:
        """Count what one tick decides."""
        found: Counter[str] = Counter()
        for row in advance.verdicts.group_by(["verdict", "reason"]).aggregate([([], "count_all")]).to_pylist():
            found[row["verdict"] if row["reason"] is None else f"{row['verdict']}:{row['reason']}"] = row["count_all"]
        for what, table in (("end", advance.endings), ("account_end", advance.account_endings)):
            for row in table.group_by("reason").aggregate([([], "count_all")]).to_pylist():
                found[f"{what}:{row['reason']}"] = row["count_all"]
        return found
