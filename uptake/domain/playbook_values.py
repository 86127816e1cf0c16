"""The kinds of values that files written by people hold: durations, shares, times of day, keys; and strictness."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

FROM_FILE = "file"  # validation context of what a person wrote

_DURATION = re.compile(r"^(\d{1,4})(h|d|w)$")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_CLOCK_TIME = re.compile(r"^([01]\d|2[0-3]):[0-5]\d$")
_KEY = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
_TEXT_FILE = re.compile(r"^[\w.-]+\.md$")
_SHARE = re.compile(r"^(\d{1,3}(?:\.\d+)?)%$")


def _duration(value: object) -> object:
    """Read `28d`, `12h` or `2w`."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; expected a number and a unit, like 12h, 3d or 2w")
    return int(match[1]) * _UNITS[match[2]]


def _share(value: object, info: ValidationInfo) -> object:
    """Read `10%` as 0.1; in a file a bare number is refused, because nobody can tell 10 from 0.1 by its looks."""
    if isinstance(value, float) and 0 <= value <= 1 and info.context != FROM_FILE:
        return value
    match = _SHARE.match(value) if isinstance(value, str) else None
    if match is None or not 0 <= (share := float(match[1]) / 100) <= 1:
        raise ValueError(f"{value!r} is not a share; expected a percentage from 0% to 100%, like 10%")
    return share


def _clock_time(value: object) -> object:
    """Read `08:00`."""
    if isinstance(value, time):
        return value
    if not (isinstance(value, str) and _CLOCK_TIME.match(value)):
        raise ValueError(f"{value!r} is not a time of day; expected hours and minutes, like 08:00")
    return time.fromisoformat(value)


def _key(value: str) -> str:
    if not _KEY.fullmatch(value):
        raise ValueError(f"{value!r} is no key; expected a lower-case letter, then such letters, digits, `_` or `-`")
    return value


def _text_file(value: str) -> str:
    if not _TEXT_FILE.fullmatch(value):
        raise ValueError(f"{value!r} is no text beside the playbook; expected a file like why.md, without a folder")
    return value


def _write_clock_time(value: time) -> str:
    return f"{value:%H:%M}"


def _write_duration(value: timedelta) -> str:
    hours = int(value / _UNITS["h"])
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


def _write_share(value: float) -> str:
    return f"{value * 100:.10g}%"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_write_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["12h", "3d", "2w"]}),
]
Share = Annotated[
    float,
    BeforeValidator(_share),
    PlainSerializer(_write_share, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _SHARE.pattern, "examples": ["10%"]}),
]
ClockTime = Annotated[
    time,
    BeforeValidator(_clock_time),
    PlainSerializer(_write_clock_time, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _CLOCK_TIME.pattern, "examples": ["08:00"]}),
]
Key = Annotated[
    str, AfterValidator(_key), WithJsonSchema({"type": "string", "pattern": _KEY.pattern, "examples": ["tips"]})
]
Condition = Annotated[str, Field(min_length=1, max_length=4_000)]
TextFile = Annotated[
    str,
    AfterValidator(_text_file),
    WithJsonSchema({"type": "string", "pattern": _TEXT_FILE.pattern, "examples": ["why.md"]}),
]
OptOutReason = Annotated[str, Field(min_length=10, max_length=500, description="Why, for whoever asks later")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Strict(BaseModel):
    """Unknown keys are errors: a key the engine ignores would be a lie to its author."""

    model_config = ConfigDict(extra="forbid", frozen=True)
