"""The words of a mapping file, as frozen, strict models; `uptake.adapters.source_mapping` reads files of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from uptake.adapters.raw_files import Reader
from uptake.domain.playbook_values import Duration, Key, Strict

Name = Annotated[str, Field(min_length=1, max_length=500)]
Literal_ = str | int | float | bool


def _listed(given: object) -> object:
    return (given,) if isinstance(given, str) else given


_ONE_OR_SEVERAL = WithJsonSchema(
    {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}}]}
)
Names = Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1), _ONE_OR_SEVERAL]


def _pattern(given: object) -> object:
    if isinstance(given, str) and (given.startswith(("/", "~")) or ".." in given.split("/")):
        raise ValueError(f"{given!r} leads out of the raw folder; expected a pattern below it, like *.csv")
    return given


Files = Annotated[
    tuple[Annotated[Name, BeforeValidator(_pattern)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    _ONE_OR_SEVERAL,
]


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
    if not isinstance(given, str) or given not in available_timezones():
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
    consent_expires_at: Moment | None = None


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


Listed = Annotated[tuple[Annotated[Name, AfterValidator(_in_a_list)], ...], BeforeValidator(_listed), _ONE_OR_SEVERAL]


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
        default=None,
        description="What can be learned; each_event, or nothing: what the catalogue has, else each event's name",
        json_schema_extra=lambda found: found["anyOf"].append({"const": "each_event"}),  # type: ignore[union-attr]
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
