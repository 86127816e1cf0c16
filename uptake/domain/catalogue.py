"""The feature catalogue: which events mean the use of which feature, and what rows a new log suggests."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: A source that ends like this is a mapping file.
MAPPING_SUFFIXES = (".yml", ".yaml")

#: What a proposed row says until somebody knows better.
_ADOPTED_DAYS = 3
_WEIGHT = 1.0
_KEY_LENGTH = 40

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNWRITABLE = re.compile(r"[|\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # would end a pattern, or a line
_FAMILY = re.compile(r"^(.+?)[.:/]")
#: Words that say nothing about what was used: `PushEvent` is about pushing.
_FILLER = frozenset({"event", "events"})


@dataclass(frozen=True, kw_only=True)
class CatalogueRow:
    """What the catalogue says of one feature of one source."""

    feature_key: str
    name: str
    event_patterns: tuple[str, ...]
    ladder_rank: int

    def claims(self, event_name: str) -> bool:
        """Say whether an event of this name means the use of this feature."""
        return any(matches_pattern(event_name, pattern) for pattern in self.event_patterns)


@dataclass(frozen=True, kw_only=True)
class FrictionPattern:
    """Events of one source by which somebody was kept from using the product."""

    event_pattern: str
    kind: str


def friction_kind(event_name: str, patterns: Iterable[FrictionPattern]) -> str | None:
    """Return the kind of friction that an event of this name means; None when it means none."""
    return min((one.kind for one in patterns if matches_pattern(event_name, one.event_pattern)), default=None)


def matches_pattern(event_name: str, pattern: str) -> bool:
    """Say whether a name fits a pattern, as the macro of this name in `dbt_project` does: `*` is any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), event_name, re.DOTALL) is not None


def proposed_rows(event_names: Iterable[str], *, known: Sequence[CatalogueRow]) -> list[CatalogueRow]:
    """Return a row for each unmapped event name, most important first, in the order given.

    Names that share what stands before their first `.`, `:` or `/` share a row. Keys and ranks go on after `known`.
    """
    families: dict[str, list[str]] = {}
    for event_name in event_names:
        family = _FAMILY.match(event_name)
        families.setdefault(family[1] if family else event_name, []).append(event_name)
    taken = {row.feature_key for row in known}
    rank = max((row.ladder_rank for row in known), default=0)
    rows = []
    for family_name, names in families.items():
        rank += 1
        words = _words_of(family_name)
        key = _unused(_key(words), taken, rank)
        taken.add(key)
        name = " ".join(words).capitalize() or _UNWRITABLE.sub(" ", family_name)
        patterns = tuple(dict.fromkeys(_UNWRITABLE.sub("*", event_name) for event_name in names))
        rows.append(CatalogueRow(feature_key=key, name=name, event_patterns=patterns, ladder_rank=rank))
    return rows


def source_name(folder: str) -> str:
    """Return what a source made of a folder of this name could be called."""
    return _unused(_key(_words_of(folder)), set(), 1)


def as_csv_line(row: CatalogueRow, *, source: str, columns: Sequence[str]) -> str:
    """Return a row as the seed file takes it; what only a person can say is left empty."""
    values: Mapping[str, object] = {
        "source": source,
        "feature_key": row.feature_key,
        "name": row.name,
        "event_patterns": "|".join(row.event_patterns),
        "adopted_days": _ADOPTED_DAYS,
        "weight": _WEIGHT,
        "ladder_rank": row.ladder_rank,
    }
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([values.get(column, "") for column in columns])
    return line.getvalue()


def _words_of(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = [word.lower() for word in _WORDS.findall(plain)]
    return [word for word in words if word not in _FILLER] or words


def _key(words: Sequence[str]) -> str:
    """Return as many of the words as a key has room for."""
    key = ""
    for word in words:
        longer = f"{key}_{word}" if key else word[:_KEY_LENGTH]
        if len(longer) > _KEY_LENGTH:
            break
        key = longer
    return key


def _unused(key: str, taken: set[str], rank: int) -> str:
    if not key or not key[0].isalpha():
        key = f"feature_{key or rank}"
    number, found = 1, key
    while found in taken:
        number += 1
        found = f"{key}_{number}"
    return found
