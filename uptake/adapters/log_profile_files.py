"""Which files of a raw folder are read together, and the DuckDB query that reads each such table."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r"))  # hardly ever in a text
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, kw_only=True)
class FileGroup:
    """Files of one shape in one folder."""

    name: str  # relative to the raw folder, digits that differ as *
    format: str  # NDJSON, JSON array, CSV or Parquet
    paths: tuple[str, ...]
    columns: tuple[str, ...] = ()  # of a CSV file
    delimiter: str = ","
    encoding: str = "utf-8"  # of a CSV file
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
            f"quote = '\"', escape = '\"', filename = true, encoding = {_text(self.encoding)}, "
            f"{'store_rejects' if rejects else 'ignore_errors'} = true"
        )
        return f"select {origin}, * exclude (filename) from read_csv({files}, {options})"  # noqa: S608


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """What a raw folder holds."""

    groups: tuple[FileGroup, ...]
    ignored: tuple[str, ...]  # of no known format
    empty: tuple[str, ...]
    unreadable: Mapping[str, str]  # file -> why nothing can be made of it


def find_files(raw: Path, patterns: Sequence[str] | None = None) -> FoundFiles:
    """Sort the files of a folder (or one file) into tables.

    Args:
        raw: A folder, or one file.
        patterns: Glob patterns below the folder; default: everything in it.
    """
    top = raw if raw.is_dir() else raw.parent
    found: dict[tuple[str, str, tuple[str, ...], str, str], list[Path]] = {}
    boms: set[Path] = set()
    ignored: list[str] = []
    empty: list[str] = []
    unreadable: dict[str, str] = {}
    for path in _files(raw, patterns):
        within = path.relative_to(top)
        if (suffix := _suffix(path)) not in _FORMATS:
            ignored.append(within.as_posix())
            continue
        try:
            head = _head(path)
        except (OSError, zlib.error) as error:
            unreadable[within.as_posix()] = getattr(error, "strerror", None) or str(error)
            continue
        if not head.strip():
            empty.append(within.as_posix())
            continue
        format_name: str | None = _FORMATS[suffix]
        encoding = "utf-8"
        if format_name != "Parquet":
            try:
                encoding = _encoding(head, may_be_other=format_name == "CSV")
            except ValueError as error:
                unreadable[within.as_posix()] = str(error)
                continue
        if head.startswith(_BOM) and format_name != "Parquet":
            boms.add(path)
            head = head.removeprefix(_BOM)
        if format_name == "NDJSON" and (format_name := _json_format(head.lstrip())) is None:
            ignored.append(within.as_posix())
            continue
        columns, delimiter = _header(head.decode(encoding, errors="replace")) if format_name == "CSV" else ((), ",")
        folder = "" if within.parent == Path() else f"{within.parent.as_posix()}/"
        name = folder + re.sub(r"\d+", "*", within.name)
        found.setdefault((name, str(format_name), columns, delimiter, encoding), []).append(path)
    groups = [
        FileGroup(
            name=paths[0].relative_to(top).as_posix() if len(paths) == 1 else re.sub(r"\*([-_.]\*)+", "*", name),
            format=format_name,
            paths=tuple(str(path) for path in paths),
            columns=columns,
            delimiter=delimiter,
            encoding=encoding,
            boms=sum(path in boms for path in paths),
        )
        for (name, format_name, columns, delimiter, encoding), paths in found.items()
    ]
    return FoundFiles(groups=tuple(groups), ignored=tuple(ignored), empty=tuple(empty), unreadable=unreadable)


def _files(raw: Path, patterns: Sequence[str] | None) -> Iterator[Path]:
    if raw.is_file():
        yield raw
        return
    paths: Iterable[Path] = raw.rglob("*") if patterns is None else (p for glob in patterns for p in raw.glob(glob))
    for path in sorted(set(paths)):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(raw).parts):
            yield path


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _json_format(head: bytes) -> str | None:
    """Return how the objects of a JSON file follow each other; None for one document over many lines."""
    if head[:1] == b"[":
        return "JSON array"
    lines = [line for line in head.splitlines()[:_LINES] if line.strip()]
    return "NDJSON" if not lines or len(lines) == 1 or any(map(_is_object, lines)) else None


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _encoding(head: bytes, *, may_be_other: bool) -> str:
    """Return the encoding of a text that begins so, as DuckDB calls it.

    One that is broken in places is UTF-8 all the same: its lines are told one by one. `may_be_other` is true of CSV.
    Raises ValueError when it is none that can be read.
    """
    if may_be_other and head.startswith(_UTF_16):
        return "utf-16"
    if (len(head) - len(head.translate(None, _CONTROLS))) * 20 > len(head):
        raise ValueError("it is not text in UTF-8")
    with contextlib.suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(head)  # which may end within a character
        return "utf-8"
    if not may_be_other or not head.decode("utf-8", errors="ignore").isascii():
        return "utf-8"
    if any(0x80 <= byte < 0xA0 for byte in head):  # no letters in Latin-1
        raise ValueError(
            "it is not text in UTF-8, but perhaps in Windows-1252; a mapping says so with "
            "`reader: {csv: {encoding: windows-1252}}`, and a copy in UTF-8 can be inspected"
        )
    return "latin-1"


def _header(text: str) -> tuple[tuple[str, ...], str]:
    """Return the column names of a CSV file, each once, and its delimiter: the one its first line has most of."""
    first = text.splitlines()[0] if text.splitlines() else ""
    delimiter = max(_DELIMITERS, key=first.count)
    names: list[str] = []
    for place, name in enumerate(next(csv.reader([first], delimiter=delimiter), []), start=1):
        plain = name.strip() or f"column_{place}"
        names.append(plain if plain not in names else f"{plain}_{place}")
    return tuple(names), delimiter


def _head(path: Path) -> bytes:
    """Return how a file begins; of half a gzip what there is. Raises OSError, zlib.error."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    head = b""
    with opener(path, "rb") as file, contextlib.suppress(EOFError):
        while len(head) < _HEAD and (chunk := file.read1(_HEAD)):
            head += chunk
    return head


def _text(value: str) -> str:
    return f"'{value.translate(_QUOTED)}'"


def _sql_list(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
