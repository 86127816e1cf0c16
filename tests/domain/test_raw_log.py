"""What the fields of a log nobody mapped yet could be."""

from __future__ import annotations

from typing import Any

from uptake.domain.raw_log import Kind, RawField, RawTable, Role, TimeFormat, event_log_of, guess_roles, plain


def field(name: str, kind: Kind = Kind.TEXT, *, rows: int = 1_000, **more: Any) -> RawField:
    given = {"rows": rows, "filled": rows, "kinds": {kind: rows}, "distinct": 10}
    return RawField(name=name, **(given | more))


def table(name: str, rows: int, *fields: RawField) -> RawTable:
    return RawTable(
        name=name, format="CSV", files=1, rows=rows, unreadable=0, looked_at=rows, fields=fields,
        roles=guess_roles(fields),
    )  # fmt: skip


TIME = field("ts", Kind.TIME, formats={TimeFormat.UNIX_MS: 1_000})


def test_names_are_compared_without_case_and_punctuation():
    assert plain("$Insert_Id") == "insertid"
    roles = guess_roles([TIME, field("Event.name"), field("userId"), field("Account ID")])
    assert roles == {
        Role.OCCURRED_AT: "ts", Role.EVENT_NAME: "Event.name", Role.USER_ID: "userId", Role.ACCOUNT_ID: "Account ID",
    }  # fmt: skip


def test_the_more_telling_name_wins_then_the_fuller_field():
    assert guess_roles([field("type"), field("event")])[Role.EVENT_NAME] == "event"
    thin = field("user", filled=10, kinds={Kind.TEXT: 10})
    assert guess_roles([thin, field("User")])[Role.USER_ID] == "User"
    assert guess_roles([field("x", Kind.TEXT)]) == {}


def test_a_field_plays_one_part_only():
    assert guess_roles([field("id", distinct=1_000), field("user", distinct=9)]) == {
        Role.EVENT_ID: "id", Role.USER_ID: "user",
    }  # fmt: skip


def test_values_must_fit_the_part():
    assert guess_roles([field("timestamp")]) == {}  # texts that are no times
    assert guess_roles([field("event_id", distinct=10)]) == {}  # repeated too often
    assert guess_roles([field("event", distinct=900)]) == {}  # hardly ever the same: a title, not a name
    assert guess_roles([field("event", rows=5, distinct=5)]) == {Role.EVENT_NAME: "event"}  # too few to tell
    assert guess_roles([field("event", addresses=3)]) == {}
    assert guess_roles([field("user", filled=0, kinds={})]) == {}
    assert guess_roles([field("account", Kind.OBJECT)]) == {}
    assert guess_roles([field("uuid", rows=5, distinct=4)]) == {Role.EVENT_ID: "uuid"}


def test_nearly_all_values_say_the_kind():
    assert field("x").kind is Kind.TEXT
    assert field("x", kinds={Kind.INTEGER: 950, Kind.TEXT: 50}).kind is Kind.INTEGER
    assert field("x", kinds={Kind.INTEGER: 500, Kind.NUMBER: 500}).kind is Kind.NUMBER
    assert field("x", kinds={Kind.INTEGER: 500, Kind.TEXT: 500}).kind is Kind.TEXT
    assert field("x", filled=0, kinds={}).kind is Kind.EMPTY
    assert field("x", rows=0).fill == 0
    assert field("x", filled=250).fill == 0.25


def test_what_could_name_a_person_is_personal():
    assert field("firstName").is_personal
    assert field("actor->login").is_personal
    assert field("note", addresses=1).is_personal
    assert field("ip->address").is_personal
    assert not field("plan").is_personal


def test_the_largest_table_with_a_time_and_a_name_holds_the_events():
    small = table("small", 10, TIME, field("event"))
    large = table("large", 99, TIME, field("event"))
    fuller = table("fuller", 99, TIME, field("event"), field("user_id"))
    people = table("people", 500, field("user_id"), TIME)
    assert event_log_of([small, large, people]) is large
    assert event_log_of([large, fuller]) is fuller
    assert event_log_of([people]) is None
