"""Profiles a raw folder with DuckDB over its files: tables, fields, events by name, oddities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from uptake.adapters.log_profile_fields import LOOKED_AT, define_macros, json_fields, profile_fields
from uptake.adapters.log_profile_files import FileGroup, FoundFiles, find_files
from uptake.adapters.log_profile_oddities import find_oddities
from uptake.adapters.read_errors import plain_reason
from uptake.domain.raw_log import (
    EventVolume,
    Lookup,
    Mapped,
    Oddity,
    RawLog,
    RawTable,
    Role,
    event_log_of,
    guess_roles,
    plain,
)
from uptake.errors import TransformError, UsageError

_NAMED = 20  # unreadable lines that are told by file and line
_KNOWN_SHARE = 0.5  # of events that a lookup must know to be worth proposing


@dataclass(frozen=True, kw_only=True)
class StagedEvents:
    """How a source that is mapped already reads its events."""

    name: str  # of the model, or of the mapping file
    #: One row per line: file, read_order (NULL: as they come), event_id, occurred_at, account_id, user_id, event_name,
    #: problem.
    sql: str
    patterns: tuple[str, ...]  # every file the source reads, as globs below the raw folder
    prepare: Callable[[duckdb.DuckDBPyConnection], None] = field(default=lambda _session: None)


class DuckLogProfiler:
    """Reads raw folders; implements `ports.LogProfiler`."""

    def __init__(self, stage: Callable[[str, Path], StagedEvents] | None = None) -> None:
        """Take what knows how a source's events are staged; without it every folder is guessed at."""
        self._stage = stage

    def profile(self, raw: Path, *, source: str | None, now: datetime) -> RawLog:
        """Profile a folder or one file; with `source`, as that source reads it.

        Raises UsageError when there is nothing to read, TransformError when the source cannot be staged.
        """
        if not raw.exists():
            raise UsageError(f"{raw}: no such file or folder; expected raw logs there")
        staged = self._stage(source, raw) if source is not None and self._stage is not None else None
        files = find_files(raw, staged.patterns if staged else None)
        if not files.groups and not (staged and files.ignored):  # a mapping reads archives and other encodings
            raise UsageError(f"{raw}: nothing to read{_instead(files)}" + (f", for source {source}" if source else ""))
        with duckdb.connect(config={"allow_community_extensions": "false"}) as session:
            session.execute("set TimeZone = 'UTC'")
            define_macros(session, now)
            reading = _Reading(session, raw if raw.is_dir() else raw.parent)
            reading.note(files)
            tables = [table for group in files.groups if (table := reading.table(group)) is not None]
            mapped = reading.staged(staged) if staged else reading.guessed(tables)
            oddities = [*reading.oddities, *find_oddities(session, tables, mapped, now=now)]
        return RawLog(
            tables=tuple(sorted(tables, key=lambda table: -table.rows)),
            mapped=mapped,
            oddities=tuple(oddities),
            ignored_files=files.ignored,
        )


class _Reading:
    """One session over one folder."""

    def __init__(self, session: duckdb.DuckDBPyConnection, top: Path) -> None:
        self._found: list[Oddity] = []
        self._boms = 0  # files that begin with a byte order mark
        self._session = session
        self._top = top
        self._readers: dict[str, _Readers] = {}  # by table

    @property
    def oddities(self) -> list[Oddity]:
        """What was odd about the files."""
        if not self._boms:
            return self._found
        text = f"{self._boms} files begin with a byte order mark, which is no part of the first column's name"
        return [*self._found, Oddity(kind="byte order marks", text=text, count=self._boms)]

    def note(self, files: FoundFiles) -> None:
        """Say which files are no part of any table."""
        for name, reason in files.unreadable.items():
            self._odd("unreadable file", f"the file cannot be read, and was left out: {reason}", 1, name)
        if files.empty:
            count = len(files.empty)
            text = "the file is empty" if count == 1 else f"{count:,} files are empty, the first is this"
            self._odd("empty file", text, count, files.empty[0])

    # --- tables -------------------------------------------------------------------------------------------

    def table(self, group: FileGroup) -> RawTable | None:
        """Count the rows and profile the fields of one group of files; None when none of them can be read."""
        try:
            rows, unreadable = self._counts(group)
        except duckdb.Error:
            group = self._without_broken_files(group)
            if not group.paths:
                return None
            rows, unreadable = self._counts(group)
        self._boms += group.boms
        readers = self._look(group, rows)
        fields = profile_fields(self._session, readers.names, rows=min(rows, LOOKED_AT))
        self._readers[group.name] = readers
        return RawTable(
            name=group.name,
            format=group.format,
            files=len(group.paths),
            rows=rows,
            unreadable=unreadable,
            looked_at=min(rows, LOOKED_AT),
            fields=fields,
            roles=guess_roles(fields),
            delimiter=group.delimiter,
            encoding=group.encoding,
        )

    def _without_broken_files(self, group: FileGroup) -> FileGroup:
        """Leave out the files that DuckDB cannot read at all, such as half a gzip, and say so."""
        good = []
        for path in group.paths:
            try:
                self._counts(replace(group, paths=(path,)))
            except duckdb.Error as error:
                reason = _reason(error).replace(path, self._within(path))
                self._odd(
                    "unreadable file", f"the file cannot be read, and was left out: {reason}", 1, self._within(path)
                )
            else:
                good.append(path)
        return replace(group, paths=tuple(good))

    def _counts(self, group: FileGroup) -> tuple[int, int]:
        """Return how many rows there are and how many more lines cannot be read; name the first of these."""
        if group.is_json:
            found = self._rows(
                "select uptake_file, count(*), count_if(json_type(line) is distinct from 'OBJECT'), min(uptake_order) "  # noqa: S608
                f"from ({group.query()}) group by uptake_file order by uptake_file"
            )
            bad = {file: first for file, _, unreadable, first in found if unreadable}
            unreadable = sum(count for _, _, count, _ in found)
            if bad:
                self._name_lines(group, bad, unreadable)
            return sum(count for _, count, _, _ in found) - unreadable, unreadable
        if group.format == "Parquet":
            return self._rows(f"select count(*) from ({group.query()})")[0][0], 0  # noqa: S608
        for table in ("reject_errors", "reject_scans"):
            self._session.execute(f"drop table if exists {table}")
        # All columns are asked for, or DuckDB would not look whether each line has them.
        rows = self._rows(f"select count(hash(columns_of)) from ({group.query(rejects=True)}) as columns_of")[0][0]  # noqa: S608
        rejected = self._rows(
            "select scans.file_path, line, any_value(error_type) from reject_errors as errors "
            "join reject_scans as scans using (scan_id, file_id) group by all order by all"
        )
        if rejected:
            file, line, reason = rejected[0]
            text = f"{group.name}: {_lines(len(rejected))} cannot be read; the first: {str(reason).lower()}"
            more = ", ".join(f"{self._within(file)}:{line}" for file, line, _ in rejected[1:_NAMED])
            text += f"; then {more}" if more else ""
            self._odd("unreadable line", text, len(rejected), f"{self._within(file)}:{line}")
        return rows, len(rejected)

    def _name_lines(self, group: FileGroup, bad: Mapping[str, int], count: int) -> None:
        from uptake.adapters.dbt_plugin import line_numbers  # imports dbt, which takes a while

        found = self._rows(
            f"select uptake_file, uptake_order, line is null from ({group.query()}) "  # noqa: S608
            f"where json_type(line) is distinct from 'OBJECT' order by uptake_file, uptake_order limit {_NAMED}"
        )
        places, reason = [], "not JSON in UTF-8" if found[0][2] else "not a JSON object"
        for file, order, _ in found:
            try:
                number = order - bad[file] + 1
                number = line_numbers(file, [number])[0] if group.format == "NDJSON" else number
            except (ValueError, OSError):  # DuckDB reads as much of half a gzip as there is
                places.append(self._within(file))
                reason = "the file ends before its gzip stream does"
            else:
                places.append(f"{self._within(file)}:{number}")
        text = f"{group.name}: {_lines(count)} cannot be read; the first: {reason}"
        self._odd("unreadable line", text + (f"; then {', '.join(places[1:])}" if places[1:] else ""), count, places[0])

    def _look(self, group: FileGroup, rows: int) -> _Readers:
        """Put the values to look at into `looked_at(place, value)`; return how each field is read."""
        sample = f"using sample reservoir({LOOKED_AT} rows) repeatable (1)" if rows > LOOKED_AT else ""
        self._session.execute(f"create or replace temp table sampled as select * from ({group.query()}) {sample}")  # noqa: S608
        if group.is_json:
            readers = _Readers(group, json_fields(self._session, "sampled", "line"))
        else:
            names = self._session.table("sampled").columns
            readers = _Readers(group, {name: name for name in names if name not in ("uptake_file", "uptake_order")})
        self._session.execute(f"create or replace temp table looked_at as {readers.values('sampled')}")
        return readers

    # --- events -------------------------------------------------------------------------------------------

    def staged(self, staged: StagedEvents) -> Mapped:
        """Read the events as a source does that is mapped already."""
        staged.prepare(self._session)
        try:
            self._session.execute(
                "create temp table events as select file, coalesce(read_order, row_number() over ()) as read_order, "  # noqa: S608
                f"event_id, occurred_at, account_id, user_id, event_name, problem from ({staged.sql})"
            )
        except duckdb.Error as error:
            raise TransformError(f"{staged.name}: {_reason(error)}") from error
        return self._summary(by=staged.name, table=None, roles={}, lookup=None)

    def guessed(self, tables: Sequence[RawTable]) -> Mapped | None:
        """Read the events as the names of their fields suggest; None when no table looks like events."""
        table = event_log_of(tables)
        if table is None:
            return None
        lookup = None if Role.ACCOUNT_ID in table.roles else self._lookup(table, tables)
        readers = self._readers[table.name]
        names = list(dict.fromkeys([*table.roles.values(), *([lookup.by] if lookup else [])]))
        part = {role: f"f{names.index(name) + 1}" for role, name in table.roles.items()}
        nothing = "cast(null as varchar)"
        account, join = part.get(Role.ACCOUNT_ID, nothing), ""
        moment = "uptake_moment_as({0}, uptake_format({0}))".format(part[Role.OCCURRED_AT])
        if lookup is not None:
            known = self._readers[lookup.table].rows([lookup.key, lookup.account])
            account = "known.account"
            join = (
                f"left join (select f1 as key, any_value(f2) as account from ({known}) group by f1) as known "  # noqa: S608
                f"on known.key = lines.f{names.index(lookup.by) + 1}"
            )
        self._session.execute(
            f"""
            create temp table events as
            select
                uptake_file as file, uptake_order as read_order, {part.get(Role.EVENT_ID, nothing)} as event_id,
                {moment} as occurred_at, {account} as account_id,
                {part.get(Role.USER_ID, nothing)} as user_id, {part[Role.EVENT_NAME]} as event_name,
                case
                    when {part[Role.EVENT_NAME]} is null then {_text("no " + table.roles[Role.EVENT_NAME])}
                    when {part[Role.OCCURRED_AT]} is null then {_text("no " + table.roles[Role.OCCURRED_AT])}
                    when {moment} is null
                        then {_text(table.roles[Role.OCCURRED_AT] + " is not a time")}
                end as problem
            from ({readers.rows(names)}) as lines
            {join}
            """  # noqa: S608
        )
        return self._summary(by="guess", table=table.name, roles=table.roles, lookup=lookup)

    def _lookup(self, table: RawTable, tables: Sequence[RawTable]) -> Lookup | None:
        """Return the table that knows the accounts of events that say none, by a field both have."""
        best: Lookup | None = None
        readers = self._readers[table.name]
        for other in tables:
            account = other.roles.get(Role.ACCOUNT_ID)
            if other.name == table.name or account is None:
                continue
            keys = {plain(item.name): item.name for item in other.fields if item.distinct == item.filled > 0}
            for name in readers.names:
                key = keys.get(plain(name))
                if key is None or key == account:
                    continue
                known = self._readers[other.name].rows([key])
                found = self._rows(
                    f"select coalesce(avg((f1 in (select f1 from ({known})))::int), 0) from ({readers.rows([name])})"  # noqa: S608
                )[0][0]
                if found >= max(_KNOWN_SHARE, best.found_share if best else 0):
                    best = Lookup(by=name, table=other.name, key=key, account=account, found_share=found)
        return best

    def _summary(self, *, by: str, table: str | None, roles: Mapping[Role, str], lookup: Lookup | None) -> Mapped:
        lines, events, ids, distinct_ids, first, last, users, accounts = self._rows(
            """
            select
                count(*), count(*) - count(problem), count(event_id) filter (problem is null),
                count(distinct event_id) filter (problem is null), min(occurred_at) filter (problem is null),
                max(occurred_at) filter (problem is null), count(distinct user_id) filter (problem is null),
                count(distinct account_id) filter (problem is null)
            from events
            """
        )[0]
        volumes = self._rows(
            """
            select
                regexp_replace(event_name, '\\S+@\\S+', '*', 'g') as name, count(*), count(distinct user_id),
                count(distinct account_id), count(distinct cast(occurred_at as date))
            from events where problem is null group by name order by count(*) desc, name
            """
        )
        return Mapped(
            by=by, table=table, roles=roles, lookup=lookup, lines=lines, events=events - (ids - distinct_ids),
            duplicates=ids - distinct_ids, first_at=_aware(first), last_at=_aware(last), count_users=users,
            count_accounts=accounts,
            volumes=tuple(
                EventVolume(name=name, count_events=n, count_users=u, count_accounts=a, count_days=d)
                for name, n, u, a, d in volumes
            ),
        )  # fmt: skip

    # --- helpers ------------------------------------------------------------------------------------------

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._session.execute(query).fetchall()

    def _odd(self, kind: str, text: str, count: int, where: str | None = None) -> None:
        self._found.append(Oddity(kind=kind, text=text, count=count, where=where))

    def _within(self, path: str) -> str:
        return Path(path).relative_to(self._top).as_posix()


@dataclass(frozen=True)
class _Readers:
    """How the fields of one group of files are read as texts."""

    group: FileGroup
    paths: Mapping[str, str]  # name of the field -> JSON path or column

    @property
    def names(self) -> list[str]:
        """The fields, in the order in which they stand."""
        return list(self.paths)

    def rows(self, names: Sequence[str]) -> str:
        """Return the query of all rows that can be read: uptake_file, uptake_order, f1, f2, ..."""
        columns = [f"nullif(trim(parts[{n}]), '') as f{n}" for n in range(1, len(names) + 1)]
        parts = self._parts(f"({self.group.query()})", names)
        return f"select {', '.join(['uptake_file', 'uptake_order', *columns])} from ({parts})"  # noqa: S608

    def values(self, relation: str) -> str:
        """Return the query of place, value: one row for each row of a relation and each field."""
        return (
            f"select unnest(range(1, {len(self.paths) + 1})) as place, nullif(trim(unnest(parts)), '') as value "  # noqa: S608
            f"from ({self._parts(relation, self.names)})"
        )

    def _parts(self, relation: str, names: Sequence[str]) -> str:
        """Return the query of uptake_file, uptake_order, parts: the fields as a list, a line of JSON parsed once."""
        fields = [self.paths[name] for name in names]
        if self.group.is_json:
            parts = f"json_extract_string(line, [{', '.join(map(_text, fields))}]::varchar[])"
            only = "where json_type(line) is not distinct from 'OBJECT'"
        else:
            parts = f"[{', '.join(f'cast({_quoted(name)} as varchar)' for name in fields)}]::varchar[]"
            only = ""
        return f"select uptake_file, uptake_order, {parts} as parts from {relation} {only}"  # noqa: S608


def _instead(files: FoundFiles) -> str:
    """Say what was expected, and what is there."""
    found = [f"{name} is empty" for name in files.empty]
    found += [f"{name} cannot be read: {reason}" for name, reason in files.unreadable.items()]
    found += [f"{name} is none of these" for name in files.ignored]
    told = f"; {', '.join(found[:3])}" + (f" and {len(found) - 3} more" if len(found) > 3 else "") if found else ""
    return f"; expected NDJSON, JSON, CSV or Parquet, plain or .gz{told}"


def _reason(error: duckdb.Error) -> str:
    """Return the first line of what DuckDB says: what follows may quote a line of the log."""
    return plain_reason(str(error)) or str(error).splitlines()[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _lines(count: int) -> str:
    return f"{count:,} line{'' if count == 1 else 's'}"


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
