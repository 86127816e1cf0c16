"""What somebody meant who wrote SQL, YAML or another language: the hint beside a refusal. It decides nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from difflib import SequenceMatcher

from uptake.domain.conditions.nodes import MOMENTS, ColumnType, Literal, Name, Node
from uptake.domain.conditions.writer import write

# The first that stands at the place of the error, or ends or begins a word around it, is told.
_SLIPS = (
    (re.compile(r"&&?|\bAND\b"), "write `and`"),
    (re.compile(r"\|\|?|\bOR\b"), "write `or`"),
    (re.compile(r"!(?!=)|\bNOT\b"), "write `not`"),
    (re.compile(r"<>"), "write `!=`"),
    (re.compile(r"\b(?:i?like|I?LIKE|contains|startswith)\b"), "texts are compared whole, with `==` or `in [...]`"),
    (re.compile(r"\bbetween\b|\bBETWEEN\b"), "write a range, like `10 <= account.seats < 50`"),
    (re.compile(r"\bIN\b"), "write `in`"),
    (re.compile(r"\bIS\b"), "write `is None` or `is not None`"),
    (re.compile("[‘’“”„«»]"), "quotes are ' or \""),
    (re.compile(r"\b(\d+)\s*(?:d|days?|h|w)\b"), r"a number of days is \1, a duration days(\1)"),
    (re.compile(r"\b(\d+(?:\.\d+)?)\s*%"), r"a share is a number, 0.1 for 10%"),
    (re.compile(r"(?<![=<>!])=(?!=)"), "compare with `==`"),
)  # fmt: skip
_WORDS = {"true": "True", "false": "False", "null": "None", "none": "None", "nil": "None", "now": "today"}
_NEAR = 12  # characters around the place Python names: it tells of a slip where it could go on no more
_ALIKE = 0.6  # from here on two words are taken for one and a slip
_LONGEST = 100  # letters of a word: comparing takes the square of them
_OF_A_PART = 0.01  # of two names that read alike, the whole one counts more
_ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


def of_syntax(source: str, at: int) -> str:
    """Return `; ...` about the slip next to a place, counted from 1, where reading ended; or nothing."""
    near: list[tuple[int, int, str]] = []
    for pattern, hint in _SLIPS:
        for match in pattern.finditer(source):
            away = max(match.start() - (at - 1), (at - 1) - match.end(), 0)
            if away <= _NEAR:
                near.append((away, len(near), match.expand(hint)))
    return f"; {min(near)[2]}" if near else ""


def of_word(word: str) -> str:
    """Return `; ...` about a word of another language; or nothing."""
    meant = _WORDS.get(word.lower())
    return f"; write `{meant}`" if meant else ""


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the dotted name whose last word reads most like `word`, whole or in a part: breath, adoption_breadth."""
    if len(word) > _LONGEST:
        return None
    likest = max(((_likeness(word, name.rpartition(".")[2]), name) for name in sorted(names)), default=(0.0, ""))
    return likest[1] if likest[0] >= _ALIKE else None


def _likeness(word: str, name: str) -> float:
    read = SequenceMatcher(a=word)
    ratios = []
    for part in (name, *name.split("_")):
        read.set_seq2(part)
        ratios.append(read.ratio() - (0 if part == name else _OF_A_PART))
    return max(ratios)


def of_types(found: Node, beside: Node) -> str:
    """Return `; ...` how a literal of another type is written to be compared with `beside`; or nothing."""
    meant = _written_as(found, beside.type) if isinstance(found, Literal) else None
    if meant is None and isinstance(beside, Name) and beside.type is ColumnType.BOOL:
        return f"; write `{write(beside)}` or `not {write(beside)}`"
    return "" if meant is None else f"; write `{meant}`"


def _written_as(found: Literal, wanted: ColumnType) -> str | None:
    value = found.value
    if found.of is ColumnType.TEXT and isinstance(value, str):
        if wanted in MOMENTS and _ISO_DAY.fullmatch(value) and _is_day(value):
            return f"date('{value}')"
        return value if wanted is ColumnType.NUMBER and _NUMBER.fullmatch(value) else None
    if isinstance(value, float) and value.is_integer():
        if found.of is ColumnType.NUMBER and wanted is ColumnType.TEXT:
            return f"'{value:.0f}'"
        if {found.of, wanted} == {ColumnType.NUMBER, ColumnType.DURATION}:
            return f"days({value:.0f})" if wanted is ColumnType.DURATION else f"{value:.0f}"
    return None


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
