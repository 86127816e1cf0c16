"""A line that DuckDB cannot read at all is refused by file and line, whichever way it was read."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from uptake.adapters.long_lines import long_line
from uptake.adapters.transformer_dbt import _refuse_broken_models
from uptake.errors import TransformError

LINES = [b'{"a": "1"}', b"", b'{"a": "%s"}' % (b"x" * (17 << 20)), b'{"a": "%s"}' % (b"x" * (41 << 20)), b'{"a": "2"}']
#: As the macros `raw_lines` and `raw_records` read.
READERS = [
    "read_ndjson_objects(?, ignore_errors = true)",
    "read_json(?, format = 'newline_delimited', records = false, columns = {record: 'struct(a varchar)'},"
    " ignore_errors = true)",
]


def read(path: Path, reader: str) -> int:
    return int(duckdb.execute(f"select count(*) from {reader}", [str(path)]).fetchall()[0][0])


@pytest.mark.parametrize("reader", READERS)
def test_a_line_of_seventeen_megabytes_is_read_and_one_of_forty_is_named(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "2026-03-01.ndjson"
    path.write_bytes(b"\n".join(LINES))
    with pytest.raises(duckdb.Error) as caught:
        read(path, reader)
    told = f"{tmp_path.name}/2026-03-01.ndjson:4: a line of 41 MB; expected one event a line, at most 32 MB"
    assert long_line(str(caught.value)) == told
    broken = SimpleNamespace(
        status="error", message=f"Runtime Error\n  {caught.value}",
        node=SimpleNamespace(resource_type="model", name="stg_event_lines", original_file_path="x.sql"),
    )  # fmt: skip
    with pytest.raises(TransformError) as refused:
        _refuse_broken_models({"x": broken})
    assert str(refused.value) == f"model stg_event_lines, x.sql: {told}"
    path.write_bytes(b"\n".join([*LINES[:3], LINES[4]]))
    assert read(path, reader) == 3


def test_it_is_found_in_a_packed_file_and_said_without_a_line_when_the_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n".join(LINES), compresslevel=1))
    with pytest.raises(duckdb.Error) as caught:
        read(path, READERS[0])
    assert f"{tmp_path.name}/x.ndjson.gz:4: a line of 41 MB" in str(long_line(str(caught.value)))
    path.unlink()
    assert long_line(str(caught.value)) == (
        f"{tmp_path.name}/x.ndjson.gz: a line is longer than 32 MB; expected one event a line"
    )


def test_whatever_else_duckdb_says_is_no_long_line() -> None:
    assert long_line("Conversion Error: maximum_object_size") is None
