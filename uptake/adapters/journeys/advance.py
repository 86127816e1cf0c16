"""What one tick decides for those already in: endings, and the verdict on every stage that is due.

`uptake.domain.eligibility` and `uptake.domain.enrollments` say what each step means for one contact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import duckdb
import pyarrow as pa

from uptake.adapters.conditions_duckdb import Place
from uptake.adapters.journeys import clocks, endings, facts, side, verdicts
from uptake.domain.conditions import Condition
from uptake.domain.eligibility import Reason, effect_of
from uptake.domain.enrollments import places, stage_orders
from uptake.domain.playbooks import Release
from uptake.ports import Advance, ControlState

ENDINGS = pa.schema({"enrollment_id": side.INT, "contact_id": side.TEXT, "reason": side.TEXT})
ACCOUNT_ENDINGS = pa.schema({"enrollment_id": side.INT, "reason": side.TEXT})
VERDICTS = pa.schema(
    {
        "enrollment_id": side.INT, "contact_id": side.TEXT, "stage_key": side.TEXT, "verdict": side.TEXT,
        "reason": side.TEXT, "detail": side.TEXT, "version_id": side.INT, "feature_key": side.TEXT,
        "due_at": pa.timestamp("us", "UTC"), "owner": side.TEXT, "facts": side.TEXT,
    }
)  # fmt: skip

_STAGES = pa.schema(
    {
        "version_id": side.INT,
        "stage_key": side.TEXT,
        "place": side.FLOAT,
        "is_task": side.BOOL,
        "after": pa.duration("us"),
        "dedupe_key": side.TEXT,
        "owner": side.TEXT,
    }
)
_PLACES = pa.schema({"version_id": side.INT, "stage_key": side.TEXT, "place": side.FLOAT})
_QUESTION = pa.schema({"v": side.INT, "k": side.TEXT})


def decide(
    connection: duckdb.DuckDBPyConnection,
    releases: Mapping[int, Release],
    following: Mapping[int, int],
    read: Callable[[str, Place], Condition],
    ledger: Mapping[str, pa.Table],
    controls: ControlState,
    now: datetime,
    *,
    gate_held: str | None,
) -> Advance:
    """Decide for every open enrollment; see `uptake.ports.Journeys.advance`."""
    entered = {version_id: following.get(version_id, version_id) for version_id in releases}
    counting = {version_id: (counts_as, releases[counts_as]) for version_id, counts_as in entered.items()}
    side.lay(connection, ledger, counting, controls, now, gate_held=gate_held)
    connection.register("effects", _effects())
    _register_stages(connection, releases, counting)
    connection.execute(endings.OPEN)
    side.ask_persons(connection)
    # While the gate is held no condition counts, so none is asked.
    _judge(connection, "exits", "open_contacts", read, "exit_when", now, {} if gate_held else _exits(counting))
    connection.execute(endings.CONTACTS)
    connection.execute(endings.CURSORS)
    connection.execute(endings.ENROLLMENTS)
    return Advance(
        endings=connection.execute(endings.LEAVING).to_arrow_table().cast(ENDINGS),
        account_endings=connection.execute("select enrollment_id, reason from enrollments_ending order by 1")
        .to_arrow_table()
        .cast(ACCOUNT_ENDINGS),
        verdicts=_verdicts(connection, counting, read, now, gate_held=gate_held),
    )


_WAITS = frozenset({Reason.OUTSIDE_WINDOW, Reason.PAUSED, Reason.GATE_HELD})


def only_waits(found: Advance) -> bool:
    """Say whether nobody leaves and every due stage waits for its window, a pause or the gate."""
    changes = found.endings.num_rows + found.account_endings.num_rows
    return not changes and set(found.verdicts["reason"].unique().to_pylist()) <= _WAITS


def next_change(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Return the moment at which `decide`, asked again of the same world, may first say something else.

    For answers of which `only_waits` is true and conditions that do not move with time. None: never.
    """
    found = connection.execute(_NEXT_CHANGE).fetchone()
    return None if found is None or found[0] is None else side.aware(found[0])


# Stages fall due and become too late, windows open, control arms complete, consents expire.
_NEXT_CHANGE = """
with
moments as (
    select due_at as at from cursors
    union all
    select due_at + (moment.now - moment.too_late_before) from cursors cross join moment
    union all
    select opens_at from opens
    union all
    select enrollments.enrolled_at + rules.controls_complete_after
    from enrollments inner join rules using (version_id)
    where enrollments.ended_at is null
    union all
    select due_at + (moment.now - moment.too_late_before) from open_tasks cross join moment
    union all
    select expires_at from consents
)

select min(moments.at) from moments cross join moment
where moments.at > moment.now
"""


def _verdicts(
    connection: duckdb.DuckDBPyConnection,
    counting: Mapping[int, tuple[int, Release]],
    read: Callable[[str, Place], Condition],
    now: datetime,
    *,
    gate_held: str | None,
) -> pa.Table:
    """Decide every stage that is due; most ticks find none, and ask nothing more."""
    connection.execute(verdicts.DUE)
    if connection.execute("select count(*) from due").fetchall() == [(0,)]:
        connection.execute(clocks.NOBODY)
        return VERDICTS.empty_table()
    _judge(connection, "whens", "due", read, "when", now, {} if gate_held else _whens(counting))
    clocks.solve(
        connection, "due", {version_id: release.workspace for version_id, (_, release) in counting.items()}, now
    )
    connection.execute(verdicts.STAGES)
    contend = connection.execute("select count(*) from stage_verdicts where reason is null and not is_task").fetchall()
    connection.execute(verdicts.NOBODY_CONTENDS if contend == [(0,)] else verdicts.SETTLE)
    connection.execute(verdicts.TASKS)
    _lay_facts(connection, counting)
    return connection.execute(verdicts.VERDICTS).to_arrow_table().cast(VERDICTS)


def _lay_facts(connection: duckdb.DuckDBPyConnection, counting: Mapping[int, tuple[int, Release]]) -> None:
    """Build `task_facts`: what each task that is opened says of its contact, as JSON; one query a kind of stage."""
    connection.execute("create temp table task_facts (enrollment_id bigint, contact_id varchar, facts varchar)")
    for version_id, (_, release) in counting.items():
        for key, stage in release.playbook.stages.items():
            if stage.facts:
                asked = pa.Table.from_pylist([{"v": version_id, "k": key}], schema=_QUESTION)
                connection.register("question", asked)
                only = "(base.version_id, base.stage_key) in (select (v, k) from question)"
                found = facts.rows(connection, "tasks_opened", frozenset(stage.facts), only=only)
                found.select("enrollment_id", "contact_id", facts.as_json(stage.facts)).insert_into("task_facts")


def _judge(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    base: str,
    read: Callable[[str, Place], Condition],
    place: Place,
    now: datetime,
    questions: Mapping[str, list[tuple[int, str | None]]],
) -> None:
    """Build `name`: what each condition says of the contacts in `base` it is asked about; one query a condition.

    `questions`: condition -> (version_id, stage_key) it belongs to; stage_key None = every row of the version.
    """
    connection.execute(f"create temp table {name} (enrollment_id bigint, contact_id varchar, holds boolean)")
    for text, places_asked in questions.items():
        asked = pa.Table.from_pylist([{"v": v, "k": k} for v, k in places_asked], schema=_QUESTION)
        connection.register("question", asked)
        only = "(base.version_id, coalesce($key, '')) in (select (v, coalesce(k, '')) from question)"
        key = "base.stage_key" if places_asked[0][1] is not None else "null"
        found = facts.matching(connection, base, read(text, place), now, only=only.replace("$key", key))
        found.select("enrollment_id, contact_id, holds").insert_into(name)


def _exits(counting: Mapping[int, tuple[int, Release]]) -> dict[str, list[tuple[int, str | None]]]:
    questions: dict[str, list[tuple[int, str | None]]] = {}
    for version_id, (_, release) in counting.items():
        if release.playbook.exit_when is not None:
            questions.setdefault(release.playbook.exit_when, []).append((version_id, None))
    return questions


def _whens(counting: Mapping[int, tuple[int, Release]]) -> dict[str, list[tuple[int, str | None]]]:
    questions: dict[str, list[tuple[int, str | None]]] = {}
    for version_id, (_, release) in counting.items():
        for key, stage in release.playbook.stages.items():
            if stage.when is not None:
                questions.setdefault(stage.when, []).append((version_id, key))
    return questions


def _register_stages(
    connection: duckdb.DuckDBPyConnection,
    releases: Mapping[int, Release],
    counting: Mapping[int, tuple[int, Release]],
) -> None:
    """Lay down the stages that count for each entered version, and the place of every key it may have passed."""
    stages, known = [], []
    for version_id, (_, release) in counting.items():
        order = list(release.playbook.stages)
        others = stage_orders(releases, release.name)
        known += [
            {"version_id": version_id, "stage_key": key, "place": place} for key, place in places(order, others).items()
        ]
        stages += [
            {
                "version_id": version_id,
                "stage_key": key,
                "place": place,
                "is_task": stage.task is not None,
                "after": stage.after,
                "dedupe_key": stage.dedupe_key(release.name, key),
                "owner": stage.owner,
            }
            for place, (key, stage) in enumerate(release.playbook.stages.items())
        ]
    connection.register("stages", pa.Table.from_pylist(stages, schema=_STAGES))
    connection.register("places", pa.Table.from_pylist(known, schema=_PLACES))


def _effects() -> pa.Table:
    return pa.table({"reason": list(map(str, Reason)), "verdict": [str(effect_of(reason)) for reason in Reason]})
