"""Raw folders as they come, and what a profile says of them: figures, shapes and oddities, never a person's value."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template

from uptake.adapters import log_profile_fields
from uptake.adapters.log_profile_duckdb import DuckLogProfiler, StagedEvents
from uptake.domain.catalogue import matches_pattern
from uptake.domain.raw_log import Kind, RawLog, Role, TimeFormat
from uptake.errors import TransformError, UsageError

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def profile(raw: Path) -> RawLog:
    return DuckLogProfiler().profile(raw, source=None, now=NOW)


def write(folder: Path, name: str, *lines: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n"
    opener: Any = gzip.open if name.endswith(".gz") else open
    with opener(path, "wb") as file:
        file.write(text.encode())
    return path


def event(minute: int, **fields: Any) -> dict[str, Any]:
    at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=minute)
    return {
        "id": f"e{minute}", "time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "event": "viewed",
        "user": f"u{minute % 7}", "account": f"a{minute % 3}", **fields,
    }  # fmt: skip


def oddities(log: RawLog) -> dict[str, Any]:
    return {oddity.kind: oddity for oddity in log.oddities}


def fields(log: RawLog, table: int = 0) -> dict[str, Any]:
    return {item.name: item for item in log.tables[table].fields}


# --- files -----------------------------------------------------------------------------------------------------


def test_files_of_one_shape_are_one_table(tmp_path: Path):
    for day in (1, 2, 3):
        write(tmp_path, f"events/2026-03-0{day}.ndjson.gz", event(day))
    write(tmp_path, "accounts.csv", "account;plan", "a1;team")
    write(tmp_path, "notes.md", "not a log")
    write(tmp_path, ".hidden.json", event(1))
    log = profile(tmp_path)
    assert [(table.name, table.format, table.files, table.rows) for table in log.tables] == [
        ("events/*.ndjson.gz", "NDJSON", 3, 3), ("accounts.csv", "CSV", 1, 1),
    ]  # fmt: skip
    assert log.ignored_files == ("notes.md",)


def test_every_format_gives_the_same_events(tmp_path: Path):
    events = [event(minute) for minute in range(40)]
    write(tmp_path / "ndjson", "x.json", *events)
    write(tmp_path / "array", "x.json", "[" + ",\n".join(map(json.dumps, events)) + "]")
    write(tmp_path / "csv", "x.csv", ",".join(events[0]), *(",".join(map(str, found.values())) for found in events))
    (tmp_path / "parquet").mkdir()
    duckdb.sql(f"copy (from read_json('{tmp_path}/ndjson/x.json')) to '{tmp_path}/parquet/x.parquet'")
    found = {name: profile(tmp_path / name).mapped for name in ("ndjson", "array", "csv", "parquet")}
    assert found["ndjson"] is not None
    assert found["ndjson"].events == 40
    assert [(v.name, v.count_events, v.count_users, v.count_accounts) for v in found["ndjson"].volumes] == [
        ("viewed", 40, 7, 3)
    ]
    figures = {
        (m and (m.events, m.first_at, m.last_at, m.volumes, m.roles == found["ndjson"].roles)) for m in found.values()
    }  # type: ignore[union-attr]
    assert len(figures) == 1


def test_one_file_may_be_looked_at_alone(tmp_path: Path):
    write(tmp_path, "other.ndjson", event(1), event(2))
    path = write(tmp_path, "events.ndjson", event(1))
    log = profile(path)
    assert [table.rows for table in log.tables] == [1]


def test_a_document_over_many_lines_is_left_alone(tmp_path: Path):
    write(tmp_path, "events.ndjson", event(1))
    write(tmp_path, "manifest.json", json.dumps({"a": {"b": 1}}, indent=2))
    assert profile(tmp_path).ignored_files == ("manifest.json",)


KNOWN = "nothing to read; expected NDJSON, JSON, CSV or Parquet, plain or .gz"
BINARY = bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.md", b"not a log", "x.md is none of these"),
        ("x.csv", b"", "x.csv is empty"),
        ("x.ndjson", b"\n \n", "x.ndjson is empty"),
        ("x.ndjson.gz", gzip.compress(b""), "x.ndjson.gz is empty"),
        ("x.parquet", b"", "x.parquet is empty"),
        ("x.csv", BINARY, "x.csv cannot be read: it is not text in UTF-8"),
        ("x.ndjson", BINARY, "x.ndjson cannot be read: it is not text in UTF-8"),
        ("x.json", b'{\n"manifest":\n{}}\n', "x.json is none of these"),
        ("x.csv.gz", b"no gzip at all", "x.csv.gz cannot be read: Not a gzipped file (b'no')"),
        (
            "x.ndjson.gz",
            b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 90,
            "x.ndjson.gz cannot be read: Error -3 while decompressing data",
        ),
    ],
)
def test_a_file_of_which_nothing_can_be_made_is_told_in_one_line(tmp_path: Path, name: str, content: bytes, told: str):
    """Alone it is the reason of a refusal; beside a log it is an oddity of it."""
    (tmp_path / name).write_bytes(content)
    for raw in (tmp_path, tmp_path / name):
        with pytest.raises(UsageError) as refused:
            profile(raw)
        assert f"{raw}: {KNOWN}; {told}" in str(refused.value)
        assert "\n" not in str(refused.value)
    write(tmp_path, "good.ndjson", event(1))
    log = profile(tmp_path)
    assert [table.name for table in log.tables] == ["good.ndjson"]
    odd = [f"{oddity.where}: {oddity.text}" for oddity in log.oddities if oddity.where] or [*log.ignored_files]
    assert odd[0].startswith(name)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_csv_file_may_be_written_in_another_encoding(tmp_path: Path, encoding: str):
    text = "".join(f"{when};zoë{when[-2:]};geöffnet\n" for when in ("2026-03-01T09:00", "2026-03-01T09:01"))
    (tmp_path / "x.csv").write_bytes(f"time;user;event\n{text}".encode(encoding))
    log = profile(tmp_path)
    assert log.tables[0].encoding == encoding
    assert log.tables[0].unreadable == 0
    assert log.mapped is not None
    assert [(volume.name, volume.count_users) for volume in log.mapped.volumes] == [("geöffnet", 2)]


def test_windows_1252_is_told_with_what_a_mapping_says_of_it(tmp_path: Path):
    (tmp_path / "x.csv").write_bytes("time,user,event\n2026-03-01,zoë,5 €\n".encode("cp1252"))
    with pytest.raises(UsageError, match="encoding: windows-1252"):
        profile(tmp_path)


def test_a_few_nuls_make_no_file_unreadable(tmp_path: Path):
    path = write(tmp_path, "x.ndjson", event(1), "", event(2))
    path.write_bytes(path.read_bytes().replace(b"\n\n", b'\n{"id": "\0"}\n\0\n'))
    log = profile(tmp_path)
    assert (log.tables[0].rows, log.tables[0].unreadable) == (2, 2)
    assert oddities(log)["unreadable line"].where == "x.ndjson:2"
    write(tmp_path, "x.ndjson")
    write(tmp_path, "x.csv", "user,time,event", "u\0,2026-03-01,a", "u,2026-03-02,a")
    assert profile(tmp_path / "x.csv").tables[0].rows == 2


def test_a_broken_character_makes_a_text_in_utf_8_no_other(tmp_path: Path):
    (tmp_path / "x.csv").write_bytes("user,time,event\nzoë,2026-03-01,a\n".encode() + b"\xff,2026-03-01,a\n")
    log = profile(tmp_path)
    assert (log.tables[0].encoding, log.tables[0].rows, log.tables[0].unreadable) == ("utf-8", 1, 1)


def test_a_file_that_may_not_be_read_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path, "x.csv", "user,time,event", "u1,2026-03-01,a")
    real = open

    def refuse(file: Any, *args: Any, **kwargs: Any) -> Any:
        if Path(file) == path:  # a mode of 000 stops everybody but root, who runs the tests in some places
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UsageError, match=r"; x\.csv cannot be read: Permission denied$"):
        profile(tmp_path)


def test_many_empty_files_are_one_oddity(tmp_path: Path):
    for day in range(1, 9):
        write(tmp_path, f"2026-03-0{day}.ndjson", *([event(day)] if day == 4 else []))
    odd = oddities(profile(tmp_path))["empty file"]
    assert (odd.count, odd.where, odd.text) == (7, "2026-03-01.ndjson", "7 files are empty, the first is this")


def test_nothing_to_read_is_said(tmp_path: Path):
    with pytest.raises(UsageError, match=KNOWN):
        profile(tmp_path)
    with pytest.raises(UsageError, match="no such file or folder"):
        profile(tmp_path / "nowhere")


def test_a_folder_without_events_is_still_described(tmp_path: Path):
    write(tmp_path, "accounts.csv", "account_id,plan", "a1,team", "a2,")
    log = profile(tmp_path)
    assert log.mapped is None
    assert fields(log)["plan"].fill == 0.5


def test_quotes_deep_in_a_file_break_nothing(tmp_path: Path):
    plain = [f"a{n},2026-03-01 10:00:00,viewed" for n in range(30_000)]
    write(tmp_path, "x.csv", "user,time,event", *plain, '"Say ""hello"", twice",2026-03-01 10:00:00,viewed')
    log = profile(tmp_path)
    assert (log.tables[0].rows, log.tables[0].unreadable) == (30_001, 0)


# --- lines that cannot be read ---------------------------------------------------------------------------------


def test_lines_that_cannot_be_read_are_named_by_file_and_line(tmp_path: Path):
    path = write(tmp_path, "a.ndjson", event(1), "", "[1]", '{"half": ', event(2))
    path.write_bytes(path.read_bytes() + b'{"event": "\xff\xfe"}\n')
    log = profile(tmp_path)
    assert (log.tables[0].rows, log.tables[0].unreadable) == (2, 3)
    odd = oddities(log)["unreadable line"]
    assert (odd.count, odd.where) == (3, "a.ndjson:3")
    assert odd.text == "a.ndjson: 3 lines cannot be read; the first: not a JSON object; then a.ndjson:4, a.ndjson:6"


def test_rows_of_csv_that_do_not_fit_are_named_by_file_and_line(tmp_path: Path):
    write(
        tmp_path, "x.csv", "user,time,event", "u1,2026-03-01,a", "u2,2026-03-01", "u3,2026-03-01,b", "u4,2026-03-01,c,d"
    )
    log = profile(tmp_path)
    assert (log.tables[0].rows, log.tables[0].unreadable) == (2, 2)
    odd = oddities(log)["unreadable line"]
    assert odd.where == "x.csv:3"
    assert "x.csv:5" in odd.text
    assert "u2" not in odd.text


def test_a_broken_file_leaves_the_others_readable(tmp_path: Path):
    for day in (1, 2):
        write(tmp_path, f"{day}.ndjson.gz", *(event(minute) for minute in range(200)))
    path = tmp_path / "2.ndjson.gz"
    path.write_bytes(path.read_bytes()[:-40])
    odd = oddities(profile(tmp_path))["unreadable line"]
    assert (odd.count, odd.where) == (1, "2.ndjson.gz")
    assert "the file ends before its gzip stream does" in odd.text
    path.write_bytes(b"no gzip at all")
    log = profile(tmp_path)
    assert (log.tables[0].files, log.tables[0].rows) == (1, 200)
    assert oddities(log)["unreadable file"].where == "2.ndjson.gz"
    path.write_bytes(gzip.compress(b"{}")[:-1])  # so short that there is nothing before its end is missed
    assert profile(tmp_path).tables[0].rows in (200, 201)
    assert str(tmp_path) not in oddities(log)["unreadable file"].text


def test_a_line_too_long_to_be_read_is_named_and_the_other_files_are_read(tmp_path: Path):
    write(tmp_path, "1.ndjson", event(1))
    path = write(tmp_path, "2.ndjson", event(2), event(3), event(4, note="x" * (41 << 20)), event(5))
    log = profile(tmp_path)
    assert (log.tables[0].files, log.tables[0].rows) == (1, 1)
    told = oddities(log)["unreadable file"].text
    assert told.endswith(f"{path.parent.name}/2.ndjson:3: a line of 41 MB; expected one event a line, at most 32 MB")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path):
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbfuser,event\nu1,viewed\n")
    log = profile(tmp_path)
    assert list(fields(log)) == ["user", "event"]
    assert oddities(log)["byte order marks"].count == 1


# --- fields ----------------------------------------------------------------------------------------------------


def test_fields_are_told_by_type_fill_length_and_shape(tmp_path: Path):
    rows = [
        {"key": f"A-{n:03}", "n": n, "share": n / 7, "ok": n % 2 == 0, "o": {"deep": [1], "x": None}} for n in range(8)
    ]
    write(tmp_path, "x.ndjson", *rows, {"key": " "})
    found = fields(profile(tmp_path))
    assert {name: item.kind for name, item in found.items()} == {
        "key": Kind.TEXT, "n": Kind.INTEGER, "share": Kind.NUMBER, "ok": Kind.BOOLEAN, "o->deep": Kind.OBJECT,
        "o->x": Kind.EMPTY,
    }  # fmt: skip
    key = found["key"]
    assert (key.filled, key.rows, key.distinct, key.shortest, key.longest, key.shape) == (8, 9, 8, 5, 5, "A-999")
    assert (key.low, key.high) == (None, None)
    assert (found["n"].low, found["n"].high) == ("0", "7")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("2026-03-01T10:00:00Z", TimeFormat.ISO_ZONE), ("2026-03-01 10:00:00.5+02", TimeFormat.ISO_ZONE),
        ("2026-03-01 10:00", TimeFormat.ISO_LOCAL), ("2026-03-01", TimeFormat.ISO_DATE),
        ("27-07-2023", TimeFormat.DAY_FIRST), ("1.3.2026 10:00", TimeFormat.DAY_FIRST),
        ("1772359200", TimeFormat.UNIX_S), ("1772359200123", TimeFormat.UNIX_MS),
        ("1772359200123000", TimeFormat.UNIX_US),
        ("1.772359200123e12", TimeFormat.UNIX_MS),
    ],
)  # fmt: skip
def test_moments_are_known_however_they_are_written(tmp_path: Path, value: str, form: TimeFormat):
    write(tmp_path, "x.csv", "event,time", *[f"viewed,{value}"] * 3)
    log = profile(tmp_path)
    assert fields(log)["time"].formats == {form: 3}
    assert log.mapped is not None
    assert log.mapped.events == 3
    assert log.mapped.first_at is not None
    assert log.mapped.first_at.year in (2023, 2026)


@pytest.mark.parametrize("value", ["9999-12-31T23:00:00-08:00", "0001-01-01T00:00:00+08:00"])
def test_a_moment_beyond_every_calendar_is_none(tmp_path: Path, value: str):
    write(tmp_path, "x.ndjson", *[event(n) for n in range(50)], event(50, time=value))
    mapped = profile(tmp_path).mapped
    assert mapped is not None
    assert (mapped.lines, mapped.events) == (51, 50)
    assert (mapped.first_at, mapped.last_at) == (
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 0, 49, tzinfo=UTC),
    )


def test_an_id_as_long_as_a_unix_time_is_a_number(tmp_path: Path):
    write(tmp_path, "x.csv", "order_id,amount,event", *[f"{1_600_000_000 + n},{n},a" for n in range(9)])
    found = fields(profile(tmp_path))
    assert found["order_id"].kind is Kind.INTEGER
    assert found["amount"].kind is Kind.INTEGER


def test_no_value_of_a_person_is_repeated(tmp_path: Path):
    secrets = ["Ana Silva", "ana@customer.example", "Rua Augusta 7", "+351 912 345 678", "zanzibar"]
    row = dict(zip(["full_name", "contact", "street", "phone", "nick"], secrets, strict=True))
    write(tmp_path, "x.ndjson", *[event(n) | row for n in range(5)], event(9, event="ana@customer.example signed in"))
    log = profile(tmp_path)
    told = repr(log)
    assert not [secret for secret in secrets if secret in told]
    assert log.mapped is not None
    assert [volume.name for volume in log.mapped.volumes] == ["viewed", "* signed in"]


def test_many_rows_are_looked_at_in_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import uptake.adapters.log_profile_duckdb as profiler

    monkeypatch.setattr(profiler, "LOOKED_AT", 10)
    write(tmp_path, "x.ndjson", *(event(minute) for minute in range(100)))
    log = profile(tmp_path)
    assert (log.tables[0].rows, log.tables[0].looked_at, fields(log)["id"].rows) == (100, 10, 10)
    assert log.mapped is not None
    assert log.mapped.events == 100


# --- events ----------------------------------------------------------------------------------------------------


def test_an_account_is_looked_up_where_another_table_knows_it(tmp_path: Path):
    write(tmp_path, "usage.csv", "subscription,event,day", "s1,a,2026-03-01", "s2,a,2026-03-02", "s9,b,2026-03-02")
    write(tmp_path, "subscriptions.csv", "subscription,account_id", "s1,acme", "s2,acme")
    log = profile(tmp_path)
    assert log.mapped is not None
    assert log.mapped.lookup is not None
    assert (log.mapped.lookup.by, log.mapped.lookup.table, log.mapped.lookup.account) == (
        "subscription", "subscriptions.csv", "account_id",
    )  # fmt: skip
    assert log.mapped.lookup.found_share == pytest.approx(2 / 3)
    assert log.mapped.count_accounts == 1


def test_oddities_are_counted(tmp_path: Path):
    events = [event(minute) for minute in range(60)]
    events += [event(5), event(6, event="other")]  # e5 again, and e6 as something else
    events += [event(100, time="2031-01-01T00:00:00Z"), event(101, time="1970-01-01T00:00:00Z")]
    events += [event(102, user=""), event(103, account=None)]
    events += [event(104, time=1_772_359_200), event(105, time=1_772_359_200_000), event(106, time="soon")]
    events += [event(7 * 1440), event(107, event="Viewed")]
    write(tmp_path, "x.ndjson", *events)
    found = oddities(profile(tmp_path))
    assert found["duplicate ids"].count == 2
    assert "1 of them tell of different things" in found["duplicate ids"].text
    assert (found["times in the future"].count, found["times before 2000"].count) == (1, 1)
    assert (found["empty users"].count, found["empty accounts"].count) == (1, 1)
    assert "1 line cannot be used: time is not a time" in found["line without use"].text
    assert found["time formats mixed"].count == 2
    assert found["users in several accounts"].count == 7
    assert found["names written in two ways"].text.startswith("`viewed` = `Viewed`")
    assert "2026-03-02 to 2026-03-07" in found["days without events"].text


def test_seconds_among_milliseconds_are_seen_and_each_is_read_right(tmp_path: Path):
    write(tmp_path, "x.ndjson", *(event(n, time=1_772_359_200 * (1 if n % 5 else 1_000)) for n in range(50)))
    log = profile(tmp_path)
    assert oddities(log)["unix time units mixed"].count == 10
    assert log.mapped is not None
    assert log.mapped.first_at == log.mapped.last_at == datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


def test_one_account_that_makes_most_events_is_named_and_a_busy_user_is_not(tmp_path: Path):
    events = [event(n, account=f"a{n % 12}", user=f"u{n % 12}") for n in range(120)]
    write(tmp_path, "x.ndjson", *events, *(event(1_000 + n, account="whale", user="robot") for n in range(100)))
    found = oddities(profile(tmp_path))
    assert found["huge account"].text == "`whale` made 45% of the events"
    assert "robot" not in found["one busy user"].text


def test_a_log_in_order_has_nothing_odd(tmp_path: Path):
    write(tmp_path, "x.ndjson", *(event(n * 97, user=f"u{n % 3}") for n in range(600)))
    assert profile(tmp_path).oddities == ()


def test_a_staged_source_is_read_by_its_own_mapping(tmp_path: Path):
    write(tmp_path, "in/x.json", {"who": "u1"}, {"who": "u2"})
    write(tmp_path, "elsewhere.json", {"who": "u3"})
    sql = (
        f"select filename as file, 1 as read_order, cast(null as varchar) as event_id, "
        f"timestamp '2026-03-01' as occurred_at, "
        f"'acme' as account_id, who as user_id, 'seen' as event_name, if(who = 'u2', 'no id', null) as problem "
        f"from read_json('{tmp_path}/in/*.json', filename = true)"
    )

    def stage(source: str, _raw: Path, sql: str = sql) -> StagedEvents:
        return StagedEvents(name=f"stg_{source}__events", sql=sql, patterns=("in/*.json",))

    log = DuckLogProfiler(stage).profile(tmp_path, source="mine", now=NOW)
    assert [table.name for table in log.tables] == ["in/x.json"]
    assert log.mapped is not None
    assert (log.mapped.by, log.mapped.lines, log.mapped.events) == ("stg_mine__events", 2, 1)
    assert oddities(log)["line without use"].text == "1 line cannot be used: no id"
    (tmp_path / "in" / "x.json").write_text("")
    with pytest.raises(UsageError, match=r"nothing to read; expected .*; in/x\.json is empty, for source mine"):
        DuckLogProfiler(stage).profile(tmp_path, source="mine", now=NOW)
    write(tmp_path, "in/x.json", {"who": "u1"})
    broken = DuckLogProfiler(lambda source, raw: stage(source, raw, "select nonsense"))
    with pytest.raises(TransformError, match="stg_mine__events: Binder Error"):
        broken.profile(tmp_path, source="mine", now=NOW)


NAMES = st.text("ab.*%_!|\n\\", max_size=6)


@settings(deadline=None)
@given(name=NAMES, pattern=NAMES)
def test_patterns_mean_here_what_they_mean_in_dbt(root: Path, name: str, pattern: str):
    macros = (root / "dbt_project/macros/windows.sql").read_text()
    found = re.search(r"macro matches_pattern\(name, pattern\) -?%\}(.*?)\{%-? endmacro", macros, re.DOTALL)
    assert found is not None
    body = re.sub(r"\{#.*?#\}", "", found[1], flags=re.DOTALL)
    answer = duckdb.execute(f"select {Template(body).render(name='$1', pattern='$2')}", [name, pattern]).fetchone()
    assert answer == (matches_pattern(name, pattern),)


# --- real logs -------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "events", "users", "names", "roles", "odd"),
    [
        ("sparkify", 8_056, 97, 13, {Role.OCCURRED_AT: "ts", Role.EVENT_NAME: "page", Role.USER_ID: "userId"},
         {"empty users": 286}),
        ("moodle", 95_626, 130, 27,
         {Role.OCCURRED_AT: "timecreated", Role.EVENT_NAME: "Event.name", Role.USER_ID: "user"},
         {"no account": 95_626}),
        ("ravenstack", 24_979, 0, 40,
         {Role.OCCURRED_AT: "usage_date", Role.EVENT_NAME: "feature_name", Role.EVENT_ID: "usage_id"},
         {"duplicate ids": 21, "byte order marks": 5}),
    ],
)  # fmt: skip
def test_real_logs_are_read_by_their_names_alone(
    shared_data: Path, folder: str, events: int, users: int, names: int, roles: dict[Role, str], odd: dict[str, int]
):
    log = profile(shared_data / folder)
    assert log.mapped is not None
    assert (log.mapped.events, log.mapped.count_users, len(log.mapped.volumes)) == (events, users, names)
    assert log.mapped.roles == roles
    assert {kind: oddities(log)[kind].count for kind in odd} == odd
    assert sum(table.unreadable for table in log.tables) == 0


def test_the_macros_know_a_year_from_now(tmp_path: Path):
    with duckdb.connect() as session:
        log_profile_fields.define_macros(session, NOW)
        soon, far = (
            session.execute("select uptake_format(?)", [text]).fetchone() for text in ("1800000000", "1900000000")
        )
    assert (soon, far) == (("unix_s",), (None,))


@pytest.mark.parametrize("levels", [1_500, 60_000])
def test_a_line_nested_too_deeply_to_be_described_hides_no_other(tmp_path: Path, levels: int):
    """DuckDB's own guess of a structure ends the process there."""
    deep = '{"event": "viewed", "user": "u1", "x": ' + '{"a":' * levels + "1" + "}" * levels + "}"
    path = write(tmp_path, "x.ndjson", *(event(minute) for minute in range(5)))
    path.write_text(f"{path.read_text()}{deep}\n")
    log = profile(tmp_path)
    assert (log.tables[0].rows, log.tables[0].unreadable) == (6, 0)
    assert "x" not in fields(log)
