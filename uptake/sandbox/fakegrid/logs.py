"""The Email Logs API over what was accepted: `POST /v3/logs` and `GET /v3/logs/{id}`.

As SendGrid's: at most 1,000 messages and no pages, custom arguments with a single message only, and a lag after
which an accepted message first shows. What has happened to a message is read from `posted.jsonl`.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from uptake.ports import Clock
from uptake.sandbox.fakegrid.accept_log import Tail, accepted_path, erased_path, moment, posted_path

KEEPS = timedelta(days=30)
MAX_LIMIT, _USUAL_LIMIT = 1_000, 10

_CONDITION = re.compile(
    r"""\s*(?P<field>\w+)\s*(?:(?P<operator>=|>=|<=|>|<)\s*(?:TIMESTAMP\s*)?(?P<quote>["'])(?P<value>.*?)(?P=quote)"""
    r"""|(?P<in>IN)\s*\((?P<values>[^)]*)\))\s*""",
    re.IGNORECASE,
)
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
}
_ALLOWED = {
    **dict.fromkeys(("sg_message_id", "subject", "to_email", "reason"), ("=",)),
    **dict.fromkeys(("status", "categories"), ("IN",)),
    "sg_message_id_created_at": (">", "<", ">=", "<="),
}
# The later word wins; a click proves a delivery.
_STATUS = {
    "processed": (1, "processed"),
    "deferred": (2, "deferred"),
    **dict.fromkeys(("delivered", "open", "click"), (3, "delivered")),
    "dropped": (4, "dropped"),
    "bounce": (5, "bounced"),
}


class BadQuery(ValueError):
    """A query that SendGrid would refuse with 400."""


class MailLogs:
    """What the service remembers of accepted mail. Thread-safe."""

    def __init__(self, home: Path, clock: Clock, *, lag: timedelta = timedelta(0)) -> None:
        self._clock = clock
        self._lag = lag
        self._accepted, self._posted = Tail(accepted_path(home)), Tail(posted_path(home))
        self._lines: dict[str, Mapping[str, Any]] = {}  # by whole message id, the oldest first
        self._events: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        self._erasures = Tail(erased_path(home))
        self._erased: set[str] = set()
        self._lock = threading.Lock()

    def search(self, query: str, limit: int | None) -> list[dict[str, Any]]:
        """Return the newest messages that match. Raises BadQuery."""
        if limit is not None and not 1 <= limit <= MAX_LIMIT:
            raise BadQuery(f"limit must be between 1 and {MAX_LIMIT}")
        conditions = _conditions(query)
        found: list[dict[str, Any]] = []
        for whole_id, line in reversed(self._shown().items()):
            if all(is_met(self._seen(whole_id, line)) for is_met in conditions):
                found.append(self._summary(whole_id, line))
                if len(found) == (limit or _USUAL_LIMIT):
                    break
        return found

    def message(self, whole_id: str) -> dict[str, Any] | None:
        """Return all that is known of one message; None when it does not show."""
        line = self._shown().get(whole_id)
        if line is None:
            return None
        summary = self._summary(whole_id, line)
        del summary["sg_message_id_created_at"]
        events = [_log_event(whole_id, line, posted) for posted in self._events[line["message_id"], line["to"]]]
        group = {} if line["group_id"] is None else {"asm_group_id": line["group_id"]}
        return {
            **summary,
            **group,
            "api_key_id": "sandbox",
            "client_ip": "127.0.0.1",
            "category": line["categories"],
            "custom_args": line["custom_args"],
            "events": events[-100:],
        }

    def _shown(self) -> dict[str, Mapping[str, Any]]:
        """Return what the log has by now."""
        with self._lock:
            for line in self._accepted.read_new():
                self._lines[whole_message_id(line)] = line
            for posted in self._posted.read_new():
                if posted["event"] != "one_click":
                    self._events[posted["message_id"], posted["to"]].append(posted)
            self._erased |= {line["email"] for line in self._erasures.read_new()}
            now = self._clock.now()
            return {
                whole_id: line
                for whole_id, line in self._lines.items()
                if now - KEEPS <= moment(line) <= now - self._lag and line["to"].lower() not in self._erased
            }

    def _summary(self, whole_id: str, line: Mapping[str, Any]) -> dict[str, Any]:
        seen = self._seen(whole_id, line)
        return {
            "from_email": line.get("from", "sender@sandbox.invalid"),
            "sg_message_id": whole_id,
            "subject": line["subject"],
            "to_email": line["to"],
            "reason": seen["reason"],
            "status": seen["status"],
            "sg_message_id_created_at": f"{moment(line).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }

    def _seen(self, whole_id: str, line: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields a query may ask for."""
        rank, status, reason = 0, "processed", ""
        for posted in self._events.get((line["message_id"], line["to"]), ()):
            found = _STATUS.get(posted["event"])
            if found is not None and found[0] >= rank:
                rank, status = found
                status = "blocked" if posted.get("type") == "blocked" else status
                reason = posted.get("reason", "")
        return {
            "sg_message_id": whole_id,
            "subject": line["subject"],
            "to_email": line["to"].lower(),
            "status": status,
            "reason": reason,
            "categories": line["categories"],
            "sg_message_id_created_at": moment(line).replace(microsecond=0),
        }


def whole_message_id(line: Mapping[str, Any]) -> str:
    """Return the id by which webhook and logs name one message to one recipient."""
    return f"{line['message_id']}.recvd-sandbox-0-{line['position']}.0"


def _conditions(query: str) -> list[Callable[[Mapping[str, Any]], bool]]:
    """Read `field = 'x' AND ...`. Raises BadQuery."""
    if not query.strip():
        return []
    found, at = [], 0
    while True:
        match = _CONDITION.match(query, at)
        if match is None:
            raise BadQuery("the query cannot be read")
        found.append(_condition(match))
        at = match.end()
        if at == len(query):
            return found
        if query[at : at + 3].upper() != "AND":
            raise BadQuery("conditions are combined with AND")
        at += 3


def _condition(match: re.Match[str]) -> Callable[[Mapping[str, Any]], bool]:
    field, operator = match["field"], (match["in"] or match["operator"]).upper()
    if operator not in _ALLOWED.get(field, ()):
        raise BadQuery(f"{field} does not take {operator}")
    if operator == "IN":
        wanted = set(re.findall(r"""["'](.*?)["']""", match["values"]))
        return lambda seen: bool(wanted & (set(seen[field]) if isinstance(seen[field], list) else {seen[field]}))
    compare = _OPERATORS[operator]
    if field != "sg_message_id_created_at":
        value = match["value"].lower() if field == "to_email" else match["value"]
        return lambda seen: compare(seen[field], value)
    try:
        when = datetime.fromisoformat(match["value"])
    except ValueError as error:
        raise BadQuery("sg_message_id_created_at needs an ISO 8601 timestamp") from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return lambda seen: compare(seen[field], when)


def _log_event(whole_id: str, line: Mapping[str, Any], posted: Mapping[str, Any]) -> dict[str, Any]:
    """Return one event as the logs have it: custom arguments nested, not flattened."""
    extra = {name: posted[name] for name in ("url", "reason", "type") if name in posted}
    return {
        **extra,
        "event": posted["event"],
        "email": line["to"],
        "sg_message_id": whole_id,
        "sg_event_id": posted["key"],
        "smtp-id": f"<{line['message_id']}@geopod-ismtpd-sandbox>",
        "timestamp": int(datetime.fromisoformat(posted["at"]).timestamp()),
        "custom_args": line["custom_args"],
    }
