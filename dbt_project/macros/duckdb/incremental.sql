{#-
    Tables of which a build makes only what has changed, on DuckDB. Each keeps beside itself what it was made of, in a
    table named after it, and both change in one transaction: a build that is killed anywhere leaves tables that know
    how old they are, and the next one goes on from there.

    by_file  lines of the event files: reads files that are new or have changed; keeps `__files` and `__days`. A new
             table is a `__draft` until it is whole.
    by_day   rows of days: makes days anew whose version has changed; keeps `__days`. `days_of` is the relation that
             says the version of each `date_day`; the model's own column may have another name, `day`.
    by_key   rows of keys (`keys`), over days: the model makes the rows of those keys anew that the changed days may
             change, out of its previous rows, of which it gets the columns `keeps`. Only the columns `changes` of a row
             may be others than before; without a value in the column `present` it goes. Keeps `__days`.

    The model's compiled SQL, with every macro in it, stands in the table's comment, and so does that of the tables here
    which it is made of: other SQL, another source, another folder or another DuckDB means a new table. So a model here
    must compile alike on every build.
-#}

{% materialization by_file, adapter='duckdb' %}
    {%- set lines = this.incorporate(type='table') -%}
    {%- set files = companion(lines, 'files') -%}
    {%- set days = companion(lines, 'days') -%}
    {%- set draft = companion(lines, 'draft') -%}
    {%- set kept = [count_of_files(lines), complete_lines(lines), misjudged_lines(lines), count_of_days(lines)] -%}
    {%- set code = code_of(sql ~ kept | join) -%}
    {{ drop_what_is_not_a('table') }}
    {%- do adapter.ensure_transaction() -%}
    {{ run_hooks(pre_hooks) }}
    {%- do run_query("create or replace temporary table uptake_event_files as " ~ event_files()) -%}
    {%- do run_query("drop table if exists " ~ draft) -%}
    {%- if is_made_anew(lines, code) %}
        {%- do run_query("set variable uptake_event_files = (select list(file order by file) from uptake_event_files)") -%}
        {% call statement('main') -%}
            create table {{ draft }} as ({{ sql }})
        {%- endcall %}
        {#- Rows that change in the transaction that made them are all written twice, so their own comes first. -#}
        {%- do adapter.commit() -%}
        {%- do adapter.ensure_transaction() -%}
        {%- do run_query("create or replace table " ~ files ~ " as " ~ count_of_files(draft)) -%}
        {%- do run_query(complete_lines(draft)) -%}
        {%- do run_query("create or replace temporary table uptake_misjudged as " ~ misjudged_lines(draft)) -%}
        {%- do run_query(judge_again(draft)) -%}
        {%- do run_query("create or replace table " ~ days ~ " as " ~ count_of_days(draft)) -%}
        {%- do run_query("drop table if exists " ~ lines) -%}
        {%- do run_query("alter table " ~ draft ~ " rename to " ~ lines.identifier) -%}
        {%- do run_query("comment on table " ~ lines ~ " is '" ~ code ~ "'") -%}
    {%- else %}
        {%- do run_query(
            "create or replace temporary table uptake_stale_files as select file from " ~ files
            ~ " where (file, file_version) not in (select (file, file_version) from uptake_event_files)"
            ~ (" union select distinct file from " ~ lines ~ " where " ~ is_to_be_rebuilt() if is_to_be_rebuilt())
        ) -%}
        {%- do run_query(
            "set variable uptake_event_files = (select list(file order by file) from uptake_event_files where file not in "
            ~ "(select file from " ~ files ~ " where file not in (select file from uptake_stale_files)))"
        ) -%}
        {%- set found = run_query(
            "select getvariable('uptake_event_files') is not null as news, exists (from uptake_stale_files) as stale"
        ) -%}
        {%- set news, stale = found.columns[0][0], found.columns[1][0] %}
        {%- if stale or news %}
            {%- do run_query(lines_of_files(lines, "select file from uptake_stale_files")) -%}
        {%- endif %}
        {%- if stale %}
            {%- for table in (lines, files) %}
                {%- do run_query("delete from " ~ table ~ " where file in (select file from uptake_stale_files)") -%}
            {%- endfor %}
        {%- endif %}
        {% call statement('main') -%}
            {%- if news %}
            insert into {{ lines }} by name ({{ sql }})
            {%- else %}
            select 'no file is new'
            {%- endif %}
        {%- endcall %}
        {%- if news %}
            {%- set new_files = "(select unnest(getvariable('uptake_event_files')))" -%}
            {%- do run_query("insert into " ~ files ~ " " ~ count_of_files(lines, new_files)) -%}
            {%- do run_query(complete_lines(lines, new_files)) -%}
            {%- do run_query("insert into uptake_touched_lines " ~ select_touched(lines, new_files)) -%}
        {%- endif %}
        {%- if stale or news %}
            {%- do run_query(
                "create or replace temporary table uptake_misjudged as "
                ~ misjudged_lines(lines, "(select event_hash from uptake_touched_lines)")
            ) -%}
            {%- do run_query(judge_again(lines)) -%}
            {%- set touched = "(select date_day from uptake_touched_lines union select date_day from uptake_misjudged)" -%}
            {%- do run_query("delete from " ~ days ~ " where date_day in " ~ touched) -%}
            {%- do run_query("insert into " ~ days ~ " " ~ count_of_days(lines, touched)) -%}
        {%- endif %}
    {%- endif %}
    {%- do run_query("reset variable uptake_event_files") -%}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [lines]}) }}
{% endmaterialization %}

{% materialization by_day, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set code = code_over_days(sql) -%}
    {{ drop_what_is_not_a('table') }}
    {%- do adapter.ensure_transaction() -%}
    {{ run_hooks(pre_hooks) }}
    {%- set is_anew = is_made_anew(target_relation, code) -%}
    {%- do find_changed_days(target_relation, is_anew) -%}
    {% call statement('main') -%}
        {%- if is_anew %}
            {{ replace_table(target_relation, sql) }}
        {%- else %}
            {%- if config.get('contract').enforced %}{{ get_assert_columns_equivalent(sql) }}{% endif %}
            delete from {{ target_relation }}
            where {{ config.get('day', 'date_day') }} in (select date_day from uptake_changed_days);
            insert into {{ target_relation }} by name ({{ sql }})
        {%- endif %}
    {%- endcall %}
    {%- do remember_days(target_relation, is_anew, code) -%}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% materialization by_key, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set code = code_over_days(sql) -%}
    {{ drop_what_is_not_a('table') }}
    {%- do adapter.ensure_transaction() -%}
    {{ run_hooks(pre_hooks) }}
    {%- set is_anew = is_made_anew(target_relation, code) -%}
    {%- do find_changed_days(target_relation, is_anew) -%}
    {%- set kept = config.require('keeps') -%}
    {%- do run_query(
        "create or replace temporary view uptake_previous_rows as "
        ~ (empty_relation(kept) if is_anew else "select " ~ kept | join(', ') ~ " from " ~ target_relation)
    ) -%}
    {% call statement('main') -%}
        {%- if is_anew %}
            {{ replace_table(target_relation, sql) }}
        {%- else %}
            create or replace temporary table uptake_new_rows as ({{ sql }});
            merge into {{ target_relation }} using uptake_new_rows using ({{ config.require('keys') | join(', ') }})
            when matched and uptake_new_rows.{{ config.require('present') }} is null then delete
            when matched then update set
                {%- for column in config.require('changes') %}
                {{ column }} = uptake_new_rows.{{ column }}{{ ',' if not loop.last }}
                {%- endfor %}
            when not matched and uptake_new_rows.{{ config.require('present') }} is not null then insert by name
        {%- endif %}
    {%- endcall %}
    {%- do remember_days(target_relation, is_anew, code) -%}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#- What models say ------------------------------------------------------------------------------------------------#}

{% macro changed_days(upstream) -%}
    {#-
        In a model `by_day` or `by_key`: the days (date_day) that have to be made anew; to look at the model with
        `dbt show`, and in its unit tests, all days of `upstream`.
    -#}
    {{ return('uptake_changed_days' if is_being_built() else '(select distinct date_day from ' ~ upstream ~ ')') }}
{%- endmacro %}

{% macro previous_rows(kept) -%}
    {#- In a model `by_key`: its rows, as the last build left them; nothing in a new table. -#}
    {{ return('uptake_previous_rows' if is_being_built() else '(' ~ empty_relation(kept) ~ ')') }}
{%- endmacro %}

{% macro inlined() -%}
    {#-
        For the import of a large table of which a model reads some days, in several places: DuckDB would make a copy of
        all days first. Engines that never do need nothing here.
    -#}
    not materialized
{%- endmacro %}

{% macro is_being_built() -%}
    {{ return(model.resource_type == 'model' and flags.WHICH in ('build', 'run')) }}
{%- endmacro %}

{#- What was made of what ------------------------------------------------------------------------------------------#}

{% macro companion(relation, name) -%}
    {#- The table beside an incremental one that says what it was made of. -#}
    {{ return(relation.incorporate(path={'identifier': relation.identifier ~ '__' ~ name}, type='table')) }}
{%- endmacro %}

{% macro code_of(text) -%}
    {#- Tells SQL and engine from any others. -#}
    {{ return(local_md5(text ~ run_query('select version()').columns[0][0])) }}
{%- endmacro %}

{% macro code_over_days(sql) -%}
    {#- The same of a model `by_day` or `by_key`: with what it keeps, and the code of the tables over days it reads. -#}
    {%- set tables = ["''"] -%}
    {%- for id in model.depends_on.nodes if id in graph.nodes -%}
        {%- set read = graph.nodes[id] -%}
        {%- if read.config.materialized in ('by_day', 'by_key') -%}
            {%- do tables.append("'" ~ read.schema ~ '.' ~ read.alias ~ "'") -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set found = run_query(
        "select string_agg(comment, ' ' order by table_name) from duckdb_tables()"
        ~ " where schema_name || '.' || table_name in (" ~ tables | join(', ') ~ ")"
    ) -%}
    {{ return(code_of(sql ~ made_of_days() ~ found.columns[0][0])) }}
{%- endmacro %}

{% macro is_made_anew(relation, code) -%}
    {%- set found = run_query(
        "select comment from duckdb_tables() where schema_name = '" ~ relation.schema ~ "' and table_name = '"
        ~ relation.identifier ~ "' and comment = '" ~ code ~ "'"
    ) -%}
    {{ return(should_full_refresh() or found.rows | length == 0) }}
{%- endmacro %}

{% macro find_changed_days(relation, is_anew) -%}
    {#- Days whose version is not the one that this table was made of: in a new table, all of them. -#}
    {%- set upstream = config.require('days_of') -%}
    {%- set wanted = ref(upstream) -%}
    {%- set kinds = graph.nodes.values() | selectattr('name', 'eq', upstream) | map(attribute='config.materialized') -%}
    {%- set wanted = companion(wanted, 'days') if 'by_day' in kinds else wanted -%}
    {%- do run_query("create or replace temporary table uptake_changed_days as " ~ (
        "select date_day, day_version from " ~ wanted if is_anew else
        "select date_day, wanted.day_version from " ~ wanted ~ " as wanted full join " ~ companion(relation, 'days')
        ~ " as made using (date_day) where wanted.day_version is distinct from made.day_version"
        ~ (" or " ~ is_to_be_rebuilt(config.get('days_back', 0)) if is_to_be_rebuilt())
    )) -%}
{%- endmacro %}

{% macro made_of_days() -%}
    {#- `tested_as` is the test of the grain that the day's rows have passed since they were made. -#}
    {{ return("select date_day, day_version, cast(null as varchar) as tested_as from uptake_changed_days") }}
{%- endmacro %}

{% macro remember_days(relation, is_anew, code) -%}
    {%- set days = companion(relation, 'days') -%}
    {%- if is_anew -%}
        {%- do run_query("create or replace table " ~ days ~ " as " ~ made_of_days()) -%}
    {%- else -%}
        {%- do run_query("delete from " ~ days ~ " where date_day in (select date_day from uptake_changed_days)") -%}
        {%- do run_query("insert into " ~ days ~ " " ~ made_of_days() ~ " where day_version is not null") -%}
    {%- endif -%}
    {%- do run_query("comment on table " ~ relation ~ " is '" ~ code ~ "'") -%}
{%- endmacro %}

{% macro is_to_be_rebuilt(days_back=0) -%}
    {#- The days that an engineer wants rebuilt, as a condition on date_day, and those that look so far back; '' if none. -#}
    {%- set first_day, last_day = var('rebuild_from', ''), var('rebuild_to', '') -%}
    {%- set conditions = [] -%}
    {%- if first_day -%}{%- do conditions.append("date_day >= cast('" ~ first_day ~ "' as date)") -%}{%- endif -%}
    {%- if last_day -%}{%- do conditions.append("date_day <= cast('" ~ last_day ~ "' as date) + " ~ days_back) -%}{%- endif -%}
    {{ return(conditions | join(' and ')) }}
{%- endmacro %}
