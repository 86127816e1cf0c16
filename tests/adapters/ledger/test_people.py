from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from uptake.adapters.ledger.suppression import Stop, suppress
from uptake.domain.eligibility import Reason
from uptake.domain.sends import SuppressionReason

ANN, BOB = ("ann", "a1"), ("bob", "a1")


def people(*rows, **kinds):
    names = ["contact_id", "account_id", "address", "given_name", "full_name", "role", "time_zone", "locale"]
    names += ["consent_basis", "consent_at", "consent_expires_at"]
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    return pa.Table.from_pylist([{**dict.fromkeys(names), **row} for row in rows], schema=schema)


ROW = {"contact_id": "ann", "account_id": "a1", "address": "ann@example.invalid", "given_name": "Ann"}


def test_a_load_counts_what_is_new_or_changed(world):
    assert world.load(ANN, BOB) == 2
    assert world.load(ANN, BOB) == 0
    assert world.ledger.people.load(people({**ROW, "given_name": "Anna"}), now=world.now) == 1
    person = world.ledger.people.person("ann")
    assert person["given_name"] == "Anna"
    assert person["address"] == "ann@example.invalid"
    assert "address_hash" not in person
    assert world.ledger.people.person("nobody") is None
    assert world.ledger.people.address_hash_of("nobody") is None


def test_a_contact_named_twice_is_loaded_once(world):
    twice = people(ROW, {**ROW, "given_name": "Anna"})
    assert world.ledger.people.load(twice, now=world.now) == 1
    assert world.ledger.people.load(twice, now=world.now) == 0


def test_an_empty_load_changes_nothing(world):
    assert world.ledger.people.load(people(), now=world.now) == 0


def test_a_load_without_optional_columns_or_addresses(world):
    table = pa.table({"contact_id": ["x", "y"], "account_id": ["a", "a"], "address": ["", None]})
    assert world.ledger.people.load(table, now=world.now) == 2
    assert world.ledger.people.person("x")["address"] is None
    tables = world.ledger.enrollments.tables(now=world.now)
    assert tables["people"]["has_address"].to_pylist() == [False, False]
    assert tables["people"]["address_hash"].to_pylist() == [None, None]


def erase(world, contact_id="ann"):
    with world.ledger._store.write() as connection:
        connection.execute(
            sa.text(
                "insert into erasures (address_hash, requested_by, requested_at)"
                " select address_hash, 'Grace', '2026-01-01' from people where contact_id = :contact_id"
            ),
            {"contact_id": contact_id},
        )
        blank = "address = null, given_name = null, full_name = null, erased_at = '2026-01-01'"
        connection.execute(sa.text(f"update people set {blank} where contact_id = :c"), {"c": contact_id})


def test_who_was_erased_stays_erased(world):
    world.load(ANN)
    erase(world)
    assert world.load(ANN, consent="opt_in") == 0
    assert world.ledger.people.person("ann")["address"] is None
    assert world.ledger.enrollments.tables(now=world.now)["consents"].num_rows == 0


def test_an_erased_address_stays_erased_under_another_contact(world):
    world.load(ANN)
    erase(world)
    world.ledger.people.load(people({**ROW, "contact_id": "ann2", "address": "Ann@Example.invalid"}), now=world.now)
    person = world.ledger.people.person("ann2")
    assert (person["address"], person["given_name"]) == (None, None)
    rows = {row["contact_id"]: row for row in world.ledger.enrollments.tables(now=world.now)["people"].to_pylist()}
    assert rows["ann2"]["erased"] is True


def consents(world):
    return world.ledger.enrollments.tables(now=world.now)["consents"].to_pylist()


def test_consents_come_with_the_load_and_are_recorded_once(world):
    given = world.now - timedelta(days=30)
    row = {**ROW, "consent_basis": "opt_in", "consent_at": given.replace(tzinfo=None)}
    for _ in range(2):
        world.ledger.people.load(people(row, consent_at=pa.timestamp("us")), now=world.now)
    assert [one["basis"] for one in consents(world)] == ["opt_in"]
    aware = {**row, "consent_at": given}
    world.ledger.people.load(people(aware, consent_at=pa.timestamp("us", "UTC")), now=world.now)
    with world.ledger._store.read() as connection:
        (found,) = connection.exec_driver_sql("select given_at from consents").scalars().all()
    assert str(found)[:10] == str(given)[:10]


def test_no_basis_is_no_consent(world):
    rows = [{**ROW, "contact_id": str(basis), "consent_basis": basis} for basis in (None, "")]
    world.ledger.people.load(people(*rows), now=world.now)
    assert consents(world) == []


def test_the_newest_word_of_a_person_counts_whatever_came_before(world):
    for basis in ("opt_in", "none", "none", "opt_in", "opt_in"):
        world.now += timedelta(days=1)
        world.load(ANN, consent=basis)
        assert [one["basis"] for one in consents(world)] == [basis]


def test_of_two_words_from_one_moment_the_refusal_wins_and_stays(world):
    rows = [{**ROW, "contact_id": basis, "consent_basis": basis} for basis in ("opt_in", "none")]
    for _ in range(3):
        world.ledger.people.load(people(*rows), now=world.now)
        assert [one["basis"] for one in consents(world)] == ["none"]
        world.now += timedelta(days=1)


def test_an_old_refusal_with_its_date_yields_to_a_newer_consent(world):
    for basis, age in (("opt_in", 10), ("none", 20), ("opt_in", 10)):
        given = (world.now - timedelta(days=age)).replace(tzinfo=None)
        row = {**ROW, "consent_basis": basis, "consent_at": given}
        world.ledger.people.load(people(row, consent_at=pa.timestamp("us")), now=world.now)
        assert [one["basis"] for one in consents(world)] == ["opt_in"]


def say(world, basis, *, ends=None, contact_id="ann"):
    row = {**ROW, "contact_id": contact_id, "consent_basis": basis, "consent_expires_at": ends}
    world.ledger.people.load(people(row, consent_expires_at=pa.timestamp("us", "UTC")), now=world.now)


def test_a_consent_counts_until_the_moment_at_which_it_ends(world):
    ends = world.now + timedelta(days=2)
    say(world, "implied", ends=ends)
    assert consents(world) == [{"basis": "implied", "expires_at": ends.replace(tzinfo=None), **hashed(world)}]
    world.now = ends - timedelta(seconds=1)
    assert consents(world) != []
    world.now = ends
    assert consents(world) == []
    say(world, "implied", ends=ends + timedelta(days=2))
    assert consents(world) != [], "renewed"
    say(world, "implied")
    world.now += timedelta(days=900)
    assert consents(world) != [], "and then for good"


def test_a_refusal_never_ends_and_counts_again_after_the_consent_that_did(world):
    say(world, "none", ends=world.now)
    assert [one["basis"] for one in consents(world)] == ["none"]
    world.now += timedelta(days=1)
    say(world, "implied", ends=world.now + timedelta(days=1))
    assert [one["basis"] for one in consents(world)] == ["implied"]
    world.now += timedelta(days=1)
    assert [one["basis"] for one in consents(world)] == ["none"]


def hashed(world):
    return {"address_hash": world.ledger.people.address_hash_of("ann")}


def test_a_suppression_holds_for_every_later_address_check(world):
    world.load(ANN)
    hashed = world.ledger.people.address_hash_of("ann")
    for _ in range(2):
        world.ledger.people.suppress(
            hashed, reason=SuppressionReason.UNSUBSCRIBED, topic=None, source="page", now=world.now
        )
    rows = world.ledger.enrollments.tables(now=world.now)["suppressions"].to_pylist()
    assert rows == [{"address_hash": hashed, "topic": None}]
    (row,) = world.ledger.read("contact_suppressions", contact_id="ann")
    assert (row["reason"], row["source"], row["suppressed_at"]) == ("unsubscribed", "page", world.now)


@pytest.mark.parametrize(
    ("reason", "follows"),
    [
        (SuppressionReason.UNSUBSCRIBED, True),
        (SuppressionReason.COMPLAINED, True),
        (SuppressionReason.IMPORTED, True),
        (SuppressionReason.BOUNCED, False),
        (SuppressionReason.INVALID, False),
    ],
)
def test_what_a_person_said_goes_with_them_to_a_new_address(world, reason, follows):
    world.load(ANN, BOB)
    old = world.ledger.people.address_hash_of("ann")
    world.ledger.people.suppress(old, reason=reason, topic="training", source="page", now=world.now)
    later = world.now + timedelta(days=3)
    world.ledger.people.load(people({**ROW, "address": "ann@new.invalid"}), now=later)
    new = world.ledger.people.address_hash_of("ann")
    assert new != old
    stopped = world.ledger.enrollments.tables(now=later)["suppressions"].to_pylist()
    expected = [{"address_hash": one, "topic": "training"} for one in ((old, new) if follows else (old,))]
    assert sorted(stopped, key=str) == sorted(expected, key=str)


def test_a_stop_outlives_a_day_on_which_the_source_names_no_address(world):
    world.load(ANN)
    old = hashed(world)["address_hash"]
    world.ledger.people.unsubscribe("ann", topic=None, source="one_click", now=world.now)
    nowhere = people({**ROW, "address": None})
    assert [world.ledger.people.load(nowhere, now=world.now) for _ in range(2)] == [1, 0]
    (row,) = world.ledger.enrollments.tables(now=world.now)["people"].to_pylist()
    assert (row["has_address"], row["address_hash"]) == (False, old)
    world.ledger.people.load(people({**ROW, "address": "ann@new.invalid"}), now=world.now)
    stopped = world.ledger.enrollments.tables(now=world.now)["suppressions"].to_pylist()
    assert hashed(world)["address_hash"] in [one["address_hash"] for one in stopped]


def test_a_click_on_stop_wins_over_a_subscription_dated_after_it(world):
    """The mail service's clock may run ahead of ours: what was answered with 2xx holds all the same."""
    world.load(ANN)
    address = hashed(world)["address_hash"]
    again = Stop(
        address_hash=address, topic="training", reason=SuppressionReason.UNSUBSCRIBED,
        source="event", lifted_at=world.now + timedelta(minutes=5),
    )  # fmt: skip
    with world.ledger._store.write() as connection:
        suppress(connection, [again], now=world.now)
    world.ledger.people.unsubscribe("ann", topic="training", source="one_click", now=world.now)
    stopped = world.ledger.enrollments.tables(now=world.now)["suppressions"].to_pylist()
    assert stopped == [{"address_hash": address, "topic": "training"}]


def test_who_unsubscribes_while_a_new_address_is_loaded_stops_that_one_too(world, open_again):
    """The load looks for stops that go along; one that is about to be committed must not fall between."""
    world.load(ANN)
    old, other = hashed(world)["address_hash"], open_again()
    with ThreadPoolExecutor() as pool:
        with other._store.write() as connection:
            other._store.stop(connection)
            loading = pool.submit(
                world.ledger.people.load, people({**ROW, "address": "ann@new.invalid"}), now=world.now
            )
            time.sleep(0.3)
            stop = Stop(
                address_hash=old, topic="", reason=SuppressionReason.UNSUBSCRIBED,
                source="one_click", suppressed_at=world.now,
            )  # fmt: skip
            suppress(connection, [stop], now=world.now)
        loading.result()
    stopped = {
        row["address_hash"] for row in world.ledger.enrollments.tables(now=world.now)["suppressions"].to_pylist()
    }
    assert hashed(world)["address_hash"] in stopped


def test_an_unsubscribe_of_somebody_forgotten_holds_once_they_are_loaded_again(world, tmp_path):
    """A restored ledger may know nobody whom a token names: what was answered with 2xx must hold all the same."""
    world.ledger.people.unsubscribe("ann", topic="training", source="one_click", now=world.now)
    later = world.now + timedelta(days=1)
    for moment in (later, later + timedelta(days=1)):
        world.ledger.people.load(people(ROW), now=moment)
        stopped = world.ledger.enrollments.tables(now=moment)["suppressions"].to_pylist()
        assert stopped == [{**hashed(world), "topic": "training"}]
    (row,) = world.ledger.read("contact_suppressions", contact_id="ann")
    assert row["suppressed_at"] == world.now, "whoever takes it back later has the last word"
    world.ledger.export(tmp_path)
    assert pq.read_table(tmp_path / "preferences.parquet").num_rows == 0, "it is no answer about a feature"


def test_a_link_of_an_old_mail_stops_its_topic_by_all_names_it_had(world):
    """A topic is the group of the mail service, whatever it was called when the mail left."""
    topics = {"training": 7, "offers": 9}
    before = world.release.model_copy(
        update={"workspace": world.release.workspace.model_copy(update={"topics": topics})}
    )
    world.ledger.releases.save_version(before, git_sha="abc", now=world.now)
    (send_id,) = world.planned(ANN)
    world.claim()
    world.ledger.people.unsubscribe("ann", topic="training", source="one_click", now=world.now)
    assert world.intend([send_id]) == {send_id: Reason.SUPPRESSED}
    stopped = world.ledger.enrollments.tables(now=world.now)["suppressions"]["topic"].to_pylist()
    assert sorted(stopped) == ["product-training", "training"]
    world.ledger.people.unsubscribe("ann", topic="never heard of", source="one_click", now=world.now)
    assert world.ledger.enrollments.tables(now=world.now)["suppressions"].num_rows == 3


def test_a_stop_that_was_taken_back_stays_behind(world):
    world.load(ANN)
    old = world.ledger.people.address_hash_of("ann")
    reason = SuppressionReason.UNSUBSCRIBED
    world.ledger.people.suppress(old, reason=reason, topic=None, source="page", now=world.now)
    taken_back = Stop(
        address_hash=old, topic="", reason=reason, source="event", lifted_at=world.now + timedelta(days=1)
    )
    with world.ledger._store.write() as connection:
        suppress(connection, [taken_back], now=world.now)
    later = world.now + timedelta(days=3)
    world.ledger.people.load(people({**ROW, "address": "ann@new.invalid"}), now=later)
    assert world.ledger.enrollments.tables(now=later)["suppressions"].to_pylist() == []


def test_an_answer_is_kept_and_ends_what_teaches_that_feature_to_that_person(world):
    """They said that they need no lesson: another one would be reported as spam."""
    ann, bob = world.planned(ANN, BOB)
    world.claim(limit=1)
    world.ledger.people.answer("ann", kind="already_do", feature_key="dashboards", now=world.now)
    rows = world.ledger.read("contact_preferences", contact_id="ann")
    assert rows == [{"kind": "already_do", "value": "dashboards", "given_at": world.now}]
    (entered,) = world.ledger.read("contact_enrollments", contact_id="ann")
    assert (entered["status"], entered["end_reason"], entered["ended_at"]) == ("ended", "answered", world.now)
    failures = world.ledger.sends.intend([ann], owner="w1", body_hash="x", now=world.now, deadline=world.now)
    assert failures == {ann: Reason.ANSWERED}, "a worker that holds it already does not send it"
    assert world.ledger.read("send", send_id=bob)[0]["status"] == "planned"


def answers_of(world):
    return [
        (row["contact_id"], row["feature_key"], row["answer"])
        for row in world.ledger.enrollments.tables(now=world.now)["feature_answers"].to_pylist()
    ]


def test_the_last_word_about_a_feature_counts_until_it_is_taken_back(world, tmp_path):
    say = world.ledger.people
    say.take_back_answer("ann", feature_key="boards", now=world.now)
    for kind in ("already_do", "already_do", "colleague"):
        say.answer("ann", kind=kind, feature_key="boards", now=world.now)
    say.answer("ann", kind="not_needed", feature_key="news", now=world.now)
    say.unsubscribe("ann", topic="boards", source="page", now=world.now)  # kept: nobody knows her address
    assert sorted(answers_of(world)) == [("ann", "boards", "colleague"), ("ann", "news", "not_needed")]
    for _ in range(2):
        say.take_back_answer("ann", feature_key="boards", now=world.now)
    assert answers_of(world) == [("ann", "news", "not_needed")]
    assert (say.answer_of("ann", feature_key="boards"), say.answer_of("ann", feature_key="news")) == (
        None, "not_needed",
    )  # fmt: skip
    kinds = [row["kind"] for row in world.ledger.read("contact_preferences", contact_id="ann")]
    assert kinds == ["already_do", "colleague", "not_needed", "unsubscribed", "taken_back"]
    world.ledger.export(tmp_path)
    exported = pq.read_table(tmp_path / "preferences.parquet").to_pylist()
    assert [(row["feature_key"], row["answer"]) for row in exported] == [("news", "not_needed")]


def test_an_answer_from_before_the_entry_stops_a_mail_at_its_intent(world):
    """A tick may have read the ledger just before the answer came."""
    world.ledger.people.answer("ann", kind="already_do", feature_key="dashboards", now=world.now)
    world.ledger.people.answer("bob", kind="already_do", feature_key="boards", now=world.now)
    ann, bob = world.planned(ANN, BOB)
    world.claim()
    assert world.intend([ann, bob]) == {ann: Reason.ANSWERED}
    assert world.ledger.read("send", send_id=ann)[0]["reason"] == "answered"
    assert world.intend([bob]) == {}


def test_an_answer_about_one_feature_ends_nothing_else(world):
    ann, _ = world.planned(ANN, BOB)
    world.ledger.people.answer("ann", kind="not_needed", feature_key="boards", now=world.now)
    assert world.ledger.read("contact_enrollments", contact_id="ann")[0]["status"] == "open"
    assert world.ledger.read("send", send_id=ann)[0]["status"] == "planned"


def test_an_answer_withholds_what_is_planned_with_its_reason(world):
    ann, _ = world.planned(ANN, BOB)
    world.ledger.people.answer("ann", kind="colleague", feature_key="dashboards", now=world.now)
    row = world.ledger.read("send", send_id=ann)[0]
    assert (row["status"], row["reason"]) == ("withheld", "answered")
    decided = [one for one in world.ledger.read("contact_history", contact_id="ann") if one["what"] == "decided"]
    assert [(one["outcome"], one["reason"]) for one in decided][-1] == ("end", "answered")
