"""Published snapshots: marts as immutable, content-addressed Parquet with a manifest, read by anybody with DuckDB.

Layout under `HOME/snapshots/`: `objects/<sha256>.parquet` holds every file once; `<snapshot_id>/` holds hard links
to them, named by mart, and `manifest.json`; `current` names the newest. Knows nothing of why a gate passed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from uptake.adapters.goal_hashes import goal_hashes
from uptake.adapters.mart_files import Find, sql_columns, sql_text, write_mart
from uptake.adapters.mart_profile import profile
from uptake.adapters.marts import MARTS
from uptake.adapters.snapshot_files import begin_reading, finish_removal, remove, sync
from uptake.domain.retention import Published, superfluous
from uptake.errors import SnapshotError
from uptake.ports import Build, Check, Snapshot

MANIFEST = "manifest.json"
_ID = re.compile(r"^\d{8}T\d{6}Z-[0-9a-f]{8}$")
_NAMED = re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b")


class DuckSnapshots:
    """The store of published snapshots in one home.

    `definitions` are the files that say what a goal means (the feature catalogue, the models behind
    `adoption_state`): see `goal_hashes`.
    """

    def __init__(self, home: Path, *, definitions: Sequence[Path] = ()) -> None:
        self._root = home / "snapshots"
        self._objects = self._root / "objects"
        self._held = self._root / "held"
        self._pointer = self._root / "current"
        self._reports = home / "reports"
        self._definitions = tuple(definitions)

    def publish(self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime) -> Snapshot:
        """Write the candidate marts as an immutable set and move `current` to it, atomically.

        The same content at the same as_of is the same snapshot: its first manifest stays. Stopped anywhere, the
        old `current` still stands. Raises SnapshotError when a mart is missing or does not fit its columns.
        """
        with self._alone(), self._drafted(build, checks, source=source, git_sha=git_sha, now=now) as (draft, manifest):
            snapshot_id = str(manifest["snapshot_id"])
            if not self._is_whole(snapshot_id):
                self._place(draft, manifest, self._root / snapshot_id)
            self._point_to(snapshot_id)
            shutil.rmtree(self._held, ignore_errors=True)  # what was held before is overtaken
        return self.open(snapshot_id)

    def hold(self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime) -> str:
        """Keep the candidate marts under `held/`, the last ones only, and return their id.

        They are in no history and nobody reads them; `release` publishes them. Raises SnapshotError when a mart is
        missing or does not fit its columns.
        """
        with self._alone(), self._drafted(build, checks, source=source, git_sha=git_sha, now=now) as (draft, manifest):
            shutil.rmtree(self._held, ignore_errors=True)
            self._held.mkdir()
            snapshot_id = str(manifest["snapshot_id"])
            self._place(draft, manifest, self._held / snapshot_id)
        return snapshot_id

    def release(self, snapshot_id: str) -> Snapshot:
        """Publish what was held and move `current` to it; published already, it only does the latter.

        Raises SnapshotError when it is neither held nor published, or damaged.
        """
        if not _ID.match(snapshot_id):
            raise SnapshotError(f"{snapshot_id!r} is not a snapshot id; expected one like 20260302T050000Z-1a2b3c4d")
        with self._alone():
            held = self._held / snapshot_id
            if held.is_dir() and not self._is_whole(snapshot_id):
                shutil.rmtree(self._root / snapshot_id, ignore_errors=True)
                held.rename(self._root / snapshot_id)
                sync(self._root)
            self.verify(snapshot_id)
            self._point_to(snapshot_id)
        return self.open(snapshot_id)

    def current(self) -> Snapshot | None:
        """Return the snapshot that `current` points to, its files verified to be there. Raises SnapshotError."""
        try:
            snapshot_id = self._pointer.read_text().strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SnapshotError(f"snapshots/current cannot be read: {type(error).__name__}") from error
        return self.open(snapshot_id)

    def open(self, snapshot_id: str) -> Snapshot:
        """Return one snapshot, every file of its manifest seen to be there. Raises SnapshotError."""
        if not _ID.match(snapshot_id):
            raise SnapshotError(f"{snapshot_id!r} is not a snapshot id; expected one like 20260302T050000Z-1a2b3c4d")
        directory = self._root / snapshot_id
        manifest = _read_manifest(directory)
        files = manifest["files"]
        missing = sorted(name for name in files if not (directory / name).is_file())
        if missing:
            raise SnapshotError(f"snapshot {snapshot_id} lacks {missing[0]} ({len(missing)} of {len(files)} files)")
        absent = sorted(mart for mart in MARTS if not any(_mart_of(name) == mart for name in files))
        if absent:
            raise SnapshotError(f"snapshot {snapshot_id} was published without the mart {absent[0]}")
        return Snapshot(
            snapshot_id=snapshot_id,
            as_of=datetime.fromisoformat(manifest["as_of"]),
            directory=directory,
            manifest=manifest,
        )

    def verify(self, snapshot_id: str) -> Snapshot:
        """Return one snapshot after reading every byte of it against its manifest. Raises SnapshotError."""
        snapshot = self.open(snapshot_id)
        for name, expected in snapshot.manifest["files"].items():
            found = _sha256(snapshot.directory / name)
            if found != expected:
                raise SnapshotError(f"snapshot {snapshot_id}: {name} has sha256 {found}, expected {expected}")
        return snapshot

    def history(self, source: str) -> list[Mapping[str, Any]]:
        """Return the manifests of this source's snapshots, newest first. Raises SnapshotError."""
        if not self._root.is_dir():
            return []
        manifests = [manifest for manifest in self._manifests() if manifest["source"] == source]
        return sorted(manifests, key=lambda manifest: (manifest["as_of"], manifest["created_at"]), reverse=True)

    def prune(self, *, cited: Collection[str], now: datetime) -> list[str]:
        """Remove the snapshots that `domain.retention` calls superfluous; return their ids, oldest first.

        What `current` points to, `cited`, the pages in `HOME/reports/` and everything that is being read stay. Killed
        anywhere, every snapshot is whole or gone. Raises SnapshotError when a manifest is damaged, OSError.
        """
        with self._alone():
            current = self._pointer.read_text().strip() if self._pointer.is_file() else None
            pages = (page.read_text(encoding="utf-8", errors="replace") for page in self._reports.glob("*.html"))
            reported = {name for page in pages for name in _NAMED.findall(page)}
            published = [
                Published(
                    snapshot_id=manifest["snapshot_id"],
                    source=manifest["source"],
                    as_of=datetime.fromisoformat(manifest["as_of"]),
                    created_at=datetime.fromisoformat(manifest["created_at"]),
                )
                for manifest in self._manifests()
            ]
            gone = superfluous(published, current=current, cited={*cited, *reported}, now=now)
            return remove(self._root, gone)

    def _manifests(self) -> Iterator[Mapping[str, Any]]:
        """Yield the manifest of every snapshot. Raises SnapshotError."""
        for folder in list(self._root.iterdir()):
            if _ID.match(folder.name):
                try:
                    yield _read_manifest(folder)
                except SnapshotError:
                    if folder.exists():  # else it was removed just now: that is no damage
                        raise

    # --- the steps of publishing ---------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process publish at a time; whatever draft is found then was left by one that died."""
        self._objects.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(self._root / ".draft", ignore_errors=True)
            finish_removal(self._root)
            yield

    @contextmanager
    def _drafted(
        self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime
    ) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """Write every mart into a draft that is gone afterwards, unless it was placed; yield it and its manifest."""
        draft = self._root / ".draft"
        try:
            draft.mkdir()
            told = self._write_marts(build, draft, source)
            files = {str(path.relative_to(draft)): _sha256(path) for path in sorted(draft.rglob("*.parquet"))}
            yield (
                draft,
                {
                    "snapshot_id": _name(build.as_of, source, files),
                    "as_of": _stamp(build.as_of),
                    "source": source,
                    "dbt_invocation_id": build.invocation_id,
                    "git_sha": git_sha,
                    "files": files,
                    "gate": {check.name: _gate_entry(check) for check in checks},
                    **told,
                    "created_at": _stamp(now),
                },
            )
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _write_marts(self, build: Build, draft: Path, source: str) -> dict[str, Any]:
        """Write every mart as Parquet; return what the manifest tells of them."""
        try:
            with duckdb.connect(str(build.warehouse), read_only=True) as warehouse:
                find = self._published()
                written = {mart: write_mart(warehouse, mart, schema, draft, find) for mart, schema in MARTS.items()}
                goals = goal_hashes(warehouse, self._definitions, source)
                return {
                    "row_counts": {mart: one.rows for mart, one in written.items()},
                    "prints": {name: found for one in written.values() for name, found in one.prints.items()},
                    "profile": profile(warehouse),
                    **goals,
                }
        except duckdb.Error as error:
            line = str(error).splitlines()[0]
            raise SnapshotError(f"{build.warehouse.name}: the marts cannot be published: {line}") from error

    def _published(self) -> Find:
        """Return how to look up what the current snapshot holds already; only what is whole is ever found."""
        try:
            current = self.current()
        except SnapshotError:  # the next one is written from the marts alone
            current = None
        manifest: Mapping[str, Any] = {} if current is None else current.manifest
        prints, files = manifest.get("prints", {}), manifest.get("files", {})

        def find(name: str, fingerprint: str) -> Path | None:
            stored = self._objects / f"{files.get(name)}.parquet"
            is_same = prints.get(name) == fingerprint and stored.is_file() and _sha256(stored) == files[name]
            return stored if is_same else None

        return find

    def _share(self, path: Path, digest: str) -> None:
        """Replace a draft's file by the stored one of the same content, or store it."""
        stored = self._objects / f"{digest}.parquet"
        if not (stored.is_file() and _sha256(stored) == digest):  # a damaged object never spreads
            path.chmod(0o444)
            sync(path)
            incoming = self._objects / f".{digest}"
            incoming.unlink(missing_ok=True)
            os.link(path, incoming)
            incoming.replace(stored)
            sync(self._objects)
        else:
            path.unlink()
            os.link(stored, path)

    def _place(self, draft: Path, manifest: Mapping[str, Any], final: Path) -> None:
        """Finish a draft and give it its name; only whole snapshots ever have one."""
        for name, digest in manifest["files"].items():
            self._share(draft / name, digest)
        _write_durably(draft / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))
        for folder in [draft, *(path for path in draft.iterdir() if path.is_dir())]:
            sync(folder)
        if final.exists():  # damaged since: `_is_whole` said so
            shutil.rmtree(final)
        draft.rename(final)
        sync(final.parent)

    def _is_whole(self, snapshot_id: str) -> bool:
        """Say whether this snapshot was published before and still has its content."""
        try:
            self.verify(snapshot_id)
        except SnapshotError:
            return False
        return True

    def _point_to(self, snapshot_id: str) -> None:
        """Make a snapshot the current one."""
        incoming = self._root / ".current"
        _write_durably(incoming, f"{snapshot_id}\n")
        incoming.replace(self._pointer)
        sync(self._root)


def open_marts(
    snapshot: Snapshot, *, threads: int | None = None, memory: str | None = None
) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB connection with one view per mart, columns as in `MARTS`.

    The connection reads nothing but this snapshot's folder, reaches no network, loads no extension and cannot be
    reconfigured. `register`, temporary tables and macros work; implicit scans of Python variables do not. Raises
    SnapshotError when a file is missing or lacks a column. Until the connection is gone, nobody removes the snapshot.

    With `memory`, like "1.5GB", tables that need more go to a temporary folder, which goes with the connection.
    """
    config: dict[str, Any] = {} if threads is None else {"threads": threads}
    spill = None if memory is None else TemporaryDirectory(prefix="uptake-", ignore_cleanup_errors=True)
    if spill is not None:
        config |= {"memory_limit": memory, "temp_directory": spill.name}
    try:
        reading = begin_reading(snapshot.directory)
    except OSError as error:
        raise SnapshotError(f"snapshot {snapshot.snapshot_id} cannot be read: {type(error).__name__}") from error
    connection = duckdb.connect(config=config)
    weakref.finalize(connection, os.close, reading)
    if spill is not None:
        weakref.finalize(connection, spill.cleanup)
    try:
        connection.execute("set timezone = 'UTC'")
        directory = snapshot.directory.resolve()
        for mart, schema in MARTS.items():
            files = sql_text(str(directory / Path(snapshot.files(mart)).relative_to(snapshot.directory)))
            columns = ", ".join(name for name, _ in sql_columns(schema))
            connection.execute(
                f"create view {mart} as select {columns} from read_parquet({files}, hive_partitioning = false)"  # noqa: S608
            )
        connection.execute(f"set allowed_directories = [{sql_text(f'{directory}/')}]")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
    except duckdb.BinderException as error:
        lacks = ", ".join(_lacking(connection, snapshot))
        connection.close()
        told = f"lacks {lacks}: other code than this wrote it" if lacks else str(error).splitlines()[0]
        raise SnapshotError(f"snapshot {snapshot.snapshot_id} {told}; `uptake refresh` writes a whole one") from error
    except duckdb.Error as error:
        connection.close()
        raise SnapshotError(f"snapshot {snapshot.snapshot_id}: {str(error).splitlines()[0]}") from error
    return connection


def _lacking(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> Iterator[str]:
    """Yield the columns that a snapshot's files lack, as `accounts_current.arr`."""
    for mart, schema in MARTS.items():
        query = f"select * from read_parquet({sql_text(str(snapshot.files(mart)))}, hive_partitioning = false) limit 0"  # noqa: S608
        with suppress(duckdb.Error):
            held = connection.execute(query).description or []
            yield from (f"{mart}.{name}" for name in schema.names if name not in {column[0] for column in held})


def _read_manifest(directory: Path) -> Mapping[str, Any]:
    """Read one manifest. Raises SnapshotError."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
        datetime.fromisoformat(manifest["as_of"])
        if manifest["snapshot_id"] != directory.name:
            raise ValueError(f"it names {manifest['snapshot_id']!r}")
        if not isinstance(manifest["files"], dict) or not isinstance(manifest["row_counts"], dict):
            raise TypeError("files and row_counts are not objects")
        if absent := {"source", "created_at"} - set(manifest):
            raise KeyError(*absent)
    except FileNotFoundError as error:
        raise SnapshotError(f"snapshot {directory.name} does not exist or has no {MANIFEST}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"snapshot {directory.name}: {MANIFEST} is damaged: {error}") from error
    return manifest  # type: ignore[no-any-return]


def _gate_entry(check: Check) -> dict[str, str]:
    """Return a check as the manifest tells it; names are `<tool>:<mart>:...` where they belong to one mart."""
    mart = next((part for part in check.name.split(":") if part in MARTS), "")
    return {"status": check.status, "severity": check.severity, "mart": mart, "detail": check.detail}


def _mart_of(name: str) -> str:
    return Path(name).parts[0].removesuffix(".parquet")


def _name(as_of: datetime, source: str, files: Mapping[str, str]) -> str:
    content = hashlib.sha256(json.dumps([source, sorted(files.items())]).encode()).hexdigest()
    return f"{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{content[:8]}"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_durably(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
