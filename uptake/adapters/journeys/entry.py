"""Who enters a playbook now, who does not and why: `uptake.domain.eligibility` on every matching contact at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from uptake.adapters.journeys import facts, side
from uptake.domain.conditions import Condition
from uptake.domain.playbooks import NEXT_BEST, Release
from uptake.ports import ControlState, Entry

CONTACTS = pa.schema(
    {
        "account_id": side.TEXT, "contact_id": side.TEXT, "contact_rank": side.INT, "feature_key": side.TEXT,
        "entry_no": side.INT, "arm": side.TEXT, "u": side.FLOAT, "stratum": side.TEXT,
    }
)  # fmt: skip
LEFT_OUT = pa.schema({"account_id": side.TEXT, "contact_id": side.TEXT, "reason": side.TEXT})

_RULE = pa.schema(
    {
        "teaches": side.TEXT,  # NULL: the recommended feature of each contact, or nothing
        "teaches_nothing": side.BOOL,
        "max_per_account": side.INT,
        "not_churned": side.BOOL, "not_internal": side.BOOL, "no_open_ticket": side.BOOL, "min_age_days": side.FLOAT,
        "max_entries": side.INT, "re_entry_after": pa.duration("us"),
        "only_new": side.BOOL,
        "entered_before": side.AT,  # by a calendar: who entered before this may again; NULL: re-entry has its own rule
    }
)  # fmt: skip

ANY_NUMBER = 2**31  # of entries
LATER = datetime(9999, 1, 1)  # noqa: DTZ001 - as the marts hold moments: naive, in UTC

# Every contact with the feature it would be taught; NULL where nothing is recommended.
_ONE_FEATURE = """
create temp view candidates as
select contact_id, account_id, entry_rule.teaches as feature_key
from contacts_current
cross join entry_rule
"""
_NEXT_BEST = """
create temp view candidates as
select contacts.contact_id, contacts.account_id, recommended.feature_key
from contacts_current as contacts
left join feature_recommendations as recommended
    on recommended.contact_id = contacts.contact_id and recommended.recommendation_rank = 1
"""

_TAUGHT = """
select candidates.contact_id, candidates.account_id, candidates.feature_key
from candidates
cross join wanted
where wanted.contact_id is null or candidates.contact_id = wanted.contact_id
qualify row_number() over (order by candidates.contact_id) <= wanted.count_rows
order by candidates.contact_id
"""

# `matched` holds the candidates for whom the audience's condition is true; unknown is not true.
_DECIDE = """
create temp table history as
select
    enrollments.account_id,
    count(*) as entries,
    bool_or(enrollments.ended_at is null) as is_in,
    max(enrollments.ended_at) as last_ended_at,
    max(enrollments.enrolled_at) as last_enrolled_at,
    max(enrollments.entry_no) as last_entry_no
from enrollments
inner join rules using (playbook)
group by enrollments.account_id;

create temp table accounts_decided as
with
matched_accounts as (select distinct account_id from matched),

answers as (
    select
        account.account_id,
        account.plan,
        account.seats,
        not entry_rule.not_churned or not account.churned as passes_churned,
        not entry_rule.not_internal or not account.is_internal as passes_internal,
        not entry_rule.no_open_ticket or account.count_open_tickets = 0 as passes_tickets,
        entry_rule.min_age_days = 0 or account.age_days >= entry_rule.min_age_days as passes_age,
        controls.target is not null as is_paused,
        coalesce(history.is_in, false) as is_in,
        coalesce(history.entries, 0) as entries,
        coalesce(history.last_entry_no, 0) as last_entry_no,
        case
            when entry_rule.entered_before is null then history.last_ended_at is null
                or history.last_ended_at + entry_rule.re_entry_after <= moment.now
            else history.last_enrolled_at < entry_rule.entered_before
        end as is_cool,
        entry_rule.only_new
            and (before_launch.account_id is not null or not launched.is_launched) as is_matching_since_before
    from matched_accounts
    inner join accounts_current as account using (account_id)
    left join history using (account_id)
    cross join rules
    left join launch_accounts as before_launch
        on before_launch.playbook = rules.playbook and before_launch.account_id = account.account_id
    cross join (select count(*) > 0 as is_launched from launches semi join rules using (playbook)) as launched
    left join controls on controls.scope = 'account' and controls.target = account.account_id
    cross join entry_rule
    cross join moment
)

select
    answers.account_id,
    answers.last_entry_no + 1 as entry_no,
    coalesce(assignments.arm, arm_of(rules.playbook, answers.account_id, rules.holdout, rules.global_control)) as arm,
    draw(rules.playbook, answers.account_id) as u,
    coalesce(nullif(answers.plan, ''), 'unknown') || '/' || seats_band(answers.seats) as stratum,
    case
        when not passes_churned then 'churned'
        when not passes_internal then 'internal'
        when not passes_tickets then 'open_ticket'
        when not passes_age then 'too_new'
        when (passes_churned and passes_internal and passes_tickets and passes_age) is null then 'value_missing'
        when is_matching_since_before then 'matched_before_launch'
        when is_paused then 'paused'
        when is_in then 'in_already'
        when entries >= entry_rule.max_entries or (entries > 0 and not is_cool) then 're_entry'
    end as reason
from answers
cross join rules
cross join entry_rule
left join assignments on assignments.playbook = rules.playbook and assignments.account_id = answers.account_id;

create temp table asked as
select rules.version_id, matched.contact_id
from matched
inner join accounts_decided on accounts_decided.account_id = matched.account_id and accounts_decided.reason is null
cross join rules;
"""

_CHOOSE = """
create temp table contacts_decided as
with
answers as (
    select
        matched.account_id,
        matched.contact_id,
        matched.feature_key,
        coalesce(role_places.place, roles.count_roles) as role_place,
        coalesce(contacts.active_days_28, 0) as active_days_28,
        case
            when not entry_rule.teaches_nothing and not coalesce(features.is_entitled, false) then 'nothing_to_teach'
            when goal_reached(
                case when rules.goal_by_account then features.adoption_state else own.adoption_state end,
                rules.goal_is_adopted
            ) then 'goal_reached'
            when persons.is_erased then 'erased'
            when not persons.has_address then 'no_address'
            when persons.is_suppressed then 'suppressed'
            when not persons.is_consented then 'unconsented'
            when answered.contact_id is not null then 'answered'
            when persons.shares_address then 'holdout_address'
        end as reason
    from matched
    inner join persons using (contact_id)
    inner join rules using (version_id)
    left join contacts_current as contacts on contacts.contact_id = matched.contact_id
    left join account_features as features
        on features.account_id = matched.account_id and features.feature_key = matched.feature_key
    left join contact_features as own
        on own.contact_id = matched.contact_id and own.feature_key = matched.feature_key
    left join feature_answers as answered
        on answered.contact_id = matched.contact_id and answered.feature_key = matched.feature_key
    left join role_places on role_places.role = contacts.role
    cross join entry_rule
    cross join (select count(*) as count_roles from role_places) as roles
)

select
    *,
    case
        when reason is null then row_number() over (
            partition by account_id, reason is null
            order by role_place, active_days_28 desc, contact_id
        )
    end as contact_rank
from answers
"""

_ENTRANTS = """
select
    contacts.account_id, contacts.contact_id, contacts.contact_rank, contacts.feature_key,
    accounts.entry_no, accounts.arm, accounts.u, accounts.stratum
from contacts_decided as contacts
inner join accounts_decided as accounts using (account_id)
cross join entry_rule
where contacts.contact_rank <= entry_rule.max_per_account
order by contacts.account_id, contacts.contact_rank
"""

_LEFT_OUT = """
select account_id, null as contact_id, reason from accounts_decided where reason is not null
union all
select account_id, contact_id, coalesce(reason, 'not_chosen') as reason
from contacts_decided
cross join entry_rule
where reason is not null or contact_rank > entry_rule.max_per_account
order by account_id, contact_id nulls first
"""

# Accounts may enter again, consents expire.
_NEXT_CHANGE = """
select min(moments.at)
from (
    select enrollments.ended_at + entry_rule.re_entry_after as at
    from enrollments inner join rules using (playbook) cross join entry_rule
    union all
    select expires_at from consents
) as moments
cross join moment
where moments.at > moment.now
"""

# The bands of `uptake.domain.enrollments.stratum`.
_MACROS = """
create temp macro seats_band(seats) as
    case
        when seats is null then 'unknown'
        when seats <= 10 then '1-10'
        when seats <= 50 then '11-50'
        when seats <= 200 then '51-200'
        when seats <= 1000 then '201-1000'
        else '1001+'
    end;
"""


def decide(
    connection: duckdb.DuckDBPyConnection,
    release: Release,
    where: Condition,
    ledger: Mapping[str, pa.Table],
    controls: ControlState,
    now: datetime,
    *,
    account_id: str | None = None,
    by_hand: bool = False,
) -> Entry:
    """Decide who enters `release` now; with `account_id`, look at that account alone; `by_hand`, because it shall."""
    if not by_hand and not release.playbook.takes_in(now):
        return Entry(contacts=CONTACTS.empty_table(), left_out=LEFT_OUT.empty_table())
    side.lay(connection, ledger, {0: (0, release)}, controls, now)
    connection.register("entry_rule", pa.Table.from_pylist([_rule(release, now, by_hand=by_hand)], schema=_RULE))
    prefer = release.playbook.audience.contacts.prefer
    connection.register("role_places", pa.table({"role": pa.array(prefer, side.TEXT), "place": range(len(prefer))}))
    connection.execute(_MACROS)
    connection.execute(_NEXT_BEST if release.playbook.teaches == NEXT_BEST else _ONE_FEATURE)
    candidates = "candidates"
    if account_id is not None:
        connection.register("wanted", pa.table({"account_id": [account_id]}))
        connection.execute(
            "create temp view candidates_only as select * from candidates semi join wanted using (account_id)"
        )
        candidates = "candidates_only"
    found = (
        connection.table(candidates) if by_hand else facts.matching(connection, candidates, where, now).filter("holds")
    )
    found.select("contact_id, account_id, feature_key").create_view("matched_now")
    connection.execute("create temp table matched as from matched_now")
    connection.execute(_DECIDE)
    side.ask_persons(connection)
    connection.execute(_CHOOSE)
    side.drop(connection, "persons", "asked", "matched")
    return Entry(
        contacts=connection.execute(_ENTRANTS).to_arrow_table().cast(CONTACTS),
        left_out=connection.execute(_LEFT_OUT).to_arrow_table().cast(LEFT_OUT),
    )


def rests_on(ledger: Mapping[str, pa.Table], release: Release) -> dict[str, pa.Table]:
    """Return what `decide` reads of the ledger for this release, unless its audience asks about mails."""
    people = side.LEDGER["people"]
    found = {
        "people": side.fit(ledger, "people", people.remove(people.get_field_index("time_zone"))),
        "suppressions": side.fit(ledger, "suppressions"),
        "consents": side.fit(ledger, "consents"),
        "feature_answers": side.fit(ledger, "feature_answers"),
    }
    for name, columns in {
        "enrollments": ["account_id", "entry_no", "enrolled_at", "ended_at"],
        "assignments": ["account_id", "arm"],
        "launches": ["playbook"],
        "launch_accounts": ["account_id"],
    }.items():
        table = side.fit(ledger, name)
        found[name] = table.filter(pc.equal(table["playbook"], release.name)).select(columns)
    return found


def next_change(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Return when `decide`, asked again of the same world, may first say something else; None: never.

    For audiences that ask about nothing which moves with time.
    """
    found = connection.execute(_NEXT_CHANGE).fetchone()
    return None if found is None or found[0] is None else side.aware(found[0])


def taught(connection: duckdb.DuckDBPyConnection, release: Release, *, contact_id: str | None, limit: int) -> pa.Table:
    """Return contacts (one, or the first by id) with the feature each would be taught, whoever may enter."""
    connection.register("entry_rule", pa.Table.from_pylist([_rule(release)], schema=_RULE))
    connection.execute(_NEXT_BEST if release.playbook.teaches == NEXT_BEST else _ONE_FEATURE)
    connection.register("wanted", pa.table({"contact_id": pa.array([contact_id], side.TEXT), "count_rows": [limit]}))
    return connection.execute(_TAUGHT).to_arrow_table()


def _rule(release: Release, now: datetime | None = None, *, by_hand: bool = False) -> dict[str, object]:
    playbook, exclusions = release.playbook, release.workspace.exclusions
    opening = None if now is None else playbook.opens_on(now)
    always = by_hand or opening is not None
    return {
        "teaches": None if playbook.teaches == NEXT_BEST else playbook.teaches,
        "teaches_nothing": playbook.teaches is None,
        "max_per_account": playbook.audience.contacts.max_per_account,
        "not_churned": exclusions.churned,
        "not_internal": exclusions.internal,
        "no_open_ticket": exclusions.open_ticket,
        "min_age_days": exclusions.younger_than.total_seconds() / 86_400,
        "max_entries": ANY_NUMBER if always else 1 if playbook.re_entry is None else playbook.re_entry.max,
        "re_entry_after": None if playbook.re_entry is None else playbook.re_entry.after,
        "only_new": playbook.only_new and not by_hand,
        "entered_before": LATER if by_hand else None if opening is None else datetime.combine(opening, time()),
    }
