"""A mapping: one YAML file that says which columns of somebody's export are ours.

`read_mapping` reads it strictly; `MappingFile.resolved` holds it against the files of a raw folder and returns what the
macros of `dbt_project/macros/mapping.sql` put into models. Nothing in a mapping is ever SQL: a column becomes a JSON
pointer, everything else a literal, and the macros quote both.

`python -m uptake.adapters.source_mapping dbt_project/mappings` writes the JSON Schema that editors complete keys by.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from uptake.adapters.playbook_yaml import Document, Location, Problem, Unreadable, meant, read_source
from uptake.adapters.source_mapping_model import (
    Described,
    Events,
    Feature,
    Input,
    Moment,
    SourceMapping,
    Value,
)
from uptake.errors import TransformError

INTO = "->"  # leads into an object: `properties->plan`

_SAMPLE_FILES, _SAMPLE_LINES = 20, 500  # what is looked at to find a column


class BadMapping(TransformError):
    """Something is wrong in a mapping, or missing where it points to; carries what, with file and line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class MappingFile:
    """A mapping that was read, and what it is called in messages."""

    def __init__(self, path: Path) -> None:
        """Read and check it. Raises BadMapping."""
        self.path = path.resolve()
        try:
            self._document = Document(read_source(path, str(path)))
            self.mapping = self._document.parse(SourceMapping)
        except Unreadable as error:
            raise BadMapping(error.problems) from None
        _refuse([self._document.problem(*found) for found in _odd_values(self.mapping)])

    @property
    def name(self) -> str:
        """The source's name."""
        return self.mapping.name

    @property
    def features(self) -> list[tuple[int, dict[str, Any]]]:
        """The features it names, each as its line and a row of the catalogue."""
        named = enumerate((self.mapping.features or {}).items(), start=1)
        return [(self._document.line("features", key), feature.row(key, place)) for place, (key, feature) in named]

    def resolved(self, raw: Path) -> dict[str, Any]:
        """Return what the macros need, as JSON takes it. Raises BadMapping when files or columns are missing."""
        problems = [*self._missing(raw)]
        _refuse(problems)
        mapping = self.mapping
        found: dict[str, Any] = {
            "name": mapping.name,
            "as_of": mapping.as_of,
            "sandbox_addresses": mapping.sandbox_addresses,
            "features": [row for _, row in self.features],
            "inputs": {name: _input(one) for name, one in mapping.inputs.items()},
        }
        if mapping.lookup is not None:
            name, lookup = mapping.lookup
            found["inputs"]["lookup"] = _input(lookup, key=Value(column=lookup.key), gives=Value(column=lookup.gives))
            found["lookup"] = {"field": name, "content": _content(_files(raw, lookup.files))}
        return found

    def _missing(self, raw: Path) -> Iterator[Problem]:
        """Yield what the raw folder does not have: files, columns."""
        for name, one in self.mapping.inputs.items():
            yield from self._missing_in(raw, one, (name,), {n: (value, value.names) for n, value in one.values.items()})
        if self.mapping.lookup is not None:
            name, lookup = self.mapping.lookup
            named = {key: (None, (getattr(lookup, key),)) for key in ("key", "gives")}
            yield from self._missing_in(raw, lookup, ("events", name, "lookup"), named)

    def _missing_in(
        self, raw: Path, one: Input, place: Location, named: Mapping[str, tuple[Value | None, tuple[str, ...]]]
    ) -> Iterator[Problem]:
        files = _files(raw, one.files)
        if not files:
            if not getattr(one, "optional", False):
                patterns = " or ".join(one.files)
                yield self._document.problem(f"no file {patterns} in the raw folder{_lying_there(raw, one.files)}",
                                             *place, "files")  # fmt: skip
            return
        chosen = files[:: -(-len(files) // _SAMPLE_FILES)]
        columns: dict[str, None] = {}
        for path in chosen:
            try:
                columns |= dict.fromkeys(one.reader.columns(path, lines=_SAMPLE_LINES))
            except ValueError as error:
                raise TransformError(str(error)) from error
        if not columns:  # empty files lack nothing
            return
        wanted = {key: names for key, (value, names) in named.items() if value is None or not value.optional}
        if isinstance(one, Events) and one.properties:
            wanted["properties"] = one.properties
        if isinstance(one, Described) and one.latest_by is not None:
            wanted["latest_by"] = (one.latest_by,)
        where = chosen[0].name if len(files) == 1 else f"{chosen[0].name} and {len(files) - 1} more files"
        for key, names in wanted.items():
            absent = [name for name in names if _way(name)[0] not in columns]
            value = named.get(key, (None,))[0]
            if value is not None and value.first_of is not None and len(absent) < len(names):
                continue
            for name in absent:
                found = meant(_way(name)[0], list(columns)) or f"; found {', '.join(list(columns)[:30])} ..."
                yield self._document.problem(f"no column `{_way(name)[0]}` in {where}{found}", *place, key)


def read_mapping(path: Path) -> MappingFile:
    """Read a mapping file. Raises BadMapping."""
    return MappingFile(path)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise BadMapping(problems)


def _odd_values(mapping: SourceMapping) -> Iterator[tuple[Any, ...]]:
    """Yield what a model of one key cannot know: message, location."""
    for name, one in mapping.inputs.items():
        encoding = one.reader.csv.encoding
        try:
            codecs.lookup(encoding)
        except LookupError:
            message = f"unknown encoding {encoding!r}; expected one that Python knows, like latin-1"
            yield message, name, "reader", "csv", "encoding"
        for key, value in one.values.items():
            for form in value.format or () if isinstance(value, Moment) else ():
                try:
                    duckdb.execute("select try_strptime('', ?)", [form])
                except duckdb.Error:
                    yield f"{form!r} is no form of a time; expected one like %d-%m-%Y %H:%M", name, key, "format"
    known: Mapping[str, Feature] = mapping.features or {}
    for key, feature in known.items():
        if feature.prerequisite is not None and feature.prerequisite not in known:
            message = f"unknown feature `{feature.prerequisite}`{meant(feature.prerequisite, list(known))}"
            yield message, "features", key, "prerequisite"


def _files(raw: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in raw.glob(pattern) if path.is_file()})


def _lying_there(raw: Path, patterns: tuple[str, ...]) -> str:
    there = sorted(str(path.relative_to(raw)) for path in raw.rglob("*") if path.is_file())
    return meant(patterns[0], there[:1000]) or (f"; found {', '.join(there[:10])}" if there else ", which is empty")


def _content(files: list[Path]) -> str:
    """Return a text that is another one when any of the files is."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\x1f{path.stat().st_size}\x1f".encode() + path.read_bytes())
    return digest.hexdigest()


# --- for the macros -----------------------------------------------------------------------------------------


def _way(name: str) -> list[str]:
    """Return the steps to a value: a column, and what is inside it."""
    return [step.strip() for step in name.split(INTO)] if INTO in name else [name]


def _pointer(steps: list[str]) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def _input(one: Input, **more: Value) -> dict[str, Any]:
    """Return one input: its files, the pointers that are read, and how each field is made of what they point at."""
    pointers: list[str] = []

    def at(steps: list[str]) -> int:
        pointer = _pointer(steps)
        if pointer not in pointers:
            pointers.append(pointer)
        return pointers.index(pointer) + 1

    def part(name: str) -> dict[str, Any]:
        way = _way(name)
        if len(way) == 1:
            return {"at": at(way)}
        return {"at": at(way), "root": at(way[:1]), "rest": _pointer(way[1:])}

    found: dict[str, Any] = {
        "files": list(one.files),
        "reader": one.reader.model_dump(mode="json", exclude_defaults=True),
        "keys": list(one.keys),
    }
    found["fields"] = {
        name: {
            "parts": [part(column) for column in value.names],
            "join": value.join if value.columns else None,
            "value": _text(value.value),
            "default": _text(value.default),
            "says": " or ".join(f"`{column}`" for column in value.names),
            **({"unit": value.unit, "formats": list(value.format or ()), "zone": value.zone}
               if isinstance(value, Moment) else {}),
        }
        for name, value in {**one.values, **more}.items()
    }  # fmt: skip
    if isinstance(one, Events):
        found["properties"] = [{"name": name, **part(name)} for name in one.properties or ()]
    if isinstance(one, Described) and one.latest_by is not None:
        found["latest_by"] = part(one.latest_by)
    found["pointers"] = pointers
    return found


def _text(literal: str | int | float | bool | None) -> str | None:
    if literal is None or isinstance(literal, str):
        return literal
    return json.dumps(literal)


# --- for editors --------------------------------------------------------------------------------------------


def schema() -> str:
    """Return the JSON Schema of mapping files."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | SourceMapping.model_json_schema()
    return json.dumps(found, indent=2) + "\n"


if __name__ == "__main__":  # pragma: no cover
    (Path(sys.argv[1]) / "schema.json").write_text(schema(), encoding="utf-8")
