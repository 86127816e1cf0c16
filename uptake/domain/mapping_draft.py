"""A first mapping file for a log that nobody mapped yet: what its fields' names and values suggest."""

from __future__ import annotations

import json
from collections.abc import Iterator

from uptake.domain.raw_log import RawLog, RawTable, Role, TimeFormat

_UNITS = {
    TimeFormat.UNIX_S: "seconds",
    TimeFormat.UNIX_MS: "milliseconds",
    TimeFormat.UNIX_US: "microseconds",
}
_FEW_LACK = 0.05  # the share of lines without an account that may go into quarantine
_DAY_FIRST = {10: "%d-%m-%Y", 16: "%d-%m-%Y %H:%M", 19: "%d-%m-%Y %H:%M:%S"}  # by the length of the text


def mapping_draft(log: RawLog, *, name: str) -> str | None:
    """Return the YAML of a mapping called `name`; None when nothing in the log looks like events."""
    mapped = log.mapped
    table = next((table for table in log.tables if mapped is not None and table.name == mapped.table), None)
    return None if mapped is None or table is None else "\n".join(_lines(log, table, name)) + "\n"


def _lines(log: RawLog, table: RawTable, name: str) -> Iterator[str]:
    assert log.mapped is not None
    lookup = log.mapped.lookup
    yield f"name: {name}"
    yield "as_of: last_event  # an archive; a log that goes on says: now"
    yield "events:"
    yield f"  files: {_text(table.name)}"
    if table.format == "CSV" and (written := _csv(table)):
        yield f"  reader: {{csv: {{{written}}}}}"
    elif table.format == "JSON array":
        yield "  reader: {format: json}"
    if Role.EVENT_ID in table.roles:
        yield f"  event_id: {_text(table.roles[Role.EVENT_ID])}"
    if Role.ACCOUNT_ID in table.roles:
        yield f"  account_id: {_account(table)}"
    elif lookup is not None:
        yield "  account_id:"
        yield f"    column: {_text(lookup.by)}"
        yield f"    lookup: {{files: {_text(lookup.table)}, key: {_text(lookup.key)}, gives: {_text(lookup.account)}}}"
    elif Role.USER_ID in table.roles:
        user = _text(table.roles[Role.USER_ID])
        yield f"  account_id: {{column: {user}, default: nobody}}  # no field says the account: each user is one"
    else:
        yield "  account_id: {value: everybody}  # no field says the account: all are one"
    if Role.USER_ID in table.roles:
        yield f"  user_id: {_text(table.roles[Role.USER_ID])}"
    yield f"  event_name: {_text(table.roles[Role.EVENT_NAME])}"
    yield f"  occurred_at: {_moment(table)}"


def _csv(table: RawTable) -> str:
    """Return how a CSV file is written, as far as that is not usual."""
    told = {"delimiter": (json.dumps(table.delimiter), '","'), "encoding": (table.encoding, "utf-8")}
    return ", ".join(f"{key}: {value}" for key, (value, usual) in told.items() if value != usual)


def _account(table: RawTable) -> str:
    column = table.roles[Role.ACCOUNT_ID]
    item = next(item for item in table.fields if item.name == column)
    if item.fill >= 1 - _FEW_LACK:
        return _text(column)
    # So many lines in quarantine would hold every refresh; what they mean is for whoever knows the log to say.
    return f"{{column: {_text(column)}, default: nobody}}  # {1 - item.fill:.0%} of the lines say none"


def _moment(table: RawTable) -> str:
    column = table.roles[Role.OCCURRED_AT]
    item = next(item for item in table.fields if item.name == column)
    forms = set(item.formats)
    if len(forms) == 1 and (unit := _UNITS.get(next(iter(forms)))):
        return f"{{column: {_text(column)}, unit: {unit}}}"
    if forms == {TimeFormat.DAY_FIRST}:
        separator = next((mark for mark in "./-" if mark in (item.shape or "")), "-")
        form = _DAY_FIRST.get(item.longest or 0, "%d-%m-%Y").replace("-", separator)
        return f"{{column: {_text(column)}, format: {json.dumps(form)}}}"
    if forms & set(_UNITS):
        return f"{{column: {_text(column)}, unit: auto}}"
    return _text(column)


def _text(value: str) -> str:
    """Return a scalar of YAML: plain where that cannot be taken for anything else."""
    is_plain = value.replace("_", "").replace("-", "").replace(">", "").isalnum() and value[0].isalpha()
    known_words = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
    if is_plain and value.lower() not in known_words:
        return value
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted) + '"'
