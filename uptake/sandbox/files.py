"""The sandbox's files: written whole or not at all, and fakegrid's accept log read back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson

_GUIDE = re.compile(r"/guides/([a-z][a-z0-9_-]*)")


@dataclass(frozen=True, kw_only=True)
class AcceptedMail:
    """One line of fakegrid's accept log, as far as a reader of the mail can know it."""

    to: str
    subject: str
    accepted_at: datetime
    features: tuple[str, ...]  # the feature keys whose guides the mail links to

    @property
    def day(self) -> date:
        """The UTC day it was accepted on."""
        return self.accepted_at.date()


def taught_features(links: Iterable[str]) -> tuple[str, ...]:
    """Return the feature keys of `.../guides/<feature_key>` links, each once, in order."""
    return tuple(dict.fromkeys(found[1] for link in links if (found := _GUIDE.search(link))))


def read_accept_log(path: Path) -> list[AcceptedMail]:
    """Return every accepted mail, oldest first; none when there is no log yet.

    A last line without its end is a write that kill -9 cut off: nobody was told that it was accepted.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole, _, _ = content.rpartition(b"\n")
    mails = [_mail(orjson.loads(line)) for line in whole.split(b"\n") if line]
    return sorted(mails, key=lambda mail: (mail.accepted_at, mail.to, mail.subject))


def _mail(line: Mapping[str, Any]) -> AcceptedMail:
    moment = datetime.fromisoformat(line["accepted_at"])
    return AcceptedMail(
        to=line["to"].strip().lower(),
        subject=line.get("subject") or "",
        accepted_at=moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC),
        features=taught_features(line.get("links") or ()),
    )


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file's content so that a reader, or a kill, meets the old one or the new one and nothing between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_ndjson(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as NDJSON; fields that are None are left out."""
    lines = [orjson.dumps({name: value for name, value in row.items() if value is not None}) for row in rows]
    write_whole(path, b"".join(line + b"\n" for line in lines))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one small JSON document."""
    write_whole(path, json.dumps(value, indent=2, sort_keys=True).encode() + b"\n")
