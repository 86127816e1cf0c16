"""Which files of a raw folder are read together, and the DuckDB query that reads each such table."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FORMATS = {
    ".ndjson": "NDJSON", ".jsonl": "NDJSON", ".json": "NDJSON", ".csv": "CSV", ".tsv": "CSV", ".txt": "CSV",
    ".parquet": "Parquet",
}  # fmt: skip
_DELIMITERS = (",", ";", "\t", "|")
_BOM = b"\xef\xbb\xbf"
_HEAD = 1 << 16
_LINES = 50  # that one object is looked for in
_QUOTED = str.maketrans({"'": "''"})


@dataclass(frozen=True, kw_only=True)
class FileGroup:
    """Files of one shape in one folder."""

    name: str  # relative to the raw folder, digits that differ as *
    format: str  # NDJSON, JSON array, CSV or Parquet
    paths: tuple[str, ...]
    columns: tuple[str, ...] = ()  # of a CSV file
    delimiter: str = ","
    boms: int = 0  # files that begin with a byte order mark

    @property
    def is_json(self) -> bool:
        """Whether a row is one JSON object."""
        return self.format in ("NDJSON", "JSON array")

    def query(self, *, rejects: bool = False) -> str:
        """Return the query of its rows.

        JSON: uptake_file, uptake_order, line (NULL where it cannot be read). Else uptake_file, uptake_order and the
        columns, those of CSV as texts. With `rejects`, DuckDB lists the lines of CSV it leaves out in `reject_errors`.
        """
        files = _sql_list(self.paths)
        origin = "filename as uptake_file, row_number() over () as uptake_order"
        if self.is_json:
            shape = "newline_delimited" if self.format == "NDJSON" else "array"
            ignoring = "true" if self.format == "NDJSON" else "false"
            options = f"format = '{shape}', ignore_errors = {ignoring}, filename = true"
            return f"select {origin}, json as line from read_json_objects({files}, {options})"  # noqa: S608
        if self.format == "Parquet":
            options = "filename = true, union_by_name = true"
            return f"select {origin}, * exclude (filename) from read_parquet({files}, {options})"  # noqa: S608
        # Nothing is sniffed: a sniffer guesses from the first rows, and a quote in row 43,501 then breaks the reading.
        types = ", ".join(f"{_text(column)}: 'VARCHAR'" for column in self.columns)
        options = (
            f"auto_detect = false, header = true, columns = {{{types}}}, delim = {_text(self.delimiter)}, "
            f"quote = '\"', escape = '\"', filename = true, {'store_rejects' if rejects else 'ignore_errors'} = true"
        )
        return f"select {origin}, * exclude (filename) from read_csv({files}, {options})"  # noqa: S608


def file_groups(raw: Path, patterns: Sequence[str] | None = None) -> tuple[list[FileGroup], list[str]]:
    """Return the tables of a folder (or of one file) and the files that are of no known format.

    Args:
        raw: A folder, or one file.
        patterns: Glob patterns below the folder; default: everything in it.
    """
    top = raw if raw.is_dir() else raw.parent
    found: dict[tuple[str, str, tuple[str, ...], str], list[Path]] = {}
    ignored: list[str] = []
    for path in _files(raw, patterns):
        within = path.relative_to(top)
        if (format_name := _format_of(path)) is None:
            ignored.append(within.as_posix())
            continue
        columns, delimiter = _header(path) if format_name == "CSV" else ((), ",")
        folder = "" if within.parent == Path() else f"{within.parent.as_posix()}/"
        name = folder + re.sub(r"\d+", "*", within.name)
        found.setdefault((name, format_name, columns, delimiter), []).append(path)
    groups = [
        FileGroup(
            name=paths[0].relative_to(top).as_posix() if len(paths) == 1 else re.sub(r"\*([-_.]\*)+", "*", name),
            format=format_name,
            paths=tuple(str(path) for path in paths),
            columns=columns,
            delimiter=delimiter,
            boms=sum(_head(path).startswith(_BOM) for path in paths) if format_name != "Parquet" else 0,
        )
        for (name, format_name, columns, delimiter), paths in found.items()
    ]
    return groups, ignored


def _files(raw: Path, patterns: Sequence[str] | None) -> Iterator[Path]:
    if raw.is_file():
        yield raw
        return
    paths: Iterable[Path] = raw.rglob("*") if patterns is None else (p for glob in patterns for p in raw.glob(glob))
    for path in sorted(set(paths)):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(raw).parts):
            yield path


def _format_of(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    found = _FORMATS.get(suffixes[-1]) if suffixes else None
    if found == "NDJSON":
        return _json_format(_head(path).removeprefix(_BOM).lstrip())
    if found == "CSV" and not _head(path).strip():
        return None  # without a header nothing can be said of it
    return found


def _json_format(head: bytes) -> str | None:
    """Return how the objects of a JSON file follow each other; None for one document over many lines."""
    if head[:1] == b"[":
        return "JSON array"
    lines = [line for line in head.splitlines()[:_LINES] if line.strip()]
    return "NDJSON" if not lines or len(lines) == 1 or any(map(_is_object, lines)) else None


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _header(path: Path) -> tuple[tuple[str, ...], str]:
    """Return the column names of a CSV file, each once, and its delimiter: the one its first line has most of."""
    text = _head(path).removeprefix(_BOM).decode("utf-8", errors="replace")
    first = text.splitlines()[0] if text.splitlines() else ""
    delimiter = max(_DELIMITERS, key=first.count)
    names: list[str] = []
    for place, name in enumerate(next(csv.reader([first], delimiter=delimiter), []), start=1):
        plain = name.strip() or f"column_{place}"
        names.append(plain if plain not in names else f"{plain}_{place}")
    return tuple(names), delimiter


def _head(path: Path) -> bytes:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as file:
            head: bytes = file.read(_HEAD)
            return head
    except (OSError, EOFError):
        return b""  # DuckDB says what is wrong with it


def _text(value: str) -> str:
    return f"'{value.translate(_QUOTED)}'"


def _sql_list(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
