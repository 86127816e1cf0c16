"""What the service itself remembers of addresses: bounces, blocks, complaints, unsubscribes by group and of everything.

What came of mails is read from `posted.jsonl`; what the account's owner added or removed through the API stands in
`suppressions.jsonl`. Both only grow, so a kill loses nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from uptake.sandbox.fakegrid.accept_log import AppendLog, Tail, posted_path

GLOBAL = "unsubscribes"
MAX_LIMIT = 500
LISTS = ("bounces", "blocks", "spam_reports", "invalid_emails", GLOBAL)


def group_list(group_id: int) -> str:
    """Return the name of an unsubscribe group's list."""
    return f"group:{group_id}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One address on one list."""

    email: str
    created: datetime
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as the suppression lists show it."""
        told = {"reason": self.reason, "status": "5.0.0"} if self.reason else {}
        return {"created": int(self.created.timestamp()), "email": self.email, **told}


class Suppressions:
    """The lists, read again whenever the files have grown. Thread-safe."""

    def __init__(self, home: Path) -> None:
        self._posted, self._orders = Tail(posted_path(home)), Tail(orders_path(home))
        self._lists: dict[str, dict[str, Entry]] = {}
        self._lock = threading.Lock()

    def entries(
        self, name: str, *, start: int | None = None, end: int | None = None, limit: int = MAX_LIMIT, offset: int = 0
    ) -> list[Entry]:
        """Return a page of a list, the newest first: it shifts when somebody is added while it is read."""
        with self._lock:
            self._read()
            found = sorted(self._lists.get(name, {}).values(), key=lambda entry: entry.created, reverse=True)
        within = [
            entry
            for entry in found
            if (start is None or entry.created.timestamp() >= start)
            and (end is None or entry.created.timestamp() <= end)
        ]
        return within[offset : offset + limit]

    def find(self, name: str, emails: Iterable[str]) -> list[Entry]:
        """Return those of these addresses that are on a list."""
        with self._lock:
            self._read()
            known = self._lists.get(name, {})
            return [known[email] for email in dict.fromkeys(map(str.lower, emails)) if email in known]

    def _read(self) -> None:
        for line in self._posted.read_new():
            name = _list_of(line)
            if line["event"] == "group_resubscribe" and line.get("group_id") is not None:
                self._lists.get(group_list(line["group_id"]), {}).pop(line["to"].lower(), None)
            elif name is not None:
                self._add(name, line["to"], datetime.fromisoformat(line["at"]), str(line.get("reason") or ""))
        for order in self._orders.read_new():
            if order["action"] == "add":
                self._add(order["list"], order["email"], datetime.fromisoformat(order["at"]), "")
            else:
                self._lists.get(order["list"], {}).pop(order["email"].lower(), None)

    def _add(self, name: str, email: str, created: datetime, reason: str) -> None:
        self._lists.setdefault(name, {}).setdefault(
            email.lower(), Entry(email=email.lower(), created=created, reason=reason)
        )


class Orders:
    """Writes what the account's owner adds and removes. One per home."""

    def __init__(self, home: Path) -> None:
        self._log = AppendLog(orders_path(home))
        self._lock = threading.Lock()

    def give(self, action: str, name: str, emails: Iterable[str], *, now: datetime) -> None:
        """Add to a list, or remove from it; on disk when this returns."""
        lines = [{"action": action, "list": name, "email": email.lower(), "at": now.isoformat()} for email in emails]
        with self._lock:
            self._log.append(lines)

    def close(self) -> None:
        """Release the file."""
        self._log.close()


def orders_path(home: Path) -> Path:
    """Return the record of what was added and removed through the API."""
    return home / "fakegrid" / "suppressions.jsonl"


def _list_of(line: Mapping[str, Any]) -> str | None:
    match line["event"]:
        case "bounce":
            return "blocks" if line.get("type") == "blocked" else "bounces"
        case "spamreport":
            return "spam_reports"
        case "unsubscribe":
            return GLOBAL
        case "group_unsubscribe" if line.get("group_id") is not None:
            return group_list(line["group_id"])
        case "dropped" if line.get("reason") == "Invalid":
            return "invalid_emails"
        case _:
            return None
