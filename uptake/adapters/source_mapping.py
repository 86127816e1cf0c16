"""A mapping: one YAML file that says which columns of somebody's export are ours.

`read_mapping` reads it strictly; `resolved` holds it against the files of a raw folder and returns what the macros of
`dbt_project/macros/mapping.sql` put into models. Nothing in a mapping is ever SQL: a column becomes a JSON pointer,
everything else a literal, and the macros quote both.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import available_timezones

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from uptake.adapters.playbook_yaml import Document, Location, Problem, Unreadable, meant, read_source
from uptake.adapters.raw_files import Reader
from uptake.domain.playbooks import Duration, Key, Strict
from uptake.errors import TransformError

SUFFIXES = (".yml", ".yaml")  # a source that ends like this is a mapping
INTO = "->"  # leads into an object: `properties->plan`

_SAMPLE_FILES, _SAMPLE_LINES = 20, 500  # what is looked at to find a column

Name = Annotated[str, Field(min_length=1, max_length=500)]
Literal_ = str | int | float | bool


def _listed(given: object) -> object:
    return (given,) if isinstance(given, str) else given


Names = Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1)]


def _pattern(given: str) -> str:
    if given.startswith(("/", "~")) or ".." in given.split("/"):
        raise ValueError(f"{given!r} leads out of the raw folder; expected a pattern below it, like *.csv")
    return given


Files = Annotated[tuple[Annotated[Name, BeforeValidator(_pattern)], ...], BeforeValidator(_listed), Field(min_length=1)]


class Value(Strict):
    """Where a value comes from. A plain text is a column; a list of columns is joined."""

    column: Name | None = Field(default=None, description="A column; `a->b` leads into an object, or a text of JSON")
    columns: Names | None = Field(default=None, description="Several columns, joined; what is empty is left out")
    first_of: Names | None = Field(default=None, description="The first of these columns that is not empty")
    value: Literal_ | None = Field(default=None, description="The same for every line")
    join: str = Field(default=".", description="What stands between joined columns")
    default: Literal_ | None = Field(default=None, description="Instead of nothing")
    optional: bool = Field(default=False, description="Nobody minds when no file has the column")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: object) -> object:
        if isinstance(given, str):
            return {"column": given}
        if isinstance(given, list):
            return {"columns": given}
        return given

    @model_validator(mode="after")
    def _one_origin(self) -> Value:
        given = [name for name in ("column", "columns", "first_of", "value") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"found {' and '.join(given) or 'none of them'}; expected one of column, columns, first_of, value"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The columns it needs."""
        return (self.column,) if self.column is not None else self.columns or self.first_of or ()

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let editors know the short forms, too."""
        whole = handler(schema)
        short = {"type": "string", "description": "A column"}
        return {"anyOf": [short, {"type": "array", "items": short, "description": "Columns, joined"}, whole]}


def _zone(given: object) -> object:
    if given not in available_timezones():
        raise ValueError(f"unknown time zone {given!r}; expected a name like Europe/Berlin")
    return given


class Moment(Value):
    """A time. Without more it is ISO 8601; without an offset it is UTC."""

    unit: Literal["iso", "seconds", "milliseconds", "microseconds", "auto"] = Field(
        default="iso", description="auto: numbers by their size, texts as ISO 8601"
    )
    format: Names | None = Field(default=None, description="Like %d-%m-%Y; of several the first that fits")
    zone: Annotated[str, BeforeValidator(_zone)] | None = Field(
        default=None, description="Of times that have no offset, like Europe/Berlin"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Moment:
        if self.format is not None and self.unit != "iso":
            raise ValueError(f"found a format and the unit {self.unit}; expected one of them")
        return self


class Input(Strict):
    """Files and how they are read."""

    keys: ClassVar[tuple[str, ...]] = ()  # what one row is about

    files: Files = Field(description="Patterns below the raw folder, like events/*.csv.gz")
    reader: Reader = Field(default=Reader(), description="How files are written, where their names do not tell")

    @property
    def values(self) -> Mapping[str, Value]:
        """The fields that are mapped."""
        found = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: value for name, value in found if isinstance(value, Value)}


class Described(Input):
    """An input beside the events: several rows about one thing tell of it at several times."""

    latest_by: Name | None = Field(default=None, description="Of several rows about one, the greatest here counts")
    optional: bool = Field(default=False, description="No file is as good as an empty one")


class Lookup(Described):
    """A file that knows what events do not say."""

    key: Name = Field(description="Its column that is compared")
    gives: Name = Field(description="Its column that is taken over")


class EventValue(Value):
    """A value of an event, perhaps by way of another file."""

    lookup: Lookup | None = Field(default=None, description="What was found here is looked up there")


class Events(Input):
    """Usage events."""

    account_id: EventValue
    event_name: EventValue
    occurred_at: Moment
    user_id: EventValue | None = Field(default=None, description="Without one, use is counted, but nobody's")
    event_id: Value | None = Field(default=None, description="Lines with the same one are one event")
    received_at: Moment | None = Field(default=None, description="Of lines with one id the last received counts")
    quantity: Value | None = None
    properties: Names | None = Field(default=None, description="Columns to keep; one alone may hold an object")


class Accounts(Described):
    """Accounts."""

    keys = ("account_id",)
    account_id: Value
    plan: Value | None = None
    created_at: Moment | None = None
    arr: Value | None = None
    currency: Value | None = None
    seats: Value | None = None
    region: Value | None = None
    time_zone: Value | None = None
    locale: Value | None = None
    csm: Value | None = Field(default=None, description="An id, not a name")
    renewal_on: Moment | None = None
    churned_on: Moment | None = None
    is_internal: Value | None = None


class Contacts(Described):
    """Users of accounts. Whoever has no address cannot be mailed."""

    keys = ("account_id", "user_id")
    account_id: Value
    user_id: Value
    address: Value | None = None
    given_name: Value | None = None
    full_name: Value | None = None
    role: Value | None = None
    time_zone: Value | None = None
    locale: Value | None = None
    created_at: Moment | None = None
    consent_basis: Value | None = None
    consent_at: Moment | None = None


class Subscriptions(Described):
    """What accounts pay for, and when."""

    keys = ("subscription_id", "account_id")
    subscription_id: Value
    account_id: Value
    plan: Value | None = None
    seats: Value | None = None
    arr: Value | None = None
    started_on: Moment | None = None
    ended_on: Moment | None = None


class Tickets(Described):
    """Support tickets."""

    keys = ("ticket_id", "account_id")
    ticket_id: Value
    account_id: Value
    user_id: Value | None = None
    opened_at: Moment | None = None
    closed_at: Moment | None = None
    severity: Value | None = None
    cause: Value | None = None
    is_escalation: Value | None = None


def _in_a_list(given: str) -> str:
    if "|" in given:
        raise ValueError(f"{given!r} holds a |, which parts patterns in the catalogue; write * for it")
    return given


Listed = Annotated[tuple[Annotated[Name, BeforeValidator(_in_a_list)], ...], BeforeValidator(_listed)]


class Feature(Strict):
    """What can be learned, as in the catalogue. A plain text or a list is its events."""

    events: Annotated[Listed, Field(min_length=1)] = Field(description="Names that mean its use; * is any text")
    name: str | None = Field(default=None, min_length=1, description="What people call it")
    plans: Listed = Field(default=(), description="Plans that include it; none = all")
    adopted_days: int = Field(default=3, ge=1, le=28, description="Days of use within 28 that make a habit")
    weight: float = Field(default=1.0, ge=0)
    minutes_saved_per_use: float | None = Field(default=None, ge=0)
    guide_url: str | None = None
    ladder_rank: int | None = Field(default=None, ge=1, description="Default: the place in this list")
    prerequisite: Key | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: object) -> object:
        return {"events": given} if isinstance(given, (str, list)) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let editors know the short forms, too."""
        whole = handler(schema)
        short = {"type": "string", "description": "A name of events"}
        return {"anyOf": [short, {"type": "array", "items": short}, whole]}

    def row(self, key: str, place: int) -> dict[str, Any]:
        """Return it as a row of the catalogue."""
        return {
            "feature_key": key,
            "name": self.name or key.replace("_", " ").replace("-", " ").capitalize(),
            "event_patterns": "|".join(self.events),
            "plans_entitled": "|".join(self.plans) or None,
            "adopted_days": self.adopted_days,
            "weight": self.weight,
            "minutes_saved_per_use": self.minutes_saved_per_use,
            "guide_url": self.guide_url,
            "ladder_rank": self.ladder_rank or place,
            "prerequisite": self.prerequisite,
        }


SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class SourceMapping(Strict):
    """A mapping file."""

    name: SourceName = Field(description="The source's name: in snapshots, and in the feature catalogue")
    as_of: Literal["now", "last_event"] = Field(default="now", description="last_event: for an archive")
    fresh_within: Duration = Field(
        default="7d", validate_default=True, description="The newest event may be older than as_of by this much"
    )
    sandbox_addresses: bool = Field(
        default=False, description="Give every user an address that reaches nobody, to try playbooks with"
    )
    events: Events
    accounts: Accounts | None = None
    contacts: Contacts | None = None
    subscriptions: Subscriptions | None = None
    tickets: Tickets | None = None
    features: dict[Key, Feature] | None = Field(
        default=None, description="What can be learned; none: what the catalogue has, else each event's name"
    )

    @field_validator("features", mode="before")
    @classmethod
    def _each_event(cls, given: object) -> object:
        if given == "each_event":
            return None
        if not isinstance(given, dict) or not given:
            raise ValueError(f"found {given!r}; expected each_event, or features by their keys")
        return given

    @model_validator(mode="after")
    def _one_lookup(self) -> SourceMapping:
        lookups = [name for name, value in self.events.values.items() if getattr(value, "lookup", None)]
        if len(lookups) > 1:
            raise ValueError(f"found lookups in {' and '.join(lookups)}; expected at most one")
        if self.sandbox_addresses and self.contacts is not None and self.contacts.address is not None:
            raise ValueError("found sandbox_addresses and a column of addresses; expected one of them")
        return self

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The inputs that are mapped, by their names in the contract."""
        names = ("events", "accounts", "contacts", "subscriptions", "tickets")
        return {name: found for name in names if (found := getattr(self, name)) is not None}

    @cached_property
    def lookup(self) -> tuple[str, Lookup] | None:
        """The field of events that is looked up, and where."""
        for name, value in self.events.values.items():
            if isinstance(value, EventValue) and value.lookup is not None:
                return name, value.lookup
        return None


class MappingFile:
    """A mapping that was read, and what it is called in messages."""

    def __init__(self, path: Path) -> None:
        """Read and check it. Raises TransformError with file and line."""
        self.path = path.resolve()
        try:
            self._document = Document(read_source(path, str(path)))
            self.mapping = self._document.parse(SourceMapping)
        except Unreadable as error:
            raise TransformError(str(error)) from None
        _refuse([self._document.problem(*found) for found in _odd_values(self.mapping)])

    @property
    def name(self) -> str:
        """The source's name."""
        return self.mapping.name

    def resolved(self, raw: Path) -> dict[str, Any]:
        """Return what the macros need, as JSON takes it. Raises TransformError when files or columns are missing."""
        problems = [*self._missing(raw)]
        _refuse(problems)
        mapping = self.mapping
        found: dict[str, Any] = {
            "name": mapping.name,
            "as_of": mapping.as_of,
            "sandbox_addresses": mapping.sandbox_addresses,
            "features": [feature.row(key, n) for n, (key, feature) in enumerate((mapping.features or {}).items(), 1)],
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
    """Read a mapping file. Raises TransformError with file and line."""
    return MappingFile(path)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise TransformError("; ".join(map(str, problems)))


def _odd_values(mapping: SourceMapping) -> Iterator[tuple[Any, ...]]:
    """Yield what a model of one key cannot know: message, location."""
    inputs = dict(mapping.inputs)
    for name, one in inputs.items():
        encoding = one.reader.csv.encoding
        try:
            codecs.lookup(encoding)
        except LookupError:
            yield f"unknown encoding {encoding!r}; expected one that Python knows, like latin-1", name, "reader"
    for key, feature in (mapping.features or {}).items():
        known = mapping.features or {}
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


def _text(literal: Literal_ | None) -> str | None:
    if literal is None or isinstance(literal, str):
        return literal
    return json.dumps(literal)
