"""Where every simulated world begins: a ledger with six people entered, and what a tick of two stages would decide."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pyarrow as pa

from tests.crash.outbox import NOW, RELEASE, address_of
from uptake.adapters.ledger import SqlLedger
from uptake.domain.eligibility import Reason, Verdict, effect_of
from uptake.domain.playbooks import Release
from uptake.domain.sends import OPEN, SendStatus
from uptake.ports import Advance, Check, Entry, Plan

PEOPLE = [f"c{number}" for number in range(6)]
ARMS = {**dict.fromkeys(PEOPLE, "treatment"), "c4": "holdout", "c5": "global_control"}
STAGES = ("why", "how")


def _two_stages() -> Release:
    text = json.loads(RELEASE.model_dump_json())
    text["playbook"]["stages"]["how"] = {"email": "how.md", "after": "1h"}
    text["texts"]["how"] = {"subject": "How to board", "body": "Like this"}
    return Release.model_validate(text)


TWO_STAGES = _two_stages()


def load(ledger: SqlLedger, addresses: Mapping[str, str], *, now: datetime, refuses: bool | None = None) -> None:
    """Load people as a refresh does; with `refuses`, also what they say of being mailed."""
    said = {None: None, True: "none", False: "contract"}[refuses]
    count = len(addresses)
    ledger.people.load(
        pa.table(
            {
                "contact_id": list(addresses),
                "account_id": list(addresses),
                "address": list(addresses.values()),
                "given_name": [name.title() for name in addresses],
                "full_name": [name.title() for name in addresses],
                **{column: ["x"] * count for column in ("role", "time_zone", "locale")},
                "consent_basis": pa.array([said] * count, pa.string()),
                "consent_at": pa.array([None if said is None else now] * count, pa.timestamp("us", "UTC")),
            }
        ),
        now=now,
    )


def enter_all(ledger: SqlLedger, release: Release = TWO_STAGES, arms: Mapping[str, str] = ARMS) -> None:
    """Bring everybody into the playbook, each in their arm; nothing is planned yet."""
    load(ledger, {name: address_of(name) for name in arms}, now=NOW)
    check = Check(name="c", status="passed", severity="critical")
    gate_id = ledger.gates.record(snapshot_id="s1", status="passed", checks=[check], reasons=[], as_of=NOW, now=NOW)
    plan = Plan(
        plan_id="p1",
        playbook=release.name,
        version_id=ledger.releases.save_version(release, git_sha="abc", now=NOW),
        release_hash=release.release_hash,
        plan_hash="h",
        snapshot_id="s1",
        planned_at=NOW,
        count_accounts=len(arms),
        count_contacts=len(arms),
        summary={},
    )
    ledger.releases.save_plan(plan)
    ledger.releases.approve(plan, by="Grace", now=NOW, expires_at=NOW + timedelta(days=90), tolerance=0.25)
    row = {"contact_rank": 1, "feature_key": "boards", "entry_no": 1, "u": 0.5, "stratum": "team"}
    contacts = [{"account_id": name, "contact_id": name, "arm": arm, **row} for name, arm in arms.items()]
    ledger.enrollments.enter(
        Entry(contacts=pa.Table.from_pylist(contacts), left_out=pa.table({})), ledger.releases.approved()[0],
        snapshot_id="s1", gate_id=gate_id, now=NOW,
    )  # fmt: skip


def plan_first(ledger: SqlLedger, contacts: Sequence[str], release: Release = TWO_STAGES) -> None:
    """Let a tick plan the first stage of some."""
    run = ledger.runs.begin("tick", owner="first", now=NOW, lease=timedelta(minutes=5))
    assert run is not None
    entered = ledger.enrollments.tables(now=NOW)["enrollment_contacts"].to_pylist()
    wanted = [
        Journey(enrollment_id=row["enrollment_id"], contact_id=row["contact_id"], arm="", next_stage=STAGES[0])
        for row in sorted(entered, key=lambda row: str(row["contact_id"]))
        if row["contact_id"] in contacts
    ]
    ledger.enrollments.record(
        advance(wanted, [], NOW), releases={1: release}, snapshot_id="s1", gate_id=1, git_sha="abc", run=run, now=NOW
    )
    ledger.runs.finish(run, status="done", detail="", now=NOW)


@dataclass(kw_only=True)
class Journey:
    """Where one contact stands: what a tick would send, or why it would end."""

    enrollment_id: int
    contact_id: str
    arm: str
    next_stage: str | None = None
    ending: str | None = None


def journeys(raw: sqlite3.Connection, stages: Sequence[str]) -> list[Journey]:
    """Read all who are in, by the rules of a playbook without conditions, windows and caps."""
    sends: dict[tuple[int, str, str], tuple[str, str | None]] = {
        (enrollment_id, contact_id, stage): (status, reason)
        for enrollment_id, contact_id, stage, status, reason in raw.execute(
            "select enrollment_id, contact_id, stage_key, status, reason from sends"
        )
    }
    found = []
    for enrollment_id, contact_id, arm in raw.execute(
        "select c.enrollment_id, c.contact_id, e.arm from enrollment_contacts as c "
        "join enrollments as e on e.enrollment_id = c.enrollment_id "
        "where c.status = 'open' and e.status = 'open' order by c.enrollment_id, c.contact_id"
    ):
        journey = Journey(enrollment_id=enrollment_id, contact_id=contact_id, arm=arm, ending="completed")
        for stage in stages:
            status, reason = sends.get((enrollment_id, contact_id, stage), (None, None))
            effect = effect_of(Reason(reason)) if status == "withheld" else None
            if status is None or effect is Verdict.RETRY:
                journey.next_stage, journey.ending = stage, None
                break
            if SendStatus(status) in OPEN or effect is Verdict.END:
                journey.ending = reason if effect is Verdict.END else None
                break
        found.append(journey)
    return found


def advance(wanted: Sequence[Journey], endings: Sequence[Journey], now: datetime) -> Advance:
    """Say what a tick decided as a tick says it: a mail at their next stage to some, an end for others."""
    verdicts = [
        {
            "enrollment_id": one.enrollment_id,
            "contact_id": one.contact_id,
            "stage_key": one.next_stage,
            "verdict": "send",
            "reason": None,
            "detail": "",
            "version_id": 1,
            "feature_key": "boards",
            "due_at": now.replace(tzinfo=None),
            "window_ends_at": None,
        }
        for one in wanted
    ]
    over = [{"enrollment_id": one.enrollment_id, "contact_id": one.contact_id, "reason": one.ending} for one in endings]
    return Advance(
        endings=pa.Table.from_pylist(over, schema=_ENDINGS),
        account_endings=_ENDINGS.remove(1).empty_table(),
        verdicts=pa.Table.from_pylist(verdicts, schema=_VERDICTS),
    )


_ENDINGS = pa.schema([("enrollment_id", pa.int64()), ("contact_id", pa.string()), ("reason", pa.string())])
_VERDICTS = pa.schema(
    [
        ("enrollment_id", pa.int64()),
        *((name, pa.string()) for name in ("contact_id", "stage_key", "verdict", "reason", "detail")),
        ("version_id", pa.int64()),
        ("feature_key", pa.string()),
        ("due_at", pa.timestamp("us")),
        ("window_ends_at", pa.timestamp("us")),
    ]
)


@dataclass
class Stop:
    """From one transaction on nobody may be written to, until another one."""

    what: str
    since: int
    until: int | None = None


@dataclass
class Stops:
    """What stops whom, by the number of the transaction that said so."""

    known: defaultdict[tuple[str, str], list[Stop]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, target: str, what: str, commit: int) -> None:
        self.known[kind, target].append(Stop(what, commit))

    def lift(self, kind: str, target: str, commit: int) -> None:
        for one in self.known[kind, target]:
            one.until = one.until or commit

    def at(self, commit: int, *targets: tuple[str, str]) -> list[str]:
        """Return what stopped one of these when that transaction was committed."""
        return [
            one.what
            for target in targets
            for one in self.known.get(target, ())
            if one.since < commit and (one.until is None or commit < one.until)
        ]


def dump(raw: sqlite3.Connection, *, without: Sequence[str]) -> bytes:
    """Return every row of the ledger, but for some tables and what hangs on a random tag: the body's hash."""
    lines = []
    for (table,) in raw.execute("select name from sqlite_master where type = 'table' order by name").fetchall():
        if table in without:
            continue
        columns = [row[1] for row in raw.execute(f"pragma table_info({table})") if row[1] != "body_hash"]
        named = ", ".join(f'"{column}"' for column in columns)
        lines += sorted(f"{table} {row}" for row in raw.execute(f"select {named} from {table}"))
    return "\n".join(lines).encode()
