"""The rules of the tick over one snapshot, whole sets at a time. Knows no clock and writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa

from uptake.adapters.conditions_duckdb import Place, condition_names
from uptake.adapters.journeys import advance, clocks, entry, side
from uptake.adapters.journeys.facts import rows
from uptake.adapters.snapshots_duckdb import open_marts
from uptake.domain.conditions import Condition, Seen, evaluate, explain, parse
from uptake.domain.playbooks import Release
from uptake.domain.windows import next_allowed
from uptake.ports import Advance, ControlState, Entry, Snapshot

FORECAST_DAYS = 14
_FORECAST = pa.schema({"day": pa.date32(), "stage_key": pa.string(), "count_sends": pa.int64()})


class DuckJourneys:
    """`uptake.ports.Journeys` in an in-memory DuckDB, opened anew for every question."""

    def entrants(
        self,
        release: Release,
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        controls: ControlState,
        account_id: str | None = None,
    ) -> Entry:
        """Decide who enters `release` now."""
        with open_marts(snapshot) as marts:
            where = _read(release.playbook.audience.where, "where")
            return entry.decide(marts, release, where, ledger, controls, now, account_id=account_id)

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
        with open_marts(snapshot) as marts:
            return advance.decide(marts, releases, following, _read, ledger, controls, now, gate_held=gate_held)

    def taught(
        self, release: Release, snapshot: Snapshot, *, contact_id: str | None = None, limit: int = 1
    ) -> pa.Table:
        """Return contacts with the feature each would be taught, whoever may enter."""
        with open_marts(snapshot) as marts:
            return entry.taught(marts, release, contact_id=contact_id, limit=limit)

    def facts(self, contacts: pa.Table, snapshot: Snapshot, ledger: Mapping[str, pa.Table], now: datetime) -> pa.Table:
        """Return what conditions see of these contacts, a column for every dotted name."""
        with open_marts(snapshot) as marts:
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
        with open_marts(snapshot) as marts:
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
            for stage_key, moment in _schedule(release, zone, now):
                counts[moment.date(), stage_key] += count_contacts
        order = list(release.playbook.stages)
        lines = [
            {"day": day, "stage_key": stage_key, "count_sends": count}
            for (day, stage_key), count in sorted(
                counts.items(), key=lambda item: (item[0][0], order.index(item[0][1]))
            )
        ]
        return pa.Table.from_pylist(lines, schema=_FORECAST)


def _schedule(release: Release, zone: str, now: datetime) -> Sequence[tuple[str, datetime]]:
    """Return when somebody in this zone who enters now gets each e-mail, over the days of the forecast."""
    found, workspace, ended_at = [], release.workspace, now
    for stage_key, stage in release.playbook.stages.items():
        ended_at += stage.after
        if stage.email is not None:
            ended_at = next_allowed(ended_at, zone, workspace.window, workspace.holidays)
            found.append((stage_key, ended_at))
    return [(key, moment) for key, moment in found if moment < now + timedelta(days=FORECAST_DAYS)]


@lru_cache(maxsize=1_000)
def _read(text: str, place: Place) -> Condition:
    return parse(text, condition_names(place))
