"""The set-wise rules against a plain model that walks over every contact with the rules of `uptake.domain`."""

from collections import defaultdict
from datetime import timedelta
from random import Random

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.adapters.journey_model import Model
from tests.adapters.journey_world import (
    ALPHA,
    BETA,
    DAY,
    NEWS,
    NOW,
    PLAIN,
    RELEASES,
    entered,
    make_world,
    naive,
    small_world,
    snapshot_of,
)
from uptake.adapters.journeys import side
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.domain.arms import arm_of, draw
from uptake.domain.eligibility import (
    LeftOut,
    Reason,
)
from uptake.ports import ControlState

JOURNEYS = DuckJourneys()


def found_entry(entry):
    names = ["account_id", "contact_id", "contact_rank", "feature_key", "entry_no", "arm", "u", "stratum"]
    return rows_of(entry.contacts, names), rows_of(entry.left_out, ["account_id", "contact_id", "reason"])


def found_advance(advance):
    names = ["enrollment_id", "contact_id", "stage_key", "verdict", "reason", "version_id", "feature_key", "due_at"]
    names += ["window_ends_at"]
    return (
        rows_of(advance.endings, ["enrollment_id", "contact_id", "reason"]),
        rows_of(advance.account_endings, ["enrollment_id", "reason"]),
        rows_of(advance.verdicts, names),
    )


def rows_of(table, names):
    rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    assert len(set(rows)) == len(rows)
    return set(rows)


SEEDS = st.integers(0, 2**32)
SLOW = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


@SLOW
@given(seed=SEEDS)
def test_entry_means_on_a_set_what_it_means_on_a_row(seed, tmp_path):
    world = make_world(seed)
    snapshot, model = snapshot_of(world, tmp_path), Model(world, NOW)
    for rules in (ALPHA, BETA, NEWS):
        entry = JOURNEYS.entrants(rules, snapshot, world.tables(), NOW, controls=world.controls)
        expected = model.entry(rules)
        assert found_entry(entry) == expected
    entering, left_out = model.entry(ALPHA, by_hand=True)
    for account_id in {row[0] for row in entering | left_out}:
        options = {"controls": world.controls, "account_id": account_id, "by_hand": True}
        entry = JOURNEYS.entrants(ALPHA, snapshot, world.tables(), NOW, **options)
        mine = ({row for row in rows if row[0] == account_id} for rows in (entering, left_out))
        assert found_entry(entry) == tuple(mine)
        break


@SLOW
@given(seed=SEEDS, gate_held=st.sampled_from([None, None, "stale"]), following=st.sampled_from([{}, {1: 3}]))
def test_a_tick_decides_on_a_set_what_it_decides_on_a_row(seed, gate_held, following, tmp_path):
    world = make_world(seed)
    snapshot = snapshot_of(world, tmp_path)
    advance = JOURNEYS.advance(
        RELEASES, snapshot, world.tables(), NOW, following=following, controls=world.controls, gate_held=gate_held
    )
    assert found_advance(advance) == Model(world, NOW).advance(RELEASES, following, gate_held)


MOMENTS = [timedelta(hours=hours) for hours in (0, 1, 2, 9, 10, 24, 25, 47, 72, 168, 700)]


@settings(SLOW, max_examples=3)
@given(
    seed=SEEDS,
    steps=st.lists(
        st.tuples(st.sampled_from(MOMENTS), st.sampled_from(["", "", "touch", "consent", "answer", "leave", "gate"])),
        min_size=3,
        max_size=5,
    ),
)
def test_a_process_that_remembers_decides_what_a_new_one_decides(seed, steps, tmp_path):
    world, remembering, now, gate_held = make_world(seed, count_accounts=25), DuckJourneys(), NOW, "stale"
    snapshot = snapshot_of(world, tmp_path)
    for after, change in steps:
        now += after
        _change(world, change, now)
        gate_held = {"stale": None, None: "stale"}[gate_held] if change == "gate" else gate_held
        answers = []
        for journeys in (remembering, DuckJourneys()):
            entries = [
                journeys.entrants(rules, snapshot, world.tables(), now, controls=world.controls)
                for rules in (ALPHA, BETA, PLAIN)
            ]
            options = {"following": {}, "controls": world.controls, "gate_held": gate_held}
            answers.append(
                (entries, journeys.advance({1: PLAIN, 2: PLAIN, 3: PLAIN}, snapshot, world.tables(), now, **options))
            )
        assert answers[0] == answers[1]


def _change(world, change, now):
    enrollments = world.ledger["enrollments"]
    if change == "touch" and world.ledger["people"]:
        person = world.ledger["people"][0]
        touch = {key: person[key] for key in ("contact_id", "account_id", "address_hash")}
        world.ledger["touches"].append(touch | {"accepted_at": naive(now), "is_mail": True})
    elif change == "consent" and world.ledger["consents"]:
        world.ledger["consents"][0]["basis"] = "none"
    elif change == "answer" and world.ledger["people"]:
        said = [{"contact_id": row["contact_id"], "feature_key": "f1"} for row in world.ledger["people"][::2]]
        world.ledger["feature_answers"] = [] if world.ledger["feature_answers"] == said else said
    elif change == "leave" and enrollments:
        enrollments[0]["ended_at"] = naive(now)


@pytest.mark.parametrize("gate_held", [None, "stale"])
def test_a_tick_with_nothing_new_asks_nothing_until_something_falls_due(tmp_path, monkeypatch, gate_held):
    world = entered(small_world(count_contacts=2), enrolled_at=NOW - DAY)
    snapshot, journeys, asked = snapshot_of(world, tmp_path), DuckJourneys(), []
    world.ledger["stage_ends"] += [
        {"enrollment_id": 1, "contact_id": f"acme-{n}", "stage_key": "why", "ended_at": naive(NOW - DAY)}
        for n in (0, 1)
    ]
    opened = journeys._marts.open
    monkeypatch.setattr(journeys._marts, "open", lambda one, **how: asked.append(one) or opened(one, **how))
    for hours in (0, 1, 47, 47.9):
        journeys.entrants(PLAIN, snapshot, world.tables(), NOW + timedelta(hours=hours), controls=ControlState())
        found = journeys.advance(
            {1: PLAIN}, snapshot, world.tables(), NOW + timedelta(hours=hours),
            following={}, controls=ControlState(), gate_held=gate_held,
        )  # fmt: skip
        assert found.verdicts.num_rows == 0
    assert len(asked) == 2
    found = journeys.advance(
        {1: PLAIN}, snapshot, world.tables(), NOW + 2 * DAY, following={}, controls=ControlState(), gate_held=gate_held
    )
    assert found.verdicts.num_rows == 2


def test_the_worlds_above_exercise_every_rule():
    decided = {*Reason, None}
    left_out, reasons = set(), set()
    for seed in range(40):
        if left_out == set(LeftOut) and reasons == decided:
            break
        model = Model(make_world(seed), NOW)
        for rules in (ALPHA, BETA, NEWS):
            left_out |= {reason for _, _, reason in model.entry(rules)[1]}
        for gate_held in (None, "stale"):
            endings, account_endings, verdicts = model.advance(RELEASES, {}, gate_held)
            reasons |= {row[-1] for row in endings | account_endings} | {row[4] for row in verdicts}
    assert left_out == set(LeftOut)
    assert reasons == decided


@SLOW
@given(seed=SEEDS)
def test_the_order_of_rows_is_irrelevant(seed, tmp_path):
    world, shuffled = make_world(seed), make_world(seed)
    for rows in (*shuffled.marts.values(), *shuffled.ledger.values()):
        Random(seed + 1).shuffle(rows)
    found = []
    for one in (world, shuffled):
        snapshot = snapshot_of(one, tmp_path)
        entry = JOURNEYS.entrants(ALPHA, snapshot, one.tables(), NOW, controls=one.controls)
        advance = JOURNEYS.advance(
            RELEASES, snapshot, one.tables(), NOW, following={}, controls=one.controls, gate_held=None
        )
        found.append((entry, advance))
    assert found[0] == found[1]


@SLOW
@given(seed=SEEDS)
def test_a_tick_split_among_accounts_that_share_no_address_decides_the_same(seed, tmp_path):
    """Nobody else matters to a decision; `explain` and a plan's first tick rest on that."""
    world = make_world(seed)
    groups = _groups_by_address(world.ledger["people"])
    decided, snapshot = [], snapshot_of(world, tmp_path)
    everybody = world.ledger["enrollments"]
    for part in ({0, 1, 2}, {0}, {1}, {2}):
        rows = [row for row in everybody if groups[row["account_id"]] % 3 in part]
        world.ledger["enrollments"] = rows
        decided.append(
            found_advance(
                JOURNEYS.advance(
                    RELEASES, snapshot, world.tables(), NOW, following={}, controls=world.controls, gate_held=None
                )
            )
        )
    whole, *parts = decided
    assert sum(bool(verdicts) for *_, verdicts in parts) > 1
    assert whole == tuple(set().union(*kind) for kind in zip(*parts, strict=True))


def _groups_by_address(people):
    """Number the accounts so that two which share an address, even by way of others, have the same number."""
    numbers = defaultdict(lambda: len(numbers))
    for row in people:
        ours, theirs = numbers[row["account_id"]], numbers[row["address_hash"] or row["contact_id"]]
        for name, number in numbers.items():
            if number == theirs:
                numbers[name] = ours
    return numbers


def test_sql_draws_the_arms_that_python_draws():
    ids = [f"account-{i}" for i in range(5_000)] + ["", "ünïcode-账户", "a:b", "x\x1fy", "'; drop table people; --"]
    with duckdb.connect() as connection:
        side.lay(connection, {}, {}, ControlState(), NOW)
        connection.register("ids", pa.table({"account_id": ids}))
        query = "select account_id, draw('alpha', account_id), arm_of('alpha', account_id, 0.3, 0.1) from ids"
        found = connection.execute(query).fetchall()
    assert len(found) == len(ids)
    for account_id, u, arm in found:
        assert u == draw("alpha", account_id)
        assert arm == arm_of(account_id, salt="alpha", holdout=0.3, global_control=0.1)
