"""The rules of the tick over one snapshot, whole sets at a time. Knows no clock and writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa

from uptake.adapters.conditions_duckdb import Place, condition_names
from uptake.adapters.journeys import advance, clocks, entry, side
from uptake.adapters.journeys.facts import rows
from uptake.adapters.journeys.memory import Memory, World
from uptake.adapters.journeys.upcoming import by_stage, mails_from, upcoming
from uptake.adapters.loaded_marts import LoadedMarts
from uptake.domain.conditions import Condition, Seen, evaluate, explain, parse
from uptake.domain.playbooks import Release
from uptake.ports import Advance, ControlState, Entry, Snapshot

FORECAST_DAYS = 14
_FORECAST = pa.schema({"day": pa.date32(), "stage_key": pa.string(), "count_sends": pa.int64()})


class DuckJourneys:
    """`uptake.ports.Journeys` in an in-memory DuckDB, a connection of its own for every question."""

    def __init__(self, marts: LoadedMarts | None = None) -> None:
        self._marts = marts or LoadedMarts()
        self._entries: Memory[Entry] = Memory()  # by playbook
        self._advances: Memory[Advance] = Memory()  # the last one

    def near(self, accounts: Collection[str]) -> DuckJourneys:
        """Return the same rules over what snapshots say of these accounts alone."""
        return DuckJourneys(LoadedMarts(accounts=accounts))

    def entrants(
        self,
        release: Release,
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        controls: ControlState,
        account_id: str | None = None,
        by_hand: bool = False,
    ) -> Entry:
        """Decide who enters `release` now."""
        where = _read(release.playbook.audience.where, "where")
        world = World(rests_on=(snapshot.directory, release, controls.accounts), tables=entry.rests_on(ledger, release))
        is_kept = account_id is None and release.playbook.enter == "match" and not _moves(where)
        if is_kept and (kept := self._entries.recall(release.name, world, now)) is not None:
            return kept
        with self._marts.open(snapshot, few_questions=True) as marts:
            found = entry.decide(marts, release, where, ledger, controls, now, account_id=account_id, by_hand=by_hand)
            if is_kept:
                self._entries.keep(release.name, world, found, now=now, until=entry.next_change(marts))
        return found

    def advance(
        self,
        releases: Mapping[int, Release],
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        following: Mapping[int, int],
        controls: ControlState,
        gate_held: str | None,
    ) -> Advance:
        """Decide for every open enrollment of `releases`."""
        world = World(
            rests_on=(snapshot.directory, dict(releases), dict(following), controls, gate_held),
            tables={name: side.fit(ledger, name) for name in side.LEDGER},
        )
        if (kept := self._advances.recall(None, world, now)) is not None:
            return kept
        with self._marts.open(snapshot, few_questions=True) as marts:
            found = advance.decide(marts, releases, following, _read, ledger, controls, now, gate_held=gate_held)
            if advance.only_waits(found) and (gate_held is not None or not any(map(_moves, _conditions(releases)))):
                self._advances.keep(None, world, found, now=now, until=advance.next_change(marts))
        return found

    def upcoming(
        self,
        releases: Mapping[int, Release],
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        following: Mapping[int, int],
        days: int,
    ) -> pa.Table:
        """Count the mails of the next days to those who are in, at most, as if nothing stood in between."""
        with self._marts.open(snapshot, few_questions=True) as marts:
            counting = advance.stand(marts, releases, following, _read, ledger, ControlState(), now, gate_held=None)
            return upcoming(marts, counting, now, days=days)

    def standing(
        self,
        releases: Mapping[int, Release],
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        following: Mapping[int, int],
    ) -> pa.Table:
        """Count the treated contacts who are in by the stage they stand before."""
        with self._marts.open(snapshot, few_questions=True) as marts:
            advance.stand(marts, releases, following, _read, ledger, ControlState(), now, gate_held=None)
            return by_stage(marts)

    def taught(
        self, release: Release, snapshot: Snapshot, *, contact_id: str | None = None, limit: int = 1
    ) -> pa.Table:
        """Return contacts with the feature each would be taught, whoever may enter."""
        with self._marts.open(snapshot, few_questions=True) as marts:
            return entry.taught(marts, release, contact_id=contact_id, limit=limit)

    def zone(
        self,
        release: Release,
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        *,
        contact_id: str,
        account_id: str,
    ) -> str:
        """Return the zone whose clock counts for this recipient."""
        with self._marts.open(snapshot, few_questions=True) as marts:
            side.lay(marts, ledger, {0: (0, release)}, ControlState(), snapshot.as_of)
            asked = pa.table({"version_id": [0], "contact_id": [contact_id], "account_id": [account_id]})
            marts.register("recipient", asked)
            clocks.find_zones(marts, "recipient")
            (zone,) = marts.execute("select zone from contact_zones").fetchall()[0]
        return str(zone)

    def facts(self, contacts: pa.Table, snapshot: Snapshot, ledger: Mapping[str, pa.Table], now: datetime) -> pa.Table:
        """Return what conditions see of these contacts, a column for every dotted name."""
        with self._marts.open(snapshot, few_questions=True) as marts:
            side.lay(marts, ledger, {}, ControlState(), now)
            marts.register("contacts_asked", contacts)
            return rows(marts, "contacts_asked", frozenset(condition_names("when"))).to_arrow_table()

    def seen(
        self, condition: str, place: Place, facts: Mapping[str, Any], now: datetime
    ) -> tuple[bool | None, tuple[Seen, ...]]:
        """Return what a condition says of one row, and each of its predicates with the values seen."""
        read = _read(condition, place)
        return evaluate(read, facts, now), explain(read, facts, now)

    def stage_counts(
        self,
        release: Release,
        entered: Entry,
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
    ) -> pa.Table:
        """Forecast the sends of these entrants over 14 days: at most so many, as if every `when` were true."""
        with self._marts.open(snapshot, few_questions=True) as marts:
            side.lay(marts, ledger, {0: (0, release)}, ControlState(), now)
            marts.register("entering", entered.contacts)
            marts.execute(
                "create temp view treated as"
                " select 0 as version_id, contact_id, account_id from entering where arm = 'treatment'"
            )
            clocks.find_zones(marts, "treated")
            zones = marts.execute("select zone, count(*) from contact_zones group by zone").fetchall()
        counts: Counter[tuple[object, str]] = Counter()
        for zone, count_contacts in zones:
            for stage_key, moment in mails_from(release, zone, now):
                if moment < now + timedelta(days=FORECAST_DAYS):
                    counts[moment.date(), stage_key] += count_contacts
        order = list(release.playbook.stages)
        lines = [
            {"day": day, "stage_key": stage_key, "count_sends": count}
            for (day, stage_key), count in sorted(
                counts.items(), key=lambda item: (item[0][0], order.index(item[0][1]))
            )
        ]
        return pa.Table.from_pylist(lines, schema=_FORECAST)


def _conditions(releases: Mapping[int, Release]) -> Iterator[Condition]:
    for release in releases.values():
        if release.playbook.exit_when is not None:
            yield _read(release.playbook.exit_when, "exit_when")
        for stage in release.playbook.stages.values():
            for text in (stage.when, stage.wait_until, *(way.when for way in stage.next)):
                if text is not None:
                    yield _read(text, "when")


def _moves(condition: Condition) -> bool:
    """Say whether its answer may change with the time alone."""
    return "today" in condition.text or any(name.startswith(("sends.", "enrollment.")) for name in condition.names)


@lru_cache(maxsize=1_000)
def _read(text: str, place: Place) -> Condition:
    return parse(text, condition_names(place))
