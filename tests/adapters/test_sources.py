"""Sources: anyone's export as our staging relations, with every line accounted for."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uptake.adapters.log_profile_duckdb import DuckLogProfiler
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.domain.mapping_draft import mapping_draft

pytestmark = pytest.mark.slow

#: What staging leaves behind, without the marts: seconds less for each test.
MODELS = (
    "+dim_features", "+stg_quarantine", "+stg_load_counts", "stg_accounts", "stg_contacts", "stg_subscriptions",
    "stg_tickets", "stg_people",
)  # fmt: skip
LOADED = ("lines", "events", "duplicates", "quarantined", "unattributed")


class Staged:
    """A warehouse with staging relations."""

    def __init__(self, transformer: DbtTransformer) -> None:
        self._transformer = transformer
        self.warehouse = transformer.warehouse

    def __call__(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.warehouse), read_only=True) as session:
            return session.sql(query).fetchall()

    @property
    def counts(self) -> tuple[int, ...]:
        return self(f"select {', '.join(LOADED)} from staging.stg_load_counts")[0]

    @property
    def quarantine(self) -> list[tuple[Any, ...]]:
        return self("select file, line_no, reason from staging.stg_quarantine order by all")

    @property
    def people(self) -> list[dict[str, Any]]:
        return self._transformer.people(self.warehouse).to_pylist()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all: each source finds what another left there."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def stage(root: Path, home: Path) -> Callable[..., Staged]:
    """Stage a raw folder: by the name of a source, or by a mapping file."""

    def run(source: str | Path, raw: Path) -> Staged:
        own = source if isinstance(source, Path) else None
        transformer = DbtTransformer(project=root / "dbt_project", home=home, mapping=own)
        name = source if isinstance(source, str) else source.stem
        mapping = transformer._mapping_of(name)
        chosen = name
        if mapping is not None:
            mapping.resolved(raw)
            chosen = str(mapping.path)
        with transformer._environment(source=chosen, raw=raw, as_of=""):
            manifest = transformer._manifest(name if mapping is None else "mapping")
            exclude = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
            results = transformer._invoke(["build", "--select", *MODELS, *exclude], manifest)
        assert [(result.node.name, result.message) for result in results if result.status == "error"] == []
        return Staged(transformer)

    return run


def write(folder: Path, **files: str) -> Path:
    """Write text files; `__` in a name is a dot."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def mapped(folder: Path, text: str) -> Path:
    """Write a mapping whose file is called as it calls itself."""
    path = folder / f"{text.split()[1]}.yml"
    path.write_text(text)
    return path


# --- exports that nobody here wrote ------------------------------------------------------------------------------


BEYOND = {
    "sparkify": [
        ("select cast(min(occurred_at) as varchar), cast(max(occurred_at) as varchar) from staging.stg_usage_events",
         [("2018-11-01 20:57:10.796", "2018-11-30 19:54:24.796")]),
        # Signing in, errors and the like are nothing to learn.
        ("select string_agg(feature_key, ' ' order by feature_key) from marts.dim_features",
         [("help listening settings upgrade",)]),
    ],
    "retentioneering": [
        ("select count(*) from staging.stg_event_lines group by file order by 1", [(31106,), (32283,), (33279,)]),
    ],
    "ravenstack": [
        ("select count(*), count(distinct plan), sum(arr), count(ended_on) from staging.stg_subscriptions",
         [(5000, 3, 136064964.0, 486)]),
        ("select count(*), count(closed_at), count(is_escalation) from staging.stg_tickets", [(2000, 2000, 2000)]),
        ("select count(*), count(created_at), min(currency) from staging.stg_accounts", [(500, 500, "USD")]),
        ("select count(distinct account_id) from staging.stg_accounts", [(500,)]),
    ],
    "pendo": [
        ("select count(*), count(created_at), min(plan) from staging.stg_accounts", [(5, 5, "Legacy")]),
        ("select count(*), min(role) from staging.stg_contacts", [(5, "Owner")]),
        ("select sum(quantity) from staging.stg_usage_events", [(93,)]),
    ],
}  # fmt: skip


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("source", "folder", "counts", "accounts", "users", "names"),
    [
        ("sparkify", "sparkify", (8056, 8056, 0, 0, 286), 98, 97, 13),
        ("moodle", "moodle", (95626, 95626, 0, 0, 0), 1, 130, 36),
        ("retentioneering", "retentioneering", (96668, 96668, 0, 0, 0), 4351, 4351, 31),
        ("ravenstack", "ravenstack", (25000, 24979, 21, 0, 24979), 500, 0, 40),
        ("amplitude", "vendor-fixtures/amplitude", (10, 10, 0, 0, 0), 7, 7, 5),
        ("mixpanel", "vendor-fixtures/mixpanel", (5, 3, 2, 0, 0), 3, 3, 3),
        ("pendo", "vendor-fixtures/pendo", (15, 15, 0, 0, 0), 10, 9, 13),
    ],
)
def test_a_shipped_mapping_loads_a_real_export_whole(
    stage, shared_data, source, folder, counts, accounts, users, names
):
    staged = stage(source, shared_data / folder)
    assert staged.counts == counts
    assert staged.quarantine == []
    assert staged(
        "select count(distinct account_id), count(distinct user_id), count(distinct event_name), min(source)"
        " from staging.stg_usage_events"
    ) == [(accounts, users, names, source)]
    if source != "sparkify":  # of the others nobody has named a feature yet: each event is one, for a first look
        assert staged("select count(*) from marts.dim_features") == [(names,)]
    for query, expected in BEYOND.get(source, ()):
        assert staged(query) == expected
    if source == "ravenstack":
        with (shared_data / "ravenstack/ravenstack_subscriptions.csv").open(encoding="utf-8-sig") as file:
            owners = {row["subscription_id"]: row["account_id"] for row in csv.DictReader(file)}
        query = "select distinct properties ->> '$.subscription_id', account_id from staging.stg_usage_events"
        found = staged(query)
        assert len(found) > 4000
        assert dict(found) == {subscription: owners[subscription] for subscription, _ in found}


@pytest.mark.real_data
def test_the_mapping_that_inspect_drafts_loads_a_real_log_whole(shared_data, stage, tmp_path):
    log = DuckLogProfiler().profile(shared_data / "sparkify", source=None, now=datetime(2026, 11, 22, tzinfo=UTC))
    drafted = mapped(tmp_path, mapping_draft(log, name="drafted") or "")
    staged = stage(drafted, shared_data / "sparkify")
    assert staged.counts == (8056, 8056, 0, 0, 286)
    assert staged("select count(distinct user_id), min(occurred_at)::date from staging.stg_usage_events") == [
        (97, date(2018, 11, 1))
    ]


def test_a_real_export_of_a_vendor_is_an_archive_or_lines_in_any_order_and_again(stage, tmp_path):
    raw = tmp_path / "amplitude"
    raw.mkdir()
    event = {
        "uuid": "u-1", "event_type": "open", "event_time": "2026-03-01 10:00:00.000000", "user_id": "ada",
        "device_id": "d", "server_upload_time": "2026-03-01 10:00:05", "groups": {"company": ["Acme"]},
        "event_properties": {"n": 1}, "$insert_id": "i-1",
    }  # fmt: skip
    anonymous = event | {"uuid": "u-2", "user_id": None, "groups": {}}
    for day, events in (("1", [event, anonymous]), ("2", [anonymous, event])):
        with zipfile.ZipFile(raw / f"{day}.zip", "w") as archive:
            archive.writestr(
                "1/1_2026-03-01_10#0.json.gz", gzip.compress("\n".join(map(json.dumps, events)).encode() + b"\n{broken")
            )
    staged = stage("amplitude", raw)
    assert staged.counts == (6, 2, 2, 2, 1)
    assert staged.quarantine == [("1.zip", 3, "not JSON in UTF-8"), ("2.zip", 3, "not JSON in UTF-8")]
    assert staged("select account_id, user_id, properties from staging.stg_usage_events order by event_id") == [
        ("Acme", "ada", '{"n":1}'),
        ("d", None, '{"n":1}'),
    ]

    seconds = {"event": "open", "properties": {"time": 1772359200, "distinct_id": "ada", "$insert_id": "i-1"}}
    milliseconds = {"event": "open", "properties": {"time": 1772359200500, "distinct_id": "ada", "$insert_id": "i-2"}}
    raw = write(tmp_path / "mixpanel", a__ndjson="\n".join(map(json.dumps, (seconds, milliseconds, seconds))))
    staged = stage("mixpanel", raw)
    assert staged.counts == (3, 2, 1, 0, 0)
    assert staged("select epoch_ms(occurred_at) from staging.stg_usage_events order by 1") == [
        (1772359200000,),
        (1772359200500,),
    ]


# --- any mapping -------------------------------------------------------------------------------------------------

SHOP = """\
name: shop
events:
  files: ["log.*"]
  account_id: {column: company, default: nobody}
  user_id: user
  event_name: {columns: [area, action], join: " / "}
  occurred_at: {column: at, unit: auto, zone: Europe/Berlin}
  quantity: {column: n, default: 2}
  properties: [n]
features:
  cart: {events: [cart / *], plans: [gold], minutes_saved_per_use: 3}
  checkout: [pay / card, pay / wire]
"""
ROWS = [
    {"company": "acme", "user": "ada", "area": "cart", "action": "filled", "at": "2026-03-01T10:00:00Z", "n": "1"},
    {"company": "acme", "user": "", "area": "pay", "action": "", "at": "2026-07-01 10:00:00", "n": ""},
    {"company": "", "user": "bob", "area": "pay", "action": "card", "at": "1700000000", "n": "nan"},
    {"company": "acme", "user": "ada", "area": "", "action": "", "at": "2026-03-01T10:00:00Z", "n": "1"},
    {"company": "acme", "user": "ada", "area": "pay", "action": "wire", "at": "soon", "n": "1"},
]


def test_every_format_gives_the_same_events_and_the_same_quarantine(stage, tmp_path):
    mapping = mapped(tmp_path, SHOP)
    found = []
    for form in ("csv", "ndjson", "array", "parquet"):
        raw = tmp_path / form
        raw.mkdir()
        if form == "csv":
            with (raw / "log.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(ROWS[0]))
                writer.writeheader()
                writer.writerows(ROWS)
        elif form == "ndjson":
            (raw / "log.json").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        elif form == "array":
            (raw / "log.json").write_text(json.dumps(ROWS, indent=1))
        else:
            pq.write_table(pa.Table.from_pylist(ROWS), raw / "log.parquet")
        staged = stage(mapping, raw)
        events = staged(
            "select account_id, user_id, event_name, occurred_at, quantity, properties"
            " from staging.stg_usage_events order by event_name"
        )
        found.append((staged.counts, events, [(line, reason) for _, line, reason in staged.quarantine]))
    assert found[0][0] == (5, 3, 0, 2, 1)
    assert [(*event[:3], event[3].isoformat(), *event[4:]) for event in found[0][1]] == [
        ("acme", "ada", "cart / filled", "2026-03-01T10:00:00", 1.0, "1"),
        ("acme", None, "pay", "2026-07-01T08:00:00", 2.0, None),  # ten o'clock in Berlin; one part is empty
        ("nobody", "bob", "pay / card", "2023-11-14T21:13:20", 1.0, "nan"),
    ]
    wrong_name, wrong_time = (
        "no event_name: `area` or `action` is empty",
        ("occurred_at: `at` is not an ISO 8601 time or a number"),
    )
    assert found[0][2] == [(5, wrong_name), (6, wrong_time)]  # a header is the first line
    assert found[1:] == [(*found[0][:2], [(4, wrong_name), (5, wrong_time)])] * 3
    assert staged(
        "select feature_key, name, ladder_rank, minutes_saved_per_use from marts.dim_features order by 3"
    ) == [
        ("cart", "Cart", 1, 3.0),
        ("checkout", "Checkout", 2, None),
    ]


def test_a_line_nobody_can_read_is_quarantined_with_its_line_in_every_input(stage, tmp_path):
    text = SHOP.replace('"log.*"', "log.csv") + (
        "contacts:\n  files: people.csv\n  latest_by: seen\n  account_id: company\n  user_id: id\n  address: mail\n"
        "subscriptions: {files: subs.csv, optional: true, subscription_id: id, account_id: company}\n"
    )
    raw = write(
        tmp_path / "raw",
        log__csv='company,user,area,action,at,n\n\nacme,ada,"two\nlines",x,2026-03-01,1\n1,2\n"a"b,,,,,\n',
        people__csv="company,id,mail,seen\nacme,ada,old@x.example,1\n,bob,b@x.example,1\nacme,ada,new@x.example,2\n",
    )
    staged = stage(mapped(tmp_path, text), raw)
    assert staged.counts == (3, 1, 0, 2, 0)
    assert staged.quarantine == [
        ("log.csv", 5, "fewer fields than columns"),
        ("log.csv", 6, "a quote is never closed, or closed too early"),
        ("people.csv", 3, "no account_id: `company` is empty"),
    ]
    assert [(one["account_id"], one["address"]) for one in staged.people] == [("acme", "new@x.example")]
    assert staged("select account_id, user_id from staging.stg_contacts") == [("acme", "ada")]
    assert staged("select count(*) from staging.stg_subscriptions") == [(0,)]
    tables = staged("select schema_name, table_name from duckdb_tables()")
    assert len(tables) > 8
    assert not any("x.example" in repr(staged(f"from {schema}.{table}")) for schema, table in tables)


def test_without_an_id_a_line_twice_in_a_file_is_two_events_and_the_file_twice_is_one(stage, tmp_path):
    line = "acme,ada,pay,card,2026-03-01,1\n"
    log = "company,user,area,action,at,n\n" + line * 2
    staged = stage(mapped(tmp_path, SHOP), write(tmp_path / "raw", log__1__csv=log, log__2__csv=log + line))
    assert staged.counts == (5, 3, 2, 0, 0)


def test_nothing_in_a_mapping_or_an_export_is_ever_sql(stage, tmp_path):
    evil = "x'); drop table staging.stg_tickets; --"
    odd = ["a'b", 'c"d', "e/f~g", "{{ 1/0 }}", "$.h", "i\\"]
    document = {
        "name": "evil",
        "events": {
            "files": ["*'*.json"],
            "account_id": {"column": odd[0], "default": evil},
            "event_name": {"columns": odd[1:], "join": "'"},
            "occurred_at": {"column": "at", "format": ["%Y'%m", "%Y-%m-%d"]},
            "user_id": {"value": evil},
            "properties": [*odd, f"o->{evil}"],
        },
        "features": {"evil": {"events": evil, "name": evil, "guide_url": evil}},
    }  # fmt: skip
    path = tmp_path / "evil.yml"
    path.write_text(json.dumps(document))  # JSON is YAML
    line = {name: evil if number == 1 else str(number) for number, name in enumerate(odd)}
    lines = [line | {"at": "2026'03", "o": {evil: 1}}, {odd[1]: "only", "at": "2026-03-02"}, {"at": "2026-03-02"}]
    raw = tmp_path / "raw'; --"
    raw.mkdir()
    (raw / "it's.json").write_text("\n".join(map(json.dumps, lines)))
    staged = stage(path, raw)
    assert staged.counts == (3, 2, 0, 1, 0)
    assert staged("select account_id, user_id, event_name from staging.stg_usage_events order by occurred_at") == [
        ("0", evil, "'".join([evil, "2", "3", "4", "5"])),
        (evil, evil, "only"),
    ]
    assert staged("select properties from staging.stg_usage_events order by occurred_at limit 1") == [
        (json.dumps({**line, f"o->{evil}": "1"}, separators=(",", ":")),)
    ]
    assert staged.quarantine == [
        ("it's.json", 3, 'no event_name: `c"d` or `e/f~g` or `{{ 1/0 }}` or `$.h` or `i\\` is empty')
    ]
    assert staged("select name, guide_url from marts.dim_features") == [(evil, evil)]
    assert staged("select count(*) from staging.stg_tickets") == [(0,)]


def test_mappings_share_a_home_and_nothing_else(stage, tmp_path):
    raw = write(tmp_path / "raw", log__csv="company,user,area,action,at,n\nacme,ada,cart,filled,2026-03-01,5\n")
    shop = mapped(tmp_path, SHOP)
    other = mapped(tmp_path, SHOP.replace("name: shop", "name: other").replace("user_id: user", "user_id: company"))
    both = "select source, user_id from staging.stg_usage_events"
    assert stage(shop, raw)(both) == [("shop", "ada")]
    assert stage(other, raw)(both) == [("other", "acme")]
    assert stage(shop, raw)(both) == [("shop", "ada")]
    shop.write_text(SHOP.replace("user_id: user", "user_id: action"))  # the same file says something else
    assert stage(shop, raw)(both) == [("shop", "filled")]


def test_a_lookup_that_says_something_else_is_heard_though_no_event_changed(stage, tmp_path):
    text = SHOP.replace(
        "{column: company, default: nobody}",
        "{column: company, lookup: {files: owners.csv, key: id, gives: owner, latest_by: since}}",
    )
    raw = write(
        tmp_path / "raw",
        log__csv="company,user,area,action,at,n\n7,ada,cart,x,2026-03-01,5\n8,ada,cart,x,2026-03-01,5\n",
        owners__csv="id,owner,since\n7,old,1\n7,new,2\n",
    )
    mapping = mapped(tmp_path, text)
    staged = stage(mapping, raw)
    assert staged("select account_id from staging.stg_usage_events") == [("new",)]
    assert staged.quarantine == [("log.csv", 3, "no account_id: `company` is not in owners.csv")]
    write(raw, owners__csv="id,owner,since\n7,old,3\n7,new,2\n8,eight,1\n")
    staged = stage(mapping, raw)
    assert sorted(staged("select account_id from staging.stg_usage_events")) == [("eight",), ("old",)]
    assert staged.quarantine == []


def test_addresses_that_reach_nobody_are_made_only_where_a_mapping_says_so(stage, tmp_path):
    raw = write(tmp_path / "raw", log__csv="company,user,area,action,at,n\nacme,ada,cart,x,2026-03-01,5\n")
    assert stage(mapped(tmp_path, SHOP), raw).people == []
    staged = stage(mapped(tmp_path, SHOP.replace("name: shop", "name: shop\nsandbox_addresses: true")), raw)
    (person,) = staged.people
    assert person["address"].endswith("@example.invalid")
    assert person["consent_basis"] is None
    assert staged("select account_id, user_id from staging.stg_contacts") == [("acme", "ada")]


def test_names_that_come_to_one_key_are_one_feature_and_names_of_any_script_have_one(stage, tmp_path):
    names = ["Report Exported", "report-exported", "2FA|on", "課程", "a" * 80]
    log = "company,user,area,action,at,n\n" + "".join(f"acme,ada,{name},,2026-03-01,1\n" for name in names)
    text = SHOP[: SHOP.index("features:")] + "features: each_event\n"
    staged = stage(mapped(tmp_path, text), write(tmp_path / "raw", log__csv=log))
    found = dict(staged("select feature_key, name from marts.dim_features"))
    assert found == {
        "report_exported": "Report Exported", "event_2fa_on": "2FA|on", "a" * 63: "a" * 80,
        "event_a990226d": "課程",
    }  # fmt: skip


# --- Segment and PostHog -----------------------------------------------------------------------------------------


def test_segment_calls_tell_of_usage_people_and_accounts(stage, tmp_path):
    def call(kind: str, message: str, **more: Any) -> str:
        common = {
            "type": kind, "messageId": message, "anonymousId": "a", "userId": "ada", "context": {"groupId": "g1"},
            "timestamp": "2026-03-01T10:00:00.000Z", "receivedAt": "2026-03-01T10:00:05.000Z",
        }  # fmt: skip
        return json.dumps({name: value for name, value in (common | more).items() if value is not None})

    later = {"timestamp": "2026-03-02T10:00:00.000Z"}
    lines = [
        call("identify", "1", context={"timezone": "Europe/Berlin", "locale": "de-DE"},
             traits={"email": "ada@old.example", "firstName": "Ada", "lastName": "Byron", "title": "admin"}),
        call("group", "2", groupId="g1", traits={"plan": "team", "createdAt": "2025-05-05T00:00:00Z"}),
        call("track", "3", event="Report Exported", properties={"n": 1}),
        call("track", "3", event="Report Exported", properties={"n": 1}),
        call("page", "4", name="Pricing"),
        call("screen", "5", category="Home"),
        "{broken",
        call("page", "6", userId=None, context={}),  # a visitor
        call("track", "7", event="Lost", context={}),
        call("group", "8", traits={}),
        call("alias", "9", previousId="x"),
        call("video", "10"),
        call("identify", "11", context=None, traits={"email": "ada@new.example"}, **later),
        call("group", "12", groupId="g1", traits={"plan": "enterprise"}, **later),
    ]  # fmt: skip
    folder = tmp_path / "segment-logs/source/1772323200000"
    folder.mkdir(parents=True)
    (folder / "1.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    staged = stage("segment", tmp_path)
    assert staged.counts == (8, 3, 1, 4, 0)
    assert [(line, reason) for _, line, reason in staged.quarantine] == [
        (7, "not JSON in UTF-8"), (9, "no context.groupId"), (10, "no groupId"), (12, "type is not one of Segment"),
    ]  # fmt: skip
    assert staged("select event_name, account_id, user_id from staging.stg_usage_events order by 1") == [
        (name, "g1", "ada") for name in ("Report Exported", "page.Pricing", "screen.Home")
    ]
    assert staged("select feature_key from marts.dim_features order by 1") == [
        ("page_pricing",), ("report_exported",), ("screen_home",),
    ]  # fmt: skip
    assert staged("select account_id, plan, cast(created_at as varchar) from staging.stg_accounts") == [
        ("g1", "enterprise", "2025-05-05 00:00:00")
    ]
    (person,) = staged.people
    told = ("account_id", "address", "given_name", "full_name", "role", "time_zone", "locale", "consent_basis")
    assert [person[name] for name in told] == [
        "g1", "ada@new.example", "Ada", "Ada Byron", "admin", "Europe/Berlin", "de-DE", None,
    ]  # fmt: skip


def test_posthog_exports_tell_of_usage_people_and_groups_as_lines_and_as_parquet(stage, tmp_path):
    def event(name: str, uuid: str, **properties: Any) -> dict[str, Any]:
        return {
            "uuid": uuid, "event": name, "distinct_id": "device", "person_id": "ada", "team_id": 1,
            "timestamp": "2026-03-01T10:00:00.000Z", "created_at": "2026-03-01T10:00:05.000Z", "properties": properties,
        }  # fmt: skip

    of_acme = {"$groups": {"company": "acme"}}
    rows = [
        event("$identify", "1", **{"$set": {"email": "ada@x.example", "name": "Ada B"}, **of_acme}),
        event("$groupidentify", "2", **{"$group_type": "company", "$group_key": "acme", "$group_set": {"plan": "pro"}}),
        event("report exported", "3", **of_acme),
        event("$pageview", "4", **{"$group_0": "globex"}),
        event("$pageview", "5", **{"$process_person_profile": False}),  # a visitor
        event("lost", "6"),
        event("report exported", "3", **of_acme),
    ]
    (tmp_path / "1.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows[:3])).encode()))
    of_tables = [row | {"properties": json.dumps(row["properties"])} for row in rows[3:]]
    pq.write_table(
        pa.Table.from_pylist([row | {"timestamp": datetime(2026, 3, 1, 10, tzinfo=UTC)} for row in of_tables]),
        tmp_path / "2.parquet",
    )
    staged = stage("posthog", tmp_path)
    assert staged.counts == (4, 2, 1, 1, 0)
    assert staged.quarantine == [("2.parquet", 3, "no group of the type company")]
    assert staged("select event_name, account_id, user_id from staging.stg_usage_events order by 1") == [
        ("$pageview", "globex", "ada"),
        ("report exported", "acme", "ada"),
    ]
    assert staged("select account_id, plan from staging.stg_accounts") == [("acme", "pro")]
    assert sorted((one["account_id"], one["address"], one["full_name"]) for one in staged.people) == [
        ("acme", "ada@x.example", "Ada B"),
        ("globex", "ada@x.example", "Ada B"),
    ]


# --- copies ------------------------------------------------------------------------------------------------------


def test_no_copy_of_an_export_outlives_the_build(stage, home, tmp_path):
    stage(mapped(tmp_path, SHOP), write(tmp_path / "raw", log__csv="company,user,area,action,at,n\n"))
    assert not list(home.glob(".uptake*/*/*"))
    shutil.rmtree(tmp_path / "raw")
