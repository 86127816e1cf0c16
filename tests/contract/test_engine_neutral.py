"""From intermediate on, SQL runs on every engine that dbt knows: what only DuckDB has stays in staging and its macros.

Data outgrow one machine sooner than models are rewritten. A name is looked for in the files as they are, so that the
message can say file and line.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

#: What DuckDB understands and Snowflake, BigQuery, Spark or Postgres does not, and what to write instead.
DUCKDB_ONLY = {
    r"::\s*\w+": "cast(x as type)",
    r"\btry_cast\s*\(": "dbt.safe_cast",
    r"\b(date_diff|datediff|date_sub|datesub)\s*\(": "dbt.datediff",
    r"\b(date_add|dateadd)\s*\(": "dbt.dateadd",
    r"\binterval\s+'?\d": "dbt.dateadd",
    r"\bdate_trunc\s*\(": "dbt.date_trunc",
    r"\b(strftime|strptime|try_strptime)\s*\(": "staging",
    r"\b(epoch|epoch_ms|epoch_us|epoch_ns|make_timestamp|to_timestamp|to_days|age)\s*\(": "dbt.datediff, or staging",
    r"\b(string_agg|listagg|group_concat)\s*\(": "dbt.listagg",
    r"\b(string_split|str_split|split|regexp_\w+)\s*\(": "dbt.split_part, or staging",
    r"\b(md5|sha256|sha1|hash)\s*\(": "dbt.hash, or keyed_hash",
    r"\b(bool_or|bool_and|logical_or)\s*\(": "dbt.bool_or",
    r"\b(any_value|first|last|arbitrary)\s*\(": "min or max",
    r"\b(arg_max|arg_min|max_by|min_by)\s*\(": "row_number",
    r"\b(list|array_agg|list_\w+|array_\w+|struct_pack|map|map_\w+|histogram|unnest)\s*\(": "rows",
    r"\b(json\w*|to_json|from_json)\s*\(": "staging",
    r"\b(median|mode|quantile\w*|approx_\w+|percentile_\w+)\s*\(": "row_number",
    r"\b(generate_series|range)\s*\(": "dbt_utils-like generate_series of dbt",
    r"\b(count_if|countif|isfinite|isnan|greatest|least)\s*\(": "case when: engines differ on NULL",
    r"\bfilter\s*\(\s*where\b": "sum(case when ..)",
    r"\b(if|ifnull|nvl|iff)\s*\(": "case, or coalesce",
    r"\b(getvariable|error|read_\w+|glob)\s*\(": "macros/duckdb/",
    r"\bqualify\b": "a CTE with row_number",
    r"\b(asof|positional|semi|anti)\s+join\b": "exists, or a left join",
    r"\b(group|order) by all\b": "the columns",
    r"\*\s*(exclude|replace)\b": "the columns",
    r"\bunion( all)? by name\b": "the columns in order",
    r"\bas\s+(not\s+)?materialized\s*\(": "a CTE",
    r"\b(pivot|unpivot|summarize|describe)\b": "case when",
    r"[\w)]\s*\[\s*-?\d+": "staging",
    r"(?<![<>=!])==": "=",
    r"\bilike\b": "lower(x) like",
    r"//": "floor(a / b)",
}

#: Macros that stand for what only DuckDB has: another engine brings its own.
ENGINE_MACROS = ("duckdb/", "materializations.sql", "raw.sql", "mapping.sql", "keyed_hash.sql")

_COMMENTS = re.compile(r"\{#.*?#\}|--[^\n]*|'(?:[^']|'')*'", re.DOTALL)


def found_in(sql: str) -> list[tuple[int, str, str]]:
    """Return (line, what stands there, what to write) for everything that only DuckDB understands."""
    # As long as before, so that lines stay where they are. What Jinja computes is no SQL.
    plain = _COMMENTS.sub(lambda text: re.sub(r"[^\n]", " ", text[0]), sql)
    plain = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", lambda text: re.sub(r"[^\n]", " ", text[0]), plain, flags=re.DOTALL)
    return sorted(
        (plain.count("\n", 0, match.start()) + 1, match[0].strip(), instead)
        for pattern, instead in DUCKDB_ONLY.items()
        for match in re.finditer(pattern, plain, re.IGNORECASE)
    )


def neutral_files(root: Path) -> list[Path]:
    project = root / "dbt_project"
    macros = [
        path
        for path in sorted((project / "macros").rglob("*.sql"))
        if not path.relative_to(project / "macros").as_posix().startswith(ENGINE_MACROS)
    ]
    models = [
        path for layer in ("intermediate", "marts") for path in sorted((project / "models" / layer).rglob("*.sql"))
    ]
    return [
        *models,
        *sorted((project / "tests").rglob("*.sql")),
        *sorted((project / "analyses").rglob("*.sql")),
        *macros,
    ]


def test_what_only_duckdb_understands_stays_in_staging_and_its_macros(root: Path):
    files = neutral_files(root)
    assert len(files) > 25
    wrong = [
        f"{path.relative_to(root)}:{line}: `{text}` is DuckDB's own; write {instead}"
        for path in files
        for line, text, instead in found_in(path.read_text())
    ]
    assert wrong == [], "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "sql",
    [
        "select a::date", "select try_cast(a as int)", "select date_diff('day', a, b)", "select list(a)", "select a[1]",
        "select * from a qualify row_number() over () = 1", "select * exclude (b) from a",
        "select a from b group by all",
        "select count(*) filter (where a)", "select a from b semi join c using (d)",
        "with a as materialized (select 1)",
        "select a union all by name select b", "select a\n, arg_max(b, c)", "select a + interval 3 day",
    ],
)  # fmt: skip
def test_duckdb_is_recognised(sql: str):
    assert found_in(sql) != []
    assert found_in(f"-- {sql.replace(chr(10), ' ')}\n") == []


@pytest.mark.parametrize(
    "sql",
    [
        "select cast(a as date), coalesce(b, 0) from c", "select sum(case when a then 1 else 0 end)",
        "select 'filter (where' || a", "select {{ dbt.datediff('a', 'b', 'day') }}", "{% set a = range(3) %} select 1",
        "select count(*) over (partition by a order by b range between 27 preceding and current row)",
        "select a.list, b.first from c where d is not null",
    ],
)  # fmt: skip
def test_plain_sql_is_left_alone(sql: str):
    assert found_in(sql) == []
