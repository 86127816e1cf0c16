"""Files of somebody's export as lines of JSON, whatever their format: CSV, Parquet, JSON arrays, NDJSON, zipped or not.

Every record keeps the line it began at, so that what cannot be used is found again. What a record of a CSV file
cannot say becomes a number, a key of `PROBLEMS`: the line of an unreadable record is never shown.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast
from urllib.parse import quote

import duckdb
import orjson
from pydantic import Field

from uptake.domain.playbook_values import Strict

Format = Literal["csv", "ndjson", "json", "parquet"]

#: Lines of JSON that stand for a record nobody can read: a number, because no record of anybody's is one.
PROBLEMS = {
    1: "a character is not in the encoding of the file",
    2: "more fields than columns",
    3: "fewer fields than columns",
    4: "a quote is never closed, or closed too early",
}
_NOT_IN_ENCODING, _TOO_MANY, _TOO_FEW, _BROKEN_QUOTES = (str(code).encode() for code in PROBLEMS)

#: Part of the path of every converted file; the macro `original_file` turns it back.
MARK = ".uptake-as-ndjson"

_FORMATS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".parquet": "parquet",
}  # fmt: skip
_LONGEST_FIELD = 16 * 1024 * 1024  # as long as DuckDB lets an object be
_LONGEST_LINE = 2 * _LONGEST_FIELD  # what fits its buffer: see `read_errors`

CsvRows = Any  # what csv.reader returns has no name of its own
Record = tuple[int, bytes]  # the line it begins at, counted from 1; its JSON


class Csv(Strict):
    """How a CSV file is written."""

    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="Default: , or a tab in .tsv")
    quote: str = Field(default='"', min_length=1, max_length=1)
    escape: str = Field(default='"', min_length=1, max_length=1, description="What stands before a quote in a text")
    encoding: str = Field(default="utf-8", description="A name that Python knows, like latin-1 or utf-16")
    columns: tuple[str, ...] | None = Field(default=None, description="Their names, when the file has no header")


class Reader(Strict):
    """How the files of one input are read."""

    format: Format | None = None  # None: by the file's name
    csv: Csv = Csv()

    def columns(self, path: Path, *, lines: int) -> list[str]:
        """Return the names of a file's columns: of a CSV file its header, else the keys of its first lines.

        Raises ValueError when the file cannot be read at all.
        """
        if path.suffix != ".zip" and self._format(path.name) == "csv":
            with _damage_of(path), _opened(path) as file:
                return list(_csv_rows(file, self._csv(path.name))[0])
        found: dict[str, None] = {}
        for _, (_, line) in zip(range(lines), self.records(path), strict=False):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(record, dict):
                found |= dict.fromkeys(record)
        return list(found)

    def is_ndjson(self, path: Path) -> bool:
        """Tell whether DuckDB reads this file as it is. Raises ValueError when nobody can."""
        if path.suffix == ".zip" or self._format(path.name) != "ndjson":
            return False
        with _damage_of(path), _opened(path) as file:
            return self.format == "ndjson" or not _is_array(file)

    def records(self, path: Path) -> Iterator[Record]:
        """Yield the records of a file, in its order; blank lines are none.

        The lines of a zip archive are counted through its files in the order of their names. Raises ValueError when
        the file cannot be read at all.
        """
        with _damage_of(path):
            if path.suffix == ".zip":
                yield from self._members(path)
            elif self._format(path.name) == "parquet":
                yield from _parquet_records(path)
            else:
                with _opened(path) as file:
                    yield from self._records(file, path.name)

    def _members(self, path: Path) -> Iterator[Record]:
        last = 0
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith("/") or name.startswith("__MACOSX/") or Path(name).name.startswith("."):
                    continue
                before = last
                with archive.open(name) as packed:
                    file = gzip.open(packed) if name.endswith(".gz") else packed  # noqa: SIM115
                    for number, line in self._records(cast("IO[bytes]", file), name):
                        last = before + number
                        yield last, line

    def _records(self, file: IO[bytes], name: str) -> Iterator[Record]:
        form = self._format(name)
        if form == "csv":
            header, rows = _csv_rows(file, self._csv(name))
            yield from _csv_records(header, rows)
        elif form == "json" or (self.format is None and _is_array(file)):
            yield from _array_records(file)
        else:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip(b"\r\n")

    def _format(self, name: str) -> Format:
        return self.format or _FORMATS.get(Path(name.removesuffix(".gz")).suffix.lower(), "ndjson")

    def _csv(self, name: str) -> Csv:
        delimiter = self.csv.delimiter or ("\t" if name.lower().removesuffix(".gz").endswith(".tsv") else ",")
        return self.csv.model_copy(update={"delimiter": delimiter})


def as_ndjson(paths: list[str], reader: Reader, folder: Path) -> list[str]:
    """Return for each path one that DuckDB reads as NDJSON: the file itself, or a copy below `folder`."""
    found = []
    for path in paths:
        if reader.is_ndjson(Path(path)):
            found.append(path)
            continue
        # One name for one path, with nothing in it that means something to a file system or to a glob.
        name = quote(path).replace("..", "%2E%2E")
        copy = folder / ("%2F" + name[1:] if name.startswith("/") else name)
        copy = copy.with_name(f"{copy.name}.ndjson")
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.open("wb") as out:
            for number, line in reader.records(Path(path)):
                if len(line) >= _LONGEST_LINE:
                    size = f"{len(line) >> 20} MB; expected at most {_LONGEST_LINE >> 20} MB"
                    raise ValueError(f"{Path(path).name}:{number}: a record of {size}")
                out.write(line + b"\n")
        found.append(str(copy))
    return found


@contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    """Say of which file it is that nobody can read."""
    try:
        yield
    except (EOFError, OSError, zlib.error, zipfile.BadZipFile, duckdb.Error, csv.Error) as error:
        raise ValueError(f"{path.name} is damaged: {str(error).splitlines()[0]}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path) if path.suffix == ".gz" else path.open("rb"))


def _is_array(file: IO[bytes]) -> bool:
    """Tell whether the first character is that of a JSON array; the file is where it was, afterwards."""
    assert isinstance(file, (io.BufferedReader, gzip.GzipFile, zipfile.ZipExtFile))
    return file.peek(64)[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _csv_rows(file: IO[bytes], how: Csv) -> tuple[list[str], CsvRows]:
    encoding = "utf-8-sig" if how.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else how.encoding
    csv.field_size_limit(_LONGEST_FIELD)
    doubled = how.escape == how.quote
    rows = csv.reader(
        io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline=""),
        delimiter=how.delimiter or ",",
        quotechar=how.quote,
        escapechar=None if doubled else how.escape,
        doublequote=doubled,
        strict=True,
    )
    header = list(how.columns) if how.columns else next(rows, [])
    if any(letter == "\0" or "\udc80" <= letter <= "\udcff" for name in header for letter in name):
        raise csv.Error(f"its header is not text in {how.encoding}")
    return header, rows


def _csv_records(header: list[str], rows: CsvRows) -> Iterator[Record]:
    count = len(header)
    while True:
        first = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield first, _BROKEN_QUOTES
            continue
        if len(row) != count:
            if row:
                yield first, _TOO_MANY if len(row) > count else _TOO_FEW
            continue
        try:
            yield first, orjson.dumps(dict(zip(header, row, strict=True)))
        except (TypeError, UnicodeEncodeError):  # a byte that was kept as a lone surrogate
            yield first, _NOT_IN_ENCODING


def _array_records(file: IO[bytes]) -> Iterator[Record]:
    """Yield the elements; where they begin is not known, so the place in the array stands for the line."""
    try:
        elements = orjson.loads(file.read().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        elements = None
    if not isinstance(elements, list):
        yield 1, b"not an array"
        return
    for number, element in enumerate(elements, start=1):
        yield number, orjson.dumps(element)


def _parquet_records(path: Path) -> Iterator[Record]:
    with duckdb.connect() as session:
        session.execute("set TimeZone = 'UTC'")
        rows = session.execute("select cast(to_json(r) as varchar) from read_parquet(?) as r", [str(path)])
        number = 0
        while some := rows.fetchmany(10_000):
            for (line,) in some:
                number += 1
                yield number, line.encode()
