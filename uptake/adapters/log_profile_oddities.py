"""What is odd about a raw log: everything that a mapping must decide, or whoever makes the log should mend.

Works on the session's table `events`: event_id, occurred_at, account_id, user_id, event_name, problem. A line with a
problem cannot be used; what can is the view `usable`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb

from uptake.domain.raw_log import Mapped, Oddity, RawField, RawTable, Role, TimeFormat

_HUGE_SHARE = 0.2  # of all events, for one account or one user
_FEW = 10  # accounts, below which one of them is naturally large
_SHOWN = 5
_SECONDS_AND_MORE = {TimeFormat.UNIX_S, TimeFormat.UNIX_MS, TimeFormat.UNIX_US}


def find_oddities(
    session: duckdb.DuckDBPyConnection, tables: Sequence[RawTable], mapped: Mapped | None, *, now: datetime
) -> list[Oddity]:
    """Return what is odd, the most troublesome first; counts are of events unless the text says otherwise."""
    found = [oddity for table in tables for item in table.fields for oddity in _formats(table, item)]
    if mapped is None:
        return found
    session.execute("create temp view usable as select * from events where problem is null")
    ask = _Asker(session)
    return [
        *_problems(ask),
        *_duplicates(ask, mapped),
        *found,
        *_moments(ask, mapped, now),
        *_users(ask, mapped),
        *_accounts(ask, mapped),
        *_days(ask, mapped),
        *_names(mapped),
    ]


class _Asker:
    def __init__(self, session: duckdb.DuckDBPyConnection) -> None:
        self._session = session

    def row(self, query: str, *values: object) -> tuple[Any, ...]:
        """Return the one row of a query over the events that can be used."""
        found = self._session.execute(query, list(values)).fetchone()
        assert found is not None
        return found

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._session.execute(query, list(values)).fetchall()


def _formats(table: RawTable, item: RawField) -> Iterator[Oddity]:
    """One field with moments written in several ways."""
    if len(item.formats) < 2:
        return
    told = ", ".join(f"{count:,} {form}" for form, count in sorted(item.formats.items(), key=lambda pair: -pair[1]))
    rare = sum(item.formats.values()) - max(item.formats.values())
    if set(item.formats) <= _SECONDS_AND_MORE:
        yield Oddity(kind="unix time units mixed", text=f"{table.name}: `{item.name}` holds {told}", count=rare)
    else:
        yield Oddity(kind="time formats mixed", text=f"{table.name}: `{item.name}` holds {told}", count=rare)


def _problems(ask: _Asker) -> Iterator[Oddity]:
    for problem, count in ask.rows(
        "select problem, count(*) from events where problem is not null group by problem order by 2 desc, 1"
    ):
        yield Oddity(
            kind="line without use",
            text=f"{count:,} line{'' if count == 1 else 's'} cannot be used: {problem}",
            count=count,
        )


def _duplicates(ask: _Asker, mapped: Mapped) -> Iterator[Oddity]:
    repeated, worst, differing = ask.row(
        """
        select count(*), max(copies), count_if(versions > 1)
        from (
            select count(*) as copies, count(distinct (occurred_at, account_id, user_id, event_name)) as versions
            from usable where event_id is not null group by event_id having count(*) > 1
        )
        """
    )
    if repeated:
        text = (
            f"{repeated:,} ids come more than once, up to {worst:,} times; of each one line counts, the last received"
        )
        text += f". {differing:,} of them tell of different things under one id" if differing else ""
        yield Oddity(kind="duplicate ids", text=text, count=repeated)
    if mapped.by == "guess" and Role.EVENT_ID not in mapped.roles:
        copies = ask.row(
            "select count(*) - count(distinct (occurred_at, account_id, user_id, event_name)) from usable"
        )[0]
        text = "no field is the id of an event: equal lines of a file are so many events, the same file twice is not"
        told = f"{text}. {copies:,} events share time, user and name with another" if copies else text
        yield Oddity(kind="no event id", text=told, count=copies)


def _moments(ask: _Asker, mapped: Mapped, now: datetime) -> Iterator[Oddity]:
    moment = now.replace(tzinfo=None)
    future, latest = ask.row(
        "select count(*), max(occurred_at) from usable where occurred_at > ?",
        moment + timedelta(hours=1),
    )
    if future:
        yield Oddity(
            kind="times in the future",
            text=f"{future:,} events are later than now, up to {latest:%Y-%m-%d %H:%M}; no window counts them",
            count=future,
        )
    old, earliest = ask.row(
        "select count(*), min(occurred_at) from usable where occurred_at < ?",
        datetime(2000, 1, 1),  # noqa: DTZ001
    )
    if old:
        yield Oddity(
            kind="times before 2000",
            text=f"{old:,} events, as early as {earliest:%Y-%m-%d}: an empty clock, or another unit",
            count=old,
        )
    midnight = ask.row("select count_if(occurred_at = date_trunc('day', occurred_at)) from usable")[0]
    if mapped.events and midnight >= 0.99 * mapped.events:
        text = "all times are midnights: the log tells days only, which is enough for every window"
        yield Oddity(kind="days only", text=text, count=midnight)


def _users(ask: _Asker, mapped: Mapped) -> Iterator[Oddity]:
    empty = ask.row("select count(*) from usable where user_id is null")[0]
    if empty and empty == mapped.events + mapped.duplicates:
        yield Oddity(kind="no user", text="no event says who it was; contacts cannot be taught by it", count=empty)
    elif empty:
        text = f"{_share(empty, mapped)} of the events say no user; they count for the account, and for no contact"
        yield Oddity(kind="empty users", text=text, count=empty)
    many, most, examined = ask.row(
        """
        select count(*) filter (accounts > 1), max(accounts), count(*)
        from (
            select count(distinct account_id) as accounts from usable
            where user_id is not null group by user_id
        )
        """
    )
    if many:
        text = f"{many:,} of {examined:,} users act in more than one account, one of them in {most:,}; "
        text += "each pair of account and user is a contact of its own"
        yield Oddity(kind="users in several accounts", text=text, count=many)
    if mapped.count_users >= _FEW:
        top = ask.row(
            "select max(n) from (select count(*) as n from usable where user_id is not null group by user_id)"
        )[0]
        if top >= _HUGE_SHARE * mapped.events:
            yield Oddity(
                kind="one busy user",
                text=f"one user made {_share(top, mapped)} of the events: a person, or a machine?",
                count=top,
            )


def _accounts(ask: _Asker, mapped: Mapped) -> Iterator[Oddity]:
    empty = ask.row("select count(*) from usable where account_id is null")[0]
    if empty and not mapped.count_accounts:
        text = "no field says which account; without one, map the account to the user or to a constant"
        yield Oddity(kind="no account", text=text, count=empty)
    elif empty:
        text = f"{_share(empty, mapped)} of the events say no account: name a second field, or they are quarantined"
        yield Oddity(kind="empty accounts", text=text, count=empty)
    if mapped.count_accounts >= _FEW:
        for account, count in ask.rows(
            "select account_id, count(*) from usable where account_id is not null "
            "group by account_id having count(*) >= ? order by count(*) desc, account_id limit ?",
            int(_HUGE_SHARE * mapped.events),
            _SHOWN,
        ):
            yield Oddity(
                kind="huge account", text=f"`{hidden(account)}` made {_share(count, mapped)} of the events", count=count
            )


def _days(ask: _Asker, mapped: Mapped) -> Iterator[Oddity]:
    gaps = ask.rows(
        """
        with days as (select distinct cast(occurred_at as date) as day from usable),
        steps as (select day, lead(day) over (order by day) as next_day from days)
        select day + 1, next_day - 1, next_day - day - 1 as missing from steps where next_day - day > 1
        order by missing desc, day
        """
    )
    if gaps:
        missing = sum(count for _, _, count in gaps)
        told = ", ".join(
            f"{_day(first)}" if n == 1 else f"{_day(first)} to {_day(last)}" for first, last, n in gaps[:_SHOWN]
        )
        more = f" and {len(gaps) - _SHOWN} more gaps" if len(gaps) > _SHOWN else ""
        yield Oddity(
            kind="days without events",
            text=f"{missing:,} days between the first and the last: {told}{more}",
            count=missing,
        )
    if mapped.first_at and mapped.last_at and mapped.last_at - mapped.first_at < timedelta(days=28):
        days = (mapped.last_at.date() - mapped.first_at.date()).days + 1
        text = (
            f"the log covers {days} day{'' if days == 1 else 's'}; adoption looks at 28, states move until it does too"
        )
        yield Oddity(kind="short log", text=text, count=days)


def _names(mapped: Mapped) -> Iterator[Oddity]:
    written: dict[str, list[str]] = {}
    for volume in mapped.volumes:
        written.setdefault(" ".join(volume.name.lower().replace("_", " ").split()), []).append(volume.name)
    twins = [names for names in written.values() if len(names) > 1]
    if twins:
        told = "; ".join(" = ".join(f"`{hidden(name)}`" for name in names) for names in twins[:_SHOWN])
        yield Oddity(
            kind="names written in two ways", text=f"{told}; one row of the catalogue can take both", count=len(twins)
        )
    if len(mapped.volumes) > 500:
        text = f"{len(mapped.volumes):,} event names: ids or titles may be part of them; another field, or patterns?"
        yield Oddity(kind="very many event names", text=text, count=len(mapped.volumes))


def hidden(value: str) -> str:
    """Return a name or id for display; what looks like an address is not repeated."""
    return "(looks like an address)" if "@" in value else value


def _share(count: int, mapped: Mapped) -> str:
    total = mapped.events + mapped.duplicates
    return f"{count / total:.0%}" if count >= 0.01 * total else "under 1 %"


def _day(day: Any) -> str:
    return f"{day:%Y-%m-%d}"
