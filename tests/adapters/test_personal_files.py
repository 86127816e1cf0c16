from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from uptake.adapters.personal_files import HomeFiles
from uptake.domain.erasure import Subject

ANN = Subject(address="ann@customer.example", names=("Ann Lee",), token="erased-1")
LINE = b'{"email":"ann@customer.example","name":"Ann Lee"}'
OTHER = b'{"email":"bob@customer.example","name":"Bob"}'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "raw" / "events").mkdir(parents=True)
    (tmp_path / "warehouse.duckdb").write_bytes(b"ann@customer.example")
    return tmp_path


def test_raw_files_lose_the_person_line_by_line_and_keep_every_other_byte(home):
    plain, packed = home / "raw" / "contacts.ndjson", home / "raw" / "events" / "1.ndjson.gz"
    plain.write_bytes(LINE + b"\r\n" + OTHER + b"\n\xff\xfe broken\n" + LINE)
    packed.write_bytes(gzip.compress(OTHER + b"\n" + LINE + b"\n"))
    found = HomeFiles(home, home / "raw").redact(ANN)
    assert found.rewritten == {"contacts.ndjson": 2, "events/1.ndjson.gz": 1}
    gone = b'{"email":null,"name":"erased"}'
    assert plain.read_bytes() == gone + b"\r\n" + OTHER + b"\n\xff\xfe broken\n" + gone
    assert gzip.decompress(packed.read_bytes()) == OTHER + b"\n" + gone + b"\n"
    assert sorted(path.name for path in (home / "raw").rglob("*") if path.is_file()) == [
        "1.ndjson.gz",
        "contacts.ndjson",
    ]
    assert HomeFiles(home, home / "raw").redact(ANN).rewritten == {}


def test_the_warehouse_goes_with_what_it_was_made_of(home):
    files = HomeFiles(home, home / "raw")
    files.redact(ANN)
    assert (home / "warehouse.duckdb").exists()
    (home / "raw" / "a.csv").write_bytes(b"Ann Lee,ann@customer.example\n")
    files.redact(ANN)
    assert not (home / "warehouse.duckdb").exists()
    assert files.mentions(ANN.address) == []


def test_formats_that_are_not_rewritten_are_named(home):
    (home / "raw" / "a.parquet").write_bytes(b"PAR1")
    (home / "raw" / "b.zip").write_bytes(b"PK")
    assert HomeFiles(home, home / "raw").redact(ANN).unread == ["a.parquet", "b.zip"]


def test_a_raw_folder_elsewhere_is_looked_at_and_left_alone(home, tmp_path_factory):
    raw = tmp_path_factory.mktemp("theirs")
    (raw / "a.ndjson").write_bytes(LINE)
    files = HomeFiles(home / "home", raw)
    assert files.redact(ANN).rewritten == {}
    assert (raw / "a.ndjson").read_bytes() == LINE
    (home / "home").mkdir()
    assert files.mentions(ANN.address) == ["raw folder: a.ndjson"]


@pytest.mark.parametrize("place", [0, (1 << 20) - 7, (1 << 20), 3_000_000])
def test_an_address_is_found_wherever_it_stands(home, place):
    (home / "raw" / "log.bin").write_bytes(b"x" * place + b"ANN@customer.example" + b"y" * 10)
    (home / "fakegrid").mkdir()
    (home / "fakegrid" / "accepted.jsonl").write_bytes(LINE)
    (home / "half.gz").write_bytes(gzip.compress(LINE * 9)[:-9])
    assert HomeFiles(home, home / "raw").mentions(ANN.address) == ["raw/log.bin", "warehouse.duckdb"]
