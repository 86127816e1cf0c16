"""What lies in a raw folder, before anyone maps it: tables, fields, the parts they could play, and oddities.

No value of a log stands here except names of events and ids of accounts: fields are told by type, length and shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What the values of a field are."""

    EMPTY = "empty"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    TIME = "time"
    TEXT = "text"
    OBJECT = "object or list"


class TimeFormat(StrEnum):
    """How a moment is written."""

    ISO_ZONE = "ISO 8601 with a zone"
    ISO_LOCAL = "ISO 8601 without a zone"
    ISO_DATE = "date"
    DAY_FIRST = "day-month-year"
    UNIX_S = "unix seconds"
    UNIX_MS = "unix milliseconds"
    UNIX_US = "unix microseconds"


class Role(StrEnum):
    """What a field can be to a usage event; the names are those of `stg_usage_events`."""

    EVENT_ID = "event_id"
    OCCURRED_AT = "occurred_at"
    ACCOUNT_ID = "account_id"
    USER_ID = "user_id"
    EVENT_NAME = "event_name"


#: Leads into an object: `actor->login`, as in a mapping.
INTO = "->"

#: Names that fields of these parts bear in logs we know, most telling first; compared without case and punctuation.
ROLE_NAMES: Mapping[Role, tuple[str, ...]] = {
    Role.OCCURRED_AT: (
        "occurredat", "eventtime", "eventtimestamp", "timestamp", "ts", "time", "timecreated", "createdat", "usagedate",
        "eventdate", "datetime", "date", "day", "originaltimestamp", "sentat", "at", "when",
    ),
    Role.EVENT_NAME: (
        "eventname", "event", "eventtype", "featurename", "type", "activity", "page", "feature", "featureid", "pageid",
        "action", "name",
    ),
    Role.USER_ID: (
        "userid", "user", "username", "actorlogin", "distinctid", "visitorid", "memberid", "contactid", "personid",
        "uid", "actorid", "anonymousid", "person", "actor", "member", "who",
    ),
    Role.ACCOUNT_ID: (
        "accountid", "account", "orglogin", "orgid", "organizationid", "organisationid", "companyid", "workspaceid",
        "tenantid", "teamid", "groupid", "customerid", "courseid", "company", "organization", "organisation", "tenant",
        "workspace", "customer",
    ),
    Role.EVENT_ID: ("eventid", "id", "uuid", "insertid", "messageid", "usageid", "eventuuid"),
}  # fmt: skip

#: Words in a field's name that mean a person could be known by its values.
_PERSONAL = frozenset(
    {
        "email", "mail", "address", "phone", "mobile", "firstname", "lastname", "fullname", "givenname", "surname",
        "familyname", "birthdate", "birthday", "dateofbirth", "gender", "ip", "ipaddress", "useragent", "location",
        "street", "city", "latitude", "longitude", "username", "login", "displayname",
    }
)  # fmt: skip
#: Of so many values one in ten may differ from the rest and the field still be called by the rest's kind.
_MOST = 0.9
_ID_SHARE = 0.9
_FEW = 20
_MANY_NAMES = 2_000


@dataclass(frozen=True, kw_only=True)
class RawField:
    """One column, or one path into a JSON object; figures are of the rows that were looked at."""

    name: str
    rows: int
    filled: int  # rows with a value that is not an empty text
    kinds: Mapping[Kind, int]  # how many values are of which kind
    formats: Mapping[TimeFormat, int] = field(default_factory=dict)  # of those that are times
    distinct: int = 0
    shortest: int | None = None  # characters
    longest: int | None = None
    low: str | None = None  # of numbers and times; texts show none
    high: str | None = None
    shape: str | None = None  # the most common one: a letter is `a` or `A`, a digit `9`
    addresses: int = 0  # values that look like an e-mail address

    @property
    def fill(self) -> float:
        """Share of rows with a value."""
        return self.filled / self.rows if self.rows else 0.0

    @property
    def kind(self) -> Kind:
        """The kind of nearly all values; text where they differ."""
        if not self.filled:
            return Kind.EMPTY
        for kind, count in self.kinds.items():
            if count >= _MOST * self.filled:
                return kind
        numeric = self.kinds.get(Kind.INTEGER, 0) + self.kinds.get(Kind.NUMBER, 0)
        return Kind.NUMBER if numeric >= _MOST * self.filled else Kind.TEXT

    @property
    def is_personal(self) -> bool:
        """Whether a person could be known by it: leave it out of a mapping, unless it is the address to mail to."""
        return self.addresses > 0 or plain(self.name.rsplit(INTO, 1)[-1]) in _PERSONAL or plain(self.name) in _PERSONAL


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Where an event's account is found when the event does not say it."""

    by: str  # the event's field
    table: str
    key: str  # the field of that table which holds the same
    account: str  # its field with the account
    found_share: float  # of the events whose value the table knows


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Files of one shape, read together."""

    name: str  # their names with * for what differs
    format: str
    files: int
    rows: int
    unreadable: int
    looked_at: int  # rows that the fields were counted in
    fields: tuple[RawField, ...]
    roles: Mapping[Role, str] = field(default_factory=dict)  # -> name of the field that plays it, as far as guessed
    delimiter: str = ","  # of CSV
    encoding: str = "utf-8"  # of CSV

    @property
    def is_event_log(self) -> bool:
        """Whether its rows say that something happened at some time."""
        return Role.OCCURRED_AT in self.roles and Role.EVENT_NAME in self.roles


@dataclass(frozen=True, kw_only=True)
class EventVolume:
    """How often one event came; users and accounts are those with an id."""

    name: str
    count_events: int
    count_users: int
    count_accounts: int
    count_days: int


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """Something that a mapping, or whoever makes the log, should know."""

    kind: str
    text: str
    count: int
    where: str | None = None  # file and line of the first, as far as known


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """The events as they were read, and by whose mapping."""

    by: str  # `stg_gharchive__events`, a mapping file, or `guess`
    table: str | None
    roles: Mapping[Role, str]
    lookup: Lookup | None
    lines: int
    events: int  # lines that can be used
    duplicates: int
    first_at: datetime | None
    last_at: datetime | None
    count_users: int
    count_accounts: int
    volumes: tuple[EventVolume, ...]  # most frequent first


@dataclass(frozen=True, kw_only=True)
class RawLog:
    """Everything found in one raw folder."""

    tables: tuple[RawTable, ...]
    mapped: Mapped | None  # None: nothing in it looks like events
    oddities: tuple[Oddity, ...]
    ignored_files: tuple[str, ...] = ()  # neither NDJSON, JSON, CSV nor Parquet


def plain(name: str) -> str:
    """Return a field's name without case and punctuation, as names are compared."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def guess_roles(fields: Sequence[RawField]) -> dict[Role, str]:
    """Return which field could play which part, by its name and by what its values are."""
    roles: dict[Role, str] = {}
    for role, names in ROLE_NAMES.items():
        fitting = (item for item in fields if item.name not in roles.values() and _fits(item, role))
        ranked = [(rank, -item.fill, item.name) for item in fitting if (rank := _rank(item.name, names)) is not None]
        if ranked:
            roles[role] = min(ranked)[2]
    return roles


def _rank(name: str, names: Sequence[str]) -> int | None:
    """Return the place of a field's name among those looked for; `payload->id` is not the event's own `id`."""
    return names.index(plain(name)) if plain(name) in names else None


def _fits(item: RawField, role: Role) -> bool:
    if not item.filled:
        return False
    match role:
        case Role.OCCURRED_AT:
            return item.kind is Kind.TIME
        case Role.EVENT_ID:
            return item.distinct >= (_ID_SHARE if item.filled > _FEW else 0.5) * item.filled
        case Role.EVENT_NAME:
            repeats = item.filled <= _FEW or item.distinct <= min(_MANY_NAMES, item.filled // 2)
            return item.kind is Kind.TEXT and repeats and not item.addresses
        case _:
            return item.kind in (Kind.TEXT, Kind.INTEGER, Kind.NUMBER)


def event_log_of(tables: Iterable[RawTable]) -> RawTable | None:
    """Return the table that holds the events: of several that could, the one with most rows, then most parts."""
    logs = (table for table in tables if table.is_event_log)
    return max(logs, key=lambda table: (table.rows, len(table.roles)), default=None)
