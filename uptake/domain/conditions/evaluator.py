"""What a condition means for one row: true, false or unknown (None), as in SQL."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from uptake.domain.conditions.nodes import (
    MOMENTS,
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
from uptake.domain.conditions.writer import write

#: A value while it is computed: a date is its day number and a timestamp its microseconds since 1970, so that
#: no day lies outside what Python can count.
_Value = str | float | bool | int | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_A_DAY = 86_400_000_000

_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One predicate of a condition on one row."""

    text: str  # as the language writes it, e.g. `account.arr >= 20000`
    values: Mapping[str, object]  # the columns it names, with what the row holds
    holds: bool | None


def evaluate(condition: Condition, row: Mapping[str, object], now: datetime) -> bool | None:
    """Return whether the condition holds for this row; None when that cannot be known.

    Args:
        condition: What `parse` returned.
        row: Values by dotted name: str, int, float, Decimal, bool, date, datetime (naive = UTC) or None.
        now: The moment of asking, aware.

    Raises:
        KeyError: The row lacks a column the condition names; unknown is None, never an absent key.
        TypeError: A value has not the type its column was declared with.
    """
    return _truth(condition.root, row, now)


def explain(condition: Condition, row: Mapping[str, object], now: datetime) -> tuple[Seen, ...]:
    """Return each predicate of the condition with the values seen and its answer, in the order written."""
    return tuple(
        Seen(text=write(leaf), values={name: row[name] for name in leaf.names()}, holds=_truth(leaf, row, now))
        for leaf in _predicates(condition.root)
    )


def _predicates(node: Node) -> Iterable[Node]:
    """Yield the smallest parts that are true, false or unknown."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _predicates(part)
        case Not(operand):
            yield from _predicates(operand)
        case _:
            yield node


def _truth(node: Node, row: Mapping[str, object], now: datetime) -> bool | None:
    match node:
        case And(parts):
            verdicts = [_truth(part, row, now) for part in parts]
            return False if False in verdicts else None if None in verdicts else True
        case Or(parts):
            verdicts = [_truth(part, row, now) for part in parts]
            return True if True in verdicts else None if None in verdicts else False
        case Not(operand):
            return _not(_truth(operand, row, now))
        case Comparison(left, sign, right):
            return _compare(left, sign, right, row, now)
        case Membership(operand, options, negated):
            verdict = _truth(Or(tuple(Comparison(operand, "==", option) for option in options)), row, now)
            return _not(verdict) if negated else verdict
        case NullTest(operand, negated):
            value = _truth(operand, row, now) if operand.type is ColumnType.BOOL else _value(operand, row, now)
            return (value is None) != negated
        case _:  # a bool column or literal
            return cast(bool | None, _value(node, row, now))


def _not(verdict: bool | None) -> bool | None:
    return None if verdict is None else not verdict


def _compare(left: Node, sign: str, right: Node, row: Mapping[str, object], now: datetime) -> bool | None:
    if left.type is ColumnType.BOOL:
        a: _Value = _truth(left, row, now)
        b: _Value = _truth(right, row, now)
    else:
        a, b = _value(left, row, now), _value(right, row, now)
        if left.type is not right.type and left.type in MOMENTS:
            a, b = _microseconds(left, a), _microseconds(right, b)
    return None if a is None or b is None else _SIGNS[sign](a, b)


def _value(node: Node, row: Mapping[str, object], now: datetime) -> _Value:
    match node:
        case Literal(value, of):
            return _read(value, ColumnType.NUMBER if of is ColumnType.DURATION else of)
        case Name(name, of):
            try:
                return _read(row[name], of)
            except TypeError as error:
                raise TypeError(f"`{name}` {error}") from None
        case Today():
            return _read(now, ColumnType.DATE)
        case Shift(moment, days):
            value = cast(int | None, _value(moment, row, now))
            step = 1 if moment.type is ColumnType.DATE else _MICROSECONDS_A_DAY
            return None if value is None else value + days * step
        case DayCount(later, earlier):
            return _days_between(later, earlier, row, now)
        case Negation() | Arithmetic():
            return _finite(_number(node, row, now))
        case _:
            raise TypeError(f"a {type(node).__name__} has no value")


def _days_between(later: Node, earlier: Node, row: Mapping[str, object], now: datetime) -> float | None:
    a = _microseconds(later, _value(later, row, now))
    b = _microseconds(earlier, _value(earlier, row, now))
    return None if a is None or b is None else float(a - b) / _MICROSECONDS_A_DAY


def _number(node: Node, row: Mapping[str, object], now: datetime) -> float | None:
    """Compute as IEEE 754 does; only the whole expression must be finite in the end."""
    match node:
        case Negation(operand):
            value = _number(operand, row, now)
            return None if value is None else -value
        case Arithmetic(left, sign, right):
            a, b = _number(left, row, now), _number(right, row, now)
            if a is None or b is None or (sign == "/" and b == 0):
                return None
            return _ARITHMETIC[sign](a, b)
        case _:
            return cast(float | None, _value(node, row, now))


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _microseconds(node: Node, value: _Value) -> int | None:
    if value is None:
        return None
    return cast(int, value) * (_MICROSECONDS_A_DAY if node.type is ColumnType.DATE else 1)


def _read(value: object, of: ColumnType) -> _Value:
    """Turn a row's value into what is computed with; the type declared decides how."""
    match of, value:
        case _, None:
            return None
        case ColumnType.TEXT, str():
            return value
        case ColumnType.BOOL, bool():
            return value
        case ColumnType.NUMBER, int() | float() | Decimal() if not isinstance(value, bool):
            return _finite(float(value))
        case ColumnType.DATE, datetime():
            return _aware(value).toordinal() - _EPOCH_DAY
        case ColumnType.DATE, date():
            return value.toordinal() - _EPOCH_DAY
        case ColumnType.TIMESTAMP, datetime():
            return (_aware(value) - _EPOCH) // _MICROSECOND
        case ColumnType.TIMESTAMP, date():
            return (value.toordinal() - _EPOCH_DAY) * _MICROSECONDS_A_DAY
        case _:
            raise TypeError(f"holds a value of type {type(value).__name__}; expected {of}")


def _aware(value: datetime) -> datetime:
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
