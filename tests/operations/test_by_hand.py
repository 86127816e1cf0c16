"""Who enters at a launch, on a day, or because a person says so; and who is on a list of those who want nothing."""

from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from uptake.domain.ids import address_hash
from uptake.errors import Held, Refused
from uptake.operations.by_hand import enter, leave
from uptake.operations.import_suppressions import import_suppressions
from uptake.ports import Keys

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))


def by_hand(town, now, account_id, **changes):
    words = {"reason": "Asked for it", "by": "Ada"} | changes
    return enter(town.journeys, town, town.ledger, account_id=account_id, playbook="alpha", now=now, **words)


def entered(town):
    return {row[0] for row in town.rows("select account_id from enrollments")}


def test_a_launch_takes_in_nobody_who_matched_before_it_and_everybody_who_comes_to_match(town, now):
    town.releases["alpha"] = town.release(backfill="none", holdout="0%")
    planned = town.plan()
    assert planned.plan.count_accounts == 0
    outside = planned.plan.summary["matched_before_launch"]
    assert planned.plan.summary["left_out"]["matched_before_launch"]["accounts"] == len(outside) > 5
    town.approve()
    assert town.tick().entered == {}
    town.settle(3, prefix="new", is_plain=True)
    town.publish(now + HOUR, snapshot_id="s1")
    assert town.plan(now=now + HOUR).plan.summary["matched_before_launch"] == []  # it is launched
    assert town.tick(now + HOUR).entered == {"alpha": 3}
    town.approve(now=now + 2 * HOUR)
    town.tick(now + 2 * HOUR)
    assert entered(town) == {"new-0", "new-1", "new-2"}
    assert not entered(town) & set(outside)


def test_a_flood_of_new_ones_is_held_by_how_many_match(town, now):
    town.releases["alpha"] = town.release(backfill="none")
    town.approve()
    town.settle(40, prefix="new", is_plain=True)
    town.publish(now + HOUR, snapshot_id="s1")
    assert "alpha" in town.tick(now + HOUR).held


def test_a_plan_without_a_backfill_can_be_widened_later(town, now):
    town.releases["alpha"] = town.release(backfill="none")
    town.approve()
    town.releases["alpha"] = town.release()
    town.approve(now=now + HOUR)
    assert town.tick(now + HOUR).entered["alpha"] > 5


def test_a_calendar_opens_on_its_days_only_and_takes_everybody_in_again(town, now):
    days = [now.date(), now.date() + 30 * DAY]
    town.releases["alpha"] = town.release(
        enter="calendar", calendar=days, backfill="none", stages={"news": {"email": "news.md"}}
    )
    town.approve()
    first = town.tick().entered["alpha"]
    assert first > 5
    town.send(now)
    assert town.tick(now + 5 * HOUR).entered == {}
    for day in (3, 10, 11):
        town.publish(now + day * DAY, snapshot_id=f"s{day}")
        assert town.tick(now + day * DAY).entered == {}
        town.send(now + day * DAY)
    town.publish(now + 30 * DAY, snapshot_id="s30")
    assert town.tick(now + 30 * DAY).entered["alpha"] == first


def test_a_person_takes_in_an_account_that_does_not_match_and_it_stays_outside_lift(town, now, tmp_path):
    town.releases["alpha"] = town.release(enter="manual", holdout="0%", audience={"where": "account.plan == 'none'"})
    town.approve()
    assert town.tick().entered == {}
    account_id = next(
        key for key, row in town.accounts.items() if row["age_days"] > 14 and not row["count_open_tickets"]
    )
    assert by_hand(town, now, account_id) == 2
    row = "select account_id, arm, entered_by, entry_reason from enrollments"
    assert town.rows(row) == [(account_id, "treatment", "Ada", "Asked for it")]
    town.ledger.export(tmp_path / "export")
    assert pq.read_table(tmp_path / "export" / "enrollments.parquet")["is_measured"].to_pylist() == [False]
    assert town.tick(now).counts["send"] + town.tick(now).counts.get("retry:outside_window", 0) > 0
    with pytest.raises(Refused, match="in already"):
        by_hand(town, now, account_id)


def test_what_excludes_an_account_and_its_draw_hold_for_a_person_too(town, now):
    town.releases["alpha"] = town.release(holdout="100%", backfill="none")
    with pytest.raises(Held, match="no release of it is approved"):
        by_hand(town, now, "account-0")
    town.approve()
    new = next(key for key, row in town.accounts.items() if row["age_days"] < 14 and not row["count_open_tickets"])
    with pytest.raises(Refused, match="too new"):
        by_hand(town, now, new)
    plain = next(key for key, row in town.accounts.items() if row["age_days"] > 14 and not row["count_open_tickets"])
    with pytest.raises(Refused, match="it was drawn to holdout"):
        by_hand(town, now, plain)
    with pytest.raises(Refused, match="nobody of it is in snapshot"):
        by_hand(town, now, "nowhere")
    with pytest.raises(Refused, match="expected a reason and the name"):
        by_hand(town, now, plain, by="match")
    town.ledger.releases.control("playbook", "alpha", "pause", reason="holiday", by="Ada", now=now)
    with pytest.raises(Held, match="it is paused"):
        by_hand(town, now, plain)
    with pytest.raises(Held, match="was not taken into alpha"):
        by_hand(town, now + 3 * DAY, plain)
    assert entered(town) == set()


def test_a_person_takes_an_account_out_and_nothing_more_is_sent(town, now):
    town.approve()
    town.tick()
    (account_id,) = town.rows("select account_id from sends where status = 'planned' limit 1")[0]
    leave(town.ledger, account_id=account_id, playbook="alpha", reason="Asked us to", by="Ada", now=now)
    assert town.rows("select distinct status, reason from sends where account_id = ?", account_id) == [
        ("withheld", "stopped")
    ]
    row = "select status, end_reason, ended_by, end_note from enrollments where account_id = ?"
    assert town.rows(row, account_id) == [("ended", "stopped", "Ada", "Asked us to")]
    with pytest.raises(Refused, match=f"{account_id} is not in alpha"):
        leave(town.ledger, account_id=account_id, playbook="alpha", reason="Again", by="Ada", now=now)
    assert town.tick(now + HOUR).entered == {}


@pytest.mark.parametrize(
    "lines",
    [
        ["Mailbox-account-0-0@example.invalid ", "", "nobody@example.invalid"],
        ["name,Email", "Doe,mailbox-account-0-0@example.invalid", "Roe,nobody@example.invalid"],
    ],
)
def test_a_list_of_addresses_stops_all_mail_to_them_and_keeps_hashes_only(town, now, lines):
    found = import_suppressions(town.ledger, KEYS, lines, reason="List of 2025", by="Ada", now=now)
    assert (found.addresses, found.unreadable) == (2, ())
    stored = town.rows("select address_hash, topic, reason, source from suppressions")
    hashes = {address_hash(KEYS.pseudonym, f"{name}@example.invalid") for name in ("mailbox-account-0-0", "nobody")}
    assert {row[0] for row in stored} == hashes
    assert {row[1:] for row in stored} == {("", "imported", "imported by Ada: List of 2025")}
    assert "@" not in str(stored)
    town.approve()
    town.tick()
    assert town.rows("select count(*) from sends where contact_id = 'contact-account-0-0'") == [(0,)]


def test_lines_that_hold_no_address_are_counted_and_a_list_without_any_is_refused(town, now):
    words = {"reason": "List", "by": "Ada", "now": now}
    found = import_suppressions(town.ledger, KEYS, ["a@example.invalid", "call me", "@"], **words)
    assert (found.addresses, found.unreadable) == (1, (2, 3))
    for lines in ([], ["name", "Doe"]):
        with pytest.raises(Refused, match="the list holds no address"):
            import_suppressions(town.ledger, KEYS, lines, **words)
    with pytest.raises(Refused, match="expected a reason and a name"):
        import_suppressions(town.ledger, KEYS, ["a@example.invalid"], reason=" ", by="Ada", now=now)
