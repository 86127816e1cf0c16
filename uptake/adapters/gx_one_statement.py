"""What a suite asks of one relation, asked of DuckDB in one statement; the verdicts are Great Expectations' own.

GX's engine spends some 20 ms of Python and up to four queries on each expectation. Here the counts behind the usual
kinds of expectation come from one statement, and each expectation judges its count itself. A kind or an argument that
is not known here is left to GX's engine (`None`), so that any expectation may be written.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from uptake.adapters.check_results import rows_by_id

SAMPLES = 3  # values, and rows, shown of those that broke a rule

_FORMAT = {"result_format": {"result_format": "BASIC", "partial_unexpected_count": SAMPLES}}
_KNOWN = {"column", "min_value", "max_value", "strict_min", "strict_max", "value_set", "mostly", "column_set",
          "exact_match", "unexpected_rows_query"}  # fmt: skip


@dataclass(frozen=True)
class _Question:
    """How to count the rows that break one expectation.

    count: An expression over the relation, or a whole query in parentheses; None: the number of rows is all it needs.
    rows: A query for the rows that break it.
    """

    count: str | None = None
    rows: str | None = None


def ask(
    connection: duckdb.DuckDBPyConnection, schema: str, relation: str, expectations: Sequence[Any]
) -> list[tuple[Any, tuple[str, ...]] | None]:
    """Return GX's result for each expectation, with the ids of a few rows that broke it; None where GX has to ask.

    An expectation that cannot be decided comes back with its exception, as GX has it; the others are still decided.
    """
    table = f"{_name(schema)}.{_name(relation)}"
    questions = [_question(one, table) for one in expectations]
    answers = _answers(connection, table, questions)
    return [
        None if question is None else _judged(connection, table, one, question, answer)
        for one, question, answer in zip(expectations, questions, answers, strict=True)
    ]


def _question(expectation: Any, table: str) -> _Question | None:
    """Return how to ask for one expectation; None when it is of another kind, or has an argument not known here."""
    configuration = expectation.configuration
    kind, arguments = configuration.type, {k: v for k, v in configuration.kwargs.items() if v is not None}
    if set(arguments) - _KNOWN:
        return None
    if kind in ("expect_table_columns_to_match_set", "expect_table_row_count_to_be_between"):
        return _Question()
    if kind == "unexpected_rows_expectation":
        query = arguments["unexpected_rows_query"].rstrip("; \t\r\n").format(batch=table)
        return _Question(count=f"(select count(*) from ({query}))", rows=query)  # noqa: S608
    condition = _condition(kind, arguments)
    if condition is None:
        return None
    rows = f"select * from {table} where {condition}"  # noqa: S608
    return _Question(count=f"count(*) filter (where {condition})", rows=rows)


def _condition(kind: str, arguments: Mapping[str, Any]) -> str | None:
    """Return the condition of a row that breaks an expectation about one column."""
    column = _name(str(arguments.get("column")))
    if kind == "expect_column_values_to_not_be_null":
        return f"{column} is null"
    if kind == "expect_column_values_to_be_in_set":
        values = [_literal(value) for value in arguments["value_set"]]
        return f"{column} not in ({', '.join(map(str, values))})" if values and None not in values else None
    if kind == "expect_column_values_to_be_between":
        sides = []
        for bound, operator in (("min", "<"), ("max", ">")):
            if (value := arguments.get(f"{bound}_value")) is not None:
                if (literal := _literal(value)) is None:
                    return None
                sides.append(f"{column} {operator}{'=' if arguments.get(f'strict_{bound}') else ''} {literal}")
        return f"({' or '.join(sides)})"
    return None


def _answers(
    connection: duckdb.DuckDBPyConnection, table: str, questions: Sequence[_Question | None]
) -> list[tuple[int, int] | Exception]:
    """Return the rows of the table and the breaking ones for each question.

    When the one statement fails each is asked alone, so that one broken rule does not hide what the others find.
    """
    counts = ["0" if one is None or one.count is None else one.count for one in questions]
    try:
        row = _counted(connection, table, counts)
        return [(row[0], count) for count in row[1:]]
    except duckdb.Error:
        found: list[tuple[int, int] | Exception] = []
        for count in counts:
            try:
                rows, breaking = _counted(connection, table, [count])
                found.append((rows, breaking))
            except duckdb.Error as error:
                found.append(error)
        return found


def _counted(connection: duckdb.DuckDBPyConnection, table: str, counts: Sequence[str]) -> tuple[int, ...]:
    of_rows = [count for count in counts if count.startswith("count(")]
    columns = ", ".join(f"{count} as c{place}" for place, count in enumerate(of_rows))
    inner = f"select count(*) as all_rows{', ' * bool(columns)}{columns} from {table}"  # noqa: S608
    places = iter(range(len(of_rows)))
    outer = ["all_rows", *(f"c{next(places)}" if count.startswith("count(") else count for count in counts)]
    found = connection.execute(f"select {', '.join(outer)} from ({inner})").fetchone()  # noqa: S608
    assert found is not None
    return found


def _judged(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    expectation: Any,
    question: _Question,
    answer: tuple[int, int] | Exception,
) -> tuple[Any, tuple[str, ...]]:
    """Let GX's expectation judge what was counted; only of what failed are values and rows fetched."""
    from great_expectations.core import ExpectationValidationResult

    try:
        if isinstance(answer, Exception):
            raise answer
        all_rows, breaking = answer
        is_broken = question.rows is not None and breaking > 0
        metrics = {
            "table.row_count": all_rows,
            "column_values.nonnull.unexpected_count": 0,
            "unexpected_rows_query.row_count": breaking,
            "unexpected_rows_query.table": [],
        }
        if expectation.configuration.type == "expect_table_columns_to_match_set":
            metrics["table.columns"] = [
                column[0]
                for column in connection.execute(f"select * from {table} limit 0").description  # noqa: S608
            ]
        if (metric := getattr(expectation, "map_metric", None)) is not None:
            metrics[f"{metric}.unexpected_count"] = breaking
            metrics[f"{metric}.unexpected_values"] = _values(connection, expectation, question) if is_broken else []
        result = expectation._build_evr(expectation._validate(metrics, _FORMAT, None))
        return result, _samples(connection, question) if is_broken else ()
    except Exception as error:
        told = {"raised_exception": True, "exception_message": f"{type(error).__name__}: {error}"}
        return (
            ExpectationValidationResult(
                success=False,
                expectation_config=expectation.configuration,
                result={},
                exception_info={**told, "exception_traceback": ""},
            ),
            (),
        )


def _values(connection: duckdb.DuckDBPyConnection, expectation: Any, question: _Question) -> list[Any]:
    column = _name(expectation.configuration.kwargs["column"])
    rows = connection.execute(f"select {column} from ({question.rows}) limit {SAMPLES}").fetchall()  # noqa: S608
    return [row[0] for row in rows]


def _samples(connection: duckdb.DuckDBPyConnection, question: _Question) -> tuple[str, ...]:
    """Return a few of the breaking rows, by their ids alone."""
    return rows_by_id(connection.execute(f"select * from ({question.rows}) limit {SAMPLES}"))  # noqa: S608


def _literal(value: object) -> str | None:
    """Return a value of a suite as SQL; None for what is not a number, a text or a moment."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (datetime.datetime, datetime.date)):
        return f"'{value.isoformat()}'"
    return None


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
