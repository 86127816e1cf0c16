"""The language of `where`, `when` and `exit_when`: text in, a typed tree out, one meaning on every engine.

Python's syntax, a small allow-list of it, and SQL's three-valued logic. What an expression means is fixed by
`evaluate`, for one row; `uptake.adapters.conditions_duckdb` runs the same tree over a whole snapshot.

* A number is a 64-bit float. What is not finite is unknown (NULL): a division by zero, an overflow, a NaN.
* A date stands for its midnight UTC where it meets a timestamp. `today` is the UTC day of `now`.
* Text compares by code point; upper and lower case differ.
* `x in [..]` is `x == a or x == b ..`, so it is unknown for an unknown `x`, and never false with None in the list.
"""

from uptake.domain.conditions.evaluator import Seen, evaluate, explain
from uptake.domain.conditions.nodes import (
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
from uptake.domain.conditions.parser import ConditionError, parse

__all__ = [
    "And",
    "Arithmetic",
    "ColumnType",
    "Comparison",
    "Condition",
    "ConditionError",
    "DayCount",
    "Literal",
    "Membership",
    "Name",
    "Negation",
    "Node",
    "Not",
    "NullTest",
    "Or",
    "Seen",
    "Shift",
    "Today",
    "evaluate",
    "explain",
    "parse",
]
