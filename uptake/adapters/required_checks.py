"""The committed list of checks that every refresh must have run: `expectations/required_checks.txt`.

Suites and dbt say what would run; this list says what must. A deleted expectation, suite or test therefore holds the
next snapshot, until its line is deleted, too, for everybody to see in the diff.
"""

from __future__ import annotations

from pathlib import Path

FILE = "required_checks.txt"
_SEVERITIES = ("critical", "warning")


def read_required(path: Path) -> dict[str, str]:
    """Return the name and severity of every required check. Raises OSError, or ValueError with file and line."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        severity, _, name = line.partition(" ")
        if severity not in _SEVERITIES or not name.strip():
            raise ValueError(f"{path.name}:{number}: {line!r}; expected `critical NAME` or `warning NAME`")
        if name.strip() in found:
            raise ValueError(f"{path.name}:{number}: {name.strip()} stands there twice")
        found[name.strip()] = severity
    if not found:
        raise ValueError(f"{path.name} names no check; expected every one that must have run")
    return found


def out_of_step(required: dict[str, str], known: dict[str, str]) -> list[str]:
    """Return the edits that bring the list in step with the checks there are: `+ critical NAME`, `- critical NAME`."""
    lines = {f"{severity} {name}" for name, severity in required.items()}
    there = {f"{severity} {name}" for name, severity in known.items()}
    return sorted([f"- {line}" for line in lines - there] + [f"+ {line}" for line in there - lines])
