"""A made-up customer base for the bench of plans and ticks: two days of marts as Parquet, people, five playbooks.

Everything is a function of a row's number, so that it is the same on every run and made by DuckDB in seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from uptake.adapters.marts import MARTS, PARTITIONED
from uptake.domain.playbooks import Playbook, Release, StageText
from uptake.domain.workspace import Workspace
from uptake.ports import Keys, Snapshot

KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))
FIRST_DAY = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)  # a Tuesday
NEXT_DAY = FIRST_DAY + timedelta(hours=25)
CONTACTS_PER_ACCOUNT = 4
FEATURES = 6
#: Of a hundred accounts: who uses something new on the next day, and who comes then.
MOVES, NEW = 4, 2

TOPIC = "training"
PERSON_CAP, ACCOUNT_CAP = 2, 3
WORKSPACE = {
    "sender": {"name": "Uptake", "address": "success@vendor.example"},
    "postal_address": "1 Long Street, Town",
    "topics": {TOPIC: 7},
    "caps": {"person": {"mails": PERSON_CAP, "per": "7d"}, "account": {"mails": ACCOUNT_CAP, "per": "7d"}},
    "window": {"start": time(8), "end": time(18)},
    "default_time_zone": "Europe/Berlin",
    "consent": {"default_basis": "soft_opt_in"},
}
_ROLES = ["admin", "manager"]
_LATER = {"email": "later.md", "after": "3d"}
#: The audience's rule, and what else differs from playbook to playbook.
PLAYBOOKS: dict[str, dict[str, Any]] = {
    "reports": {
        "teaches": "f1",
        "audience": {
            "where": "account.plan in ['team', 'business', 'enterprise'] and account_feature.is_entitled"
            " and account_feature.adoption_state != 'adopted' and contact.active_days_28 >= 4"
            " and feature.adoption_state in ['never', 'tried', 'lapsed']",
            "contacts": {"prefer": _ROLES, "max_per_account": 2},
        },
        "holdout": "20%",
        "priority": 50,
        "exit_when": "account.churned",
        "stages": {
            "why": {"email": "why.md"},
            "how": {"email": "how.md", "after": "1d", "when": "feature.adoption_state != 'tried'"},
            "later": _LATER,
        },
    },
    "breadth": {
        "teaches": "next_best",
        "audience": {
            "where": "account.adoption_breadth < 0.9 and account.days_since_last_use <= 14"
            " and contact.days_since_last_use <= 28 and feature.adoption_state != 'adopted'"
            " and account_feature.is_entitled and account_feature.adoption_state != 'adopted'",
            "contacts": {"prefer": _ROLES, "max_per_account": 2},
        },
        "holdout": "40%",
        "priority": 70,
        "exit_when": "account.churned",
        "stages": {"why": {"email": "why.md"}, "later": _LATER},
    },
    "lapsed": {
        "teaches": "f2",
        "audience": {
            "where": "account_feature.adoption_state != 'adopted' and contact.active_days_28 >= 2",
            "contacts": {"prefer": _ROLES, "max_per_account": 1},
        },
        "goal": {"reach": "adopted", "by": "contact", "within": "28d"},
        "holdout": "20%",
        "priority": 60,
        "stages": {"back": {"email": "back.md"}, "later": _LATER},
    },
    "onboarding": {
        "teaches": "f3",
        "audience": {
            "where": "account.age_days <= 995 and account_feature.adoption_state != 'adopted'"
            " and contact.days_since_last_use <= 28",
            "contacts": {"prefer": _ROLES, "max_per_account": 1},
        },
        "holdout": "20%",
        "priority": 20,
        "stages": {"first": {"email": "first.md"}, "later": {**_LATER, "goal": {"feature": "f4", "reach": "tried"}}},
    },
    "power": {
        "teaches": "f4",
        "audience": {
            "where": "account.seats_used_share >= 0.02 and account.count_power_users >= 1"
            " and account_feature.is_entitled and feature.adoption_state != 'adopted'",
            "contacts": {"prefer": _ROLES, "max_per_account": 1},
        },
        "holdout": "20%",
        "priority": 80,
        "stages": {
            "more": {"email": "more.md"},
            "seats": {
                "task": "Talk about seats",
                "after": "7d",
                "when": "account.seats_used_share >= 0.85",
                "facts": ["account.seats", "account.arr"],
            },
        },
    },
}
_COMMON = {"topic": TOPIC, "goal": {"reach": "adopted", "by": "account", "within": "28d"}, "backfill": "all"}

_ID = "'account-' || lpad(({})::varchar, 8, '0')"
#: What the rules read; every other column gets something of its type.
_COLUMNS = {
    "accounts_current": {
        "account_id": _ID.format("a"),
        "plan": "['team', 'team', 'business', 'business', 'enterprise', 'enterprise', 'team', 'free'][1 + a % 8]",
        "seats": "1 + (hash(a) % 400)::bigint",
        "age_days": "(hash(a, 1) % 1000)::bigint + 5",
        "churned": "hash(a, 2) % 100 = 0 or ({day} = 2 and hash(a, 3) % 200 = 0)",
        "is_internal": "hash(a, 4) % 200 = 0",
        "count_open_tickets": "(hash(a, 5) % 25 = 0)::bigint",
        "adoption_breadth": "(hash(a, 6) % 100) / 100.0",
        "days_since_last_use": "(hash(a, 7) % 16)::bigint",
        "seats_used_share": "(hash(a, 8) % 100) / 100.0",
        "count_power_users": "(hash(a, 9) % 50)::bigint",
    },
    "dim_accounts": {"account_id": _ID.format("a"), "time_zone": "['Europe/Berlin', 'Europe/London', null][1 + a % 3]"},
    "account_features": {
        "account_id": _ID.format("a"),
        "feature_key": "'f' || f",
        "is_entitled": "hash(a, f, 1) % 50 > 0",
        "adoption_state": """case
            when {day} = 2 and hash(a, 10) % 100 < {moves} and f = 1 + a % 5 then 'adopted'
            else ['never', 'never', 'tried', 'lapsed', 'tried', 'never', 'adopted', 'never'][1 + (hash(a, f) % 8)::int]
        end""",
    },
    "contacts_current": {
        "contact_id": "md5('contact-' || c)",
        "account_id": _ID.format("c // {per_account}"),
        "role": "['admin', 'manager', 'member', null][1 + (hash(c) % 4)::int]",
        "time_zone": "['Europe/Berlin', 'Asia/Tokyo', 'America/New_York', null, null, null][1 + (hash(c, 1) % 6)::int]",
        "active_days_28": "(hash(c, 2) % 20)::bigint",
        "days_since_last_use": "(hash(c, 3) % 30)::bigint",
    },
    "contact_features": {
        "contact_id": "md5('contact-' || c)",
        "account_id": _ID.format("c // {per_account}"),
        "feature_key": "'f' || f",
        "adoption_state": """case
            when {day} = 2 and hash(c // {per_account}, 10) % 100 < {moves} then 'adopted'
            else ['tried', 'lapsed', 'adopted', 'tried'][1 + (hash(c, f) % 4)::int]
        end""",
    },
    "feature_recommendations": {
        "contact_id": "md5('contact-' || c)",
        "account_id": _ID.format("c // {per_account}"),
        "recommendation_rank": "rank",
        "feature_key": "'f' || (1 + (hash(c) + rank) % {features})::int",
    },
}  # fmt: skip
_ROWS = {
    "accounts_current": "range({accounts}) as t (a)",
    "dim_accounts": "range({accounts}) as t (a)",
    "account_features": "range({accounts}) as t (a), range(1, {features} + 1) as u (f)",
    "contacts_current": "range({contacts}) as t (c)",
    "contact_features": "range({contacts}) as t (c), range(1, {features} + 1) as u (f) where hash(c, f, 7) % 3 = 0",
    "feature_recommendations": "range({contacts}) as t (c), range(1, 3) as u (rank)",
}
_ANYTHING = {
    pa.string(): "'text-' || hash({n}) % 50",
    pa.int64(): "(hash({n}) % 100)::bigint",
    pa.float64(): "(hash({n}) % 1000) / 1000.0",
    pa.bool_(): "hash({n}) % 10 = 0",
    pa.date32(): "date '2026-03-01' - (hash({n}) % 900)::int",
    pa.timestamp("us"): "timestamp '2026-03-01' - interval 1 day * (hash({n}) % 900)",
}
_PEOPLE = """
select
    md5('contact-' || c) as contact_id,
    {account_id} as account_id,
    -- One in fifty has the mailbox of somebody at another account.
    case when c % 100 > 0 then 'mailbox-' || (c - case when c % 50 = 7 then 7 else 0 end) || '@example.invalid' end
        as address,
    'Given' || c % 1000 as given_name,
    'Full Name' || c as full_name,
    null::varchar as role,
    case when hash(c, 4) % 10 = 0 then 'Europe/Paris' end as time_zone,
    'en' as locale,
    case hash(c, 5) % 100 when 0 then 'none' when 1 then null else 'contract' end as consent_basis,
    timestamptz '2026-01-01 00:00:00+00' as consent_at
from range({contacts}) as t (c)
"""


def release(name: str) -> Release:
    """Return one of the five playbooks, with texts."""
    definition = Playbook.model_validate(_COMMON | PLAYBOOKS[name])
    texts = {key: StageText(subject=key, body="Body") for key, stage in definition.stages.items() if stage.email}
    return Release(
        name=name, playbook=definition, workspace=Workspace.model_validate(WORKSPACE), texts=texts, layout="<mjml/>"
    )


def write_marts(folder: Path, *, contacts: int, day: int) -> None:
    """Write the marts of day 1 or 2 as a snapshot holds them; on the second, some have moved and some are new."""
    folder.mkdir(parents=True)
    sizes = _sizes(contacts, day)
    with duckdb.connect() as connection:
        connection.execute("set threads to 2; set preserve_insertion_order to false")
        for mart, schema in MARTS.items():
            rows = _ROWS.get(mart, "range(0) as t (a)").format(**sizes)
            number = "a" if " as t (a)" in rows else "c"
            columns = ", ".join(
                f'({_column(mart, field, number).format(**sizes)})::{_TYPES[field.type]} as "{field.name}"'
                for field in schema
            )
            path = folder / f"{mart}.parquet"
            if mart in PARTITIONED:
                (folder / mart).mkdir()
                path = folder / mart / "empty.parquet"
            connection.execute(f"copy (select {columns} from {rows}) to '{path}' (format parquet)")


def snapshot(folder: Path, day: int) -> Snapshot:
    """Return the snapshot that `write_marts` has written."""
    as_of = {1: FIRST_DAY, 2: NEXT_DAY}[day] - timedelta(hours=3)
    return Snapshot(
        snapshot_id=f"{as_of:%Y%m%dT%H%M%SZ}-0000000{day}",
        as_of=as_of,
        directory=folder / f"day-{day}",
        manifest={"goal_hash": "g", "row_counts": {mart: _count(folder / f"day-{day}", mart) for mart in _ROWS}},
    )


def _count(folder: Path, mart: str) -> int:
    return int(pq.read_metadata(folder / f"{mart}.parquet").num_rows)


def people(*, contacts: int, day: int) -> pa.Table:
    """Return `Transformer.people` of that day."""
    sizes = _sizes(contacts, day)
    with duckdb.connect() as connection:
        connection.execute("set timezone to 'UTC'")
        account_id = _COLUMNS["contacts_current"]["account_id"].format(**sizes)
        return connection.sql(_PEOPLE.format(account_id=account_id, **sizes)).to_arrow_table()


def _sizes(contacts: int, day: int) -> dict[str, int]:
    accounts = contacts // CONTACTS_PER_ACCOUNT
    accounts += accounts * NEW // 100 if day == 2 else 0
    return {
        "accounts": accounts,
        "contacts": accounts * CONTACTS_PER_ACCOUNT,
        "per_account": CONTACTS_PER_ACCOUNT,
        "features": FEATURES,
        "moves": MOVES,
        "day": day,
    }


def _column(mart: str, field: pa.Field, number: str) -> str:
    anything = _ANYTHING[field.type].format(n=f"{number}, '{field.name}'")
    return _COLUMNS.get(mart, {}).get(field.name, anything)


_TYPES = {
    pa.string(): "varchar",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp",
}
