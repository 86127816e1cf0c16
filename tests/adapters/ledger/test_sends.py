from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.adapters.ledger.conftest import KEYS
from uptake.adapters.ledger.suppression import Stop, suppress
from uptake.domain.eligibility import Reason
from uptake.domain.ids import address_hash
from uptake.domain.sends import SuppressionReason

ANN, BOB, CYD = ("ann", "a1"), ("bob", "a1"), ("cyd", "a2")
MINUTE = timedelta(minutes=1)


def ids(claimed):
    return [one.send_id for one in claimed]


def test_a_claim_takes_the_oldest_stage_alone(world):
    why = world.planned(ANN, BOB)
    world.record(("ann", "how", "send"))
    how = world.send_of("ann", "how")
    first = world.claim()
    assert ids(first) == why
    assert {one.stage_key for one in first} == {"why"}
    assert (first[0].address, first[0].given_name, first[0].locale) == ("ann@example.invalid", "Ann", "fr")
    assert ids(world.claim()) == [how]
    assert world.claim() == []


def test_a_claim_takes_one_version_alone_whatever_its_stages_are_called(world, make_world):
    other = make_world(name="boards")
    sends = [*world.planned(ANN), *other.planned(("bob", "a9")), *world.planned(CYD)]
    assert [ids(world.claim()) for _ in range(3)] == [[sends[0], sends[2]], [sends[1]], []]


def test_a_claim_is_no_larger_than_asked(world):
    send_ids = world.planned(ANN, BOB, CYD)
    assert ids(world.claim(limit=2)) == send_ids[:2]
    assert ids(world.claim(limit=2)) == send_ids[2:]


def test_an_expired_lease_frees_what_was_claimed(world):
    send_ids = world.planned(ANN)
    world.claim(lease=MINUTE)
    assert world.claim("w2") == []
    world.now += MINUTE
    assert ids(world.claim("w2")) == send_ids


def test_an_expired_lease_never_frees_what_may_have_left(world):
    (send_id,) = world.planned(ANN)
    world.claim(lease=MINUTE)
    assert world.intend([send_id]) == {}
    world.now += 2 * MINUTE
    assert world.claim("w2") == []
    assert world.status(send_id) == "sending"
    assert world.ledger.sends.expire(now=world.now) == 1
    assert world.status(send_id) == "unknown"
    assert world.claim("w2") == []


def test_who_lost_the_lease_intends_nothing(world):
    (send_id,) = world.planned(ANN)
    world.claim("w1", lease=MINUTE)
    world.now += 2 * MINUTE
    assert world.intend([send_id], owner="w1") == {send_id: Reason.PAUSED}
    world.claim("w2")
    assert world.intend([send_id], owner="w1") == {send_id: Reason.PAUSED}
    assert world.status(send_id) == "claimed"
    assert world.intend([send_id], owner="w2") == {}
    assert world.intend([send_id], owner="w2") == {send_id: Reason.PAUSED}, "an intent is committed once"


def test_a_late_worker_does_not_put_back_what_another_sends(world):
    (send_id,) = world.planned(ANN)
    world.claim("w1", lease=MINUTE)
    world.intend([send_id], owner="w1")
    world.now += 5 * MINUTE
    world.ledger.sends.expire(now=world.now)
    assert world.ledger.sends.release([send_id], by="Grace", reason="seen in the log", now=world.now) == 1
    world.claim("w2")
    world.ledger.sends.withheld([send_id], reason=Reason.LEFT, now=world.now, owner="w1")
    assert world.status(send_id) == "claimed"
    world.intend([send_id], owner="w2")
    world.ledger.sends.put_back([send_id], now=world.now, owner="w1")
    world.ledger.sends.failed([send_id], detail="late", now=world.now, owner="w1")
    world.ledger.sends.unknown([send_id], detail="late", now=world.now, owner="w1")
    assert world.status(send_id) == "sending"
    world.ledger.sends.put_back([send_id], now=world.now, owner="w2")
    world.ledger.sends.withheld([send_id], reason=Reason.LEFT, now=world.now, owner="w2")
    assert world.status(send_id) == "planned", "nobody's any more"


@pytest.fixture(
    params=[
        "suppressed", "topic", "group", "erased", "left", "ended", "ended oddly", "stopped", "unassigned", "held out",
    ]
)  # fmt: skip
def stop(request, world):
    """Something that ends mail to ann, and the reason it must be withheld with."""
    people, hashed = world.ledger.people, world.ledger.people.address_hash_of
    unsubscribed = SuppressionReason.UNSUBSCRIBED

    def sql(text):
        with world.ledger._store.write() as connection:
            connection.execute(sa.text(text))

    def suppress(topic):
        people.suppress(hashed("ann"), reason=unsubscribed, topic=topic, source="test", now=world.now)

    def control(**scope):
        world.ledger.releases.control(**scope, action="stop", reason="r", by="Grace", now=world.now)

    stops = {
        "suppressed": (lambda: suppress(None), Reason.SUPPRESSED),
        "topic": (lambda: suppress("product-training"), Reason.SUPPRESSED),
        "group": (
            lambda: sql(
                "insert into suppressions"
                " (address_hash, topic, reason, source, topic_group, suppressed_at, recorded_at)"
                f" values ('{hashed('ann')}', 'group:7', 'unsubscribed', 't', 7, '2026-01-01', '2026-01-01')"
            ),
            Reason.SUPPRESSED,
        ),
        "erased": (
            lambda: sql("update people set erased_at = '2026-01-01', address = null where contact_id = 'ann'"),
            Reason.ERASED,
        ),
        "left": (lambda: sql("update people set address = null where contact_id = 'ann'"), Reason.LEFT),
        "ended": (lambda: world.record(endings=[("ann", "goal_reached")]), Reason.GOAL_REACHED),
        "ended oddly": (
            lambda: sql("update enrollment_contacts set status = 'ended', end_reason = 'x' where contact_id = 'ann'"),
            Reason.STOPPED,
        ),
        "stopped": (lambda: control(scope="account", target="a1"), Reason.STOPPED),
        "unassigned": (lambda: sql("update assignments set arm = 'holdout' where account_id = 'a1'"), Reason.STOPPED),
        "held out": (lambda: sql("update enrollments set arm = 'holdout' where account_id = 'a1'"), Reason.STOPPED),
    }
    return stops[request.param]


def test_a_stop_after_the_claim_prevents_the_intent_of_the_whole_batch(world, stop):
    make, reason = stop
    ann, cyd = world.planned(ANN, CYD)
    world.claim()
    make()
    assert world.intend([ann, cyd]) == {ann: reason}
    (row,) = world.ledger.read("send", send_id=ann)
    assert (row["status"], row["reason"], row["attempt"]) == ("withheld", reason, 0)
    decided = [row for row in world.ledger.read("contact_history", contact_id="ann") if row["what"] == "decided"]
    found = (reason, "found just before the intent")
    assert {(row["reason"], row["detail"]) for row in decided} == {(None, ""), found}
    assert world.status(cyd) == "claimed"
    assert world.intend([cyd]) == {}


def test_another_topic_or_group_stops_nothing(world):
    (ann,) = world.planned(ANN)
    hashed, reason = world.ledger.people.address_hash_of("ann"), SuppressionReason.UNSUBSCRIBED
    world.ledger.people.suppress(hashed, reason=reason, topic="news", source="t", now=world.now)
    other = Stop(
        address_hash=hashed, topic="group:99", topic_group=99, reason=reason, source="t", suppressed_at=world.now
    )
    with world.ledger._store.write() as connection:
        suppress(connection, [other], now=world.now)
    world.claim()
    assert world.intend([ann]) == {}


def test_a_person_who_is_gone_is_withheld_by_the_claim(world):
    ann, bob, cyd = world.planned(ANN, BOB, CYD)
    with world.ledger._store.write() as connection:
        connection.execute(sa.text("update people set address = null where contact_id <> 'cyd'"))
        connection.execute(sa.text("update people set erased_at = '2026-01-01' where contact_id = 'ann'"))
    assert ids(world.claim(limit=1)) == [cyd]
    found = [world.ledger.read("send", send_id=send_id)[0] for send_id in (ann, bob)]
    assert [(row["status"], row["reason"]) for row in found] == [("withheld", "erased"), ("withheld", "left")]


def test_who_moves_after_the_claim_is_claimed_anew_at_the_new_address(world):
    (ann,) = world.planned(ANN)
    world.claim()
    moved = {"address": "ann@new.invalid", "hash": address_hash(KEYS.pseudonym, "ann@new.invalid")}
    with world.ledger._store.write() as connection:
        connection.execute(
            sa.text("update people set address = :address, address_hash = :hash where contact_id = 'ann'"), moved
        )
    assert world.intend([ann]) == {ann: Reason.PAUSED}
    assert [one.address for one in world.claim()] == ["ann@new.invalid"]
    assert world.intend([ann]) == {}


def test_without_consent_nothing_leaves(make_world):
    world = make_world(default_basis="none")
    (ann,) = world.planned(ANN)
    world.claim()
    assert world.intend([ann]) == {ann: Reason.UNCONSENTED}
    assert world.status(ann) == "withheld"


def test_who_refused_gets_nothing_whatever_the_default_basis_is(make_world):
    world = make_world(default_basis="contract")
    ann, cyd = world.planned(ANN, CYD)
    world.load(ANN, consent="none")
    world.claim()
    assert world.intend([ann, cyd]) == {ann: Reason.UNCONSENTED}
    assert world.intend([cyd]) == {}


def test_what_the_gate_stopped_before_its_intent_is_decided_again_as_the_same_send(world):
    (ann,) = world.planned(ANN)
    for hours in (1, 2):
        world.claim()
        world.ledger.sends.withheld([ann], reason=Reason.GATE_HELD, now=world.now, owner="w1")
        tables = world.ledger.enrollments.tables(now=world.now)
        assert (tables["stage_ends"].num_rows, tables["open_sends"].num_rows) == (0, 0)
        assert world.decided() == {("why", "retry", "gate_held"): 1}
        assert world.claim() == []
        world.now += timedelta(hours=hours)
        assert world.record(("ann", "why", "send")) == {"send": 1}
        assert world.record(("ann", "why", "send")) == {}
    (row,) = world.ledger.read("send", send_id=ann)
    assert (row["status"], row["reason"], row["attempt"], row["planned_at"]) == ("planned", None, 0, world.now)
    world.claim()
    assert world.intend([ann]) == {}
    assert world.record(("ann", "why", "send")) == {}
    assert world.claim() == []


def test_nothing_is_intended_from_the_end_of_its_window_on(world):
    world.window_ends_at = world.now + timedelta(minutes=5)
    ann, bob = world.planned(ANN, BOB)
    world.claim(lease=timedelta(hours=1))
    world.now += timedelta(minutes=5, seconds=-1)
    assert world.intend([ann]) == {}
    world.now += timedelta(seconds=1)
    assert world.intend([bob]) == {bob: Reason.OUTSIDE_WINDOW}
    assert world.status(bob) == "withheld"
    world.now += timedelta(hours=15)
    world.window_ends_at = world.now + timedelta(hours=10)
    assert world.record(("bob", "why", "send")) == {"send": 1}
    world.claim()
    assert world.intend([bob]) == {}


def test_what_a_person_releases_may_leave_after_its_window(world):
    world.window_ends_at = world.now + timedelta(minutes=5)
    (ann,) = world.planned(ANN)
    world.claim()
    world.intend([ann])
    world.ledger.sends.unknown([ann], detail="time-out", now=world.now)
    world.now += timedelta(hours=1)
    world.ledger.sends.release([ann], by="Grace", reason="checked", now=world.now)
    world.claim()
    assert world.intend([ann]) == {}


def test_what_the_gate_stopped_may_still_be_passed_over(world):
    (ann,) = world.planned(ANN)
    world.claim()
    world.ledger.sends.withheld([ann], reason=Reason.GATE_HELD, now=world.now, owner="w1")
    world.record(("ann", "why", "pass_over", "too_late"))
    (end,) = world.ledger.enrollments.tables(now=world.now)["stage_ends"].to_pylist()
    assert end["stage_key"] == "why"
    assert world.status(ann) == "withheld"


def test_an_unknown_send_of_a_contact_who_left_still_counts(world):
    (ann,) = world.planned(ANN)
    world.claim()
    world.intend([ann])
    world.ledger.sends.unknown([ann], detail="time-out", now=world.now)
    world.record(endings=[("ann", "exit_condition")])
    (row,) = world.ledger.enrollments.tables(now=world.now)["open_sends"].to_pylist()
    assert row["status"] == "unknown"


def test_consent_of_ones_own_is_enough_until_it_expires(make_world):
    world = make_world(default_basis="none")
    ann, cyd = world.planned(ANN, CYD)
    world.load(ANN, CYD, consent="opt_in")
    world.claim()
    with world.ledger._store.write() as connection:
        connection.execute(
            sa.text("update consents set expires_at = '2026-03-01' where address_hash = :hash"),
            {"hash": world.ledger.people.address_hash_of("cyd")},
        )
    assert world.intend([ann, cyd]) == {cyd: Reason.UNCONSENTED}
    assert world.intend([ann]) == {}


@pytest.mark.parametrize(
    ("scope", "target", "until"),
    [
        ("all", "", None),
        ("playbook", "dashboards", None),
        ("account", "a1", None),
        ("sending", "", None),
        ("sending", "", 5),
    ],
)
def test_a_pause_lets_nothing_go_and_loses_nothing(world, scope, target, until):
    (ann,) = world.planned(ANN)
    world.claim()
    until_at = None if until is None else world.now + until * MINUTE
    control = world.ledger.releases.control
    control(scope, target, "pause", reason="wait", by="Grace", now=world.now, until=until_at)
    assert world.intend([ann]) == {ann: Reason.PAUSED}
    assert world.status(ann) == "planned"
    assert world.claim() == []
    if until is None:
        control(scope, target, "resume", reason="go", by="Grace", now=world.now)
    world.now += 5 * MINUTE
    assert ids(world.claim()) == [ann]
    assert world.intend([ann]) == {}


def test_a_rate_limit_opens_no_lock(world):
    control = world.ledger.releases.control
    control("sending", "", "stop", reason="401", by="engine", now=world.now)
    control("sending", "", "pause", reason="429", by="engine", now=world.now, until=world.now + MINUTE)
    state = world.ledger.releases.controls()
    assert state.sending_locked == "401"
    assert state.sending_paused_until == world.now + MINUTE
    control("sending", "", "resume", reason="new key", by="Grace", now=world.now)
    state = world.ledger.releases.controls()
    assert state.sending_locked is None
    assert state.sending_paused_until is None


def test_acceptance_is_a_fact_whatever_stood_there(world):
    ann, bob, cyd = world.planned(ANN, BOB, CYD)
    world.claim()
    assert world.intend([ann, bob]) == {}
    world.ledger.sends.unknown([ann], detail="time-out", now=world.now)
    world.ledger.sends.failed([bob], detail="400", now=world.now)
    world.now += MINUTE
    world.ledger.sends.accepted([ann, bob, cyd], message_id="m", now=world.now)
    for send_id in (ann, bob, cyd):
        (row,) = world.ledger.read("send", send_id=send_id)
        assert (row["status"], row["message_id"], row["accepted_at"]) == ("accepted", "m", world.now)
    world.ledger.sends.put_back([ann], now=world.now)
    world.ledger.sends.unknown([ann], detail="late", now=world.now)
    world.ledger.sends.withheld([ann], reason=Reason.LEFT, now=world.now)
    assert world.status(ann) == "accepted"


def test_only_what_is_stuck_is_released(world):
    ann, bob = world.planned(ANN, BOB)
    world.claim()
    world.intend([ann, bob])
    world.ledger.sends.unknown([ann], detail="time-out", now=world.now)
    assert [row["send_id"] for row in world.ledger.read("stuck_sends")] == [ann]
    assert world.ledger.sends.release([ann, bob], by="Grace", reason="checked", now=world.now) == 1
    (row,) = world.ledger.read("send", send_id=ann)
    assert (row["status"], row["released_by"], row["release_reason"]) == ("planned", "Grace", "checked")
    assert row["attempt"] == 1


def test_after_an_outage_all_that_is_held_is_released_at_once(world, database):
    most = {"sqlite": 250_000, "postgresql": 65_535}[database]  # parameters that one statement may have
    (ann,) = world.planned(ANN)
    world.claim()
    world.intend([ann])
    world.ledger.sends.unknown([ann], detail="time-out", now=world.now)
    others = [str(number) for number in range(most)]
    assert world.ledger.sends.release([*others, ann], by="Grace", reason="checked", now=world.now) == 1


def test_a_message_names_all_it_came_from(world):
    (ann,) = world.planned(ANN)
    (row,) = world.ledger.read("send", send_id=ann)
    assert row["version_id"] == world.version_id
    assert row["gate_id"] == world.gate_id
    assert row["template_hash"] == world.release.template_hash("why")
    assert (row["git_sha"], row["snapshot_id"], row["arm"]) == ("abc", "s1", "treatment")


def test_two_workers_never_hold_the_same_send(world, open_again):
    contacts = [(f"c{n:03}", f"a{n % 7}") for n in range(200)]
    world.load(*contacts)
    for account in sorted({account for _, account in contacts}):
        world.enter(*(one for one in contacts if one[1] == account))
    world.record(*((contact_id, "why", "send") for contact_id, _ in contacts))
    taken: dict[str, list[str]] = {"w1": [], "w2": []}
    errors: list[Exception] = []

    def work(owner):
        try:
            ledger = open_again()
            while claimed := ledger.sends.claim(owner=owner, limit=5, now=world.now, lease=MINUTE):
                send_ids = ids(claimed)
                deadline = world.now + MINUTE
                assert ledger.sends.intend(send_ids, owner=owner, body_hash="b", now=world.now, deadline=deadline) == {}
                taken[owner] += send_ids
                ledger.sends.accepted(send_ids, message_id=owner, now=world.now)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(owner,)) for owner in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(taken["w1"]) + len(taken["w2"]) == 200
    assert not set(taken["w1"]) & set(taken["w2"])


def test_an_answer_that_comes_after_the_delivery_sets_nothing_back(world):
    (ann,) = world.planned(ANN)
    world.claim()
    world.intend([ann])
    with world.ledger._store.write() as connection:
        connection.execute(sa.text("update sends set status = 'delivered'"))
    world.ledger.sends.accepted([ann], message_id="m", now=world.now)
    (row,) = world.ledger.read("send", send_id=ann)
    assert (row["status"], row["message_id"]) == ("delivered", "m")


def test_what_stays_unknown_is_looked_for_among_the_stuck_alone(world, database):
    if database != "sqlite":
        pytest.skip("PostgreSQL chooses by the size of its tables")
    told = []
    sa.event.listen(world.ledger._store._writer, "before_cursor_execute", lambda *args: told.append(args[2:4]))
    world.ledger.sends.hold(before=world.now, now=world.now)
    ((statement, parameters),) = [one for one in told if one[0].startswith("UPDATE sends")]
    with world.ledger._store.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    assert ["ix_sends_stuck" in step.detail for step in plan] == [True]


def test_what_stays_unknown_is_held_and_its_release_stays_in_the_audit(world):
    ann, bob = world.planned(ANN, BOB)
    world.claim()
    world.intend([ann, bob])
    world.ledger.sends.unknown([ann, bob], detail="time-out", now=world.now)
    assert world.ledger.sends.hold(before=world.now, now=world.now) == 0
    assert world.ledger.sends.hold(before=world.now + MINUTE, now=world.now) == 2
    assert [row["detail"] for row in world.ledger.read("stuck_sends")] == ["time-out; no evidence came"] * 2
    assert world.claim() == []
    for by in ("Grace", "Ada"):
        assert world.ledger.sends.release([bob, ann], by=by, reason="asked them", now=world.now) == 2
        world.claim()
        world.intend([ann, bob])
        world.ledger.sends.unknown([ann, bob], detail="time-out", now=world.now)
    orders = [(row["ordered_by"], row["target"]) for row in world.ledger.read("controls") if row["scope"] == "send"]
    assert orders == [("Ada", " ".join(sorted([ann, bob]))), ("Grace", " ".join(sorted([ann, bob])))]
    assert world.ledger.releases.controls().sending_locked is None


def test_a_pause_takes_nothing_from_the_worker_that_took_over(world):
    """The first one finds its lease gone and everything paused: neither is its to write down."""
    (send_id,) = world.planned(ANN)
    world.claim("w1")
    world.now += timedelta(minutes=3)
    world.claim("w2")
    world.ledger.releases.control("all", "", "pause", reason="look", by="Grace", now=world.now)
    assert world.intend([send_id], "w1") == {send_id: Reason.PAUSED}
    assert world.status(send_id) == "claimed"
