"""The same condition on DuckDB as on one row, for whatever Hypothesis can think of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uptake.adapters.conditions_duckdb import condition_names, to_expression
from uptake.domain.conditions import (
    And,
    Arithmetic,
    ColumnType,
    Comparison,
    Condition,
    DayCount,
    Literal,
    Membership,
    Name,
    Negation,
    Node,
    Not,
    NullTest,
    Or,
    Shift,
    Today,
    evaluate,
    parse,
)
from uptake.domain.conditions.writer import write

NOW = datetime(2026, 3, 3, 23, 30, tzinfo=UTC)
T = ColumnType

SCHEMA = pa.schema(
    [
        ("account.plan", pa.string()),
        ("contact.role", pa.string()),
        ("account.arr", pa.float64()),
        ("account.seats", pa.int64()),
        ("account.count", pa.int32()),
        ("account.churned", pa.bool_()),
        ("account.renewal_on", pa.date32()),
        ("feature.first_used_on", pa.date32()),
        ("account.seen_at", pa.timestamp("us")),
    ]
)
COLUMNS = {
    "account.plan": T.TEXT,
    "contact.role": T.TEXT,
    "account.arr": T.NUMBER,
    "account.seats": T.NUMBER,
    "account.count": T.NUMBER,
    "account.churned": T.BOOL,
    "account.renewal_on": T.DATE,
    "feature.first_used_on": T.DATE,
    "account.seen_at": T.TIMESTAMP,
}

# Few values, so that equality happens; the odd ones, so that engines could differ.
texts = st.sampled_from(
    ["", "a", "A", "team", "Team", "é", "e\u0301", "ß", "z", "\uffff", "😀", " a", "a ", "%", "0", "it's"]
)
floats = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, 0.1, 1e308, -1e308, 5e-324, 2.0**53]) | st.floats(
    allow_nan=False, allow_infinity=False
)
dates = st.sampled_from([date(2026, 3, 3), date(2026, 3, 4), date(1, 1, 1), date(9999, 12, 31)]) | st.dates()
times = st.datetimes() | st.datetimes(datetime.fromisoformat("2026-03-03"), datetime.fromisoformat("2026-03-04"))

rows = st.fixed_dictionaries(
    {
        "account.plan": st.none() | texts,
        "contact.role": st.none() | texts,
        "account.arr": st.none() | floats | st.sampled_from([float("nan"), float("inf"), float("-inf")]),
        "account.seats": st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 3),
        "account.count": st.none() | st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 3),
        "account.churned": st.none() | st.booleans(),
        "account.renewal_on": st.none() | dates,
        "feature.first_used_on": st.none() | dates,
        "account.seen_at": st.none() | times,
    }
)

literals = {
    T.TEXT: texts.map(lambda v: Literal(v, T.TEXT)),
    T.NUMBER: floats.map(lambda v: Literal(v, T.NUMBER)),
    T.BOOL: st.booleans().map(lambda v: Literal(v, T.BOOL)),
    T.DATE: dates.map(lambda v: Literal(v, T.DATE)),
    T.DURATION: st.integers(-36_600, 36_600).map(lambda v: Literal(float(v), T.DURATION)),
}


def names(of: ColumnType) -> st.SearchStrategy[Node]:
    return st.sampled_from([Name(name, t) for name, t in COLUMNS.items() if t is of])


def _divides(node: Node) -> bool:
    return (isinstance(node, Arithmetic) and node.sign == "/") or any(map(_divides, node.children()))


numbers = st.recursive(
    names(T.NUMBER) | literals[T.NUMBER],
    lambda inner: (
        st.builds(Negation, names(T.NUMBER) | inner.filter(lambda n: not isinstance(n, Literal)))
        | st.builds(Arithmetic, inner, st.sampled_from(["+", "-", "*", "/"]), inner).filter(
            lambda n: n.sign != "/" or not _divides(n.right)
        )
    ),
    max_leaves=5,
)
moments = st.recursive(
    names(T.DATE) | names(T.TIMESTAMP) | literals[T.DATE] | st.just(Today()),
    lambda inner: st.builds(Shift, inner, st.integers(-36_600, 36_600)),
    max_leaves=3,
)
durations = literals[T.DURATION] | st.builds(DayCount, moments, moments)
signs = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
plain_texts = names(T.TEXT) | literals[T.TEXT]


def member(operand: st.SearchStrategy[Node], of: ColumnType) -> st.SearchStrategy[Node]:
    options = st.lists(literals[of] | st.just(Literal(None, T.NULL)), min_size=1, max_size=4).map(tuple)
    return st.builds(Membership, operand, options, st.booleans())


def compound(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        st.builds(And, st.lists(inner, min_size=2, max_size=4).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=4).map(tuple)),
        st.builds(Not, inner),
        st.builds(NullTest, inner, st.booleans()),
        st.builds(Comparison, inner, st.sampled_from(["==", "!="]), inner),
        member(inner, T.BOOL),
    )


conditions = st.recursive(
    st.one_of(
        names(T.BOOL),
        literals[T.BOOL],
        *(
            st.builds(Comparison, values, signs, values) | st.builds(NullTest, values, st.booleans())
            for values in (numbers, plain_texts, moments, durations)
        ),
        member(numbers, T.NUMBER),
        member(plain_texts, T.TEXT),
        member(moments, T.DATE),
        member(durations, T.DURATION),
    ),
    compound,
    max_leaves=6,
).map(lambda root: Condition(text=write(root), root=root))


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set threads to 1")
        yield connection


def on_duckdb(
    database: duckdb.DuckDBPyConnection, condition: Condition, table: list[dict[str, object]]
) -> list[bool | None]:
    relation = database.from_arrow(pa.Table.from_pylist(table, schema=SCHEMA))
    return [row[0] for row in relation.select(to_expression(condition, NOW)).fetchall()]


def _condition(text: str) -> Condition:
    return parse(text, COLUMNS)


NOTHING = dict.fromkeys(SCHEMA.names)


@settings(max_examples=400, deadline=None)
@given(condition=conditions, table=st.lists(rows, min_size=1, max_size=6))
@example(_condition("account.arr == -0.0 or account.arr in [0, None]"), [NOTHING | {"account.arr": 0.0}])
@example(_condition("account.arr == 1 and account.arr != 2"), [NOTHING | {"account.arr": float("nan")}])
@example(_condition("account.seats == 9007199254740992"), [NOTHING | {"account.seats": 2**53 + 1}])
@example(_condition("1 / account.seats is None"), [NOTHING | {"account.seats": 0}])
@example(_condition("account.renewal_on + days(1) > account.seen_at"), [NOTHING | {"account.renewal_on": date.max}])
def test_both_engines_agree(
    database: duckdb.DuckDBPyConnection, condition: Condition, table: list[dict[str, object]]
) -> None:
    assert on_duckdb(database, condition, table) == [evaluate(condition, row, NOW) for row in table]


@given(conditions)
def test_what_is_written_out_reads_as_the_same_condition(condition: Condition) -> None:
    def positive_zero(node: Node) -> bool:
        return not any(isinstance(n, Literal) and str(n.value) == "-0.0" for n in _walk(node))

    if len(condition.text) <= 4_000 and positive_zero(condition.root):
        assert parse(condition.text, COLUMNS).root == condition.root


def _walk(node: Node) -> list[Node]:
    return [node, *(part for child in node.children() for part in _walk(child))]


def test_a_long_condition_does_not_become_a_deep_one(database: duckdb.DuckDBPyConnection) -> None:
    condition = _condition(" or ".join(["1 > 2"] * 400))
    assert on_duckdb(database, condition, [NOTHING]) == [False]


def test_text_with_sql_in_it_is_only_text(database: duckdb.DuckDBPyConnection) -> None:
    hostile = "' or 1=1; drop table x; --"
    condition = _condition(f'account.plan == "{hostile}"')
    assert on_duckdb(database, condition, [NOTHING | {"account.plan": hostile}, NOTHING]) == [True, None]


def test_names_come_from_the_marts_and_the_ledger() -> None:
    known = condition_names("when")
    assert known["account.plan"] is T.TEXT
    assert known["account.arr"] is known["account.seats"] is known["sends.count_28d"] is T.NUMBER
    assert known["account.churned"] is T.BOOL
    assert known["account.renewal_on"] is T.DATE
    assert known["feature.adoption_state"] is known["account_feature.adoption_state"] is T.TEXT
    assert known["enrollment.age_days"] is T.NUMBER
    assert "enrollment.age_days" not in condition_names("where")
    assert "account.address" not in known
