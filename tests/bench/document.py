"""docs/performance.md: one section for each benchmark, so that running one of them rewrites nothing of the others."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.harness import Result

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "performance.md"

_HEAD = """# Performance

Written by `make bench`; `make bench ARGS="build gate"` measures some and rewrites only their sections.

A target is a ratio, never a time: what our code costs, over what the plainest way to do the same work costs in the
same run. The two run in turns, must give the same answer, and are compared by the medians of their CPU seconds, those
of child processes included. Memory is what was resident at most.
"""
_COLUMNS = ("work", "size", "measured against", "floor", "ours", "ratio", "target", "met")


def update(name: str, text: str, results: Sequence[Result], *, wrong: str | None = None) -> None:
    """Write one benchmark's section: what is compared, in words, and what was found or why nothing was."""
    body = [" ".join(text.split()), ""]
    if wrong is not None:
        body += [f"**Not measured**: {wrong}.", ""]
    else:
        body += [_line(_COLUMNS), _line(["---"] * len(_COLUMNS)), *map(_row, results), ""]
    body += [f"{datetime.now(UTC):%Y-%m-%d}, commit {_commit()}."]
    sections = {**_sections(), name: "\n".join(body)}
    parts = [_HEAD.strip(), *(f"## {name}\n\n{section}" for name, section in sections.items())]
    DOCUMENT.write_text("\n\n".join(parts) + "\n")


def keep_only(names: Sequence[str]) -> None:
    """Take sections out whose benchmark is no more, and put the others in this order."""
    known = _sections()
    parts = [_HEAD.strip(), *(f"## {name}\n\n{known[name]}" for name in names if name in known)]
    DOCUMENT.write_text("\n\n".join(parts) + "\n")


def _sections() -> Mapping[str, str]:
    """Return what the document says now, by benchmark."""
    if not DOCUMENT.exists():
        return {}
    found = re.split(r"^## (.+)$", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(found[::2], found[1::2], strict=True)}


def _row(result: Result) -> str:
    digits = 1 if result.unit == "GB" or result.ours >= 100 else 2
    return _line(
        (
            result.work,
            result.size,
            result.against,
            f"{result.floor:.{digits}f} {result.unit}",
            f"{result.ours:.{digits}f} {result.unit}",
            f"{result.ratio:.2f}" if result.ratio >= 0.1 else f"{result.ratio:.3f}",
            "none" if result.target is None else f"<= {result.target:g}",
            "" if result.target is None else "yes" if result.is_met else "**missed**",
        )
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _commit() -> str:
    """Return the commit that is measured, and whether there is more in the files than in it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "uptake", "dbt_project", "expectations", "tests/bench")
    return git("rev-parse", "--short", "HEAD") + (" with changes that are not committed" if changed else "")
