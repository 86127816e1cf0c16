"""Raw NDJSON in which some lines are broken and some come twice: everything dbt does up to the clean events, the
quarantine and the load's counts, against DuckDB's own typed read of the same files into a table of the same columns,
which drops what it cannot read and keeps what comes twice. dbt is imported and has parsed before the clock starts.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from tests.bench.dbt import dbt
from tests.bench.harness import EVENTS, ROUNDS, Measured, Result, alternate, apart, bound, here, say
from tests.bench.usage import LAST_DAY, Log, moment, write

LOG = Log(events=EVENTS // 10, days=10, users=EVENTS // 100, accounts=EVENTS // 2_000, compressed=False, flaws=0.002)
TARGET = 2.0

_ONE_FILE = f"events/{LAST_DAY}.ndjson"
_SELECTED = "+stg_usage_events +stg_quarantine +stg_load_counts"
_BY_HAND = """
    create table events as
    select *
    from read_json(
        ?, format = 'newline_delimited', ignore_errors = true,
        columns = {
            event_id: 'varchar', occurred_at: 'timestamp', received_at: 'timestamp', account_id: 'varchar',
            user_id: 'varchar', event_name: 'varchar', quantity: 'double', properties: 'json'
        }
    )
"""
#: Lines that are whole, different events among them, their quantities.
_ANSWER = """
    with whole as (
        select event_id, quantity from events
        where account_id is not null and event_name is not null and occurred_at is not null
    )
    select count(*), count(distinct event_id), (select sum(quantity) from (select distinct * from whole)) from whole
"""


def run(scratch: Path) -> list[Result]:
    """Measure reading alone."""
    folder = scratch / "flawed"
    if not folder.exists():
        say(f"writing {LOG}")
        write(LOG, folder.with_suffix(".draft")).rename(folder)
    floor, ours = alternate(
        bound(by_hand, folder, scratch / "read.duckdb"),
        bound(by_uptake, folder, scratch / "read"),
        rounds=ROUNDS,
        told="read",
        measure=lambda work: apart(work).answer,
    )
    return [
        Result(
            work="raw lines to events, with quarantine",
            size=f"{LOG}, NDJSON",
            against="a typed read",
            floor=floor.cpu,
            ours=ours.cpu,
            target=TARGET,
        )
    ]


def by_hand(folder: Path, file: Path) -> Measured:
    """Read the files into a table of a new file."""
    file.unlink(missing_ok=True)
    with duckdb.connect(str(file), config={"threads": 2, "memory_limit": "4GB"}) as session:
        session.execute("set enable_progress_bar = false")
        session.execute("set TimeZone = 'UTC'")
        done = here(lambda: session.execute(_BY_HAND, [f"{folder}/events/*.ndjson"]))
        return done.with_answer(session.sql(_ANSWER).fetchall()[0])


def by_uptake(folder: Path, home: Path) -> Measured:
    """Read the files into a new warehouse."""
    (home / "warehouse.duckdb").unlink(missing_ok=True)
    home.mkdir(exist_ok=True)
    dbt(["parse"], raw=folder, home=home, as_of=moment(LAST_DAY))
    command = ["run", "--select", *_SELECTED.split()]
    done = here(lambda: dbt(command, raw=folder, home=home, as_of=moment(LAST_DAY)))
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as session:
        lines, events, duplicates, quarantined = session.sql(
            "select lines, events, duplicates, quarantined from staging.stg_load_counts"
        ).fetchall()[0]
        assert quarantined == session.sql("select count(*) from staging.stg_quarantine").fetchall()[0][0] > 0
        assert lines == events + duplicates + quarantined
        places = session.sql("select line_no from staging.stg_quarantine where file = ?", params=[_ONE_FILE]).fetchall()
        assert {number for (number,) in places} == flawed_lines(folder / _ONE_FILE)
        quantity = session.sql("select sum(quantity) from staging.stg_usage_events").fetchall()[0][0]
        return done.with_answer((events + duplicates, events, quantity))


def flawed_lines(file: Path) -> set[int]:
    """Return the numbers of the lines that `usage.write` has spoiled."""
    with file.open() as lines:
        return {
            number
            for number, line in enumerate(lines, start=1)
            if '"account_id":' not in line or '"occurred_at":"on ' in line
        }
