{#- What lies in the raw folder. DuckDB only: a source on another engine brings its own staging. -#}

{% macro active_source() -%}
    {{ return(env_var('UPTAKE_SOURCE', 'uptake')) }}
{%- endmacro %}

{% macro staged(relation) -%}
    {#- The active source's own version of a staging relation, e.g. stg_gharchive__events. -#}
    {{ return(ref('stg_' ~ active_source() ~ '__' ~ relation)) }}
{%- endmacro %}

{% macro raw_folder() -%}
    {{ return(env_var('UPTAKE_RAW', 'sample') or 'sample') }}
{%- endmacro %}

{% macro source_meta(source_name, input) -%}
    {#- `config.meta` of one source table; {} while parsing. -#}
    {%- if execute -%}
        {%- for node in graph.sources.values() if node.source_name == source_name and node.name == input -%}
            {{ return(node.config.meta) }}
        {%- endfor -%}
    {%- endif -%}
    {{ return({}) }}
{%- endmacro %}

{% macro existing_files(folder, patterns) -%}
    {#- Those of the patterns that match something, as full paths. -#}
    {%- set found = [] -%}
    {%- if execute and patterns -%}
        {%- set paths = [] -%}
        {%- set queries = [] -%}
        {%- for pattern in patterns -%}
            {%- do paths.append((folder ~ '/' ~ pattern) | replace("'", "''")) -%}
            {%- do queries.append(
                "select " ~ loop.index0 ~ " as n where exists (select 1 from glob('" ~ paths[-1] ~ "'))"
            ) -%}
        {%- endfor -%}
        {%- for n in run_query(queries | join(' union all ') ~ ' order by n').columns[0].values() -%}
            {%- do found.append(paths[n | int]) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{%- endmacro %}

{% macro raw_lines(source_name, input) -%}
    {#-
        One row for each line that is not blank: file, line (JSON; NULL where it is not JSON in UTF-8), read_order (of
        the lines read together: without gaps within a file, in its order).
        The patterns are `config.meta.files` of the source table; an absent input is an empty relation. Of the events,
        the materialization `by_file` has only those files read that are new.
    -#}
    {%- set relation = source(source_name, input) -%}
    {%- set files = existing_files(raw_folder(), source_meta(source_name, input).get('files', [])) -%}
    {%- set files = "['" ~ files | join("', '") ~ "']" if files else none -%}
    {%- if files %}
    select
        filename as file,
        json as line,
        row_number() over () as read_order
    from
        read_ndjson_objects(
            {{ "coalesce(getvariable('uptake_event_files'), " ~ files ~ ")" if input == 'events' else files }},
            ignore_errors = true,
            filename = true
        )
    {%- else %}
    select
        cast(null as varchar) as file,
        cast(null as json) as line,
        cast(null as bigint) as read_order
    where false
    {%- endif %}
{%- endmacro %}

{% macro event_files() -%}
    {#- The files of events that lie in the raw folder now: file, file_version. -#}
    {%- set patterns = source_meta(active_source(), 'events').get('files', []) -%}
    select
        file,
        uptake_file_version(file) as file_version
    from (
        {%- for pattern in patterns %}
        select file from glob('{{ (raw_folder() ~ '/' ~ pattern) | replace("'", "''") }}')
        {{ 'union distinct' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}

{% macro fields(line, names) -%}
    {#- The values of a JSON line at these paths as a list of texts; one parse for all of them. -#}
    json_extract_string({{ line }}, [{% for name in names %}'$.{{ name }}'{{ ', ' if not loop.last }}{% endfor %}])
{%- endmacro %}

{% macro text_or_null(value) -%}
    {#- An empty text says nothing. -#}
    nullif(trim({{ value }}), '')
{%- endmacro %}

{% macro number_or_null(value) -%}
    {#- `nan` and `inf` are no numbers here. -#}
    case when isfinite(try_cast({{ value }} as double)) then try_cast({{ value }} as double) end
{%- endmacro %}

{% macro timestamp_or_null(value) -%}
    {#- ISO 8601 to naive UTC. An offset is applied; no offset means UTC. DuckDB also reads `infinity`: refused. -#}
    case
        when {{ value }} like '%Z' then try_cast({{ value }} as timestamp)
        when isfinite(try_cast({{ value }} as timestamptz)) then cast(try_cast({{ value }} as timestamptz) as timestamp)
    end
{%- endmacro %}

{% macro date_or_null(value) -%}
    case when isfinite(try_cast({{ value }} as date)) then try_cast({{ value }} as date) end
{%- endmacro %}

{% macro problem_of(line, required) -%}
    {#- Why a line cannot be used, NULL if it can. `required`: (value, what is wrong when it is NULL) in this order. -#}
    case
        when {{ line }} is null then 'not JSON in UTF-8'
        {%- for value, reason in required %}
        when {{ value }} is null then
            case when json_type({{ line }}) <> 'OBJECT' then 'not a JSON object' else '{{ reason }}' end
        {%- endfor %}
    end
{%- endmacro %}

{% macro unreadable_lines(source_name, inputs) -%}
    {#-
        Lines of inputs beside the events that cannot be used: file, ordinal (among the lines that are not blank),
        reason. `inputs`: name -> fields that must be there.
    -#}
    {%- for input, required in inputs.items() %}
    (
        with extracted as (

            select
                file,
                line,
                {{ fields('line', required) }} as fields,
                read_order
            from ({{ raw_lines(source_name, input) }})

        ),

        placed as (

            select
                file,
                read_order - min(read_order) over (partition by file) + 1 as ordinal,
                {%- set checks = [] %}
                {%- for field in required %}
                    {%- do checks.append((text_or_null('fields[' ~ loop.index ~ ']'), 'no ' ~ field)) %}
                {%- endfor %}
                {{ problem_of('line', checks) }} as reason
            from extracted

        )

        select
            file,
            ordinal,
            reason
        from placed
        where reason is not null
    )
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro empty_relation(columns) -%}
    {#- A relation with these columns (name -> type) and no rows. -#}
    select
        {%- for name, type in columns.items() %}
        cast(null as {{ type }}) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    where false
{%- endmacro %}

{% macro ledger_table(table, columns) -%}
    {#- One table of the ledger export, its columns cast; empty while nothing has been exported. -#}
    {%- set relation = source('ledger', table) -%}
    {%- set home = env_var('UPTAKE_HOME', '') or '../var' -%}
    {%- set folder = env_var('UPTAKE_LEDGER_EXPORT', '') or (home ~ '/ledger_export') -%}
    {%- set files = existing_files(folder, [table ~ '.parquet']) -%}
    {%- if files %}
    select
        {%- for name, type in columns.items() %}
        cast({{ name }} as {{ type }}) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from read_parquet('{{ files[0] }}')
    {%- else %}
    {{ empty_relation(columns) }}
    {%- endif %}
{%- endmacro %}

{% macro given_as_of() -%}
    {#- The moment asked for, '' if none. The sample is as of its own last day, or all of its windows would be empty. -#}
    {{ return(env_var('UPTAKE_AS_OF', '') or ('' if env_var('UPTAKE_RAW', '') else var('sample_as_of'))) }}
{%- endmacro %}

{% macro as_of_rule() -%}
    {#- What the active source is as of when nobody asked: `now`, or `last_event` for an archive. -#}
    {{ return(source_meta(active_source(), 'events').get('as_of', 'now')) }}
{%- endmacro %}

{% macro relative_to_raw(file) -%}
    {#- Without the folder: where somebody keeps the raw logs is of no interest. -#}
    replace({{ file }}, '{{ (raw_folder() ~ '/') | replace("'", "''") }}', '')
{%- endmacro %}
