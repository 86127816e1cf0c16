"""`uptake inspect MAPPING.yml --raw DIR`: a log that is mapped already, read as a refresh would read it."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from uptake.adapters.catalogue_file import read_catalogue, read_friction
from uptake.adapters.log_profile_dbt import DbtStagedEvents
from uptake.adapters.log_profile_duckdb import DuckLogProfiler
from uptake.errors import UptakeError
from uptake.operations.inspect import Inspection, inspect
from uptake.summaries.inspection import inspection_summary

pytestmark = pytest.mark.slow

MAPPING = """\
name: shop
as_of: last_event
events:
  files: ["*.csv", "*.ndjson", "*.ndjson.gz", "*.zip"]
  account_id: company
  user_id: user
  event_name: action
  occurred_at: at
features: {carts: cart.*, payment: pay}
"""
LINES = [{"company": "acme", "user": f"u{n * 7919 % 997}", "action": "cart.x", "at": "2026-03-01"} for n in range(2000)]
PACKED = gzip.compress(b"\n".join(json.dumps(line).encode() for line in LINES))
LOG = b"""company,user,action,at
acme,ada,cart.filled,2026-03-01
acme,bob,login,2026-03-02
,bob,login,2026-03-02
acme,x
"""
NO_FILE = "shop.yml:4: events.files: no file *.csv or *.ndjson or *.ndjson.gz or *.zip in the raw folder"


@pytest.fixture
def look(root: Path, tmp_path: Path) -> Callable[..., Inspection]:
    """Inspect a raw folder with these files through the mapping."""
    staged = DbtStagedEvents(project=root / "dbt_project", home=tmp_path / "home")
    (tmp_path / "shop.yml").write_text(MAPPING)
    (tmp_path / "raw").mkdir()

    def run(source: str = "shop.yml", **files: bytes) -> Inspection:
        for name, content in files.items():
            (tmp_path / "raw" / name.replace("__", ".")).write_bytes(content)
        mapping = str(tmp_path / source)
        seeds = root / "dbt_project" / "seeds"
        catalogue, columns = read_catalogue(seeds / "feature_catalog.csv", staged.mapping_of(mapping))
        return inspect(
            DuckLogProfiler(staged), raw=tmp_path / "raw", source=mapping, name=staged.name_of(mapping) or "",
            catalogue=catalogue, columns=columns, friction=read_friction(seeds / "friction_catalog.csv"),
            now=datetime(2026, 11, 22, tzinfo=UTC),
        )  # fmt: skip

    return run


def refused(look: Callable[..., Inspection], tmp_path: Path, source: str = "shop.yml", **files: bytes) -> str:
    """Return the one line that is said, without the folder."""
    with pytest.raises(UptakeError) as caught:
        look(source, **files)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_a_mapping_reads_its_own_log_and_knows_its_own_features(
    look: Callable[..., Inspection], tmp_path: Path
) -> None:
    """CSV, an archive that only the mapping can read, and a gzip that ends too early, of which the rest is read."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("log.csv", LOG)
    half = PACKED[: len(PACKED) // 2]
    found = look(log__csv=LOG, more__zip=(tmp_path / "x.zip").read_bytes(), half__ndjson__gz=half, none__ndjson=b"")
    assert found.log.mapped is not None
    assert (found.log.mapped.by, found.log.ignored_files) == ("shop.yml", ("more.zip",))
    packed = 2000 * len(half) // len(PACKED)
    assert 4 + packed * 0.8 < found.log.mapped.events < 4 + packed * 1.2
    assert found.features == {"cart.x": ("carts",), "cart.filled": ("carts",), "login": ()}
    assert found.never_seen == ("payment",)
    assert found.mapping is None
    text = inspection_summary(found)
    assert "1 of 3 event names, 2 events, belongs to no feature" in text
    assert "unreadable line (log.csv:5)" in text
    assert "unreadable line (half.ndjson.gz): half.ndjson.gz: 1 line cannot be read; the first: the file ends" in text
    assert "empty file (none.ndjson): the file is empty" in text


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("log__csv", bytes(range(256)) * 40, "log.csv is damaged: its header is not text in utf-8"),
        ("log__csv", b'company,"user\n', "log.csv is damaged: unexpected end of data"),
        ("log__ndjson__gz", b"no gzip", "log.ndjson.gz is damaged: Not a gzipped file (b'no')"),
        ("log__csv__gz", b"no gzip", NO_FILE + "; expected one of log.csv.gz"),
        ("log__zip", b"no zip", "log.zip is damaged: File is not a zip file"),
        ("log__parquet", b"PAR1", NO_FILE + "; expected one of log.parquet"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_line(
    look: Callable[..., Inspection], tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    assert refused(look, tmp_path, **{name: content}).startswith(told)


def test_a_mapping_that_is_not_there_or_not_text_is_told_in_one_line(
    look: Callable[..., Inspection], tmp_path: Path
) -> None:
    (tmp_path / "half.yml").write_bytes(PACKED[:100])
    (tmp_path / "empty.yml").write_bytes(b"")
    assert refused(look, tmp_path, "nowhere.yml") == "nowhere.yml:1: the file is missing"
    assert refused(look, tmp_path, "half.yml") == "half.yml:1: not UTF-8: byte 1 cannot be read"
    assert refused(look, tmp_path, "empty.yml").startswith("empty.yml:1: expected keys and values")
