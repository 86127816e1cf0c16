"""What the values of fields are: kinds, fill, lengths, shapes, counted by DuckDB; never a value itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import duckdb

from uptake.domain.raw_log import INTO, Kind, RawField, TimeFormat, plain

#: Rows that the fields of a table are counted in; of more, a sample.
LOOKED_AT = 100_000
_DEPTH = 2  # of JSON objects
_MOST_FIELDS = 80
_MOST_NESTED = 200  # levels of a line
_SHAPE_LENGTH = 40
_EARLIEST = datetime(2000, 1, 1)  # noqa: DTZ001 - naive UTC, as in DuckDB
_MOST = 0.9

_FORMATS = {
    "iso_zone": TimeFormat.ISO_ZONE, "iso_local": TimeFormat.ISO_LOCAL, "iso_date": TimeFormat.ISO_DATE,
    "day_first": TimeFormat.DAY_FIRST, "unix_s": TimeFormat.UNIX_S, "unix_ms": TimeFormat.UNIX_MS,
    "unix_us": TimeFormat.UNIX_US,
}  # fmt: skip
#: Outside of texts, which are matched to be passed over.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_UNIX = {TimeFormat.UNIX_S, TimeFormat.UNIX_MS, TimeFormat.UNIX_US}
_KINDS = {"boolean": Kind.BOOLEAN, "integer": Kind.INTEGER, "number": Kind.NUMBER, "object": Kind.OBJECT}
_TIME_WORDS = ("time", "date", "stamp", "day", "registration", "at", "ts", "on")

# A number that is a moment between 2000 and a year from now may be one. Whether a whole column is, its other values
# and its name decide.
_MACROS = """
create temp macro uptake_format(value) as
    case
        when value is null then null
        when regexp_full_match(value, '\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d.*(Z|[+-]\\d\\d(:?\\d\\d)?| UTC)')
            then 'iso_zone'
        when regexp_full_match(value, '\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d.*') then 'iso_local'
        when regexp_full_match(value, '\\d{4}-\\d\\d-\\d\\d') then 'iso_date'
        when regexp_full_match(value, '\\d{1,2}[-./]\\d{1,2}[-./]\\d{4}([ T]\\d\\d:\\d\\d(:\\d\\d)?)?') then 'day_first'
        when try_cast(value as double) between LOW and HIGH then 'unix_s'
        when try_cast(value as double) between LOW * 1e3 and HIGH * 1e3 then 'unix_ms'
        when try_cast(value as double) between LOW * 1e6 and HIGH * 1e6 then 'unix_us'
    end;
create temp macro uptake_moment_in_any_year(value, format) as
    case format
        when 'iso_zone' then cast(try_cast(replace(value, ' UTC', 'Z') as timestamptz) as timestamp)
        when 'iso_local' then try_cast(value as timestamp)
        when 'iso_date' then try_cast(value as timestamp)
        when 'day_first' then try_strptime(
            replace(replace(replace(value, '.', '-'), '/', '-'), 'T', ' '),
            ['%d-%m-%Y', '%d-%m-%Y %H:%M', '%d-%m-%Y %H:%M:%S']
        )
        when 'unix_s' then make_timestamp(cast(cast(value as double) * 1e6 as bigint))
        when 'unix_ms' then make_timestamp(cast(cast(value as double) * 1e3 as bigint))
        when 'unix_us' then make_timestamp(cast(cast(value as double) as bigint))
    end;
create temp macro uptake_moment_as(value, format) as
    case
        when uptake_moment_in_any_year(value, format)
            between timestamp '0001-01-01' and timestamp '9999-12-31 23:59:59.999999'
            then uptake_moment_in_any_year(value, format)
    end;
"""

# Each value of a field is looked at once, however often it comes.
_PROFILE = """
with
counted as (

    select place, value, count(*) as times from looked_at where value is not null group by all

),

typed as (

    select
        place, value, times, try_cast(value as double) as number, uptake_format(value) as format,
        coalesce(
            uptake_format(value),
            case
                when lower(value) in ('true', 'false') then 'boolean'
                when isfinite(try_cast(value as double))
                    then if(regexp_full_match(value, '[-+]?\\d+(\\.0+)?'), 'integer', 'number')
                when value like '{%}' or value like '[%]' then 'object'
                else 'text'
            end
        ) as kind,
        regexp_replace(regexp_replace(regexp_replace(
            left(value, 60), '[0-9]', '9', 'g'), '\\p{Lu}', 'A', 'g'), '[\\p{Ll}\\p{Lo}]', 'a', 'g') as shape
    from counted

),

kinds as (

    select place, map_from_entries(list((kind, times) order by times desc, kind)) as kinds
    from (select place, kind, sum(times)::bigint as times from typed group by all)
    group by place

)

select
    place, sum(times)::bigint, count(*), min(length(value)), max(length(value)),
    min(number) filter (isfinite(number))::varchar, max(number) filter (isfinite(number))::varchar,
    min(uptake_moment_as(value, format))::varchar, max(uptake_moment_as(value, format))::varchar,
    coalesce(sum(times) filter (regexp_full_match(value, '[^@\\s]+@[^@\\s]+\\.\\w+')), 0)::bigint,
    any_value(kinds.kinds),
    mode(shape)
from typed
join kinds using (place)
group by place
"""


def define_macros(session: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """Define `uptake_format(text)` and `uptake_moment_as(text, format)`: naive UTC, NULL where it is no moment."""
    latest = now.replace(tzinfo=None) + timedelta(days=366)
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001
    low, high = ((moment - epoch).total_seconds() for moment in (_EARLIEST, latest))
    session.execute(_MACROS.replace("LOW", str(low)).replace("HIGH", str(high)))


def json_fields(session: duckdb.DuckDBPyConnection, table: str, column: str) -> dict[str, str]:
    """Return name -> JSON path of the fields of the objects in one column; objects within objects are a->b."""
    plain_enough = f"rowid not in (select unnest({_too_deep(session, table, column)}::bigint[]))"
    found = session.sql(f"select json_group_structure({column}) from {table} where {plain_enough}").fetchone()  # noqa: S608
    if found is None or found[0] is None:
        return {}
    names: dict[str, str] = {}
    level: list[tuple[str, str, Any]] = [("", "$", json.loads(found[0]))]
    for depth in range(1, _DEPTH + 1):
        deeper: list[tuple[str, str, Any]] = []
        for prefix, path, structure in level:
            for key, value in structure.items() if isinstance(structure, Mapping) else ():
                name, below = f"{prefix}{key}", f"{path}.{json.dumps(key, ensure_ascii=False)}"
                if isinstance(value, Mapping) and value and depth < _DEPTH:
                    deeper.append((f"{name}{INTO}", below, value))
                elif len(names) < _MOST_FIELDS:
                    names[name] = below
        level = deeper
    return names


def _too_deep(session: duckdb.DuckDBPyConnection, table: str, column: str) -> list[int]:
    """Return the rows nested too deeply to say their structure: Python refuses it, and DuckDB crashes."""
    opened = f"length({column}) - length(translate({column}, '[{{', ''))"
    many = session.sql(f"select rowid, {column} from {table} where {opened} > {_MOST_NESTED}").fetchall()  # noqa: S608
    return [row for row, line in many if _is_deep(line)]


def _is_deep(line: str) -> bool:
    depth = 0
    for sign in _BRACKETS.finditer(line):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(sign[0], 0)
        if depth > _MOST_NESTED:
            return True
    return False


def profile_fields(session: duckdb.DuckDBPyConnection, names: Sequence[str], *, rows: int) -> tuple[RawField, ...]:
    """Profile the values in `looked_at(place, value)`, where place 1 stands for the first name, and so on."""
    found = {row[0]: row[1:] for row in session.execute(_PROFILE).fetchall()}
    return tuple(
        _field(name, rows, found[place]) if place in found else RawField(name=name, rows=rows, filled=0, kinds={})
        for place, name in enumerate(names, start=1)
    )


def _field(name: str, rows: int, figures: Sequence[Any]) -> RawField:
    filled, distinct, shortest, longest, low_number, high_number, low_time, high_time, addresses, found, shape = figures
    formats = {_FORMATS[kind]: count for kind, count in found.items() if kind in _FORMATS}
    if not _are_times(name, formats, filled):
        for unix in _UNIX & set(formats):
            found = {**found, "integer": found.get("integer", 0) + formats.pop(unix)}
    kinds = {_KINDS.get(kind, Kind.TEXT): count for kind, count in found.items() if kind not in _FORMATS}
    if formats:
        kinds[Kind.TIME] = sum(formats.values())
    item = RawField(
        name=name, rows=rows, filled=filled, kinds=kinds, formats=formats, distinct=distinct,
        shortest=shortest, longest=longest, addresses=addresses,
    )  # fmt: skip
    if item.is_personal:
        return item
    numbers = (low_number, high_number)
    spans = {Kind.TIME: (low_time, high_time), Kind.INTEGER: numbers, Kind.NUMBER: numbers}
    low, high = spans.get(item.kind, (None, None))
    told = item.kind in (Kind.TEXT, Kind.TIME, Kind.INTEGER)
    return replace(item, low=_short(low), high=_short(high), shape=_short_shape(shape) if told else None)


def _are_times(name: str, formats: Mapping[TimeFormat, int], filled: int) -> bool:
    """Say whether numbers that could be unix times are; ids and amounts are as long."""
    words = plain(name.rsplit(INTO, 1)[-1])
    if words.endswith(("id", "key", "number", "phone", "version")):
        return False
    enough = 0.5 if words.endswith(_TIME_WORDS) or words.startswith(_TIME_WORDS[:2]) else _MOST
    return sum(formats.values()) >= enough * filled


def _short(text: str | None) -> str | None:
    return text if text is None else text.removesuffix(".0").removesuffix(" 00:00:00")


def _short_shape(text: str | None) -> str | None:
    return text if text is None or len(text) <= _SHAPE_LENGTH else f"{text[:_SHAPE_LENGTH]}..."
