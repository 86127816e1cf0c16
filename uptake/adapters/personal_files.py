"""Finds a person in the files of a home, and takes them out of the raw logs that lie in it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from uptake.domain.erasure import Subject, mentions, redacted
from uptake.ports import FilesRedacted

_TEXT = (".ndjson", ".jsonl", ".json", ".csv", ".tsv", ".txt")
_BINARY = (".parquet", ".zip")
_CHUNK = 1 << 20
#: The mail service's own side in a sandbox: it answers for itself.
_NOT_OURS = "fakegrid"


class HomeFiles:
    """`uptake.ports.PersonalFiles` of one home and its raw folder."""

    def __init__(self, home: Path, raw: Path) -> None:
        self._home, self._raw = home.resolve(), raw.resolve()

    def redact(self, subject: Subject) -> FilesRedacted:
        """Rewrite raw text files below the home. A raw folder elsewhere is its owner's; `mentions` looks there too."""
        rewritten: dict[str, int] = {}
        unread: list[str] = []
        if self._raw.is_relative_to(self._home):
            for path in _files(self._raw):
                name = str(path.relative_to(self._raw))
                if path.suffix in _BINARY:
                    unread.append(name)
                elif _is_text(path) and (count := _rewrite(path, subject)):
                    rewritten[name] = count
        if rewritten:
            # Its free pages may hold what its rows no longer do. The next refresh makes it anew.
            for path in self._home.glob("warehouse.duckdb*"):
                path.unlink()
        return FilesRedacted(rewritten=rewritten, unread=unread)

    def mentions(self, address: str) -> list[str]:
        """Return the files in which the address stands, plain or packed with gzip; those of the home first."""
        found = [
            str(path.relative_to(self._home))
            for path in _files(self._home)
            if path.relative_to(self._home).parts[0] != _NOT_OURS and _has(path, address)
        ]
        if not self._raw.is_relative_to(self._home):
            found += [f"raw folder: {path.relative_to(self._raw)}" for path in _files(self._raw) if _has(path, address)]
        return found


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _is_text(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(_TEXT)


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _rewrite(path: Path, subject: Subject) -> int:
    """Rewrite one file if it has to be; return how many lines changed."""
    if not _has(path, subject.address):
        return 0
    count = 0
    draft = path.with_name(f".{path.name}.draft")
    # The name of the draft must not end up inside the archive, so the stream is opened by hand.
    with _open(path) as lines, draft.open("wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else None
        target: IO[bytes] | gzip.GzipFile = packed or raw
        for line in lines:
            ending = line[len(line.rstrip(b"\r\n")) :]
            text = line[: len(line) - len(ending)].decode("utf-8", "surrogateescape")
            new = redacted(text, subject)
            count += new != text
            target.write(new.encode("utf-8", "surrogateescape") + ending)
        if packed is not None:
            packed.close()
        raw.flush()
        os.fsync(raw.fileno())
    draft.chmod(path.stat().st_mode & 0o777)
    draft.replace(path)
    return count


def _has(path: Path, address: str) -> bool:
    """Look for the address in a file, piece by piece; pieces overlap, so that none hides on a seam."""
    rest = ""
    try:
        with _open(path) as file:
            while piece := file.read(_CHUNK):
                text = rest + piece.decode("utf-8", "replace")
                if mentions(text, address):
                    return True
                rest = text[-6 * len(address) :]  # escaped, a letter may be six
    except (OSError, EOFError) as error:
        if isinstance(error, gzip.BadGzipFile | EOFError):
            return mentions(path.read_bytes().decode("utf-8", "replace"), address)
        raise
    return False
