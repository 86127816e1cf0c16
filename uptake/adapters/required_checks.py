"""The committed list of checks that every refresh must have run: `expectations/required_checks.txt`.

Suites and dbt say what would run; this list says what must. A deleted expectation, suite or test therefore holds the
next snapshot, until its line is deleted, too, for everybody to see in the diff. A line that names a source is about
the suites of that source alone.
"""

from __future__ import annotations

from pathlib import Path

FILE = "required_checks.txt"
_SEVERITIES = ("critical", "warning")


def read_required(path: Path) -> dict[str, str]:
    """Return the name and severity of every check that is required of any source.

    Raises OSError, or ValueError with file and line.
    """
    return _read(path).get(None, {})


def read_required_of_source(path: Path, source: str) -> dict[str, str]:
    """Return the name and severity of the checks required of this one source, beside those of any."""
    return _read(path).get(source, {})


def _read(path: Path) -> dict[str | None, dict[str, str]]:
    """Source -> name -> severity; None is any source."""
    found: dict[str | None, dict[str, str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        severity, *names = line.split()
        if severity not in _SEVERITIES or len(names) not in (1, 2):
            raise ValueError(
                f"{path.name}:{number}: {line!r}; expected `critical [SOURCE] NAME` or `warning [SOURCE] NAME`"
            )
        source, name = names[0] if len(names) > 1 else None, names[-1]
        checks = found.setdefault(source, {})
        if name in checks:
            raise ValueError(f"{path.name}:{number}: {name} stands there twice")
        checks[name] = severity
    if None not in found:
        raise ValueError(f"{path.name} names no check; expected every one that must have run")
    return found


def out_of_step(required: dict[str, str], known: dict[str, str]) -> list[str]:
    """Return the edits that bring the list in step with the checks there are: `+ critical NAME`, `- critical NAME`."""
    lines = {f"{severity} {name}" for name, severity in required.items()}
    there = {f"{severity} {name}" for name, severity in known.items()}
    return sorted([f"- {line}" for line in lines - there] + [f"+ {line}" for line in there - lines])
