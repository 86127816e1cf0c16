"""When the next mails of those who are in would leave: people by where they stand and by zone, the rest by stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import duckdb
import pyarrow as pa

from uptake.adapters.journeys import clocks, side
from uptake.domain.playbooks import Release, Stage
from uptake.domain.ways import earliest
from uptake.domain.windows import next_allowed

UPCOMING = pa.schema({"playbook": pa.string(), "day": pa.date32(), "stage_key": pa.string(), "count_sends": pa.int64()})

# Whoever stands alike is one line. Nobody waits to the second, so an hour is fine enough.
_STANDING = """
select
    cursors.version_id,
    contact_zones.zone,
    cursors.stage_key,
    date_trunc('hour', greatest(cursors.due_at, moment.now)) as due_at,
    count(*) as count_contacts
from cursors
inner join contact_zones using (version_id, contact_id)
cross join moment
anti join enrollments_ending using (enrollment_id)
where cursors.stage_key is not null and not cursors.is_waiting
group by all
order by all
"""

# Decided already, and not yet on its way: it leaves with the next worker.
_PLANNED = """
select enrollments.playbook, open_sends.stage_key, count(*) as count_sends
from open_sends
inner join enrollments using (enrollment_id)
where open_sends.status in ('planned', 'claimed')
group by all
order by all
"""


_BY_STAGE = """
select playbook, stage_key, count(*) as count_contacts
from cursors
anti join enrollments_ending using (enrollment_id)
group by playbook, stage_key
order by playbook, stage_key
"""


def by_stage(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Count who stands before each stage; `cursors` and `enrollments_ending` are there."""
    return connection.execute(_BY_STAGE).to_arrow_table()


def upcoming(
    connection: duckdb.DuckDBPyConnection, counting: Mapping[int, tuple[int, Release]], now: datetime, *, days: int
) -> pa.Table:
    """Count the mails of the next days; `cursors` and `enrollments_ending` are there."""
    clocks.find_zones(connection, "cursors")
    counts: Counter[tuple[str, date, str]] = Counter()
    for playbook, stage_key, count_sends in connection.execute(_PLANNED).fetchall():
        counts[playbook, now.date(), stage_key] += count_sends
    for version_id, zone, stage_key, due_at, count_contacts in connection.execute(_STANDING).fetchall():
        release = counting[version_id][1]
        due = max(side.aware(due_at), now)
        start = due - release.playbook.stages[stage_key].after
        for key, moment in mails_from(release, zone, start, first=stage_key):
            if moment < now + timedelta(days=days):
                counts[release.name, moment.date(), key] += count_contacts
    lines = [
        {"playbook": playbook, "day": day, "stage_key": key, "count_sends": count}
        for (playbook, day, key), count in sorted(counts.items())
    ]
    return pa.Table.from_pylist(lines, schema=UPCOMING)


def mails_from(release: Release, zone: str, start: datetime, *, first: str | None = None) -> list[tuple[str, datetime]]:
    """Return when somebody in this zone gets each e-mail at the earliest, as if every condition were true.

    `start`: when they enter; with `first`, when the stage before that one ended.
    """
    workspace, stages = release.workspace, release.playbook.stages

    def arrive(begin: timedelta, stage: Stage) -> timedelta:
        due_at = start + begin + stage.after
        if stage.email is not None:
            due_at = next_allowed(due_at, zone, workspace.window, workspace.holidays)
        return due_at - start

    ends = earliest(stages, arrive, first=first)
    return [(key, start + ends[key]) for key, stage in stages.items() if stage.email is not None and key in ends]
