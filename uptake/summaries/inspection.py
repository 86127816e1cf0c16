"""What `uptake inspect` found, in words for a terminal. Counts, shapes and names of events; no value of a person."""

from __future__ import annotations

from collections.abc import Iterator

from uptake.domain.raw_log import Kind, Mapped, RawField, RawTable, Role
from uptake.operations.inspect import Inspection
from uptake.summaries.markdown import table

_EVENTS = 40
_FIELDS = 40
_NAME = 60
_WORDS = {
    Role.OCCURRED_AT: "when it happened",
    Role.EVENT_NAME: "what was done",
    Role.USER_ID: "who did it",
    Role.ACCOUNT_ID: "for which account",
    Role.EVENT_ID: "the event's id",
}


def inspection_summary(found: Inspection) -> str:
    """Say what lies in a raw folder, as Markdown; what can be pasted is in `proposals`."""
    mapped = found.log.mapped
    parts = [_headline(found)]
    if mapped is not None and mapped.by == "guess":
        parts += ["## How its events were read", *_reading(mapped, found)]
    if found.volumes:
        parts += ["## Events by volume", _events(found)]
    if found.never_seen:
        parts.append(f"Catalogued, but in no event here: {', '.join(found.never_seen)}.")
    parts += ["## Oddities", _oddities(found)]
    for shown in found.log.tables:
        parts += [f"## Fields of {shown.name}", _fields(shown)]
    if found.log.ignored_files:
        names = ", ".join(found.log.ignored_files[:10])
        parts.append(f"Left alone, because they are neither NDJSON, JSON, CSV nor Parquet: {names}.")
    return "\n\n".join(parts)


def proposals(found: Inspection) -> str:
    """Return what can be pasted, and where to; it must not be wrapped."""
    parts = []
    if found.mapping is not None:
        path = f"{found.source}.yml"
        parts += [f"A first mapping; save it as {path}, mend it, and `uptake refresh --source {path}`:", found.mapping]
    if found.proposed:
        parts += [_catalogue_heading(found), "\n".join(found.proposed) + "\n"]
    return "\n".join(f"\n{part}" for part in parts)


def _catalogue_heading(found: Inspection) -> str:
    rows = _count(len(found.proposed), "row")
    return (
        f"{rows} for dbt_project/seeds/feature_catalog.csv, for events that no feature claims yet.\n"
        "Leave out what nobody learns (sign-ins, errors, page loads); add plans, minutes saved and a guide:"
    )


def _headline(found: Inspection) -> str:
    files = sum(shown.files for shown in found.log.tables)
    kinds = table(
        ("files", "format", "how many", "rows", "unreadable lines"),
        [
            (shown.name, shown.format, shown.files, f"{shown.rows:,}", f"{shown.unreadable:,}")
            for shown in found.log.tables
        ],
    )
    mapped = found.log.mapped
    if mapped is None or mapped.first_at is None or mapped.last_at is None:
        said = (
            "Nothing in it looks like usage events: no table has both a time and the name of something done, going by "
            "the names of its fields. If you know better, say so in a mapping: docs/map-your-log.md."
        )
        return f"# {_count(files, 'file')}, no events\n\n{said}\n\n{kinds}"
    unmapped = sum(volume.count_events for volume in found.unmapped)
    names, are_friction = len(found.volumes), " or is friction" if found.friction else ""
    if not found.is_catalogued:
        to_map = f"{len(found.unmapped):,} event names are to map"
        claimed = f"The catalogue has no feature of the source `{found.source}` yet: {to_map}."
    elif found.unmapped:
        belong = "belong" if len(found.unmapped) > 1 else "belongs"
        which = f"{len(found.unmapped)} of {_count(names, 'event name')}, {_count(unmapped, 'event')}"
        claimed = f"{which}, {belong} to no feature."
    else:
        claimed = f"Every event name belongs to a feature of the catalogue{are_friction}."
    accounts = f"in {_count(mapped.count_accounts, 'account')}" if mapped.count_accounts else "and no account"
    return "\n\n".join(
        [
            f"# {_count(mapped.events, 'event')} in {_count(files, 'file')}, {mapped.first_at:%Y-%m-%d %H:%M} to "
            f"{mapped.last_at:%Y-%m-%d %H:%M} UTC",
            f"{_count(mapped.count_users, 'user')} {accounts}; {_count(mapped.duplicates, 'duplicate')}; "
            f"{_count(mapped.lines - mapped.events - mapped.duplicates, 'line')} without use. {claimed}",
            kinds,
        ]
    )


def _reading(mapped: Mapped, found: Inspection) -> Iterator[str]:
    yield (
        f"Nobody has mapped this log yet. In `{mapped.table}` these fields were taken for the parts of an event, by "
        "their names and values; a mapping file says it for good (docs/map-your-log.md)."
    )
    rows = [(role.value, words, mapped.roles.get(role, "none found")) for role, words in _WORDS.items()]
    if mapped.lookup is not None:
        way = f"{mapped.lookup.account}, looked up by {mapped.lookup.by} in {mapped.lookup.table}"
        share = f"knows {mapped.lookup.found_share:.0%} of the events"
        rows = [(role, words, f"{way} ({share})" if role == Role.ACCOUNT_ID else name) for role, words, name in rows]
    yield table(("column of stg_usage_events", "what it says", "field of the log"), rows)
    others = [shown.name for shown in found.log.tables if shown.is_event_log and shown.name != mapped.table]
    if others:
        yield f"These could be events as well; inspect them by their path: {', '.join(others)}."


def _events(found: Inspection) -> str:
    total = sum(volume.count_events for volume in found.volumes)
    rows = [
        (
            _cut(volume.name),
            f"{volume.count_events:,}",
            f"{volume.count_events / total:.1%}",
            f"{volume.count_users:,}",
            f"{volume.count_accounts:,}",
            f"{volume.count_days:,}",
            _means(volume.name, found),
        )
        for volume in found.volumes[:_EVENTS]
    ]
    shown = table(("event", "events", "share", "users", "accounts", "days", "feature"), rows)
    more = len(found.volumes) - _EVENTS
    return f"{shown}\n\n{more:,} more names; `--json` lists all." if more > 0 else shown


def _means(event_name: str, found: Inspection) -> str:
    if event_name in found.friction:
        return f"none: friction ({found.friction[event_name]})"
    return ", ".join(found.features[event_name]) or "–"


def _oddities(found: Inspection) -> str:
    lines = [
        f"- {oddity.kind}{f' ({oddity.where})' if oddity.where else ''}: {oddity.text}."
        for oddity in found.log.oddities
    ]
    return "\n".join(lines) or "None."


def _fields(shown: RawTable) -> str:
    rows = [
        (
            item.name,
            _kind(item),
            f"{item.fill:.0%}" if item.fill in (0, 1) or 0.01 <= item.fill <= 0.99 else f"{item.fill:.2%}",
            f"{item.distinct:,}",
            _length(item),
            _example(item),
        )
        for item in shown.fields[:_FIELDS]
    ]
    shown_fields = table(("field", "type", "filled", "distinct", "characters", "range or shape"), rows)
    notes = []
    if shown.looked_at < shown.rows:
        notes.append(f"Counted in a sample of {shown.looked_at:,} of {shown.rows:,} rows.")
    if len(shown.fields) > _FIELDS:
        notes.append(f"{len(shown.fields) - _FIELDS} more fields; `--json` lists all.")
    return "\n\n".join([shown_fields, *notes])


def _kind(item: RawField) -> str:
    if item.kind is not Kind.TIME:
        return item.kind.value
    return max(item.formats, key=lambda form: item.formats[form]).value


def _length(item: RawField) -> str:
    if item.shortest is None:
        return "–"
    return f"{item.shortest}" if item.shortest == item.longest else f"{item.shortest} to {item.longest}"


def _example(item: RawField) -> str:
    if item.is_personal:
        return "personal: not shown"
    if item.low is not None and item.high is not None:
        low, high = (end[:16] if item.kind is Kind.TIME else end for end in (item.low, item.high))  # to the minute
        return f"{low} to {high}" if low != high else low
    return item.shape or "–"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[:_NAME]}…"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
