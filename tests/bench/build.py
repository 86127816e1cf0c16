"""A full build: `DbtTransformer.build` in a fresh process, from raw NDJSON to every mart, with its import, its parse
and its tests, against `floor.sql`: one script that reads the same files typed and makes the same daily facts, contact
and account features and accounts with their main columns, in one pass, without quarantine, deduplication or tests.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb

from tests.bench.harness import EVENTS, ROUNDS, Result, alternate, bound, memory, say
from tests.bench.usage import CATALOGUE, LAST_DAY, PROJECT, Log, moment, write
from uptake.adapters.transformer_dbt import DbtTransformer

LOG = Log(events=-(-EVENTS // 60), days=60, users=EVENTS // 100, accounts=EVENTS // 2_000)
TARGET = 2.0
#: In a home whose warehouse was built to its end.
WHOLE = "built"

_FLOOR = Path(__file__).with_name("floor.sql")
_ANSWER = {
    "fct_account_feature_daily": "count(*), sum(count_events), sum(count_contacts), sum(sum_quantity), max(date_day)",
    "contact_features": """
        count(*), sum(days_used_28), count(distinct contact_id), count(*) filter (where adoption_state = 'adopted'),
        count(*) filter (where adoption_state = 'lapsed'), sum(first_used_on - date '2000-01-01'),
        sum(last_used_on - date '2000-01-01'), sum(first_adopted_on - date '2000-01-01')
    """,
    "account_features": """
        count(*), count(*) filter (where is_entitled), sum(days_used_28), sum(days_used_prev_28),
        sum(count_contacts_28), count(*) filter (where adoption_state = 'never'),
        count(*) filter (where adoption_state = 'adopted'), sum(first_adopted_on - date '2000-01-01')
    """,
    "accounts_current": """
        count(*), sum(arr), sum(seats), sum(age_days), sum(count_open_tickets), sum(count_contacts),
        sum(count_active_contacts_28), round(sum(seats_used_share), 6), sum(count_features_entitled),
        sum(count_features_adopted), round(sum(adoption_breadth), 6), round(sum(adoption_depth), 6),
        round(sum(stickiness), 6), round(sum(usage_trend), 6), sum(days_since_last_use)
    """,
}


def raw(scratch: Path) -> Path:
    """Return the raw folder of the full build, written on first use."""
    folder = scratch / "raw"
    if not folder.exists():
        say(f"writing {LOG}")
        write(LOG, folder.with_suffix(".draft")).rename(folder)
    return folder


def run(scratch: Path) -> list[Result]:
    """Measure the full build."""
    folder = raw(scratch)
    floor, ours = alternate(
        bound(by_hand, folder, scratch / "floor.duckdb"),
        bound(by_uptake, folder, scratch / "built"),
        rounds=ROUNDS,
        told="build",
    )
    return [
        Result(
            work="full build, raw files to marts",
            size=str(LOG),
            against="one script by hand",
            floor=floor.cpu,
            ours=ours.cpu,
            target=TARGET,
        ),
        memory("full build: peak memory", str(LOG), ours.peak),
    ]


def by_hand(folder: Path, file: Path) -> dict[str, tuple[object, ...]]:
    """Make the marts with one script, in a new file."""
    file.unlink(missing_ok=True)
    with duckdb.connect(str(file), config={"threads": 2, "memory_limit": "4GB"}) as session:
        session.execute("set TimeZone = 'UTC'")
        session.execute("set enable_progress_bar = false")
        session.execute("set variable raw = ?", [str(folder)])
        session.execute("set variable catalogue = ?", [str(CATALOGUE)])
        session.execute("set variable as_of = ?", [moment(LAST_DAY).replace(tzinfo=None)])
        session.execute(_FLOOR.read_text())
        return answer(session, "main")


def by_uptake(folder: Path, home: Path, *, day: date = LAST_DAY) -> dict[str, tuple[object, ...]]:
    """Make the marts with the product, in a home without a warehouse."""
    (home / WHOLE).unlink(missing_ok=True)
    (home / "warehouse.duckdb").unlink(missing_ok=True)
    build = DbtTransformer(project=PROJECT, home=home).build(source="uptake", raw=folder, as_of=moment(day))
    failed = [check.name for check in build.checks if not check.is_sound]
    assert not failed, f"checks of the build fail: {failed}"
    with duckdb.connect(str(build.warehouse), read_only=True) as session:
        found = answer(session, "marts")
    (home / WHOLE).touch()
    return found


def answer(session: duckdb.DuckDBPyConnection, schema: str) -> dict[str, tuple[object, ...]]:
    """Return what the marts come to; two warehouses with the same marts have the same answer."""
    return {mart: session.sql(f"select {sums} from {schema}.{mart}").fetchall()[0] for mart, sums in _ANSWER.items()}
