"""The gate over the marts of the full build: `GxSuites.run`, its contracts, freshness and comparisons with the
snapshot of the day before included, against the rules of each suite as one SQL statement per mart (rules about a row
counted in one pass, rules about keys and other marts as subqueries of it), and one for the times of events. Great
Expectations is imported before the clock starts. Some rows are spoiled first: both must find the same rules broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from tests.bench import build as full
from tests.bench.harness import ROUNDS, Measured, Result, alternate, apart, bound, here, memory, say
from tests.bench.usage import LAST_DAY, PROJECT, moment
from uptake.adapters.mart_profile import profile
from uptake.adapters.marts import MARTS
from uptake.adapters.suites_gx import GxSuites
from uptake.ports import Build

TARGET = 3.0
EXPECTATIONS = PROJECT.parent / "expectations"

_AS_OF = moment(LAST_DAY)
_SPOIL = """
    update intermediate.int_feature_use_kept set first_used_on = last_used_on + 1 where hash(contact_id) % 5000 = 0;
    update marts.account_features set adoption_state = 'unheard' where hash(account_id) % 500 = 0;
    update marts.fct_account_feature_daily set count_contacts = -1 where hash(account_id) % 500 = 0;
    insert into marts.contacts_current select * from marts.contacts_current limit 3;
"""
_EVENTS = """
    select
        max(occurred_at) filter (where occurred_at <= $as_of),
        count(*) filter (where occurred_at > $as_of + interval 10 minute),
        count(*) filter (where occurred_at > $as_of - interval 1 day)
    from staging.stg_usage_events
"""
#: A query about each row alone, which can be counted in the same pass as others.
_BY_ROW = re.compile(r"select [\w., ]+ from \{batch\}(?: as batch)? where (?P<broken>(?!.* group by ).*)")


def run(scratch: Path) -> list[Result]:
    """Measure the gate."""
    home = scratch / "built"
    warehouse = home / "warehouse.duckdb"
    if not (home / full.WHOLE).exists():
        folder = full.raw(scratch)
        say("gate: building its marts")
        apart(bound(full.by_uptake, folder, home))
    done = apart(bound(_turns, warehouse, scratch / "gate"))
    floor, ours, rows = done.answer
    size = ", ".join(f"{mart} {count / 1e6:.1f} M" for mart, count in rows.items() if count >= 1e6)
    return [
        Result(
            work="the gate",
            size=f"marts of {full.LOG}: {size or f'{sum(rows.values()):,} rows'}",
            against="one statement per mart",
            floor=floor.cpu,
            ours=ours.cpu,
            target=TARGET,
        ),
        memory("the gate: peak memory", str(full.LOG), done.peak),
    ]


def _turns(warehouse: Path, home: Path) -> tuple[Measured, Measured, dict[str, int]]:
    """Spoil the marts and check them in turns."""
    with duckdb.connect(str(warehouse)) as session:
        rows = {mart: session.sql(f"select count(*) from marts.{mart}").fetchall()[0][0] for mart in MARTS}
        yesterday = _AS_OF - timedelta(days=1)
        before = {
            "snapshot_id": f"{yesterday:%Y%m%dT%H%M%SZ}-00000000",
            "source": "uptake",
            "as_of": yesterday.isoformat(),
            "created_at": yesterday.isoformat(),
            "row_counts": rows,
            "profile": profile(session),
        }
        session.execute(_SPOIL)
    build = Build(warehouse=warehouse, invocation_id="bench", as_of=_AS_OF, checks=(), counts={}, unmapped_events={})
    suites = GxSuites(EXPECTATIONS, home)

    def ours() -> Mapping[str, bool]:
        checks = suites.run(build, history=[before], now=_AS_OF)
        bad = [check for check in checks if check.status in ("errored", "missing")]
        assert not bad, f"the gate did not decide: {bad}"
        return {check.name: check.status == "passed" for check in checks if check.name.startswith("gx:")}

    say("gate: once without a clock")
    ours()
    floor_of = bound(_by_hand, warehouse, _statements())
    measured = alternate(floor_of, ours, rounds=ROUNDS, told="gate", measure=here)
    assert not all(measured[0].answer.values()), "no rule is broken; expected those that were spoiled"
    return (*measured, rows)


def _by_hand(warehouse: Path, statements: Mapping[str, list[str]]) -> dict[str, bool]:
    """Ask one statement per mart how many rows break each rule."""
    found: dict[str, bool] = {}
    with duckdb.connect(str(warehouse), read_only=True) as session:
        session.execute("set enable_progress_bar = false")
        for statement, names in statements.items():
            counts = session.sql(statement).fetchall()[0]
            found |= {name: count == 0 for name, count in zip(names, counts, strict=True)}
        session.execute(_EVENTS, {"as_of": _AS_OF.replace(tzinfo=None)}).fetchall()
    return found


def _statements() -> dict[str, list[str]]:
    """Return one statement per suite, and the names of the rules whose breaches it counts."""
    statements = {}
    files = {mart: EXPECTATIONS / f"{mart}.json" for mart in MARTS}
    files |= {path.stem: path for path in sorted((EXPECTATIONS / "staging").glob("*.json"))}
    for relation, file in files.items():
        rules = json.loads(file.read_text())["expectations"]
        counts = [_count(rule["type"], rule["kwargs"], relation) for rule in rules]
        names = [_name(relation, rule) for rule in rules]
        statements[f"select {', '.join(counts)} from {_place(relation)} as batch"] = names
    return statements


def _place(relation: str) -> str:
    return f"{'marts' if relation in MARTS else 'staging'}.{relation}"


def _name(mart: str, rule: Mapping[str, Any]) -> str:
    parts = ("gx", mart, rule["type"], rule.get("meta", {}).get("rule") or rule["kwargs"].get("column"))
    return ":".join(part for part in parts if part)


def _count(kind: str, kwargs: Mapping[str, Any], mart: str) -> str:
    """Return SQL that counts what breaks one rule. A kind that is new here is an error, never left out."""
    column = kwargs.get("column")
    if extra := set(kwargs) - {
        *("column", "min_value", "max_value", "value_set", "column_set", "exact_match"),
        "unexpected_rows_query",
    }:
        raise ValueError(f"{mart}: {kind} with {', '.join(sorted(extra))} has no SQL here yet")
    if kind == "expect_column_values_to_not_be_null":
        return f"count(*) filter (where {column} is null)"
    if kind == "expect_column_values_to_be_between":
        return f"count(*) filter (where {_outside(column, kwargs)})"
    if kind == "expect_column_values_to_be_in_set":
        return f"count(*) filter (where {column} not in {tuple(kwargs['value_set'])})"
    if kind == "expect_table_row_count_to_be_between":
        return f"cast({_outside('count(*)', kwargs)} as integer)"
    if kind == "expect_table_columns_to_match_set":
        known = f"select column_name from duckdb_columns() where schema_name || '.' || table_name = '{_place(mart)}'"
        return f"(select count(*) from unnest({kwargs['column_set']}) as t (name) where name not in ({known}))"
    if kind == "unexpected_rows_expectation":
        query = kwargs["unexpected_rows_query"]
        by_row = _BY_ROW.fullmatch(query)
        if by_row is not None:
            return f"count(case when {_plain(by_row['broken'], mart)} then 1 end)"
        return f"(select count(*) from ({_plain(query, mart)}))"
    raise ValueError(f"{mart}: {kind} has no SQL here yet")


def _outside(value: str, kwargs: Mapping[str, Any]) -> str:
    limits = (("<", kwargs.get("min_value")), (">", kwargs.get("max_value")))
    return "(" + " or ".join(f"{value} {sign} {limit}" for sign, limit in limits if limit is not None) + ")"


def _plain(text: str, mart: str) -> str:
    return text.replace("{batch}", _place(mart)).replace("{{", "{").replace("}}", "}")
