"""Reads a condition: Python's own parser makes the tree, an allow-list decides what may stand in it.

Nothing is ever compiled or run. What is not listed here is refused, with its place.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections.abc import Mapping
from datetime import date
from typing import cast

from uptake.domain.conditions.nodes import (
    MOMENTS,
    And,
    Arithmetic,
    ArithmeticSign,
    ColumnType,
    Comparison,
    ComparisonSign,
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
from uptake.domain.conditions.slips import nearest, of_syntax, of_types, of_word
from uptake.domain.conditions.writer import write
from uptake.errors import UptakeError

MAX_LENGTH = 4_000  # characters
MAX_DEPTH = 40  # nodes inside one another
MAX_DAYS = 36_600  # a century: keeps every date countable
_MAX_INTEGER = 2**53  # above it floats skip integers

_COMPARISONS: dict[type[ast.cmpop], ComparisonSign] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_ARITHMETIC: dict[type[ast.operator], ArithmeticSign] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_INSTEAD = {ast.BitAnd: "and", ast.BitOr: "or", ast.Invert: "not"}
_REFUSED = {
    ast.Lambda: "lambdas are",
    ast.NamedExpr: "`:=` is",
    ast.IfExp: "`if ... else` is",
    ast.Subscript: "subscripts are",
    ast.Starred: "`*` before a value is",
    ast.Await: "`await` is",
    ast.ListComp: "comprehensions are",
    ast.GeneratorExp: "comprehensions are",
    ast.SetComp: "comprehensions are",
    ast.DictComp: "comprehensions are",
}
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class ConditionError(UptakeError):
    """A condition that cannot be read; `column` is the character it is about, counted from 1."""

    def __init__(self, message: str, *, column: int) -> None:
        super().__init__(f"{message} (column {column})")
        self.message = message
        self.column = column


def parse(text: str, columns: Mapping[str, ColumnType]) -> Condition:
    """Read a condition.

    Args:
        text: What the author wrote. Line breaks count as spaces.
        columns: Every dotted name that may be used, with its type.

    Raises:
        ConditionError: Naming what was found, what was expected, and the column.
    """
    flat = re.sub(r"[\r\n\t]", " ", text)
    source = flat.lstrip(" ")
    skipped = len(flat) - len(source)
    _check_characters(text)
    try:
        tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        at = min(error.offset or len(source) + 1, len(source) + 1)  # no offset: something is missing at the end
        raise ConditionError(f"not an expression: {error.msg}{of_syntax(source, at)}", column=skipped + at) from None
    except (RecursionError, MemoryError):
        raise ConditionError(f"nested too deeply; at most {MAX_DEPTH} levels", column=1) from None
    _check_tokens(source, skipped)
    return Condition(text=text, root=_Reader(source, skipped, columns).truth(tree.body, 1))


def _check_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"{len(text)} characters long; at most {MAX_LENGTH}", column=MAX_LENGTH + 1)
    for column, character in enumerate(text, 1):
        if character == "\\":
            raise ConditionError("a backslash; escapes are not part of the language", column=column)
        if (character < " " and character not in "\r\n\t") or "\ud800" <= character <= "\udfff":
            raise ConditionError(f"character U+{ord(character):04X} may not be used", column=column)


def _check_tokens(source: str, skipped: int) -> None:
    """Refuse what Python's tree no longer shows: comments, strings side by side, look-alike letters."""
    before = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        column = skipped + token.start[1] + 1
        if token.type == tokenize.COMMENT:
            raise ConditionError("comments are refused; put them into the YAML", column=column)
        if token.type == tokenize.STRING and before == tokenize.STRING:
            raise ConditionError("two texts side by side; is a comma missing?", column=column)
        if token.type == tokenize.STRING and token.string[:3] in ("'''", '"""'):
            raise ConditionError("triple quotes are refused; use one quote on each side", column=column)
        if token.type == tokenize.STRING and token.string[0] not in "'\"":
            raise ConditionError(f"`{token.string[0]}` before a text is refused", column=column)
        if token.type == tokenize.NAME and not token.string.isascii():
            raise ConditionError(f"`{token.string}` has letters other than a-z", column=column)
        before = token.type


class _Reader:
    """One walk over Python's tree: checks every node against the allow-list and gives it a type."""

    def __init__(self, source: str, skipped: int, columns: Mapping[str, ColumnType]) -> None:
        self._source = source.encode()
        self._skipped = skipped
        self._columns = columns

    # --- true, false or unknown ---------------------------------------------------------------------

    def truth(self, node: ast.expr, depth: int) -> Node:
        """Read something that must be true, false or unknown."""
        read = self._read(node, depth)
        if read.type is not ColumnType.BOOL:
            raise self._error(node, f"{self._describe(read)}; expected a condition, like `{self._example(read)}`")
        return read

    def _read(self, node: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(node, f"nested too deeply; at most {MAX_DEPTH} levels")
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = tuple(self.truth(value, depth + 1) for value in values)
                return And(parts) if isinstance(op, ast.And) else Or(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self.truth(operand, depth + 1))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._negated(node, self._read(operand, depth + 1))
            case ast.Compare():
                return self._compare(node, depth)
            case ast.BinOp():
                return self._binary(node, depth)
            case ast.Constant(value=value):
                return self._constant(node, value)
            case ast.Attribute() | ast.Name():
                return self._name(node)
            case ast.Call():
                return self._call(node)
            case _:
                raise self._unlisted(node)

    def _compare(self, node: ast.Compare, depth: int) -> Node:
        operators = node.ops
        values = [node.left, *node.comparators]
        if len(operators) > 1:
            directions = {isinstance(sign, (ast.Lt, ast.LtE)) for sign in operators}
            if len(directions) > 1 or not all(
                isinstance(sign, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for sign in operators
            ):
                raise self._error(node, "a chain of comparisons must be a range, like `10 <= account.seats < 50`")
        tests = [
            self._test(left, sign, right, depth)
            for left, sign, right in zip(values, operators, values[1:], strict=False)
        ]
        return tests[0] if len(tests) == 1 else And(tuple(tests))

    def _test(self, left: ast.expr, sign: ast.cmpop, right: ast.expr, depth: int) -> Node:
        operand = self._read(left, depth + 1)
        match sign:
            case ast.Is() | ast.IsNot():
                if not (isinstance(right, ast.Constant) and right.value is None):
                    hint = of_word(right.id) if isinstance(right, ast.Name) else ""
                    raise self._error(right, f"`is` tests only for None; compare values with `==`{hint}")
                self._not_none(left, operand)
                return NullTest(operand, isinstance(sign, ast.IsNot))
            case ast.In() | ast.NotIn():
                self._not_none(left, operand)
                return Membership(operand, self._options(operand, right), isinstance(sign, ast.NotIn))
        other = self._read(right, depth + 1)
        self._not_none(left, operand)
        self._not_none(right, other)
        written = _COMPARISONS[type(sign)]
        if operand.type is not other.type and not {operand.type, other.type} <= MOMENTS:
            raise self._mismatch(right, other, operand)
        if operand.type is ColumnType.BOOL and written not in ("==", "!="):
            raise self._error(left, f"{self._describe(operand)}; `{written}` needs numbers, texts or dates")
        return Comparison(operand, written, other)

    def _not_none(self, node: ast.expr, read: Node) -> None:
        if read.type is ColumnType.NULL:
            raise self._error(node, "None is neither equal nor unequal to anything; use `is None` or `is not None`")

    def _options(self, operand: Node, node: ast.expr) -> tuple[Literal, ...]:
        if not isinstance(node, ast.List):
            raise self._error(node, "expected a list after `in`, like `['team', 'business']`")
        if not node.elts:
            raise self._error(node, "the list is empty, so nothing can be in it")
        options = []
        for element in node.elts:
            option = self._read(element, 1)
            if not isinstance(option, Literal):
                raise self._error(element, "a list holds literals only, like `['team', 'business']`")
            if option.type not in (operand.type, ColumnType.NULL) and not {option.type, operand.type} <= MOMENTS:
                raise self._mismatch(element, option, operand)
            options.append(option)
        return tuple(options)

    # --- values -------------------------------------------------------------------------------------

    def _binary(self, node: ast.BinOp, depth: int) -> Node:
        sign = _ARITHMETIC.get(type(node.op))
        if sign is None:
            instead = _INSTEAD.get(type(node.op))
            hint = f"; use `{instead}`" if instead else "; expected +, -, * or /"
            hint += "; a share is a number, 0.1 for 10%" if isinstance(node.op, ast.Mod) else ""
            raise self._error(node, f"this operator is not part of the language{hint}")
        left, right = self._read(node.left, depth + 1), self._read(node.right, depth + 1)
        if sign in ("+", "-") and left.type in MOMENTS:
            return self._moved(node, left, sign, right)
        for side, read in ((node.left, left), (node.right, right)):
            if read.type is not ColumnType.NUMBER:
                raise self._error(side, f"{self._describe(read)}; `{sign}` needs numbers")
        if sign == "/" and any(_divides(part) for part in _walk(right)):
            raise self._error(node.right, "a division inside a divisor; multiply instead")
        return Arithmetic(left, sign, right)

    def _moved(self, node: ast.BinOp, left: Node, sign: str, right: Node) -> Node:
        if isinstance(right, Literal) and right.of is ColumnType.DURATION:
            days = int(cast(float, right.value))
            return Shift(left, days if sign == "+" else -days)
        if sign == "-" and right.type in MOMENTS:
            return DayCount(left, right)
        wanted = "days(...) or a date" if sign == "-" else "days(...)"
        raise self._error(node.right, f"{self._describe(right)}; expected {wanted} after {left.type} {sign}")

    def _negated(self, node: ast.UnaryOp, operand: Node) -> Node:
        if isinstance(operand, Literal) and operand.of in (ColumnType.NUMBER, ColumnType.DURATION):
            return Literal(-cast(float, operand.value), operand.of)
        if operand.type is not ColumnType.NUMBER:
            raise self._error(node, f"{self._describe(operand)}; `-` needs a number")
        return Negation(operand)

    def _constant(self, node: ast.Constant, value: object) -> Literal:
        match value:
            case None:
                return Literal(None, ColumnType.NULL)
            case bool():
                return Literal(value, ColumnType.BOOL)
            case str():
                return Literal(value, ColumnType.TEXT)
            case int():
                if value > _MAX_INTEGER:
                    raise self._error(node, f"a whole number over 2**53 ({_MAX_INTEGER}) cannot be compared exactly")
                return Literal(float(value), ColumnType.NUMBER)
            case float() if math.isfinite(value):
                return Literal(value, ColumnType.NUMBER)
            case float():
                raise self._error(node, "the number is too large")
            case _:
                raise self._error(
                    node, f"a literal of type {type(value).__name__}; expected text, a number, True or False"
                )

    def _name(self, node: ast.Attribute | ast.Name) -> Node:
        if isinstance(node, ast.Name):
            if node.id == "today":
                return Today()
            raise self._unknown(node, node.id)
        if not isinstance(node.value, ast.Name):
            raise self._error(
                node, f"`.{node.attr}` after something else than a plain name; expected two words, like `account.plan`"
            )
        name = f"{node.value.id}.{node.attr}"
        if (of := self._columns.get(name)) is None:
            raise self._unknown(node, name)
        return Name(name, of)

    def _unknown(self, node: ast.expr, name: str) -> ConditionError:
        return self._error(node, f"unknown column `{name}`{of_word(name) or self._suggest(name)}")

    def _suggest(self, name: str) -> str:
        """Point at the column most likely meant: the same name elsewhere, else one that reads alike."""
        scope, _, word = name.rpartition(".")
        same_word = sorted(known for known in self._columns if known.rpartition(".")[2] == word)
        in_scope = [known for known in self._columns if known.startswith(f"{scope}.")]
        holding = sorted((known for known in in_scope if word and word in known.rpartition(".")[2]), key=len)
        best = next(iter(same_word or holding), None) or nearest(word, in_scope or self._columns)
        if best is None and not in_scope:
            scopes = sorted({known.partition(".")[0] for known in self._columns})
            return f"; expected two words, the first one of {', '.join(scopes)}"
        return "" if best is None else f"; did you mean `{best}`?"

    def _call(self, node: ast.Call) -> Literal:
        function = node.func.id if isinstance(node.func, ast.Name) else None
        if function not in ("days", "date"):
            raise self._error(node, "only the functions days(14) and date('2026-01-31') may be called")
        if (
            len(node.args) != 1
            or node.keywords
            or not isinstance(argument := node.args[0], (ast.Constant, ast.UnaryOp))
        ):
            raise self._error(node, f"`{function}` takes one literal")
        option = self._read(argument, 1)
        value = option.value if isinstance(option, Literal) else None
        if function == "days":
            if not isinstance(value, float) or not value.is_integer() or abs(value) > MAX_DAYS:
                raise self._error(node, f"days(...) takes a whole number of at most {MAX_DAYS}")
            return Literal(value, ColumnType.DURATION)
        try:
            if not isinstance(value, str) or not _ISO_DAY.fullmatch(value):
                raise ValueError
            return Literal(date.fromisoformat(value), ColumnType.DATE)
        except ValueError:
            raise self._error(node, "date(...) takes a calendar day, like date('2026-01-31')") from None

    # --- refusals -----------------------------------------------------------------------------------

    def _unlisted(self, node: ast.expr) -> ConditionError:
        if isinstance(node, ast.UnaryOp):
            hint = "; use `not`" if isinstance(node.op, ast.Invert) else ""
            return self._error(node, f"this sign is not part of the language{hint}")
        if isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
            return self._error(node, "a list may only stand after `in` or `not in`")
        return self._error(node, f"{_REFUSED.get(type(node), 'this is')} not part of the language")

    def _mismatch(self, node: ast.expr, found: Node, beside: Node) -> ConditionError:
        expected = f"expected {beside.type} to compare with `{write(beside)}`{of_types(found, beside)}"
        return self._error(node, f"{self._describe(found)}; {expected}")

    def _error(self, node: ast.expr, message: str) -> ConditionError:
        before = self._source[: node.col_offset].decode()
        return ConditionError(message, column=self._skipped + len(before) + 1)

    @staticmethod
    def _describe(read: Node) -> str:
        return f"`{write(read)}` is {read.type}"

    @staticmethod
    def _example(read: Node) -> str:
        values = {
            ColumnType.TEXT: "== 'team'",
            ColumnType.DATE: ">= date('2026-01-31')",
            ColumnType.TIMESTAMP: ">= date('2026-01-31')",
            ColumnType.DURATION: "<= days(14)",
            ColumnType.NULL: "",
        }
        return (
            f"account.plan is {write(read)}"
            if read.type is ColumnType.NULL
            else (f"{write(read)} {values.get(read.type, '>= 10')}")
        )


def _divides(node: Node) -> bool:
    return isinstance(node, Arithmetic) and node.sign == "/"


def _walk(node: Node) -> list[Node]:
    return [node, *(part for child in node.children() for part in _walk(child))]
