"""The usage log that is measured on: any size, always the same, with a few accounts, people and features that do most.

DuckDB writes it, over a hundred thousand lines a second and core. Shares follow a power law: of many, the one at rank
r gets about r ** -0.5 of everything. Every number is drawn from the hash of the event's own number, so what a day
holds does not depend on which other days there are.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import duckdb

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
CATALOGUE = PROJECT / "seeds" / "feature_catalog.csv"
#: The last day of every log. Long ago, because nothing may happen in the future.
LAST_DAY = date(2025, 9, 30)
_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class Log:
    """How large a log is. events: of a day. flaws: the share of lines that cannot be used, and of those told twice."""

    events: int
    days: int
    users: int
    accounts: int
    compressed: bool = True
    flaws: float = 0.0

    def __str__(self) -> str:
        count = self.events * self.days
        return f"{f'{count / 1e6:.3g} M' if count >= 1e5 else f'{count:,}'} events of {self.days} days"


def moment(day: date) -> datetime:
    """Return the end of a day, which marts are as of."""
    return datetime.combine(day, time.max, tzinfo=UTC)


def write(log: Log, folder: Path, *, last_day: date = LAST_DAY) -> Path:
    """Write a raw folder whose last day is `last_day`, and return it."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as session:
        session.execute("set threads to 1")  # a file is written by one thread; so days are written side by side
        session.execute("set TimeZone = 'UTC'")
        session.execute("set enable_progress_bar = false")
        _customers(session, log)
        for name in ("accounts", "contacts", "subscriptions", "tickets"):
            session.execute(f"copy {name} to '{folder}/{name}.ndjson' (format json)")
        with ThreadPoolExecutor(_THREADS) as pool:
            days = [last_day - timedelta(days=back) for back in range(log.days)]
            for done in [pool.submit(_write_day, session.cursor(), log, folder, day) for day in days]:
                done.result()
    return folder


def _write_day(session: duckdb.DuckDBPyConnection, log: Log, folder: Path, day: date) -> None:
    """Write the events of one day, in the order in which they happened."""
    pause = 86_400e6 / log.events  # microseconds
    first, suffix = day.toordinal() * log.events, ".ndjson.gz" if log.compressed else ".ndjson"
    session.execute(
        f"""
        copy (
            with drawn as (
                select
                    range as event_no,
                    user_at({_chance("range", "user")}) as user_no,
                    {_chance("range", "feature")} as feature_share,
                    {_chance("range", "rest")} as rest,
                    timestamp '{day}' + to_microseconds(cast((range - {first}) * {pause} as bigint)) as moment
                from range({first}, {first + log.events})
            ),

            lines as (
                select
                    event_no,
                    rest,
                    cast(to_json({{
                        event_id: md5(cast(event_no as varchar)),
                        occurred_at: strftime(moment, '%Y-%m-%dT%H:%M:%S.%fZ'),
                        received_at: strftime(moment + interval 2 second, '%Y-%m-%dT%H:%M:%SZ'),
                        account_id: account_of(user_no),
                        user_id: case when rest >= 0.005 then 'u-' || user_no end,
                        event_name:
                            case when rest >= 0.99 then 'internal.' || event_no % 50 else name_at(feature_share) end,
                        quantity: 1 + event_no % 3,
                        properties: {{
                            client: ['web', 'ios', 'android', 'api'][1 + event_no % 4],
                            session: md5(cast(user_no as varchar)),
                            ms: cast(rest * 4000 as integer)
                        }}
                    }}) as varchar) as line
                from drawn
            )

            select unnest(
                case
                    when rest between 0.5 and {0.5 + log.flaws} and {log.flaws} > 0 then [case event_no % 3
                        when 0 then line[:40]
                        when 1 then replace(line, '"account_id":', '"account":')
                        else replace(line, '"occurred_at":"', '"occurred_at":"on ')
                    end]
                    when rest between 0.6 and {0.6 + log.flaws} and {log.flaws} > 0 then [line, line]
                    else [line]
                end
            ) as line
            from lines
        ) to '{folder}/events/{day}{suffix}' (
            format csv, header false, quote '', escape '', delimiter '\x01',
            compression {"gzip" if log.compressed else "none"}
        )
        """
    )


def _customers(session: duckdb.DuckDBPyConnection, log: Log) -> None:
    """Make the inputs beside the events, and say who does what how often."""
    session.execute(
        f"""
        create macro user_at(share) as cast(floor(share ** 2 * {log.users}) as bigint);
        create macro account_of(user_no) as
            'acc-' || cast(floor({_chance("user_no", "account")} ** 2 * {log.accounts}) as bigint);
        set variable names = (
            select list(replace(string_split(event_patterns, '|')[1], '*', 'used') order by ladder_rank)
            from read_csv('{CATALOGUE}') where source = 'uptake'
        );
        create table named as select getvariable('names') as names;
        create macro name_at(share) as
            (select names[1 + cast(floor(share ** 2 * len(names)) as bigint)] from named);

        create table contacts as
        select
            account_of(range) as account_id,
            'u-' || range as user_id,
            'u-' || range || '@example.com' as address,
            case when range % 9 = 0 then 'admin' else 'member' end as role,
            'Europe/Vienna' as time_zone,
            'de' as locale,
            '2024-03-04T08:00:00Z' as created_at,
            'contract' as consent_basis
        from range({log.users});

        create table accounts as
        select
            'acc-' || range as account_id,
            ['starter', 'team', 'business', 'enterprise'][1 + range % 4] as plan,
            '2024-02-01T08:00:00Z' as created_at,
            1000 * (1 + range % 40) as arr,
            'EUR' as currency,
            greatest(coalesce(members.count_users, 0), 1) as seats,
            'eu' as region,
            'Europe/Vienna' as time_zone,
            'de' as locale,
            'csm-' || range % 20 as csm,
            '2026-02-01' as renewal_on
        from range({log.accounts})
        left join (select account_id, count(*) as count_users from contacts group by 1) as members
            on 'acc-' || range = members.account_id;

        create table subscriptions as
        select 's-' || account_id as subscription_id, account_id, plan, seats, arr, '2024-02-01' as started_on
        from accounts;

        create table tickets as
        select
            't-' || row_number() over () as ticket_id, account_id, '2025-09-20T08:00:00Z' as opened_at,
            case when seats % 2 = 0 then '2025-09-22T08:00:00Z' end as closed_at, 'low' as severity, 'how_to' as cause
        from accounts where arr > 30000;
        """
    )


def _chance(number: str, purpose: str) -> str:
    """Return SQL for a number in [0, 1) that depends on another one and on what it is for."""
    return f"(hash({number}, '{purpose}') % 1000003 / 1000003)"
