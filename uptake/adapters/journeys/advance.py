"""What one tick decides for those already in: endings, and the verdict on every stage that is due.

`uptake.domain.eligibility` and `uptake.domain.enrollments` say what each step means for one contact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from uptake.adapters.conditions_duckdb import Place
from uptake.adapters.journeys import clocks, endings, facts, side, verdicts
from uptake.domain.conditions import Condition
from uptake.domain.eligibility import Reason, effect_of
from uptake.domain.enrollments import places, stage_orders
from uptake.domain.playbooks import Release, Stage
from uptake.domain.ways import ways
from uptake.ports import Advance, ControlState

ENDINGS = pa.schema({"enrollment_id": side.INT, "contact_id": side.TEXT, "reason": side.TEXT})
ACCOUNT_ENDINGS = pa.schema({"enrollment_id": side.INT, "reason": side.TEXT})
VERDICTS = pa.schema(
    {
        "enrollment_id": side.INT, "contact_id": side.TEXT, "stage_key": side.TEXT, "verdict": side.TEXT,
        "reason": side.TEXT, "detail": side.TEXT, "version_id": side.INT, "feature_key": side.TEXT,
        "due_at": pa.timestamp("us", "UTC"), "window_ends_at": pa.timestamp("us", "UTC"), "owner": side.TEXT,
        "facts": side.TEXT,
    }
)  # fmt: skip

_STAGES = pa.schema(
    {
        "version_id": side.INT,
        "stage_key": side.TEXT,
        "place": side.FLOAT,
        "is_task": side.BOOL,
        "after": pa.duration("us"),
        "wait_for": pa.duration("us"),  # zero without `wait_until`
        "dedupe_key": side.TEXT,
        "owner": side.TEXT,
        "goal_feature": side.TEXT,  # NULL: the taught one
        "goal_by_account": side.BOOL,
        "goal_is_adopted": side.BOOL,  # NULL: the stage has no goal of its own
    }
)
_WAYS = pa.schema(
    {"version_id": side.INT, "stage_key": side.TEXT, "choice": side.INT, "to_place": side.FLOAT, "condition": side.TEXT}
)
_PLACES = pa.schema({"version_id": side.INT, "stage_key": side.TEXT, "place": side.FLOAT})
PAST_THE_END = 1e9  # the place of no stage
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
    counting = stand(connection, releases, following, read, ledger, controls, now, gate_held=gate_held)
    leaving = connection.execute(endings.LEAVING).to_arrow_table().cast(ENDINGS)
    side.drop(connection, "contacts_decided")
    return Advance(
        endings=leaving,
        account_endings=connection.execute("select enrollment_id, reason from enrollments_ending order by 1")
        .to_arrow_table()
        .cast(ACCOUNT_ENDINGS),
        verdicts=_verdicts(connection, counting, read, now, gate_held=gate_held),
    )


def stand(
    connection: duckdb.DuckDBPyConnection,
    releases: Mapping[int, Release],
    following: Mapping[int, int],
    read: Callable[[str, Place], Condition],
    ledger: Mapping[str, pa.Table],
    controls: ControlState,
    now: datetime,
    *,
    gate_held: str | None,
) -> dict[int, tuple[int, Release]]:
    """Build `cursors` and `enrollments_ending`; return by entered version the one that counts, and its release."""
    entered = {
        version_id: following.get(version_id, version_id) for version_id in _entered(ledger) if version_id in releases
    }
    counting = {version_id: (counts_as, releases[counts_as]) for version_id, counts_as in entered.items()}
    side.lay(connection, ledger, counting, controls, now, gate_held=gate_held)
    connection.register("effects", _effects())
    _register_stages(connection, releases, counting)
    connection.execute(endings.OPEN)
    side.ask_persons(connection)
    # While the gate is held no condition counts, so none is asked.
    _judge(connection, "exits", "open_contacts", read, "exit_when", now, {} if gate_held else _exits(counting))
    connection.execute(endings.CONTACTS)
    side.drop(connection, "open_contacts", "persons", "exits")
    connection.execute(endings.STANDING)
    _judge(connection, "branches", "standing", read, "when", now, {} if gate_held else _branches(counting))
    connection.execute(endings.CURSORS)
    side.drop(connection, "standing", "branches")
    connection.execute(endings.ENROLLMENTS)
    return counting


def _entered(ledger: Mapping[str, pa.Table]) -> list[int]:
    """Return the versions that somebody who is in was entered with."""
    enrollments = ledger["enrollments"]
    is_open = pc.is_null(enrollments["ended_at"])
    found: list[int] = pc.unique(pc.filter(enrollments["version_id"], is_open)).to_pylist()
    return found


_WAITS = frozenset({Reason.OUTSIDE_WINDOW, Reason.PAUSED, Reason.WAITING, Reason.GATE_HELD})


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


# Stages fall due, have waited long enough and become too late, tasks lapse, windows open, control arms complete,
# consents expire.
_NEXT_CHANGE = """
with
moments as (
    select due_at as at from cursors
    union all
    select due_at + wait_for from cursors
    union all
    select due_at + wait_for + (moment.now - moment.too_late_before) from cursors cross join moment
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
    _judge(connection, "waits", "due", read, "when", now, {} if gate_held else _waits(counting))
    clocks.solve(
        connection, "due", {version_id: release.workspace for version_id, (_, release) in counting.items()}, now
    )
    connection.execute(verdicts.STAGES)
    side.drop(connection, "due", "whens", "waits")
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
    connection.execute(
        f"create temp table {name} (enrollment_id bigint, contact_id varchar, condition varchar, holds boolean)"
    )
    for text, places_asked in questions.items():
        asked = pa.Table.from_pylist([{"v": v, "k": k} for v, k in places_asked], schema=_QUESTION)
        connection.register("question", asked)
        only = "(base.version_id, coalesce($key, '')) in (select (v, coalesce(k, '')) from question)"
        key = "base.stage_key" if places_asked[0][1] is not None else "null"
        found = facts.matching(connection, base, read(text, place), now, only=only.replace("$key", key))
        asked_as = duckdb.ConstantExpression(text).alias("condition")
        found.select("enrollment_id", "contact_id", asked_as, "holds").insert_into(name)


def _exits(counting: Mapping[int, tuple[int, Release]]) -> dict[str, list[tuple[int, str | None]]]:
    questions: dict[str, list[tuple[int, str | None]]] = {}
    for version_id, (_, release) in counting.items():
        if release.playbook.exit_when is not None:
            questions.setdefault(release.playbook.exit_when, []).append((version_id, None))
    return questions


def _whens(counting: Mapping[int, tuple[int, Release]]) -> dict[str, list[tuple[int, str | None]]]:
    return _of_stages(counting, lambda stage: [stage.when])


def _waits(counting: Mapping[int, tuple[int, Release]]) -> dict[str, list[tuple[int, str | None]]]:
    return _of_stages(counting, lambda stage: [stage.wait_until])


def _branches(counting: Mapping[int, tuple[int, Release]]) -> dict[str, list[tuple[int, str | None]]]:
    return _of_stages(counting, lambda stage: [way.when for way in stage.next])


def _of_stages(
    counting: Mapping[int, tuple[int, Release]], asked: Callable[[Stage], Iterable[str | None]]
) -> dict[str, list[tuple[int, str | None]]]:
    """Return each condition of a kind with the stages that ask it."""
    questions: dict[str, list[tuple[int, str | None]]] = {}
    for version_id, (_, release) in counting.items():
        for key, stage in release.playbook.stages.items():
            for condition in dict.fromkeys(asked(stage)):
                if condition is not None:
                    questions.setdefault(condition, []).append((version_id, key))
    return questions


def _register_stages(
    connection: duckdb.DuckDBPyConnection,
    releases: Mapping[int, Release],
    counting: Mapping[int, tuple[int, Release]],
) -> None:
    """Lay down the stages that count for each entered version, and the place of every key it may have passed."""
    stages, known, routes = [], [], []
    for version_id, (_, release) in counting.items():
        order = list(release.playbook.stages)
        others = stage_orders(releases, release.name)
        known += [
            {"version_id": version_id, "stage_key": key, "place": place} for key, place in places(order, others).items()
        ]
        routes += [
            {
                "version_id": version_id,
                "stage_key": key,
                "choice": choice,
                "to_place": PAST_THE_END if to is None else order.index(to),
                "condition": when,
            }
            for key in order
            for choice, (to, when) in enumerate(ways(release.playbook.stages, key))
        ]
        stages += [
            {
                "version_id": version_id,
                "stage_key": key,
                "place": place,
                "is_task": stage.task is not None,
                "after": stage.after,
                "wait_for": stage.wait_for or timedelta(0),
                "dedupe_key": stage.dedupe_key(release.name, key),
                "owner": stage.owner,
                **_goal(stage),
            }
            for place, (key, stage) in enumerate(release.playbook.stages.items())
        ]
    connection.register("stages", pa.Table.from_pylist(stages, schema=_STAGES))
    connection.register("ways", pa.Table.from_pylist(routes, schema=_WAYS))
    connection.register("places", pa.Table.from_pylist(known, schema=_PLACES))


def _goal(stage: Stage) -> dict[str, object]:
    if stage.goal is None:
        return {}
    return {
        "goal_feature": stage.goal.feature,
        "goal_by_account": stage.goal.by == "account",
        "goal_is_adopted": stage.goal.reach == "adopted",
    }


def _effects() -> pa.Table:
    return pa.table({"reason": list(map(str, Reason)), "verdict": [str(effect_of(reason)) for reason in Reason]})
