"""Runs conditions over whole relations: the typed tree becomes DuckDB expression objects, never SQL text.

The relation has one column per dotted name, e.g. `"account.plan"`. `uptake.domain.conditions.evaluate` says what
each node means; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Literal as OneOf

import pyarrow as pa
from duckdb import CaseExpression, ColumnExpression, ConstantExpression, Expression, FunctionExpression, sqltypes

from uptake.adapters.marts import CONDITION_MARTS, MARTS
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
)

Place = OneOf["where", "exit_when", "when"]

#: What the ledger adds to the marts: docs/contracts.md, "Names in conditions".
_SENDS = {"sends.count_28d": ColumnType.NUMBER, "sends.days_since_last": ColumnType.NUMBER}
_ENROLLMENT = {"enrollment.entry_no": ColumnType.NUMBER, "enrollment.age_days": ColumnType.NUMBER}

_TYPES = {
    ColumnType.TEXT: sqltypes.VARCHAR,
    ColumnType.NUMBER: sqltypes.DOUBLE,
    ColumnType.BOOL: sqltypes.BOOLEAN,
    ColumnType.DATE: sqltypes.DATE,
    ColumnType.TIMESTAMP: sqltypes.TIMESTAMP,
    ColumnType.DURATION: sqltypes.DOUBLE,
}

_SIGNS: Mapping[str, Callable[[Expression, Expression], Expression]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,  # by zero it is infinite, so never finite again: the parser lets none into a divisor
}

_MICROSECONDS_A_DAY = 86_400_000_000.0


@cache
def condition_names(place: Place = "when") -> Mapping[str, ColumnType]:
    """Return every dotted name a condition may use at this place of a playbook, with its type."""
    names = {
        f"{scope}.{column.name}": _column_type(column.type)
        for scope, mart in CONDITION_MARTS.items()
        for column in MARTS[mart]
    }
    return names | _SENDS | (_ENROLLMENT if place == "when" else {})


def _column_type(arrow: pa.DataType) -> ColumnType:
    if pa.types.is_boolean(arrow):
        return ColumnType.BOOL
    if pa.types.is_integer(arrow) or pa.types.is_floating(arrow):
        return ColumnType.NUMBER
    if pa.types.is_date(arrow):
        return ColumnType.DATE
    if pa.types.is_timestamp(arrow):
        return ColumnType.TIMESTAMP
    return ColumnType.TEXT


def column(name: str) -> Expression:
    """Return the column of a relation that carries this dotted name."""
    return ColumnExpression('"' + name.replace('"', '""') + '"')


def to_expression(condition: Condition, now: datetime) -> Expression:
    """Return the condition as a BOOLEAN expression over a relation with its dotted names as columns.

    Filters keep the rows where it is true, as SQL does; select it to tell false from unknown.
    """
    return _compile(condition.root, now)


def _compile(node: Node, now: datetime) -> Expression:
    match node:
        case And(parts):
            return _fold(lambda a, b: a & b, [_compile(part, now) for part in parts])
        case Or(parts):
            return _fold(lambda a, b: a | b, [_compile(part, now) for part in parts])
        case Not(operand):
            return ~_compile(operand, now)
        case Comparison(left, sign, right):
            return _SIGNS[sign](_compile(left, now), _compile(right, now))
        case Membership(operand, options, negated):
            chosen = _compile(operand, now).isin(*(_compile(option, now) for option in options))
            return ~chosen if negated else chosen
        case NullTest(operand, negated):
            value = _compile(operand, now)
            return value.isnotnull() if negated else value.isnull()
        case Negation() | Arithmetic():
            return _finite(_arithmetic(node, now))
        case _:
            return _value(node, now)


def _value(node: Node, now: datetime) -> Expression:
    match node:
        case Literal(value, of):
            constant = ConstantExpression(value)
            return constant if of is ColumnType.NULL else constant.cast(_TYPES[of])
        case Name(name, of):
            read = column(name).cast(_TYPES[of])
            return _finite(read) if of is ColumnType.NUMBER else read
        case Today():
            return ConstantExpression(now.astimezone(UTC).date())
        case Shift(moment, days):
            start = _value(moment, now)
            if moment.type is ColumnType.DATE:
                return start + ConstantExpression(days).cast(sqltypes.INTEGER)
            return start + FunctionExpression("to_days", ConstantExpression(days).cast(sqltypes.INTEGER))
        case DayCount(later, earlier):
            count = _microseconds(later, now) - _microseconds(earlier, now)
            return count.cast(sqltypes.DOUBLE) / _number(_MICROSECONDS_A_DAY)
        case _:
            raise TypeError(f"a {type(node).__name__} has no value")


def _arithmetic(node: Node, now: datetime) -> Expression:
    """Compute as IEEE 754 does; only the whole expression must be finite in the end."""
    match node:
        case Negation(operand):
            return -_arithmetic(operand, now)
        case Arithmetic(left, sign, right):
            return _SIGNS[sign](_arithmetic(left, now), _arithmetic(right, now))
        case _:
            return _value(node, now)


def _microseconds(moment: Node, now: datetime) -> Expression:
    return FunctionExpression("epoch_us", _value(moment, now).cast(sqltypes.TIMESTAMP))


def _number(value: float) -> Expression:
    return ConstantExpression(value).cast(sqltypes.DOUBLE)


def _finite(number: Expression) -> Expression:
    return CaseExpression(FunctionExpression("isfinite", number), number)


def _fold(combine: Callable[[Expression, Expression], Expression], parts: Sequence[Expression]) -> Expression:
    """Combine in halves, so that a long chain does not become a deep tree."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return combine(_fold(combine, parts[:middle]), _fold(combine, parts[middle:]))
