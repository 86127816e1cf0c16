"""What DuckDB says of raw files that it cannot read, in words for whoever has to look at them: file, line, reason.

A line that is too long is refused and not quarantined: as long as that, it is mostly a file that has lost its line
breaks, and one line in the quarantine would stand for thousands of events.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

#: What DuckDB says; the first number is its limit for one object, and a line has to fit into a buffer of two.
_SAID = re.compile(r'"maximum_object_size" of (\d+) bytes exceeded while reading file "([^"]+)"')
#: What it says when a function of ours raised; the way there in the code follows.
_RAISED = re.compile(r"Python exception occurred while executing the UDF: \w+: (.*?)(?:\s+At:\s.*)?$", re.DOTALL)
_CHUNK = 1 << 20
_MB = 1 << 20


def plain_reason(message: str) -> str | None:
    """Return where a line is too long, or what a function of ours said; None when DuckDB means something else."""
    said = _SAID.search(message)
    if said is not None:
        return _long_line(said)
    raised = _RAISED.search(message)
    return None if raised is None else " ".join(raised[1].split())


def _long_line(said: re.Match[str]) -> str:
    longest, path = 2 * int(said[1]), Path(said[2])
    file = f"{path.parent.name}/{path.name}"
    try:
        number, length = _first_longer(path, longest)
    except (EOFError, OSError):  # gone, or damaged as well
        return f"{file}: a line is longer than {longest // _MB} MB; expected one event a line"
    return f"{file}:{number}: a line of {length / _MB:.0f} MB; expected one event a line, at most {longest // _MB} MB"


def _first_longer(path: Path, longest: int) -> tuple[int, int]:
    """Return number, from 1, and length of the first line that does not fit; without one, of the longest line."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    number, length, found = 1, 0, (1, 0)
    with opener(path, "rb") as file:
        while chunk := file.readline(_CHUNK):  # never a whole line: nobody knows how long it is
            length += len(chunk)
            found = max(found, (number, length), key=lambda one: one[1])
            if chunk.endswith(b"\n"):
                if length > longest:
                    break
                number, length = number + 1, 0
    return found
