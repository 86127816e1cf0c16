"""The set-wise rules on worlds small enough to be read: one claim each."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tests.adapters.journey_model import Model
from tests.adapters.journey_world import ALPHA, BETA, DAY, NOW, PLAIN, entered, naive, release, small_world, snapshot_of
from uptake.adapters.conditions_duckdb import condition_names
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.domain.arms import Arm
from uptake.ports import ControlState

JOURNEYS = DuckJourneys()


def entrants(world, folder, rules=PLAIN, now=NOW):
    return JOURNEYS.entrants(rules, snapshot_of(world, folder), world.tables(), now, controls=world.controls)


def verdicts(world, folder, rules=PLAIN, now=NOW, *, releases=None, gate_held=None):
    snapshot = snapshot_of(world, folder)
    found = JOURNEYS.advance(
        releases or {1: rules},
        snapshot,
        world.tables(),
        now,
        following={},
        controls=world.controls,
        gate_held=gate_held,
    )
    return [(row["contact_id"], row["verdict"], row["reason"], row["detail"]) for row in found.verdicts.to_pylist()]


def test_the_preferred_and_most_active_contacts_enter(tmp_path):
    world = small_world(count_contacts=4)
    world.marts["contacts_current"][3]["role"] = "admin"
    world.marts["contacts_current"][1]["active_days_28"] = 20
    entry = entrants(world, tmp_path)
    assert entry.contacts["contact_id"].to_pylist() == ["acme-3", "acme-1"]
    assert set(entry.left_out["reason"].to_pylist()) == {"not_chosen"}


def test_an_unknown_value_never_enters(tmp_path):
    world = small_world()
    world.marts["accounts_current"][0]["plan"] = None
    entry = entrants(world, tmp_path)
    assert (entry.contacts.num_rows, entry.left_out.num_rows) == (0, 0)


def test_a_larger_holdout_releases_nobody(tmp_path):
    world, before = small_world(*(f"account-{i}" for i in range(300))), set()
    for holdout in ("5%", "10%", "40%", "100%"):
        contacts = entrants(world, tmp_path, release(holdout=holdout)).contacts
        arms = dict(zip(contacts["account_id"].to_pylist(), contacts["arm"].to_pylist(), strict=True))
        held = {account_id for account_id, arm in arms.items() if arm != "treatment"}
        assert before < held
        before = held
    assert len(before) == 300


def test_an_account_drawn_before_keeps_its_arm(tmp_path):
    world = small_world()
    world.ledger["assignments"].append({"playbook": "alpha", "account_id": "acme", "arm": "holdout"})
    assert entrants(world, tmp_path).contacts["arm"].to_pylist() == ["holdout"]


def test_whether_an_address_is_shared_with_a_holdout_account_does_not_depend_on_the_own_arm(tmp_path):
    world = small_world("acme", "rival")
    world.ledger["people"][1]["address_hash"] = world.ledger["people"][0]["address_hash"]
    world.ledger["assignments"].append({"playbook": "alpha", "account_id": "rival", "arm": "holdout"})
    for arm in ("treatment", "holdout"):
        world.ledger["assignments"][1:] = [{"playbook": "alpha", "account_id": "acme", "arm": arm}]
        left_out = entrants(world, tmp_path).left_out.to_pylist()
        assert {"account_id": "acme", "contact_id": "acme-0", "reason": "holdout_address"} in left_out


def test_an_audience_may_name_sends_and_the_account_feature(tmp_path):
    where = "sends.count_28d == 0 and sends.days_since_last is None and account_feature.is_entitled"
    rules = release(audience={"where": where}, holdout="0%")
    world = small_world("acme", "rival")
    touch = {"contact_id": "rival-0", "account_id": "rival", "address_hash": "x", "accepted_at": naive(NOW - 3 * DAY)}
    world.ledger["touches"].append(touch | {"is_mail": True})
    assert entrants(world, tmp_path, rules).contacts["account_id"].to_pylist() == ["acme"]


def test_the_first_stage_is_due_at_entry_and_the_next_after_its_time(tmp_path):
    world = entered(small_world())
    assert verdicts(world, tmp_path) == [("acme-0", "send", None, "")]
    key = {"enrollment_id": 1, "contact_id": "acme-0", "stage_key": "why"}
    world.ledger["open_sends"] = [key]
    assert verdicts(world, tmp_path) == []
    world.ledger["open_sends"] = []
    world.ledger["stage_ends"] = [key | {"ended_at": naive(NOW)}]
    assert verdicts(world, tmp_path, now=NOW + 3 * DAY - timedelta(seconds=1)) == []
    assert verdicts(world, tmp_path, now=NOW + 3 * DAY) == [("acme-0", "send", None, "")]


def test_a_window_is_the_recipients_and_the_next_moment_is_told(tmp_path):
    world = entered(small_world(zone="America/New_York"))
    assert verdicts(world, tmp_path) == [("acme-0", "retry", "outside_window", "2026-03-03T13:00:00Z")]
    assert verdicts(world, tmp_path, now=datetime(2026, 3, 3, 13, tzinfo=UTC)) == [("acme-0", "send", None, "")]


def test_one_mail_per_address_over_all_playbooks_and_losers_know_who_won(tmp_path):
    world = entered(entered(small_world()), 2, playbook="beta")
    urgent = release("beta", priority=1, holdout="0%", workspace={"global_control": "0%"})
    found = verdicts(world, tmp_path, releases={1: PLAIN, 2: urgent})
    assert found == [("acme-0", "retry", "priority_lost", "beta/why/acme-0"), ("acme-0", "send", None, "")]


def test_mails_on_their_way_count_against_the_caps(tmp_path):
    world = entered(entered(small_world(count_contacts=3)), 2, playbook="beta")
    beta = release("beta", holdout="0%")
    touch = {"contact_id": "acme-0", "account_id": "acme", "address_hash": "acme-address-0"}
    world.ledger["touches"] = [touch | {"accepted_at": naive(NOW - DAY)}]
    world.ledger["open_sends"] = [{"enrollment_id": 2, "contact_id": "acme-0", "stage_key": "why", "status": "unknown"}]
    found = verdicts(world, tmp_path, releases={1: PLAIN, 2: beta})
    assert found == [
        ("acme-0", "retry", "capped_person", ""),
        ("acme-1", "send", None, ""),
        ("acme-2", "retry", "capped_account", ""),
        ("acme-1", "retry", "priority_lost", "alpha/why/acme-1"),
        ("acme-2", "retry", "priority_lost", "alpha/why/acme-2"),
    ]
    assert verdicts(world, tmp_path, releases={1: PLAIN, 2: beta}, now=NOW + 6 * DAY)[0][1:3] == ("send", None)


def test_a_reached_goal_sends_nothing_more_in_any_arm(tmp_path):
    for arm in Arm:
        world = entered(small_world(), arm=arm.value)
        world.marts["account_features"][0]["adoption_state"] = "adopted"
        snapshot = snapshot_of(world, tmp_path)
        options = {"following": {}, "controls": ControlState()}
        found = JOURNEYS.advance({1: PLAIN}, snapshot, world.tables(), NOW, gate_held=None, **options)
        assert found.account_endings.to_pylist() == [{"enrollment_id": 1, "reason": "goal_reached"}]
        assert found.verdicts.num_rows == 0
        held = JOURNEYS.advance({1: PLAIN}, snapshot, world.tables(), NOW, gate_held="no gate", **options)
        assert held.account_endings.num_rows == 0  # nothing is concluded from a snapshot nobody vouches for
        assert held.verdicts["verdict"].to_pylist() == (["retry"] if arm is Arm.TREATMENT else [])


def test_holdout_and_global_control_get_no_verdict_and_complete_when_a_treated_account_could(tmp_path):
    for arm in (Arm.HOLDOUT, Arm.GLOBAL_CONTROL):
        world = entered(small_world(), arm=arm.value)
        snapshot = snapshot_of(world, tmp_path)
        options = {"following": {}, "controls": ControlState(), "gate_held": None}
        for day, expected in ((2, []), (3, ["completed"])):
            found = JOURNEYS.advance({1: PLAIN}, snapshot, world.tables(), NOW + day * DAY, **options)
            assert found.verdicts.num_rows == 0
            assert found.account_endings["reason"].to_pylist() == expected


def test_the_forecast_waits_for_windows_and_weekends(tmp_path):
    world = small_world("acme", "rival")
    world.ledger["people"][1]["time_zone"] = "America/New_York"
    friday = datetime(2026, 3, 6, 16, 30, tzinfo=UTC)  # 17:30 in Berlin, 11:30 in New York
    rules = release(
        holdout="0%",
        workspace={"global_control": "0%"},
        stages={"why": {"email": "why.md", "after": "1h"}, "how": {"email": "how.md", "after": "21d"}},
    )
    snapshot = snapshot_of(world, tmp_path)
    entry = JOURNEYS.entrants(rules, snapshot, world.tables(), friday, controls=ControlState())
    forecast = JOURNEYS.stage_counts(rules, entry, snapshot, world.tables(), friday)
    assert [(row["day"].isoformat(), row["stage_key"], row["count_sends"]) for row in forecast.to_pylist()] == [
        ("2026-03-06", "why", 1),
        ("2026-03-09", "why", 1),
    ]


def test_holdouts_are_not_in_the_forecast(tmp_path):
    world = small_world()
    rules, snapshot = release(holdout="100%"), snapshot_of(world, tmp_path)
    entry = JOURNEYS.entrants(rules, snapshot, world.tables(), NOW, controls=ControlState())
    assert entry.contacts.num_rows == 1
    assert JOURNEYS.stage_counts(rules, entry, snapshot, world.tables(), NOW).num_rows == 0


def test_what_a_contact_would_be_taught_is_known_whether_it_enters_or_not(tmp_path):
    world = small_world(count_contacts=3)
    best = {"contact_id": "acme-1", "account_id": "acme", "recommendation_rank": 1, "feature_key": "f2"}
    world.marts["feature_recommendations"].append(best)
    snapshot = snapshot_of(world, tmp_path)
    taught = JOURNEYS.taught(BETA, snapshot, limit=2).to_pylist()
    assert [(row["contact_id"], row["feature_key"]) for row in taught] == [("acme-0", None), ("acme-1", "f2")]
    assert JOURNEYS.taught(ALPHA, snapshot, contact_id="acme-2")["feature_key"].to_pylist() == ["f1"]
    assert JOURNEYS.taught(ALPHA, snapshot, contact_id="nobody").num_rows == 0


def test_facts_have_every_name_a_condition_may_use(tmp_path):
    world = small_world()
    asked = pa.table(
        {"contact_id": ["acme-0"], "account_id": ["acme"], "feature_key": ["f1"], "entry_no": [1], "age_days": [4]}
    )
    row = JOURNEYS.facts(asked, snapshot_of(world, tmp_path), world.tables(), NOW).to_pylist()[0]
    expected = Model(world, NOW).facts("acme-0", "acme", "f1", {"entry_no": 1, "enrolled_at": naive(NOW - 4 * DAY)})
    assert {name: row[name] for name in condition_names("when")} == expected
    holds, seen = JOURNEYS.seen("account.plan == 'team' and enrollment.age_days > 9", "when", row, NOW)
    assert holds is False
    assert [(one.text, one.holds) for one in seen] == [
        ("account.plan == 'team'", True),
        ("enrollment.age_days > 9", False),
    ]


def test_a_ledger_table_without_a_column_is_refused(tmp_path):
    snapshot, ledger = snapshot_of(small_world(), tmp_path), {"people": pa.table({"contact_id": ["x"]})}
    with pytest.raises(KeyError, match="account_id"):
        JOURNEYS.entrants(PLAIN, snapshot, ledger, NOW, controls=ControlState())


def test_one_account_can_be_asked_about_alone(tmp_path):
    world = small_world("acme", "rival", count_contacts=3)
    snapshot = snapshot_of(world, tmp_path)
    everybody = JOURNEYS.entrants(PLAIN, snapshot, world.tables(), NOW, controls=ControlState())
    one = JOURNEYS.entrants(PLAIN, snapshot, world.tables(), NOW, controls=ControlState(), account_id="rival")
    for whole, part in ((everybody.contacts, one.contacts), (everybody.left_out, one.left_out)):
        assert part.to_pylist() == [row for row in whole.to_pylist() if row["account_id"] == "rival"]
    assert (one.contacts.num_rows, one.left_out.num_rows) == (2, 1)
