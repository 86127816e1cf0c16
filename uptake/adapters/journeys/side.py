"""The ledger's side and the rules of the releases, as relations beside the marts of one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from uptake.domain.arms import GLOBAL_CONTROL_SALT
from uptake.domain.enrollments import BREATHER, LATEST
from uptake.domain.playbooks import Release
from uptake.domain.ways import longest
from uptake.ports import ControlState

TEXT, INT, FLOAT, BOOL, AT = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us")

#: The columns read of each ledger table; a table that is not given is empty.
LEDGER: dict[str, pa.Schema] = {
    "enrollments": pa.schema(
        {
            "enrollment_id": INT, "playbook": TEXT, "account_id": TEXT, "entry_no": INT, "version_id": INT,
            "arm": TEXT, "enrolled_at": AT, "ended_at": AT,
        }
    ),
    "enrollment_contacts": pa.schema({"enrollment_id": INT, "contact_id": TEXT, "feature_key": TEXT}),
    "stage_ends": pa.schema({"enrollment_id": INT, "contact_id": TEXT, "stage_key": TEXT, "ended_at": AT}),
    "open_sends": pa.schema({"enrollment_id": INT, "contact_id": TEXT, "stage_key": TEXT, "status": TEXT}),
    "open_tasks": pa.schema(
        {
            "enrollment_id": INT, "contact_id": TEXT, "stage_key": TEXT, "account_id": TEXT, "dedupe_key": TEXT,
            "due_at": AT, "decided_at": AT,
        }
    ),
    "touches": pa.schema(
        {"contact_id": TEXT, "account_id": TEXT, "address_hash": TEXT, "accepted_at": AT, "is_mail": BOOL}
    ),
    "people": pa.schema(
        {
            "contact_id": TEXT, "account_id": TEXT, "address_hash": TEXT, "time_zone": TEXT, "has_address": BOOL,
            "erased": BOOL,
        }
    ),
    "suppressions": pa.schema({"address_hash": TEXT, "topic": TEXT}),
    "consents": pa.schema({"address_hash": TEXT, "basis": TEXT, "expires_at": AT}),
    "feature_answers": pa.schema({"contact_id": TEXT, "feature_key": TEXT}),
    "launches": pa.schema({"playbook": TEXT}),
    "launch_accounts": pa.schema({"playbook": TEXT, "account_id": TEXT}),
    "assignments": pa.schema({"playbook": TEXT, "account_id": TEXT, "arm": TEXT}),
}  # fmt: skip

_RULES = pa.schema(
    {
        "version_id": INT,  # the version an enrollment was entered with
        "counts_as": INT,  # the version that counts for it now
        "playbook": TEXT, "topic": TEXT, "priority": INT, "holdout": FLOAT, "global_control": FLOAT,
        "goal_by_account": BOOL, "goal_is_adopted": BOOL, "has_default_basis": BOOL, "default_zone": TEXT,
        "person_mails": INT, "person_since": AT, "account_mails": INT, "account_since": AT,
        "controls_complete_after": pa.duration("us"),
    }
)  # fmt: skip

_CONTROLS = pa.schema({"scope": TEXT, "target": TEXT, "action": TEXT})
_MOMENT = pa.schema({"now": AT, "too_late_before": AT, "just_since": AT, "gate_held": TEXT})

# The same number as `uptake.domain.arms.draw`.
_MACROS = """
create temp macro draw(salt, account_id) as
    ('0x' || substr(sha256(salt || ':' || account_id), 1, 15))::bigint / 1152921504606846976.0::double;
create temp macro arm_of(playbook, account_id, holdout, global_control) as
    case
        when draw($control_salt, account_id) < global_control then 'global_control'
        when draw(playbook, account_id) < holdout then 'holdout'
        else 'treatment'
    end;
create temp macro goal_reached(state, is_adopted) as
    coalesce(state = 'adopted' or (not is_adopted and state in ('tried', 'lapsed')), false);
""".replace("$control_salt", f"'{GLOBAL_CONTROL_SALT}'")

_MAILS = """
create temp view mails_to_contacts as
select
    contact_id,
    count(*) filter (where accepted_at > moment.now - interval 28 days) as count_28d,
    floor(epoch_us(moment.now - max(accepted_at)) / 86400000000)::bigint as days_since_last
from touches, moment
where is_mail
group by contact_id, moment.now
"""

# Who may be taught under the rules of each release, whatever their account's arm. An address counts as held out
# when a contact of *another* account has it that is held out: so the answer never depends on the own arm.
_PERSONS = """
create temp table persons as
with
-- Most addresses have one contact: numbers tell which may have more, and only those are looked at as texts.
several_contacts as (
    select hash(address_hash) as number from people
    where address_hash is not null
    group by number having count(*) > 1
),

shared_addresses as (
    select people.address_hash
    from people
    semi join several_contacts on several_contacts.number = hash(people.address_hash)
    where people.address_hash is not null
    group by people.address_hash having min(people.account_id) <> max(people.account_id)
),

held_addresses as (
    select rules.version_id, shared.address_hash, shared.account_id
    from (
        select distinct address_hash, account_id from people
        semi join shared_addresses using (address_hash)
    ) as shared
    cross join rules
    left join assignments
        on assignments.playbook = rules.playbook and assignments.account_id = shared.account_id
    where coalesce(
        assignments.arm, arm_of(rules.playbook, shared.account_id, rules.holdout, rules.global_control)
    ) <> 'treatment'
),

contacts_held as (
    select distinct held.version_id, people.contact_id
    from held_addresses as held
    inner join people on people.address_hash = held.address_hash and people.account_id <> held.account_id
),

contacts_suppressed as (
    select distinct rules.version_id, people.contact_id
    from suppressions
    inner join people using (address_hash)
    inner join rules on suppressions.topic is null or suppressions.topic = rules.topic
),

consenting as (
    select address_hash, coalesce(bool_or(basis = 'none'), false) as is_refused from consents, moment
    where expires_at is null or expires_at > moment.now
    group by address_hash
)

select
    asked.version_id,
    asked.contact_id,
    people.address_hash,
    people.time_zone,
    coalesce(people.erased, false) as is_erased,
    coalesce(people.has_address and people.address_hash is not null, false) as has_address,
    suppressed.contact_id is not null as is_suppressed,
    coalesce(not consenting.is_refused, rules.has_default_basis) as is_consented,
    held.contact_id is not null as shares_address
from asked
inner join rules using (version_id)
left join people on people.contact_id = asked.contact_id
left join consenting on consenting.address_hash = people.address_hash
left join contacts_suppressed as suppressed
    on suppressed.version_id = asked.version_id and suppressed.contact_id = asked.contact_id
left join contacts_held as held on held.version_id = asked.version_id and held.contact_id = asked.contact_id
"""


def naive(moment: datetime) -> datetime:
    """Return a moment as the marts hold it: naive, in UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def aware(moment: datetime) -> datetime:
    """Return a moment of a mart with its zone, UTC."""
    return moment.replace(tzinfo=UTC)


def lay(
    connection: duckdb.DuckDBPyConnection,
    ledger: Mapping[str, pa.Table],
    rules: Mapping[int, tuple[int, Release]],
    controls: ControlState,
    now: datetime,
    *,
    gate_held: str | None = None,
) -> None:
    """Put the ledger's tables, the rules of releases, the controls and the moment beside the marts.

    `rules`: by the version an enrollment was entered with, the version that counts for it and that release.

    Raises KeyError when a ledger table lacks a column.
    """
    for name, schema in LEDGER.items():
        connection.register(name, fit(ledger, name, schema))
    moment = {
        "now": naive(now),
        "too_late_before": naive(now - LATEST),
        "just_since": naive(now - BREATHER),
        "gate_held": gate_held,
    }
    connection.register("moment", pa.Table.from_pylist([moment], schema=_MOMENT))
    connection.register("controls", _controls(controls))
    lines = [_rule(version_id, counts_as, release, now) for version_id, (counts_as, release) in rules.items()]
    connection.register("rules", pa.Table.from_pylist(lines, schema=_RULES))
    connection.execute(_MACROS)
    connection.execute(_MAILS)


def ask_persons(connection: duckdb.DuckDBPyConnection) -> None:
    """Build `persons` for the (version_id, contact_id) pairs of the relation `asked`."""
    connection.execute(_PERSONS)


def drop(connection: duckdb.DuckDBPyConnection, *tables: str) -> None:
    """Let go of what no later step reads: each is as large as the customer base."""
    for table in tables:
        connection.execute(f"drop table {table}")


def fit(ledger: Mapping[str, pa.Table], name: str, schema: pa.Schema | None = None) -> pa.Table:
    """Return a ledger table with the columns that are read of it, or those of `schema`, and their types.

    Moments lose their zone, which is UTC. A table that is not given is empty.
    """
    schema, table = schema or LEDGER[name], ledger.get(name)
    return schema.empty_table() if table is None else table.select(schema.names).cast(schema)


def _rule(version_id: int, counts_as: int, release: Release, now: datetime) -> dict[str, object]:
    playbook, workspace = release.playbook, release.workspace
    return {
        "version_id": version_id,
        "counts_as": counts_as,
        "playbook": release.name,
        "topic": playbook.topic,
        "priority": playbook.priority,
        "holdout": playbook.holdout,
        "global_control": workspace.global_control,
        "goal_by_account": playbook.goal.by == "account",
        "goal_is_adopted": playbook.goal.reach == "adopted",
        "has_default_basis": workspace.consent.default_basis != "none",
        "default_zone": workspace.default_time_zone,
        "person_mails": workspace.caps.person.mails,
        "person_since": naive(now - workspace.caps.person.per),
        "account_mails": workspace.caps.account.mails,
        "account_since": naive(now - workspace.caps.account.per),
        "controls_complete_after": longest(playbook.stages),
    }


def _controls(controls: ControlState) -> pa.Table:
    lines = [
        *({"scope": "playbook", "target": name, "action": action} for name, action in controls.playbooks.items()),
        *({"scope": "account", "target": name, "action": action} for name, action in controls.accounts.items()),
    ]
    if controls.everything is not None:
        lines.append({"scope": "all", "target": "", "action": "pause"})
    if controls.sending_locked is not None:
        lines.append({"scope": "sending", "target": "", "action": "pause"})
    return pa.Table.from_pylist(lines, schema=_CONTROLS)
