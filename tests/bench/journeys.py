"""Plans and ticks of five playbooks over a customer base with as many open enrollments as contacts. Ours is
`operations.plan`, five playbooks in one command, and `operations.tick` with the real ledger (SQLite, every commit
synced). Nothing is sent, because a tick only decides; the mails it planned are marked as accepted in between. The
floor is one script of DuckDB written for these five playbooks: it reads the same columns of the same files and the
same tables of a ledger of its own, evaluates the same predicates, joins, ranks and caps, and writes the same rows
with `executemany`. Both must decide the same for every playbook, arm, stage and reason. Five steps: plans before
anybody is in; a tick that takes everybody in; a tick an hour later that finds nothing new; plans, and a tick, on the
next day, on which some use something new and some are new. Each step runs in a process of its own, which has seen
nothing yet; modules are imported before the clock starts. Of a tenth of the contacts the medians of all rounds
count; all of them are measured in one round, which takes long enough.
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.bench.customers import FIRST_DAY, KEYS, NEXT_DAY, PLAYBOOKS, people, release, snapshot, write_marts
from tests.bench.harness import EVENTS, GB, ROUNDS, Measured, Result, apart, bound, here, memory, must_agree, say
from tests.bench.journeys_floor import Floor
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger import open_ledger
from uptake.domain.playbooks import Release
from uptake.operations.approve import approve
from uptake.operations.plan import plans
from uptake.operations.tick import tick
from uptake.ports import Snapshot

CONTACTS = min(1_000_000, EVENTS // 10)
TARGET, GROWTH, MEMORY = 5.0, 12.0, 4 * GB
LATER = FIRST_DAY + timedelta(hours=1)
#: step -> what is done: the day of its snapshot, its moment.
STEPS = {
    "plan": ("plans, nobody is in yet", 1, FIRST_DAY),
    "enter": ("a tick: everybody enters", 1, FIRST_DAY),
    "idle": ("a tick an hour later: nothing new", 1, LATER),
    "plan again": ("plans on the next day", 2, NEXT_DAY),
    "move": ("a tick on the next day: some move", 2, NEXT_DAY),
}
_COUNTS = {
    "enrollments": "select playbook, arm, status, coalesce(end_reason, ''), count(*) from enrollments"
    " group by 1, 2, 3, 4",
    "contacts": "select status, coalesce(end_reason, ''), count(*) from enrollment_contacts group by 1, 2",
    "decisions": "select playbook, stage_key, verdict, coalesce(reason, ''), superseded_at is null, count(*)"
    " from decisions join enrollments using (enrollment_id) group by 1, 2, 3, 4, 5",
    "sends": "select playbook, stage_key, status, count(*) from sends group by 1, 2, 3",
    "assignments": "select playbook, arm, count(*), round(sum(u), 3) from assignments group by 1, 2",
}
_ACCEPT = """
update sends set status = 'accepted', accepted_at = :at, updated_at = :at, attempt = 1,
    address_hash = (select address_hash from people where people.contact_id = sends.contact_id)
where status = 'planned'
"""


def run(scratch: Path) -> list[Result]:
    """Measure a tenth of the contacts in every round, and all of them in one."""
    results: list[Result] = []
    sums: list[float] = []
    for contacts, count_rounds in ((CONTACTS // 10, ROUNDS), (CONTACTS, 1)):
        folder = scratch / f"journeys-{contacts}"
        shutil.rmtree(folder, ignore_errors=True)
        apart(bound(settle, folder, contacts))
        rounds = [_turn(folder, contacts) for _ in range(count_rounds)]
        size, is_whole = f"{contacts:,} contacts, {rounds[0]['open']:,} open enrollments", contacts == CONTACTS
        own, floor = ({step: _median(rounds, side, step) for step in STEPS} for side in ("ours", "floor"))
        results += [
            _row(told, size, floor[step], own[step], target=TARGET if is_whole else None)
            for step, (told, _, _) in STEPS.items()
        ]
        sums.append(sum(own.values()))
        results.append(_row("plans and ticks", size, sum(floor.values()), sums[-1], target=TARGET))
    whole = memory("plans and ticks: peak memory", size, max(one["peak"] for one in rounds))
    return [
        *results,
        Result(
            work="plans and ticks, 10 times the contacts",
            size=size,
            against="a tenth of them",
            floor=sums[0],
            ours=sums[1],
            target=GROWTH,
        ),
        replace(whole, floor=MEMORY / GB),
    ]


def _row(work: str, size: str, floor: float, ours: float, *, target: float | None) -> Result:
    return Result(work=work, size=size, against="one script by hand", floor=floor, ours=ours, target=target)


def _median(rounds: list[dict[str, Any]], side: str, step: str) -> float:
    return statistics.median(one[side, step] for one in rounds)


def _turn(folder: Path, contacts: int) -> dict[str, Any]:
    """Let both live through the two days in turns, each in its own ledger; see that they agree after each step."""
    ledgers = {side: folder / f"{side}.sqlite3" for side in ("floor", "ours")}
    for ledger in ledgers.values():
        shutil.copy(folder / "settled.sqlite3", ledger)
    found: dict[Any, Any] = {"peak": 0.0}
    for step in STEPS:
        if step == "plan again":
            apart(bound(wake, folder, contacts, ledgers))
        answers = []
        for side, work in (("floor", by_floor), ("ours", by_uptake)):
            done: Measured = apart(bound(work, step, folder, ledgers[side]))
            clocked: Measured = done.answer
            say(
                f"journeys, {contacts:,} contacts, {step}: {side}: {clocked.cpu:.2f} s CPU, {clocked.wall:.2f} s,"
                f" {clocked.peak / GB:.2f} GB"
            )
            found[side, step] = clocked.cpu
            if side == "ours":
                found["peak"] = max(found["peak"], clocked.peak)
            answers.append({"answer": clocked.answer, **counts(ledgers[side])})
        must_agree(f"journeys, {step}", *answers)
        if step == "enter":
            found["open"] = sum(row[-1] for row in answers[1]["enrollments"] if row[2] == "open")
    return found


def settle(folder: Path, contacts: int) -> None:
    """Write both days' marts, and a ledger with everybody's addresses, consents and the playbooks' versions."""
    folder.mkdir(parents=True)
    for day in (1, 2):
        write_marts(folder / f"day-{day}", contacts=contacts, day=day)
    ledger = open_ledger(f"sqlite:///{folder / 'settled.sqlite3'}", KEYS)
    ledger.people.load(people(contacts=contacts, day=1), now=FIRST_DAY)
    _pass_gate(ledger, snapshot(folder, 1))
    for name in sorted(PLAYBOOKS):
        ledger.releases.save_version(release(name), git_sha="sha", now=FIRST_DAY)
    ledger.close()
    with sqlite3.connect(folder / "settled.sqlite3") as connection:
        connection.execute(
            "insert into suppressions (address_hash, topic, reason, source, suppressed_at, recorded_at)"
            " select address_hash, case when rowid_ % 2 then '' else 'training' end, 'bounced', 'bench', ?, ? from"
            " (select address_hash, row_number() over (order by contact_id) as rowid_ from people"
            " where address_hash is not null group by address_hash) where rowid_ % 100 < 2",
            ("2026-02-01 00:00:00.000000",) * 2,
        )


def wake(folder: Path, contacts: int, ledgers: Mapping[str, Path]) -> None:
    """Let the night pass: the mail service has accepted what was planned, new people have come."""
    for path in ledgers.values():
        with sqlite3.connect(path) as connection:
            connection.execute(_ACCEPT, {"at": "2026-03-03 09:10:00.000000"})
        ledger = open_ledger(f"sqlite:///{path}", KEYS)
        ledger.people.load(people(contacts=contacts, day=2), now=NEXT_DAY)
        _pass_gate(ledger, snapshot(folder, 2))
        ledger.close()


def _pass_gate(ledger: Any, known: Snapshot) -> None:
    ledger.gates.record(
        snapshot_id=known.snapshot_id, status="passed", checks=(), reasons=(), as_of=known.as_of, now=known.as_of
    )


def by_floor(step: str, folder: Path, path: Path) -> Measured:
    """Do one step the plain way."""
    _, day, now = STEPS[step]

    def work() -> object:
        floor = Floor(folder, path, day=day, now=now)
        return floor.plan() if step.startswith("plan") else floor.tick()

    return here(work)


def by_uptake(step: str, folder: Path, path: Path) -> Measured:
    """Do one step with the engine, in a process that has seen nothing yet."""
    _, day, now = STEPS[step]
    ledger = open_ledger(f"sqlite:///{path}", KEYS)
    journeys, world = DuckJourneys(), _World(snapshot(folder, day))

    def made() -> object:
        found = {}
        for planned in plans(world, journeys, world, ledger, names=sorted(PLAYBOOKS), git_sha="sha", now=now):
            one = planned.plan
            found[one.playbook] = [one.count_accounts, one.count_contacts, one.summary["first_tick"]]
        return found

    def ticks() -> None:
        tick(journeys, world, ledger, now=now, git_sha="sha", owner="bench:1")

    done = here(made if step.startswith("plan") else ticks)
    if step == "plan":  # what is approved on the first day counts on the second
        for name in PLAYBOOKS:
            newest = ledger.releases.latest_plan(name)
            assert newest is not None
            approve(ledger, plan_id=newest.plan_id, by="Ada", now=now)
    ledger.close()
    return done


def counts(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what a ledger says was decided, for whom and why."""
    with sqlite3.connect(path) as connection:
        return {name: sorted(connection.execute(query).fetchall()) for name, query in _COUNTS.items()}


class _World:
    """The playbooks folder and the store of snapshots."""

    def __init__(self, current: Snapshot) -> None:
        self._current = current

    def current(self) -> Snapshot:
        return self._current

    def release(self, name: str) -> Release:
        return release(name)
