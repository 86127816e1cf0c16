"""The language of conditions: what is read, what is refused and how, what it means for one row."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.conditions import (
    And,
    ColumnType,
    Comparison,
    ConditionError,
    Literal,
    Name,
    evaluate,
    explain,
    parse,
)
from uptake.domain.conditions.evaluator import _value
from uptake.domain.conditions.nodes import Node
from uptake.domain.conditions.slips import nearest
from uptake.domain.conditions.writer import write

NOW = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)

COLUMNS = {
    "account.plan": ColumnType.TEXT,
    "account.arr": ColumnType.NUMBER,
    "account.seats": ColumnType.NUMBER,
    "account.adoption_breadth": ColumnType.NUMBER,
    "account.churned": ColumnType.BOOL,
    "account.is_internal": ColumnType.BOOL,
    "account.renewal_on": ColumnType.DATE,
    "account.seen_at": ColumnType.TIMESTAMP,
    "contact.role": ColumnType.TEXT,
}

ROW = {
    "account.plan": "team",
    "account.arr": 20_000.0,
    "account.seats": 40,
    "account.adoption_breadth": None,
    "account.churned": False,
    "account.is_internal": None,
    "account.renewal_on": date(2026, 3, 31),
    "account.seen_at": datetime.fromisoformat("2026-03-01T12:00"),
    "contact.role": None,
}


def verdict(text: str, **changes: object) -> bool | None:
    row = ROW | {name.replace("__", "."): value for name, value in changes.items()}
    return evaluate(parse(text, COLUMNS), row, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("account.plan in ['team', 'business'] and account.arr >= 20000", True),
        ("account.plan not in ['team']", False),
        ("10 <= account.seats < 40", False),
        ("50 > account.seats >= 40", True),
        ("account.churned", False),
        ("not account.churned", True),
        ("account.churned == False", True),
        ("account.churned != account.is_internal", None),
        ("(account.arr > 1) == account.churned", False),
        ("account.is_internal", None),
        ("not account.is_internal", None),
        ("account.is_internal is None", True),
        ("account.is_internal is not None", False),
        ("contact.role == 'admin'", None),
        ("contact.role != 'admin'", None),
        ("contact.role in ['admin']", None),
        ("contact.role not in ['admin', None]", None),
        ("account.plan in ['team', None]", True),
        ("account.plan in ['starter', None]", None),
        ("account.plan not in ['starter', None]", None),
        ("account.is_internal in [True, False]", None),
        ("account.churned and account.is_internal", False),
        ("not account.churned and account.is_internal", None),
        ("account.churned or account.is_internal", None),
        ("not account.churned or account.is_internal", True),
        ("account.churned or account.churned", False),
        ("not account.churned and not account.churned", True),
        ("(account.churned and account.is_internal) is None", False),
        ("account.arr / account.seats == 500", True),
        ("account.arr / 0 is None", True),
        ("account.arr / (account.seats - 40) > 0", None),
        ("account.arr * 1e300 * 1e300 > 0", None),
        ("account.adoption_breadth + 1 > 0", None),
        ("-account.seats + 3 * 2 - 1 == -35", True),
        ("-account.adoption_breadth is None", True),
        ("account.seats == 40.0", True),
        ("0.1 + 0.2 == 0.3", False),
        ("account.plan < 'zebra'", True),
        ("'Z' < 'a'", True),
        ("'é' > 'z'", True),
        ("account.renewal_on == date('2026-03-31')", True),
        ("account.renewal_on - today == days(28)", True),
        ("account.renewal_on - today <= -days(28)", False),
        ("account.renewal_on - days(28) == today", True),
        ("account.renewal_on + days(-28) == today", True),
        ("account.seen_at + days(2) < account.renewal_on", True),
        ("account.seen_at - days(1) == date('2026-02-28')", False),
        ("today - account.seen_at == days(1)", False),
        ("today - account.seen_at < days(2)", True),
        ("account.seen_at in [date('2026-03-01')]", False),
        ("account.renewal_on >= account.seen_at", True),
        ("date('9999-12-31') + days(1) > date('9999-12-31')", True),
        ("True", True),
        ("\n  account.plan == 'team'\n  or account.churned\n", True),
    ],
)
def test_a_condition_means_what_sql_would_say(text: str, expected: bool | None) -> None:
    assert verdict(text) is expected


@pytest.mark.parametrize("text", ["account.renewal_on - today > days(1)", "account.renewal_on + days(1) > today"])
def test_an_unknown_date_stays_unknown(text: str) -> None:
    assert verdict(text, account__renewal_on=None) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN")])
def test_a_number_that_is_none_is_unknown(value: object) -> None:
    assert verdict("account.arr is None", account__arr=value) is True


def test_values_of_many_kinds_are_read_by_the_type_declared() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert verdict("account.arr == 1.5", account__arr=Decimal("1.5"))
    assert verdict(
        "account.renewal_on == date('2026-03-01')", account__renewal_on=datetime(2026, 3, 2, 8, tzinfo=tokyo)
    )
    assert verdict("account.seen_at == date('2026-03-02')", account__seen_at=datetime(2026, 3, 2, 9, tzinfo=tokyo))
    assert verdict("account.seen_at == date('2026-03-02')", account__seen_at=date(2026, 3, 2))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("account.plan", 3),
        ("account.arr", "3"),
        ("account.arr", True),
        ("account.churned", 1),
        ("account.renewal_on", "2026-01-01"),
        ("account.seen_at", 5),
    ],
)
def test_a_value_of_another_type_than_declared_is_an_error_not_a_verdict(column: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"`{column}` holds a value of type {type(value).__name__}; expected"):
        evaluate(parse(f"{column} is None", COLUMNS), ROW | {column: value}, NOW)


def test_an_absent_column_is_an_error_not_unknown() -> None:
    with pytest.raises(KeyError, match=r"account\.plan"):
        evaluate(parse("account.plan == 'team'", COLUMNS), {}, NOW)


def test_a_condition_knows_the_columns_it_needs() -> None:
    condition = parse("account.arr / account.seats > 3 and (contact.role is None or account.plan in ['a'])", COLUMNS)
    assert condition.names == {"account.arr", "account.seats", "contact.role", "account.plan"}


def test_explain_lists_each_predicate_with_what_it_saw() -> None:
    text = "account.plan in ['team'] and not (10 <= account.seats < 50 or account.is_internal)"
    seen = [(s.text, dict(s.values), s.holds) for s in explain(parse(text, COLUMNS), ROW, NOW)]
    assert seen == [
        ("account.plan in ['team']", {"account.plan": "team"}, True),
        ("10 <= account.seats", {"account.seats": 40}, True),
        ("account.seats < 50", {"account.seats": 40}, True),
        ("account.is_internal", {"account.is_internal": None}, None),
    ]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("account.breadth > 0", 1, "unknown column `account.breadth`; did you mean `account.adoption_breadth`?"),
        ("account.breath > 0", 1, "unknown column `account.breath`; did you mean `account.adoption_breadth`?"),
        ("1 < 2 and account.paln == 'a'", 11, "unknown column `account.paln`; did you mean `account.plan`?"),
        ("plan == 'a'", 1, "unknown column `plan`; did you mean `account.plan`?"),
        ("contact.plan == 'a'", 1, "unknown column `contact.plan`; did you mean `account.plan`?"),
        ("zzzzz == 'a'", 1, "unknown column `zzzzz`; expected two words, the first one of account, contact"),
        ("account.zzzzz == 'a'", 1, "unknown column `account.zzzzz`"),
        ("account.plan == 3", 17, "`3` is number; expected text to compare with `account.plan`"),
        ("account.arr == 'x'", 16, "`'x'` is text; expected number to compare with `account.arr`"),
        ("account.arr == True", 16, "`True` is bool; expected number"),
        ("account.plan in ['a', 3]", 23, "`3` is number; expected text"),
        ("account.renewal_on < days(14)", 22, "`days(14)` is duration; expected date"),
        ("account.renewal_on - today < 14", 30, "`14` is number; expected duration"),
        ("account.renewal_on - 3 < today", 22, "`3` is number; expected days(...) or a date after date -"),
        ("account.renewal_on + today > today", 22, "`today` is date; expected days(...) after date +"),
        ("days(3) + days(4) == days(7)", 1, "`days(3)` is duration; `+` needs numbers"),
        ("account.plan + 'a' == 'b'", 1, "`account.plan` is text; `+` needs numbers"),
        ("1 * account.plan == 2", 5, "`account.plan` is text; `*` needs numbers"),
        ("-account.plan == 'a'", 1, "`account.plan` is text; `-` needs a number"),
        ("account.churned < True", 1, "`account.churned` is bool; `<` needs numbers, texts or dates"),
        ("account.plan", 1, "`account.plan` is text; expected a condition, like `account.plan == 'team'`"),
        (
            "account.arr and account.churned",
            1,
            "`account.arr` is number; expected a condition, like `account.arr >= 10`",
        ),
        ("not account.renewal_on", 5, "`account.renewal_on` is date; expected a condition"),
        ("None", 1, "`None` is None; expected a condition, like `account.plan is None`"),
        ("account.plan == None", 17, "use `is None`"),
        ("None != account.plan", 1, "use `is None`"),
        ("None in ['a']", 1, "use `is None`"),
        ("None is None", 1, "use `is None`"),
        ("account.churned is True", 20, "`is` tests only for None; compare values with `==`"),
        ("account.plan in 'team'", 17, "expected a list after `in`"),
        ("account.plan in ('team', 'x')", 17, "expected a list after `in`"),
        ("account.plan in []", 17, "the list is empty"),
        ("account.plan in [contact.role]", 18, "a list holds literals only"),
        ("['a'] == ['a']", 1, "a list may only stand after `in`"),
        ("1 < account.arr == 2", 1, "a chain of comparisons must be a range"),
        ("1 < account.arr > 2", 1, "a chain of comparisons must be a range"),
        ("account.arr ** 2 > 1", 1, "this operator is not part of the language; expected +, -, * or /"),
        ("account.churned & True", 1, "this operator is not part of the language; use `and`"),
        ("~account.churned", 1, "this sign is not part of the language; use `not`"),
        ("+account.arr > 1", 1, "this sign is not part of the language"),
        ("1 / (1 / account.arr) > 0", 6, "a division inside a divisor"),
        ("account.plan.upper() == 'A'", 1, "only the functions days(14) and date('2026-01-31') may be called"),
        ("__import__('os').system('x')", 1, "only the functions"),
        ("().__class__.__bases__ is None", 1, "expected two words, like `account.plan`"),
        ("account.__class__ is None", 1, "unknown column `account.__class__`"),
        ("account.plan.x == 'a'", 1, "`.x` after something else than a plain name"),
        ("f'{account.plan}' == 'a'", 1, "`f` before a text is refused"),
        ("(lambda: True)()", 1, "only the functions"),
        ("lambda: True", 1, "lambdas are not part of the language"),
        ("(x := True)", 2, "`:=` is not part of the language"),
        ("True if account.churned else False", 1, "`if ... else` is not part of the language"),
        ("account['plan'] == 'a'", 1, "subscripts are not part of the language"),
        ("[x for x in [1]]", 1, "comprehensions are not part of the language"),
        ("{**account} == 1", 1, "a list may only stand after"),
        ("(yield)", 2, "this is not part of the language"),
        ("account.arr > 9007199254740993", 15, "a whole number over 2**53"),
        ("account.arr > 1e999", 15, "the number is too large"),
        ("account.arr > 1j", 15, "a literal of type complex"),
        ("account.plan == ...", 17, "a literal of type ellipsis"),
        ("account.plan == b'a'", 17, "`b` before a text is refused"),
        ("account.plan == '''a'''", 17, "triple quotes are refused"),
        ("account.plan in ['a' 'b']", 22, "is a comma missing?"),
        ("account.plan == 'a\\x62'", 19, "escapes are not part of the language"),
        ("account.plan == 'a' # or True", 21, "comments are refused"),
        ("account.plan == 'a\x00'", 19, "character U+0000 may not be used"),
        ("account.plan == 'a\ud800'", 19, "character U+D800 may not be used"),
        ("account.ｐlan == 'a'", 9, "`ｐlan` has letters other than a-z"),
        ("'é' == 'é' and account.paln == 'a'", 16, "unknown column `account.paln`"),
        ("days(1.5) == days(1)", 1, "days(...) takes a whole number of at most 36600"),
        ("days(99999) == days(1)", 1, "days(...) takes a whole number"),
        ("days('1') == days(1)", 1, "days(...) takes a whole number"),
        ("days(account.seats) == days(1)", 1, "`days` takes one literal"),
        ("days(-account.seats) == days(1)", 1, "days(...) takes a whole number"),
        ("days(n=1) == days(1)", 1, "`days` takes one literal"),
        ("date('2026-02-30') == today", 1, "date(...) takes a calendar day"),
        ("date('20260228') == today", 1, "date(...) takes a calendar day"),
        ("date(20260228) == today", 1, "date(...) takes a calendar day"),
        ("account.plan = 'a'", 14, "not an expression: invalid syntax; compare with `==`"),
        ("account.plan == ", 17, "not an expression: invalid syntax"),
        ("account.seats > 3 AND account.is_internal", 19, "not an expression: invalid syntax; write `and`"),
        ("account.seats > 3 || account.is_internal", 20, "not an expression: invalid syntax; write `or`"),
        ("account.plan like 'a%'", 14, "invalid syntax; texts are compared whole, with `==` or `in [...]`"),
        ("account.seats > 14d", 18, "invalid decimal literal; a number of days is 14, a duration days(14)"),
        ("account.plan == ‘a’", 17, "quotes are ' or \""),
        ("account.plan is null", 17, "`is` tests only for None; compare values with `==`; write `None`"),
        ("account.is_internal == true", 24, "unknown column `true`; write `True`"),
        ("account.seats >= '3'", 18, "expected number to compare with `account.seats`; write `3`"),
        ("account.plan in [3]", 18, "expected text to compare with `account.plan`; write `'3'`"),
        ("account.renewal_on < '2026-01-31'", 22, "; write `date('2026-01-31')`"),
        ("account.renewal_on < '2026-02-30'", 22, "expected date to compare with `account.renewal_on`"),
        ("account.is_internal == 'yes'", 24, "; write `account.is_internal` or `not account.is_internal`"),
        ("account.seats < days(3)", 17, "; write `3`"),
        ("", 1, "not an expression"),
        ("account.plan == 'a') or (True", 20, "not an expression"),
        ("  account.paln == 'a'", 3, "unknown column"),
        ("True or " * 600 + "True", 4001, "at most 4000"),
        ("not " * 60 + "True", 161, "nested too deeply; at most 40 levels"),
        ("-" * 3990 + "1 > 0", 1, "nested too deeply"),
        ("(" * 300 + "True" + ")" * 300, 201, "not an expression"),
    ],
)
def test_what_is_not_part_of_the_language_is_refused_with_its_place(text: str, column: int, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(text, COLUMNS)
    assert message in caught.value.message
    assert caught.value.column == column
    assert str(caught.value).endswith(f"(column {column})")


def test_what_stands_far_from_the_place_is_no_slip() -> None:
    with pytest.raises(ConditionError) as caught:
        parse("account.plan == 'a AND b' and account.seats > ", COLUMNS)
    assert caught.value.message.endswith("not an expression: invalid syntax")


@given(st.text(max_size=200) | st.text(alphabet="account.plan 'in[]()<>=!=andornot0123456789-+*/\"", max_size=80))
def test_any_text_is_read_or_refused_and_nothing_else_happens(text: str) -> None:
    try:
        condition = parse(text, COLUMNS)
    except ConditionError as refusal:
        column = refusal.column
    else:
        column = 1
        assert evaluate(condition, ROW, NOW) in (True, False, None)
    assert 1 <= column <= len(text) + 1


def test_a_word_too_long_for_a_name_is_compared_with_none():
    assert nearest("x" * 100, ["account." + "x" * 101]) == "account." + "x" * 101
    assert nearest("x" * 101, ["account." + "x" * 101]) is None


@pytest.mark.parametrize(
    "text",
    [
        "account.arr - (account.seats - 1) > -2.5",
        "(account.arr + 1) * 2 / -account.seats > 1e+300",
        'not (account.churned or account.is_internal) and account.plan == "it\'s"',
        "account.churned and (account.churned and account.is_internal)",
        "account.renewal_on - days(3) - (today + days(4)) <= days(-3)",
        "(account.arr > 1) == (account.churned is not None)",
        "account.plan not in ['a', None] or True",
        "not not account.churned",
        "account.seen_at >= date('2026-01-31')",
    ],
)
def test_a_condition_written_out_reads_as_the_same_condition(text: str) -> None:
    root = parse(text, COLUMNS).root
    assert parse(write(root), COLUMNS).root == root
    assert write(root) == text


def test_nodes_are_values() -> None:
    assert parse("account.arr > 1", COLUMNS).root == Comparison(
        Name("account.arr", ColumnType.NUMBER), ">", Literal(1.0, ColumnType.NUMBER)
    )
    assert [type(part) for part in And((Literal(True, ColumnType.BOOL),)).children()] == [Literal]


def test_a_node_unknown_to_the_language_is_an_error() -> None:
    with pytest.raises(TypeError, match="cannot write a Node"):
        write(Node())
    with pytest.raises(TypeError, match="a Node has no value"):
        _value(Node(), ROW, NOW)
