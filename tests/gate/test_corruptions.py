# ruff: noqa: E501  # a table is read by its rows
"""Spoiled marts never lead to a mail, and the gate says what is wrong; after harmless changes mails leave.

Through the real refresh, gate, snapshots, ledger and tick, in a home where mails are due and the last good snapshot is
too old to send from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.gate.conftest import World
from uptake.errors import Held
from uptake.operations.gate import refuse_held_reports
from uptake.ports import Build, Check

pytestmark = pytest.mark.slow

CORRUPTIONS: list[tuple[str, tuple[str, ...], str, str]] = [
    ("an empty mart", ("delete from marts.accounts_current",), "gx:accounts_current:expect_table_row_count_to_be_between", "found 0"),
    ("no contacts", ("delete from marts.dim_contacts",), "gx:dim_contacts:unexpected_rows_expectation:who_acts_is_somebody", "1 rows"),
    ("no recommendations", ("delete from marts.feature_recommendations",), "gate:rows:feature_recommendations", "0 rows; 746"),
    ("half the rows", ("delete from marts.fct_account_feature_daily where hash(account_id, date_day) % 2 = 0",), "gate:rows:fct_account_feature_daily", "a fall of at most 30%"),
    ("ten times the rows", ("insert into marts.contact_features select md5(contact_id || n), account_id, feature_key, adoption_state, days_used_28, first_used_on, last_used_on, first_adopted_on from marts.contact_features, range(9) as r(n)",), "gate:rows:contact_features", "at most 3 times"),
    ("one account only", ("delete from marts.dim_accounts where account_id <> 'a001'",), "gate:rows:dim_accounts", "1 rows; 60"),
    ("a NULLed key", ("update marts.accounts_current set account_id = null where account_id = 'a001'",), "gx:accounts_current:unexpected_rows_expectation:one_row_per_account", "1 rows"),
    ("a duplicated grain", ("insert into marts.account_features select * from marts.account_features limit 3",), "gx:account_features:unexpected_rows_expectation:one_row_per_account_and_feature", "3 rows"),
    ("a day loaded twice", ("insert into marts.fct_account_feature_daily select * from marts.fct_account_feature_daily where date_day = date '2026-03-01'",), "gx:fct_account_feature_daily:unexpected_rows_expectation:one_row_per_account_and_feature_and_date", "rows"),
    ("a share over one", ("update marts.accounts_current set adoption_breadth = 1.7 where account_id = 'a001'",), "gx:accounts_current:expect_column_values_to_be_between:adoption_breadth", "1 of 60 rows, like 1.7"),
    ("a share in percent", ("update marts.accounts_current set stickiness = stickiness * 100",), "gx:accounts_current:expect_column_values_to_be_between:stickiness", "60 of 60"),
    ("a breadth that does not add up", ("update marts.accounts_current set adoption_breadth = 0.111",), "gx:accounts_current:unexpected_rows_expectation:breadth_is_adopted_over_entitled", "60 rows"),
    ("an unknown state", ("update marts.account_features set adoption_state = 'Adopted' where adoption_state = 'adopted'",), "gx:account_features:expect_column_values_to_be_in_set:adoption_state", "like Adopted"),
    ("a NULL state", ("update marts.account_features set adoption_state = null where account_id = 'a001'",), "gx:account_features:expect_column_values_to_not_be_null:adoption_state", "rows"),
    ("goals moved", ("update marts.account_features set adoption_state = 'adopted' where adoption_state = 'tried'",), "gx:account_features:unexpected_rows_expectation:adopted_means_enough_days", "rows"),
    ("never, but used", ("update marts.account_features set adoption_state = 'never' where adoption_state = 'tried'",), "gx:account_features:unexpected_rows_expectation:never_means_no_use", "rows"),
    ("stale events", ("delete from marts.fct_account_feature_daily where date_day > date '2026-02-27'",), "gate:freshness", "last usage on 2026-02-27"),
    ("future events", ("update marts.fct_account_feature_daily set date_day = date_day + 1",), "gate:freshness", "expected none after as_of"),
    ("an epoch in the wrong unit", ("update marts.dim_accounts set created_at = timestamp '1970-01-21 00:00:00'",), "gx:dim_accounts:unexpected_rows_expectation:created_at_is_plausible", "60 rows"),
    ("a missing mart", ("drop table marts.feature_recommendations",), "gate:columns:feature_recommendations", "is not in the warehouse"),
    ("a renamed column", ("alter table marts.contacts_current rename role to title",), "gate:columns:contacts_current", "column role is missing"),
    ("a retyped column", ("alter table marts.dim_accounts alter arr type varchar",), "gate:columns:dim_accounts", "column arr is of type VARCHAR, expected DOUBLE"),
    ("a local timestamp", ("alter table marts.dim_accounts alter created_at type timestamptz",), "gate:columns:dim_accounts", "TIMESTAMP WITH TIME ZONE, expected TIMESTAMP"),
    ("raw user ids", ("update marts.dim_contacts set contact_id = 'user-' || contact_id",), "gx:dim_contacts:unexpected_rows_expectation:contact_id_is_a_pseudonym", "180 rows"),
    ("an address in a mart", ("update marts.dim_accounts set csm = 'jane@example.invalid'",), "gx:dim_accounts:unexpected_rows_expectation:no_address", "60 rows"),
    ("usage of unknown accounts", ("update marts.fct_account_feature_daily set account_id = 'x' || account_id where account_id < 'a010'",), "gx:fct_account_feature_daily:unexpected_rows_expectation:known_account", "10 rows"),
    ("an unknown feature", ("delete from marts.dim_features where feature_key = 'api'",), "gx:account_features:unexpected_rows_expectation:known_feature", "1 rows"),
    ("an account lost between models", ("delete from marts.accounts_current where account_id = 'a001'",), "gx:accounts_current:unexpected_rows_expectation:same_accounts_as_dim_accounts", "1 rows"),
    ("people in a wrong account", ("update marts.contacts_current set account_id = 'a002' where account_id = 'a001'",), "gx:contacts_current:unexpected_rows_expectation:same_contacts_as_dim_contacts", "rows"),
    ("advice on what was not bought", ("update marts.account_features set is_entitled = false where feature_key = 'sso'",), "gx:feature_recommendations:unexpected_rows_expectation:bought", "rows"),
    ("advice twice on one rank", ("update marts.feature_recommendations set recommendation_rank = 1",), "gx:feature_recommendations:unexpected_rows_expectation:one_row_per_contact_and_recommendation_rank", "rows"),
    ("entitlement unknown", ("update marts.account_features set is_entitled = null where account_id = 'a001'",), "gx:account_features:expect_column_values_to_not_be_null:is_entitled", "rows"),
    ("no rule for adoption", ("update marts.dim_features set adopted_days = 0",), "gx:dim_features:expect_column_values_to_be_between:adopted_days", "6 of 6"),
    ("a clock three hours ahead", ("update staging.stg_usage_events set occurred_at = occurred_at + interval 3 hours",), "gate:future", "newest events lie after now"),
    ("nothing since two days, though the marts look fresh", ("delete from staging.stg_usage_events where occurred_at > timestamp '2026-02-28 16:00'",), "gate:freshness", "37.0 h old; expected at most 36 h"),
    ("a log that rests at weekends and broke off before one", ("create or replace table staging.stg_usage_events as select 'e' || epoch(n)::bigint as event_id, 'a001' as account_id, 'u1' as user_id, n as occurred_at from range(timestamp '2026-01-05', timestamp '2026-02-26 12:00', interval 10 minutes) as r(n) where dayofweek(n) between 1 and 5",), "gate:freshness", "89.2 h old, 41.2 h without Saturday and Sunday, on which this log has hardly any events; expected at most 36 h"),
    ("accounts created next year", ("update marts.dim_accounts set created_at = created_at + interval 1 year",), "gate:future", "60 rows of dim_accounts were created after now"),
    ("one event of the future", ("insert into marts.fct_account_feature_daily by name select * replace (date '2026-03-05' as date_day) from marts.fct_account_feature_daily limit 1",), "gate:freshness", "last usage on 2026-03-05"),
    ("a time zone moved", ("create or replace table marts.fct_account_feature_daily as select account_id, feature_key, date_day - (hash(account_id, feature_key, date_day) % 2)::int as date_day, sum(count_events)::bigint as count_events, max(count_contacts) as count_contacts, sum(sum_quantity) as sum_quantity from marts.fct_account_feature_daily group by 1, 2, 3",), "gate:past:days", "days that are over"),
    ("half of one feature", ("delete from marts.fct_account_feature_daily where feature_key = 'dashboards' and hash(account_id, date_day) % 2 = 0",), "gate:past:features", "dashboards: "),
    ("one account only, all its usage", ("create or replace table marts.fct_account_feature_daily as select 'a001' as account_id, feature_key, date_day, sum(count_events)::bigint as count_events, sum(count_contacts)::bigint as count_contacts, sum(sum_quantity) as sum_quantity from marts.fct_account_feature_daily group by 2, 3",), "gate:rows:fct_account_feature_daily", "a fall of at most 30%"),
    ("a day copied over the next", ("delete from marts.fct_account_feature_daily where date_day = date '2026-03-01'", "insert into marts.fct_account_feature_daily by name select * replace (date_day + 1 as date_day) from marts.fct_account_feature_daily where date_day = date '2026-02-28'"), "gx:fct_account_feature_daily:unexpected_rows_expectation:no_day_is_a_copy", "1 rows"),
    ("a week of the past gone", ("delete from marts.fct_account_feature_daily where date_day between date '2026-02-09' and date '2026-02-15'",), "gate:past:days", "expected at most 10%"),
    ("the weeks before gone, but not what was before them", ("update marts.fct_account_feature_daily set date_day = date_day - 60 where date_day < date '2026-02-20'",), "gate:past:days", "expected at most 10%"),
    ("quantities in another unit", ("update marts.fct_account_feature_daily set sum_quantity = sum_quantity * 1000",), "gate:scale:quantity_per_event", "1000 at the median"),
    ("money in cents", ("update marts.accounts_current set arr = arr * 100",), "gate:scale:arr", "at the median"),
    ("every habit lost overnight", ("update marts.account_features set adoption_state = 'lapsed', days_used_28 = 0 where adoption_state = 'adopted'",), "gate:drift:states", "of accounts and features are in another state"),
    ("everybody suddenly broad", ("update marts.accounts_current set count_features_adopted = count_features_entitled, adoption_breadth = 1",), "gate:drift:breadth", "another tenth of breadth"),
    ("everybody gone", ("update marts.accounts_current set churned = true",), "gate:drift:accounts", "100% of accounts"),
    ("plans in capitals", ("update marts.dim_accounts set plan = upper(plan)", "update marts.accounts_current set plan = upper(plan)"), "gate:drift:accounts", "100% of accounts"),
    ("daily facts of another build", ("delete from marts.fct_account_feature_daily where account_id = 'a001'",), "gx:account_features:unexpected_rows_expectation:use_as_in_daily", "rows"),
    ("a mailed holdout", ("update marts.fct_outcomes set count_sends_accepted = 1 where arm = 'holdout'",), "gx:fct_outcomes:unexpected_rows_expectation:holdout_got_no_mail", "20 rows"),
]  # fmt: skip


BENIGN: list[tuple[str, tuple[str, ...]]] = [
    ("nothing", ()),
    ("another column", ("alter table marts.dim_accounts add column industry varchar default 'x'",)),
    ("the order of columns", ("create or replace table marts.dim_features as select adopted_days, * exclude adopted_days from marts.dim_features",)),
    ("the order of rows", ("create or replace table marts.account_features as from marts.account_features order by hash(account_id, feature_key)",)),
    ("a smaller integer", ("alter table marts.dim_accounts alter seats type integer",)),
    ("a view", ("alter table marts.dim_contacts rename to held_contacts", "create view marts.dim_contacts as from marts.held_contacts")),
    ("the first advice taken back", ("delete from marts.feature_recommendations where recommendation_rank = 1", "update marts.feature_recommendations set recommendation_rank = recommendation_rank - 1")),
    ("unknown money and seats", ("update marts.dim_accounts set arr = null, seats = null, currency = null, csm = null", "update marts.accounts_current set arr = null, seats = null, seats_used_share = null, adoption_depth = null, health = null, stickiness = null, usage_trend = null")),
    ("a new account without usage", ("insert into marts.dim_accounts by name select 'zz' as account_id, 'default' as plan", "insert into marts.accounts_current by name select 'zz' as account_id, 'default' as plan, 0 as count_features_entitled, 0 as count_features_adopted")),
    ("a quiet night", ("delete from staging.stg_usage_events where occurred_at > timestamp '2026-03-01 20:00'",)),
    ("a weekend on which this log rests", ("create or replace table staging.stg_usage_events as select 'e' || epoch(n)::bigint as event_id, 'a001' as account_id, 'u1' as user_id, n as occurred_at from range(timestamp '2026-01-05', timestamp '2026-02-27 17:00', interval 10 minutes) as r(n) where dayofweek(n) between 1 and 5", "delete from marts.fct_account_feature_daily where date_day >= date '2026-02-28'", "update marts.account_features as one set last_used_on = (select max(date_day) from marts.fct_account_feature_daily as daily where daily.account_id = one.account_id and daily.feature_key = one.feature_key) where last_used_on >= date '2026-02-28'", "update marts.account_features set first_adopted_on = last_used_on where first_adopted_on > last_used_on")),
    ("a few clocks ahead", ("insert into staging.stg_usage_events by name select 'early' || n as event_id, timestamp '2026-03-09' as occurred_at from range(9) as r(n)",)),
    ("many more outcomes", ("insert into marts.fct_outcomes by name select * exclude n replace (enrollment_id + 1000 * n as enrollment_id, 1 + n as entry_no) from marts.fct_outcomes, range(1, 9) as r(n)",)),
    ("a few accounts fewer", ("delete from marts.feature_recommendations where account_id < 'a005'", "delete from marts.fct_outcomes where account_id < 'a005'")),
]  # fmt: skip


#: What is wrong with a value mart: reports are held, mails leave.
VALUE: list[tuple[str, tuple[str, ...], str, str]] = [
    ("no outcomes any more", ("delete from marts.fct_outcomes",), "gate:rows:fct_outcomes", "0 rows; 60 "),
    ("a goal without a day", ("update marts.fct_outcomes set is_goal_reached = true where enrollment_id = 1",), "gx:fct_outcomes:unexpected_rows_expectation:goal_reached_has_a_day", "1 rows"),
]  # fmt: skip


def blocking(checks: Iterable[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if check.blocks}


@pytest.mark.parametrize(
    ("statements", "name", "told"), [row[1:] for row in CORRUPTIONS], ids=[row[0] for row in CORRUPTIONS]
)
def test_a_spoiled_mart_ends_in_no_mail_and_the_right_reason(
    world: World, spoil: Callable[..., Build], statements: tuple[str, ...], name: str, told: str
) -> None:
    result = world.refresh(spoil(*statements))
    held = blocking(result.checks)
    assert name in held, sorted(held)
    assert told in held[name].detail
    assert all("\n" not in check.detail for check in held.values())
    assert not {check.name for check in result.checks if check.status == "missing"} - {
        "gate:columns:feature_recommendations"
    }
    assert "@" not in "".join(check.detail + "".join(check.rows) for check in held.values())

    decided, mails = world.tick()
    assert mails == 0
    assert set(decided.counts) == {"retry:gate_held", "account_end:completed"}  # a holdout has nothing to wait for
    assert decided.entered == {}
    assert decided.gate_held is not None
    assert "is stale" in decided.gate_held
    assert f"the last refresh was held: {result.reasons[0]}" in decided.gate_held
    assert any(line.startswith(f"{name} ") for line in result.reasons)


@pytest.mark.parametrize("statements", [row[1] for row in BENIGN], ids=[row[0] for row in BENIGN])
def test_a_harmless_change_passes_and_mails_leave(
    world: World, spoil: Callable[..., Build], statements: tuple[str, ...]
) -> None:
    result = world.refresh(spoil(*statements))
    assert blocking(result.checks) == {}
    assert {check.name for check in result.checks} >= world.suites.required_names
    assert world.tick()[1] > 20


@pytest.mark.parametrize(("statements", "name", "told"), [row[1:] for row in VALUE], ids=[row[0] for row in VALUE])
def test_a_spoiled_value_mart_holds_reports_and_no_mail(
    world: World, spoil: Callable[..., Build], statements: tuple[str, ...], name: str, told: str
) -> None:
    result = world.refresh(spoil(*statements))
    assert (result.gate, result.reports) == ("passed", "held")
    held = blocking(result.checks)
    assert told in held[name].detail
    assert world.tick()[1] > 20
    current = world.snapshots.current()
    assert current is not None
    with pytest.raises(Held, match=f"no report of snapshot {current.snapshot_id}: .*{name}"):
        refuse_held_reports(world.ledger, current)
