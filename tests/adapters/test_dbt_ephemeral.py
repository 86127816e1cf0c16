"""What is put into a statement is put where dbt puts it, to the character."""

from __future__ import annotations

import pytest
from dbt import compilation
from dbt.contracts.graph.nodes import InjectedCTE

from uptake.adapters.dbt_ephemeral import injected, quick_injection

CTES = [
    InjectedCTE(id="a", sql=" __dbt__cte__a as (\n-- with care\nwith b as (select 1)\nselect * from b\n)"),
    InjectedCTE(id="c", sql=" __dbt__cte__c as (\nselect 2\n)"),
]
BY_DBT = compilation.inject_ctes_into_sql
STATEMENTS = [
    "with x as (select 1) select * from x",
    "-- grain: one row per account, with its plan\n\n\nwith\nx as (select 1)\n\nselect * from x",
    "\n  /* with\n care */ with x as (select 1) select * from x\n",
    "with recursive x as (select 1) select * from x",
    "WITH  RECURSIVE\nx as (select 1) select * from x",
    "with -- first of all\nx as (select 1) select * from x",
    "select * from __dbt__cte__a",
    "\n\nselect 'with' as word, 1 as \"with\" from __dbt__cte__a\n",
    "-- with\nSELECT 1",
    "with without as (select 1) select * from without",
]


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_statement_becomes_what_dbt_makes_of_it(sql):
    for ctes in (CTES, CTES[:1], []):
        assert injected(sql, ctes) == BY_DBT(sql, ctes)


@pytest.mark.parametrize("sql", ["(select 1) union all (select 2)", "from x", "without as", "selection", ""])
def test_what_begins_with_anything_else_is_left_to_dbt(sql):
    assert injected(sql, CTES) is None
    with quick_injection():
        assert sql == "" or compilation.inject_ctes_into_sql(sql, CTES) == BY_DBT(sql, CTES)


def test_dbt_has_its_own_way_back_afterwards():
    with quick_injection():
        assert compilation.inject_ctes_into_sql is not BY_DBT
        assert compilation.inject_ctes_into_sql(STATEMENTS[0], CTES) == BY_DBT(STATEMENTS[0], CTES)
    assert compilation.inject_ctes_into_sql is BY_DBT
