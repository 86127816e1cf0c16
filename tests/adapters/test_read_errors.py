"""What DuckDB cannot read is refused by file, by line where there is one, and in one line of words."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from uptake.adapters.dbt_plugin import line_numbers
from uptake.adapters.read_errors import plain_reason
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
    assert plain_reason(str(caught.value)) == told
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
    assert f"{tmp_path.name}/x.ndjson.gz:4: a line of 41 MB" in str(plain_reason(str(caught.value)))
    path.unlink()
    assert plain_reason(str(caught.value)) == (
        f"{tmp_path.name}/x.ndjson.gz: a line is longer than 32 MB; expected one event a line"
    )


def test_half_a_gzip_is_refused_by_its_name_and_without_the_way_through_the_code(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n".join(b'{"a": %d}' % (n * 7919 % 997) for n in range(2000)))[:-900])
    with duckdb.connect() as session:
        session.create_function("uptake_line_numbers", line_numbers, ["VARCHAR", "BIGINT[]"], "BIGINT[]")
        with pytest.raises(duckdb.Error) as caught:
            session.execute("select uptake_line_numbers(?, [1])", [str(path)])
    assert plain_reason(f"Runtime Error in model x\n  {caught.value}") == (
        f"{tmp_path.name}/x.ndjson.gz is damaged: Compressed file ended before the end-of-stream marker was reached"
    )


def test_whatever_else_duckdb_says_is_left_to_whoever_asked() -> None:
    assert plain_reason("Conversion Error: maximum_object_size") is None
