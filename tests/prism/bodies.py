"""Keeps what the suite has sent, so that an independent server can judge it when all other tests are over.

fakegrid keeps every body it has accepted below its home. At the end of each pytest process the homes of its tests are
searched; of bodies that are alike (the same keys and types, whatever the values) the first few are copied.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Names the folder in which the bodies of one whole test run are gathered; without it nothing is kept.
SENT_BODIES = "UPTAKE_SENT_BODIES"

_OF_ONE_SHAPE = 8
_NONCE = re.compile(r"-u[0-9a-f]{24}([ht])")  # the engine's own tags differ from run to run


def keep(homes: Path, folder: Path) -> None:
    """Copy a few bodies of each shape that any fakegrid below `homes` has accepted, named after shape and content."""
    for path in _accepted(homes):
        keep_one(path.read_bytes(), folder)


def keep_one(body: bytes, folder: Path) -> None:
    """Keep a body, unless enough of its shape are kept already."""
    folder.mkdir(parents=True, exist_ok=True)
    name = shape_of(json.loads(body))
    if len(list(folder.glob(f"{name}-*"))) < _OF_ONE_SHAPE:
        (folder / f"{name}-{hashlib.sha256(body).hexdigest()[:12]}.json").write_bytes(body)


def shape_of(body: Any) -> str:
    """Return a short name that is the same for bodies with the same keys and types of values."""
    return hashlib.sha256(json.dumps(_shape(body), sort_keys=True).encode()).hexdigest()[:12]


def _shape(value: Any) -> Any:
    match value:
        case dict():
            return {_NONCE.sub(r"-u\1", key): _shape(inner) for key, inner in value.items()}
        case list():
            return sorted({json.dumps(_shape(inner), sort_keys=True) for inner in value})
        case _:
            return type(value).__name__


def _accepted(homes: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(homes):
        if Path(folder).name == "requests" and Path(folder).parent.name == "fakegrid":
            yield from (Path(folder, name) for name in files if name.endswith(".json"))
        folders[:] = [name for name in folders if not name.endswith("current")]  # pytest's links to the same folders
