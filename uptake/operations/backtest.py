"""What playbooks would have done over the snapshots of past days: the engine's own rules, and nothing written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import combinations, pairwise
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from uptake.domain.arms import Arm
from uptake.domain.eligibility import LeftOut, Reason, Verdict
from uptake.domain.playbooks import Release
from uptake.errors import Held, UsageError
from uptake.operations.gate import FRESH_FOR
from uptake.operations.hypothetical import appended, as_if_in
from uptake.ports import Advance, ControlState, Journeys, Ledger, Playbooks, Snapshot, Snapshots

EVERY = timedelta(hours=3)  # a tick; oftener where a window is open for less
_DAY = timedelta(days=1)
_AT = pa.timestamp("us", "UTC")


@dataclass
class Day:
    """One playbook on one day. Counts are of accounts for who enters and ends, of contacts for all else."""

    day: date
    snapshot_id: str
    entered: Counter[str] = field(default_factory=Counter)  # by arm
    decided: Counter[str] = field(default_factory=Counter)  # `send`, `pass_over:too_late`, `end:goal_reached`, ...


@dataclass(frozen=True, kw_only=True)
class Lived:
    """What one playbook would have done."""

    playbook: str
    release_hash: str
    days: list[Day]
    entered: Mapping[str, int]  # accounts by arm, over all days
    decided: Mapping[str, int]  # over all days; whoever waited counts once for each day
    left_out: Mapping[str, int]  # on the last snapshot: accounts and contacts by reason


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Contacts whom two playbooks wanted."""

    playbooks: tuple[str, str]
    contacts: int  # who were in both, or whose mail of one waited for a mail of the other
    won: Mapping[str, int]  # by playbook: contacts who got its mail first, while the other's waited


@dataclass(frozen=True, kw_only=True)
class CapHit:
    """Contacts whose mail waited because there had been enough."""

    cap: Literal["person", "account"]
    playbook: str  # whose mail waited
    contacts: int
    days: int  # on which that happened


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """What would have happened."""

    first: date
    last: date
    missing: list[date]  # days in between without a snapshot: nobody entered, and nothing left once the data were old
    playbooks: list[Lived]
    overlaps: list[Overlap]
    caps: list[CapHit]


def backtest(
    playbooks: Playbooks,
    journeys: Journeys,
    snapshots: Snapshots,
    ledger: Ledger,
    *,
    names: Sequence[str],
    source: str,
    first: date,
    last: date,
    now: datetime,
) -> Backtest:
    """Let playbooks, as their files say now, live together through the newest snapshot of each day.

    They live alone: nobody pauses or holds them, no mail counts that really left, mail is taken at once, tasks are
    done on their last day. People, suppressions, consents and answers are as the ledger knows them now. On the first
    day they are launched. A day lasts from its snapshot to the next one, and no longer than a tick would trust its
    data.

    Args:
        playbooks: Where their files are.
        journeys: The rules of the tick.
        snapshots: What the world looked like.
        ledger: People, suppressions, consents and answers; nothing is written.
        names: The playbooks; none: every one.
        source: Whose snapshots.
        first: The first day, UTC, by the as_of of its snapshot.
        last: The last day, itself included.
        now: Nothing is known of what comes after it.

    Raises:
        UsageError: The days are the wrong way round or still to come, or there is no playbook.
        PlaybookError: The files of one are wrong.
        Held: There is no snapshot of these days.
    """
    if first > last:
        raise UsageError(f"the first day, {first}, is after the last, {last}")
    if last > now.date():
        raise UsageError(f"{last} is still to come; expected a last day up to today, {now.date()}")
    wanted = sorted(dict.fromkeys(names or playbooks.names()))
    if not wanted:
        raise UsageError("there is no playbook to try on the past")
    releases = {number: playbooks.release(name) for number, name in enumerate(wanted, start=1)}
    ordered = [snapshots.open(snapshot_id) for snapshot_id in _newest(snapshots, source, first, last, now)]
    run = _Run(releases, journeys, ledger.enrollments.tables(now=now))
    shortest = min(timedelta(minutes=release.workspace.window.minutes) for release in releases.values())
    days: dict[int, list[Day]] = {version_id: [] for version_id in releases}
    ends = [later.as_of for _, later in pairwise(ordered)] + [ordered[-1].as_of + _DAY]
    run.launch(ordered[0])
    for snapshot, end in zip(ordered, ends, strict=True):
        for version_id in releases:
            days[version_id].append(Day(snapshot.as_of.date(), snapshot.snapshot_id))
        moment, until = snapshot.as_of, min(end, snapshot.as_of + FRESH_FOR)
        while moment < until and moment <= now:
            run.tick(snapshot, moment, {version_id: lived[-1] for version_id, lived in days.items()})
            moment += min(EVERY, shortest)
    seen = {snapshot.as_of.date() for snapshot in ordered}
    span = [first + number * _DAY for number in range((last - first).days + 1)]
    return Backtest(
        first=first,
        last=last,
        missing=[day for day in span if day not in seen],
        playbooks=[
            Lived(
                playbook=release.name,
                release_hash=release.release_hash,
                days=days[version_id],
                entered=sum((one.entered for one in days[version_id]), Counter[str]()),
                decided=sum((one.decided for one in days[version_id]), Counter[str]()),
                left_out=run.left_out(release, ordered[-1], now),
            )
            for version_id, release in releases.items()
        ],
        overlaps=run.overlaps(),
        caps=run.caps(),
    )


def _newest(snapshots: Snapshots, source: str, first: date, last: date, now: datetime) -> list[str]:
    """Return the newest snapshot of each day, the oldest day first. Raises Held when there is none."""
    of_day: dict[date, str] = {}
    for manifest in snapshots.history(source):  # the newest first
        as_of = datetime.fromisoformat(str(manifest["as_of"]))
        if as_of <= now:
            of_day.setdefault(as_of.date(), manifest["snapshot_id"])
    found = [of_day[day] for day in sorted(of_day) if first <= day <= last]
    if not found:
        kept = f"the oldest is of {min(of_day)}, the newest of {max(of_day)}" if of_day else "there is none at all"
        raise Held(f"nothing can be tried on {first} to {last}: there is no snapshot of these days; {kept}")
    return found


_CAPS: Mapping[Reason, Literal["person", "account"]] = {
    Reason.CAPPED_PERSON: "person",
    Reason.CAPPED_ACCOUNT: "account",
}


class _Run:
    """The ledger's tables of playbooks that live in memory."""

    def __init__(self, releases: Mapping[int, Release], journeys: Journeys, tables: Mapping[str, pa.Table]) -> None:
        self._releases, self._journeys = releases, journeys
        fresh = ("enrollments", "enrollment_contacts", "stage_ends", "open_sends", "open_tasks", "touches", "launches")
        empty = (*fresh, "launch_accounts")
        self._tables = {**tables, **{name: tables[name].schema.empty_table() for name in empty}}
        self._wanted: defaultdict[str, set[str]] = defaultdict(set)  # playbook -> treated contacts who were in
        self._ranks: dict[str, int] = {}  # treated contact -> its rank at its last entry
        self._lost: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # (winner, loser) -> contacts
        self._capped: defaultdict[tuple[Reason, str], set[tuple[date, str]]] = defaultdict(set)

    def launch(self, snapshot: Snapshot) -> None:
        """Whoever matches already stays out, where a playbook takes in only who comes to match."""
        for release in self._releases.values():
            entry = self._journeys.entrants(release, snapshot, self._tables, snapshot.as_of, controls=ControlState())
            is_old = pc.equal(entry.left_out["reason"], LeftOut.MATCHED_BEFORE_LAUNCH.value)
            accounts = entry.left_out.filter(is_old)["account_id"].unique()
            names = pa.array([release.name] * len(accounts), pa.string())
            self._add("launch_accounts", pa.table({"playbook": names, "account_id": accounts}))
            self._add("launches", pa.table({"playbook": [release.name]}))

    def tick(self, snapshot: Snapshot, now: datetime, days: Mapping[int, Day]) -> None:
        """Take in, decide, and let everything happen at once."""
        self._close_tasks(now)
        entries = {
            version_id: self._journeys.entrants(release, snapshot, self._tables, now, controls=ControlState())
            for version_id, release in self._releases.items()
        }
        for version_id, entry in entries.items():
            if entry.contacts.num_rows:
                name = self._releases[version_id].name
                arms = entry.contacts.group_by("arm").aggregate([("account_id", "count_distinct")]).to_pylist()
                days[version_id].entered.update({row["arm"]: row["account_id_count_distinct"] for row in arms})
                is_treated = pc.equal(entry.contacts["arm"], Arm.TREATMENT.value)
                for row in entry.contacts.filter(is_treated).select(["contact_id", "contact_rank"]).to_pylist():
                    self._wanted[name].add(row["contact_id"])
                    self._ranks[row["contact_id"]] = row["contact_rank"]
                first_id = self._tables["enrollments"].num_rows + 1
                self._tables = as_if_in(name, entry, self._tables, now, version_id=version_id, first_id=first_id)
        advance = self._journeys.advance(
            self._releases, snapshot, self._tables, now, following={}, controls=ControlState(), gate_held=None
        )
        self._note(advance.verdicts, next(iter(days.values())).day)
        for version_id, counts in self._count(advance).items():
            decided = days[version_id].decided
            for what, count in counts.items():
                # Whoever waits is found again by every tick of the day, and counts once: at the fullest of them.
                waits = what.startswith(Verdict.RETRY)
                decided[what] = max(decided[what], count) if waits else decided[what] + count
        self._end(advance, now)
        self._decide(advance.verdicts, now)

    def left_out(self, release: Release, snapshot: Snapshot, now: datetime) -> dict[str, int]:
        """Count who matches and would not enter now, by reason."""
        entry = self._journeys.entrants(release, snapshot, self._tables, now, controls=ControlState())
        counted = entry.left_out.group_by("reason").aggregate([([], "count_all")]).to_pylist()
        return {row["reason"]: row["count_all"] for row in sorted(counted, key=lambda row: str(row["reason"]))}

    def overlaps(self) -> list[Overlap]:
        """Return whom two playbooks wanted, and who got them."""
        found = []
        for one, other in combinations(sorted(release.name for release in self._releases.values()), 2):
            lost, won = self._lost[other, one], self._lost[one, other]
            shared = (self._wanted[one] & self._wanted[other]) | lost | won
            if shared:
                counts = {one: len(won), other: len(lost)}
                found.append(Overlap(playbooks=(one, other), contacts=len(shared), won=counts))
        return found

    def caps(self) -> list[CapHit]:
        """Return whose mail waited for which cap."""
        return [
            CapHit(
                cap=_CAPS[reason],
                playbook=playbook,
                contacts=len({contact_id for _, contact_id in hits}),
                days=len({day for day, _ in hits}),
            )
            for (reason, playbook), hits in sorted(self._capped.items())
        ]

    def _note(self, verdicts: pa.Table, day: date) -> None:
        """Remember who lost to whom, and who had had enough."""
        wanted = pa.array([Reason.PRIORITY_LOST.value, *(reason.value for reason in _CAPS)])
        for row in verdicts.filter(pc.is_in(verdicts["reason"], wanted)).to_pylist():
            loser, reason = self._releases[row["version_id"]].name, Reason(row["reason"])
            if reason in _CAPS:
                self._capped[reason, loser].add((day, row["contact_id"]))
            elif (winner := row["detail"].partition("/")[0]) not in ("", loser):
                self._lost[winner, loser].add(row["contact_id"])

    def _close_tasks(self, now: datetime) -> None:
        tasks = self._tables["open_tasks"]
        is_due = pc.less_equal(tasks["due_at"], pa.scalar(now, tasks.schema.field("due_at").type))
        done = tasks.filter(is_due).select(["enrollment_id", "contact_id", "stage_key"])
        self._pass(done, now)
        turns = sorted(done.to_pylist(), key=lambda row: (self._ranks[row["contact_id"]], row["contact_id"]))
        touched = {(row["enrollment_id"], row["stage_key"]): row["contact_id"] for row in reversed(turns)}
        self._touch(pa.table({"contact_id": pa.array(touched.values(), pa.string())}), now, is_mail=False)
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
        self._touch(sent.select(["contact_id"]), now, is_mail=True)
        opened = verdicts.filter(pc.equal(verdicts["verdict"], Verdict.TASK.value)).select([*keys, "version_id"])
        if opened.num_rows:
            accounts = self._tables["enrollments"].select(["enrollment_id", "account_id"])
            of_stage = [
                (self._releases[version_id], key)
                for version_id, key in zip(
                    opened["version_id"].to_pylist(), opened["stage_key"].to_pylist(), strict=True
                )
            ]
            stages = [(release.name, key, release.playbook.stages[key]) for release, key in of_stage]
            dedupe_keys = [stage.dedupe_key(name, key) for name, key, stage in stages]
            opened = opened.append_column("dedupe_key", pa.array(dedupe_keys, pa.string()))
            due = [now + stage.time_to_do for *_, stage in stages]
            opened = opened.append_column("due_at", pa.array(due, _AT))
            opened = opened.append_column("decided_at", pa.array([now] * opened.num_rows, _AT))
            self._add("open_tasks", opened.join(accounts, keys="enrollment_id"))

    def _touch(self, contacts: pa.Table, now: datetime, *, is_mail: bool) -> None:
        """Say that a mail, or a task that is done, reached these."""
        people = self._tables["people"].select(["contact_id", "account_id", "address_hash"])
        touches = contacts.join(people, keys="contact_id")
        touches = touches.append_column("accepted_at", pa.array([now] * touches.num_rows, _AT))
        self._add("touches", touches.append_column("is_mail", pa.array([is_mail] * touches.num_rows, pa.bool_())))

    def _pass(self, rows: pa.Table, now: datetime) -> None:
        """Say that these stages are over."""
        self._add("stage_ends", rows.append_column("ended_at", pa.array([now] * rows.num_rows, _AT)))

    def _add(self, name: str, rows: pa.Table) -> None:
        self._tables[name] = appended(self._tables[name], rows)

    def _count(self, advance: Advance) -> dict[int, Counter[str]]:
        """Count what one tick decides, by version."""
        found: dict[int, Counter[str]] = {version_id: Counter() for version_id in self._releases}
        by = ["version_id", "verdict", "reason"]
        for row in advance.verdicts.group_by(by).aggregate([([], "count_all")]).to_pylist():
            what = row["verdict"] if row["reason"] is None else f"{row['verdict']}:{row['reason']}"
            found[row["version_id"]][what] = row["count_all"]
        versions = self._tables["enrollments"].select(["enrollment_id", "version_id"])
        for what, table in (("end", advance.endings), ("account_end", advance.account_endings)):
            ended = table.join(versions, keys="enrollment_id").group_by(["version_id", "reason"])
            for row in ended.aggregate([([], "count_all")]).to_pylist():
                found[row["version_id"]][f"{what}:{row['reason']}"] = row["count_all"]
        return found
