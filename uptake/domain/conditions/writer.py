"""The tree back as text, in the language's own words: what `explain` shows and messages quote."""

from __future__ import annotations

from datetime import date

from uptake.domain.conditions.nodes import (
    And,
    Arithmetic,
    ColumnType,
    Comparison,
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

# How tightly a node binds; one that stands inside a tighter one needs parentheses.
_OR, _AND, _NOT, _TEST, _SUM, _PRODUCT, _SIGN, _ATOM = range(8)


def write(node: Node, inside: int = _OR) -> str:
    """Return the node as text that `parse` reads as the same node."""
    text, binding = _write(node)
    return f"({text})" if binding < inside else text


def _write(node: Node) -> tuple[str, int]:
    match node:
        case Name(name):
            return name, _ATOM
        case Today():
            return "today", _ATOM
        case Literal():
            return _write_literal(node)
        case Negation(operand):
            return f"-{write(operand, _SIGN)}", _SIGN
        case Arithmetic(left, sign, right):
            binding = _SUM if sign in "+-" else _PRODUCT
            return f"{write(left, binding)} {sign} {write(right, binding + 1)}", binding
        case Shift(moment, days):
            return f"{write(moment, _SUM)} {'-' if days < 0 else '+'} days({abs(days)})", _SUM
        case DayCount(later, earlier):
            return f"{write(later, _SUM)} - {write(earlier, _PRODUCT)}", _SUM
        case Comparison(left, sign, right):
            return f"{write(left, _SUM)} {sign} {write(right, _SUM)}", _TEST
        case Membership(operand, options, negated):
            listed = ", ".join(write(option) for option in options)
            return f"{write(operand, _SUM)} {'not in' if negated else 'in'} [{listed}]", _TEST
        case NullTest(operand, negated):
            return f"{write(operand, _SUM)} is {'not None' if negated else 'None'}", _TEST
        case Not(operand):
            return f"not {write(operand, _NOT)}", _NOT
        case And(parts):
            return " and ".join(write(part, _NOT) for part in parts), _AND
        case Or(parts):
            return " or ".join(write(part, _AND) for part in parts), _OR
        case _:
            raise TypeError(f"cannot write a {type(node).__name__}")


def _write_literal(literal: Literal) -> tuple[str, int]:
    value = literal.value
    if literal.of is ColumnType.DURATION:
        return f"days({value:.0f})", _ATOM
    if isinstance(value, str):
        quote = '"' if "'" in value else "'"  # a literal cannot hold both: the parser knows no escapes
        return f"{quote}{value}{quote}", _ATOM
    if isinstance(value, date):
        return f"date('{value}')", _ATOM
    if isinstance(value, float):
        digits = f"{value:.0f}" if value.is_integer() and abs(value) < 2**53 and str(value) != "-0.0" else repr(value)
        return digits, _SIGN if digits.startswith("-") else _ATOM
    return repr(value), _ATOM
