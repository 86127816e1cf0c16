"""Files of any format as records, each with the line it begins at."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.adapters.dbt_sources import RawFiles, record_problem
from uptake.adapters.raw_files import MARK, PROBLEMS, Csv, Reader, as_ndjson


def records(path: Path, content: bytes, reader: Reader | None = None) -> list[tuple[int, Any]]:
    """Write a file and read its records: (line, what it says)."""
    path.write_bytes(content)
    return [(number, json.loads(line)) for number, line in (reader or Reader()).records(path)]


def test_a_record_of_several_lines_begins_where_it_begins_and_blank_lines_are_none(tmp_path):
    found = records(tmp_path / "a.csv", b'\xef\xbb\xbfname,note\r\nada,"two\r\nlines, ""quoted"""\r\n\r\nbob,\r\n')
    assert found == [(2, {"name": "ada", "note": 'two\r\nlines, "quoted"'}), (5, {"name": "bob", "note": ""})]


def test_what_a_csv_record_cannot_say_is_a_number_and_the_next_record_is_read(tmp_path):
    content = b'a,b\n1,2\n1,2,3\n1\n\xff,2\n"1"x,2\n3,4\n"5,6\n7,8\n'
    found = records(tmp_path / "a.csv", content)
    assert [(number, one if isinstance(one, dict) else PROBLEMS[one]) for number, one in found] == [
        (2, {"a": "1", "b": "2"}),
        (3, "more fields than columns"),
        (4, "fewer fields than columns"),
        (5, "a character is not in the encoding of the file"),
        (6, "a quote is never closed, or closed too early"),
        (7, {"a": "3", "b": "4"}),
        (8, "a quote is never closed, or closed too early"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        ("a.csv", "name;note\nañ;'it\\'s; so'\n".encode("latin-1"),
         Csv(delimiter=";", quote="'", escape="\\", encoding="latin-1")),
        ("a.csv", b"a\xc3\xb1,\"it's; so\"\n", Csv(columns=("name", "note"))),
        ("a.tsv", "name\tnote\nañ\tit's; so\n".encode(), Csv()),
        ("a.csv", "name,note\nañ,it's; so\n".encode("utf-16"), Csv(encoding="utf-16")),
        ("a.csv.gz", gzip.compress("name,note\nañ,it's; so\n".encode(), mtime=0), Csv()),
    ],
)  # fmt: skip
def test_csv_is_read_as_it_is_declared(tmp_path, name, content, how):
    assert [one for _, one in records(tmp_path / name, content, Reader(csv=how))] == [
        {"name": "añ", "note": "it's; so"}
    ]


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.text(max_size=5)), max_size=8))
def test_whatever_a_csv_writer_writes_comes_back(rows):
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        found = records(Path(folder) / "a.csv", text.getvalue().encode())
    assert [one for _, one in found] == [{"a": a, "b": b} for a, b in rows]


def test_json_comes_as_lines_or_as_one_array(tmp_path):
    assert records(tmp_path / "a.json", b'{"a": 1}\n\n[2]\n') == [(1, {"a": 1}), (3, [2])]
    assert records(tmp_path / "b.json", b' [{"a": 1},\n {"a": 2}]') == [(1, {"a": 1}), (2, {"a": 2})]
    assert records(tmp_path / "c.json.gz", gzip.compress(b"\xef\xbb\xbf[]")) == []
    (tmp_path / "d.json").write_bytes(b'[{"a": 1},')
    assert list(Reader().records(tmp_path / "d.json")) == [(1, b"not an array")]


def test_an_archive_of_packed_files_is_read_in_the_order_of_their_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "day.zip", "w") as archive:
        archive.writestr("p/2.json.gz", gzip.compress(b'{"n": 3}'))
        archive.writestr("p/1.json.gz", gzip.compress(b'{"n": 1}\n{"n": 2}\n'))
        archive.writestr("__MACOSX/._1.json.gz", b"rubbish")
    assert [(n, json.loads(line)["n"]) for n, line in Reader().records(tmp_path / "day.zip")] == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]


def test_parquet_rows_keep_their_types_as_json_has_them(tmp_path):
    row = {"at": datetime(2026, 3, 1, 10, tzinfo=UTC), "n": 5, "o": {"x": [1]}, "none": None}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    ((number, line),) = Reader().records(tmp_path / "a.parquet")
    assert (number, json.loads(line)) == (1, {"at": "2026-03-01 10:00:00+00", "n": 5, "o": {"x": [1]}, "none": None})


@pytest.mark.parametrize("name", ["a.csv.gz", "a.json.gz", "a.zip", "a.parquet"])
def test_a_file_that_is_cut_off_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"a,b\n" * 9000)[:-20] if name.endswith("gz") else b"PAR1 or PK")
    with pytest.raises(ValueError, match=rf"^{name} is damaged: \S"):
        list(Reader().records(tmp_path / name))


# --- in a session ------------------------------------------------------------------------------------------------


def test_a_record_that_duckdb_could_not_read_is_named_and_a_long_one_is_kept(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.ndjson", b'{"a": 1}\n{"a": "' + b"x" * (17 << 20) + b'"}\n')
        archive.writestr("b.ndjson", b'{"a": 3}\n')
    (copy,) = as_ndjson([str(tmp_path / "a.zip")], Reader(), tmp_path / "copies")
    assert duckdb.execute("select count(*), count(json) from read_ndjson_objects(?)", [copy]).fetchall() == [(3, 3)]
    (tmp_path / "a.ndjson").write_bytes(b'[{"a": 1}, {"a": "' + b"x" * (33 << 20) + b'"}]')
    with pytest.raises(ValueError, match=r"a\.ndjson:2: a record of 33 MB; expected at most 32 MB"):
        as_ndjson([str(tmp_path / "a.ndjson")], Reader(), tmp_path / "copies")


def test_copies_lie_below_the_home_while_the_session_lives_and_go_with_it(tmp_path):
    raw = tmp_path / "raw [1] ünd.."
    raw.mkdir()
    (raw / "a*.csv").write_text("x\n1\n")
    (raw / "b.ndjson").write_text('{"x": "2"}\n')
    home = tmp_path / "home"
    files = RawFiles(home)
    paths = files.as_ndjson([str(raw / "a*.csv"), str(raw / "b.ndjson")], "{}")
    assert paths[1] == str(raw / "b.ndjson")  # read as it is
    assert Path(paths[0]).is_relative_to(home / MARK)
    assert files.as_ndjson([str(raw / "a*.csv")], "{}") == paths[:1]
    with duckdb.connect() as session:
        assert session.execute("select json from read_ndjson_objects(?)", [paths[0]]).fetchall() == [('{"x":"1"}',)]
    files.close()
    assert not (home / MARK).exists()


def test_copies_of_a_process_that_was_killed_are_removed(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = tmp_path / MARK / f"{gone.stdout.strip()}-left"
    left.mkdir(parents=True)
    (tmp_path / "a.csv").write_text("x\n1\n")
    files = RawFiles(tmp_path)
    files.as_ndjson([str(tmp_path / "a.csv")], "{}")
    assert not left.exists()
    files.close()


def test_only_our_own_numbers_are_problems():
    assert record_problem("2") == "more fields than columns"
    assert [record_problem(line) for line in ("0", "99", "17", "-1", '"text"')] == [""] * 5
