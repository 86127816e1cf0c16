"""The typed tree of a condition: frozen nodes, each of which knows the type of its value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date
from enum import StrEnum
from typing import Literal as OneOf


class ColumnType(StrEnum):
    """What a value is. A column has one of the first five."""

    TEXT = "text"
    NUMBER = "number"
    BOOL = "bool"
    DATE = "date"
    TIMESTAMP = "timestamp"
    DURATION = "duration"  #: a number of days: `days(14)`, or one date minus another
    NULL = "None"  #: the literal None, which only lists may hold


#: A date meets a timestamp as its midnight UTC.
MOMENTS = frozenset({ColumnType.DATE, ColumnType.TIMESTAMP})

ComparisonSign = OneOf["==", "!=", "<", "<=", ">", ">="]
ArithmeticSign = OneOf["+", "-", "*", "/"]


@dataclass(frozen=True)
class Node:
    """Any part of a condition."""

    @property
    def type(self) -> ColumnType:
        """What its value is; most nodes are a truth value."""
        return ColumnType.BOOL

    def children(self) -> Iterator[Node]:
        """Yield the parts of this node, in the order they are written."""
        for field in fields(self):
            value = getattr(self, field.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Node):
                    yield part

    def names(self) -> Iterator[str]:
        """Yield every column named in it, as often as it is named."""
        for child in self.children():
            yield from child.names()


@dataclass(frozen=True)
class Literal(Node):
    """A value written down. A duration's value is its number of days."""

    value: str | float | bool | date | None
    of: ColumnType

    @property
    def type(self) -> ColumnType:
        """The literal's own type."""
        return self.of


@dataclass(frozen=True)
class Name(Node):
    """A column, by its dotted name."""

    name: str
    of: ColumnType

    @property
    def type(self) -> ColumnType:
        """The column's type."""
        return self.of

    def names(self) -> Iterator[str]:
        """Yield this name."""
        yield self.name


@dataclass(frozen=True)
class Today(Node):
    """The UTC day of `now`."""

    @property
    def type(self) -> ColumnType:
        """A date."""
        return ColumnType.DATE


@dataclass(frozen=True)
class Shift(Node):
    """A date or timestamp, moved by whole days."""

    moment: Node
    days: int

    @property
    def type(self) -> ColumnType:
        """What was moved keeps its type."""
        return self.moment.type


@dataclass(frozen=True)
class DayCount(Node):
    """How many days lie between two moments: `later - earlier`, negative when they are the other way round."""

    later: Node
    earlier: Node

    @property
    def type(self) -> ColumnType:
        """A duration."""
        return ColumnType.DURATION


@dataclass(frozen=True)
class Negation(Node):
    """Minus a number."""

    operand: Node

    @property
    def type(self) -> ColumnType:
        """A number."""
        return ColumnType.NUMBER


@dataclass(frozen=True)
class Arithmetic(Node):
    """Two numbers and a sign. Division by zero is unknown."""

    left: Node
    sign: ArithmeticSign
    right: Node

    @property
    def type(self) -> ColumnType:
        """A number."""
        return ColumnType.NUMBER


@dataclass(frozen=True)
class Comparison(Node):
    """Two values of one type and a sign; a date and a timestamp also compare."""

    left: Node
    sign: ComparisonSign
    right: Node


@dataclass(frozen=True)
class Membership(Node):
    """Whether a value is one of those listed."""

    operand: Node
    options: tuple[Literal, ...]
    negated: bool


@dataclass(frozen=True)
class NullTest(Node):
    """Whether a value is unknown; itself never unknown."""

    operand: Node
    negated: bool


@dataclass(frozen=True)
class Not(Node):
    """The opposite; unknown stays unknown."""

    operand: Node


@dataclass(frozen=True)
class And(Node):
    """All of them: false if any is false, else unknown if any is unknown."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or(Node):
    """Any of them: true if any is true, else unknown if any is unknown."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Condition:
    """A condition that has been read and typed."""

    text: str
    root: Node

    @property
    def names(self) -> frozenset[str]:
        """The dotted names of the columns it needs."""
        return frozenset(self.root.names())
