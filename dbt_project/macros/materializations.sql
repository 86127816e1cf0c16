{#-
    How relations are made. The adapter's own way renames twice and drops once for each table, which costs more than
    most of our tables; DuckDB replaces a table within one transaction.
-#}

{% materialization table, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {{ drop_what_is_not_a('table') }}
    {{ run_hooks(pre_hooks) }}
    {% call statement('main') -%}
        {%- if config.get('contract').enforced %}
            {{ get_assert_columns_equivalent(sql) }}
            create or replace table {{ target_relation }} {{ get_table_columns_and_constraints() }};
            insert into {{ target_relation }} {{ get_column_names() }} ({{ get_select_subquery(sql) }});
        {%- else %}
            create or replace table {{ target_relation }} as ({{ sql }})
        {%- endif %}
    {%- endcall %}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='view') -%}
    {{ drop_what_is_not_a('view') }}
    {{ run_hooks(pre_hooks) }}
    {% call statement('main') -%}
        create or replace view {{ target_relation }} as ({{ sql }})
    {%- endcall %}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% materialization by_file, adapter='duckdb' %}
    {#-
        A table of the lines of the event files that reads a file again only when it has changed. The model returns
        rows with `file`; the table gets a column more, `file_version`, and is always what one full build of the same
        folder gives: rows of files that changed or vanished go, files without rows are read, in one transaction.

        The model's compiled SQL, with every macro in it, stands in the table's comment: other SQL, another source,
        another folder or another DuckDB means a new table. So a model here must compile alike on every build.
    -#}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set rows -%}
        select
            lines.*,
            files.file_version
        from ({{ sql }}) as lines
        inner join uptake_event_files as files on lines.file = files.file
    {%- endset -%}
    {{ drop_what_is_not_a('table') }}
    {{ run_hooks(pre_hooks) }}
    {%- do run_query("create or replace temporary table uptake_event_files as " ~ event_files()) -%}
    {%- set found = run_query(
        "select md5(version() || '" ~ local_md5(rows) ~ "') as code, (select comment from duckdb_tables() where "
        ~ "schema_name = '" ~ this.schema ~ "' and table_name = '" ~ this.identifier ~ "') as code_of_table"
    ) -%}
    {%- set code = found.columns[0][0] -%}
    {%- if should_full_refresh() or code != found.columns[1][0] %}
        {%- do run_query("set variable uptake_event_files = (select list(file order by file) from uptake_event_files)") -%}
        {% call statement('main') -%}
            create or replace table {{ target_relation }} as ({{ rows }});
            comment on table {{ target_relation }} is '{{ code }}'
        {%- endcall %}
    {%- else %}
        {%- do run_query(
            "delete from " ~ target_relation ~ " where (file, file_version) not in "
            ~ "(select (file, file_version) from uptake_event_files)"
        ) -%}
        {%- do run_query(
            "set variable uptake_event_files = (select list(file order by file) from uptake_event_files "
            ~ "where file not in (select distinct file from " ~ target_relation ~ "))"
        ) -%}
        {%- set is_news = run_query("select getvariable('uptake_event_files') is not null").columns[0][0] %}
        {% call statement('main') -%}
            {%- if is_news %}
            insert into {{ target_relation }} by name {{ rows }}
            {%- else %}
            select 'no file is new'
            {%- endif %}
        {%- endcall %}
    {%- endif %}
    {%- do run_query("reset variable uptake_event_files") -%}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% macro drop_what_is_not_a(type) -%}
    {#- `create or replace` replaces its own kind only. -#}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is not none and existing.type != type -%}
        {%- do adapter.drop_relation(existing) -%}
    {%- endif -%}
{%- endmacro %}
