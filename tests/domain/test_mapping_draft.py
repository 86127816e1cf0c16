"""The first mapping of a log: right where names and values are plain, and YAML always."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from uptake.domain.mapping_draft import mapping_draft
from uptake.domain.raw_log import Kind, Lookup, Mapped, RawField, RawLog, RawTable, Role, TimeFormat


def log(
    *formats: TimeFormat, lookup: Lookup | None = None, table: dict[str, Any] | None = None, **roles: str
) -> RawLog:
    played = {Role(role): name for role, name in roles.items()}
    when = RawField(
        name=played[Role.OCCURRED_AT], rows=9, filled=9, kinds={Kind.TIME: 9}, formats=dict.fromkeys(formats, 1),
        longest=10, shape="99/99/9999",
    )  # fmt: skip
    others = (replace(when, name=name) for name in played.values() if name != when.name)
    found = RawTable(
        name="e.csv", format="CSV", files=1, rows=9, unreadable=0, looked_at=9, fields=(when, *others), roles=played
    )
    mapped = Mapped(
        by="guess", table="e.csv", roles=played, lookup=lookup, lines=9, events=9, duplicates=0, first_at=None,
        last_at=None, count_users=1, count_accounts=1, volumes=(),
    )  # fmt: skip
    return RawLog(tables=(replace(found, **(table or {})),), mapped=mapped, oddities=())


def draft(found: RawLog) -> dict[str, Any]:
    text = mapping_draft(found, name="mine")
    assert text is not None
    read: dict[str, Any] = YAML(typ="safe").load(text)
    return read["events"]


PLAIN = {"occurred_at": "ts", "event_name": "page"}


def test_what_was_found_is_mapped():
    found = log(TimeFormat.ISO_ZONE, **PLAIN, event_id="id", account_id="org->login", user_id="actor->login")
    assert draft(found) == {
        "files": "e.csv", "event_id": "id", "account_id": "org->login", "user_id": "actor->login", "event_name": "page",
        "occurred_at": "ts",
    }  # fmt: skip


def test_without_an_account_each_user_is_one_or_all_are():
    assert draft(log(TimeFormat.ISO_ZONE, **PLAIN, user_id="u"))["account_id"] == {"column": "u", "default": "nobody"}
    assert draft(log(TimeFormat.ISO_ZONE, **PLAIN))["account_id"] == {"value": "everybody"}


def test_an_account_that_many_lines_lack_is_nobodys_until_somebody_says_more():
    found = log(TimeFormat.ISO_ZONE, **PLAIN, account_id="org")
    for filled, told in (
        (86, "  account_id: {column: org, default: nobody}  # 14% of the lines say none\n"),
        (95, "  account_id: org\n"),
    ):
        fields = tuple(replace(item, rows=100, filled=filled) for item in found.tables[0].fields)
        sparse = replace(found, tables=(replace(found.tables[0], fields=fields),))
        assert told in (mapping_draft(sparse, name="mine") or "")


def test_an_account_that_another_table_knows_is_looked_up():
    lookup = Lookup(by="sub", table="subs.csv", key="id", account="account", found_share=1.0)
    assert draft(log(TimeFormat.ISO_ZONE, lookup=lookup, **PLAIN))["account_id"] == {
        "column": "sub", "lookup": {"files": "subs.csv", "key": "id", "gives": "account"},
    }  # fmt: skip


def test_moments_are_read_as_they_are_written():
    assert draft(log(TimeFormat.UNIX_MS, **PLAIN))["occurred_at"] == {"column": "ts", "unit": "milliseconds"}
    assert draft(log(TimeFormat.DAY_FIRST, **PLAIN))["occurred_at"] == {"column": "ts", "format": "%d/%m/%Y"}
    assert draft(log(TimeFormat.UNIX_S, TimeFormat.ISO_ZONE, **PLAIN))["occurred_at"] == {
        "column": "ts",
        "unit": "auto",
    }
    assert draft(log(TimeFormat.ISO_DATE, TimeFormat.ISO_ZONE, **PLAIN))["occurred_at"] == "ts"


def test_how_files_are_written_is_said_where_their_names_do_not_tell():
    found = log(TimeFormat.ISO_ZONE, table={"delimiter": ";"}, **PLAIN)
    assert draft(found)["reader"] == {"csv": {"delimiter": ";"}}
    found = log(TimeFormat.ISO_ZONE, table={"encoding": "latin-1"}, **PLAIN)
    assert draft(found)["reader"] == {"csv": {"encoding": "latin-1"}}
    found = log(TimeFormat.ISO_ZONE, table={"format": "JSON array"}, **PLAIN)
    assert draft(found)["reader"] == {"format": "json"}


def test_nothing_like_events_has_no_mapping():
    found = log(TimeFormat.ISO_ZONE, **PLAIN)
    assert mapping_draft(replace(found, mapped=None), name="mine") is None
    assert mapping_draft(replace(found, tables=()), name="mine") is None


@given(name=st.text(min_size=1, max_size=12))
def test_any_name_of_a_field_comes_back_out_of_the_yaml(name: str):
    assert draft(log(TimeFormat.ISO_ZONE, occurred_at="ts", event_name=name))["event_name"] == name
