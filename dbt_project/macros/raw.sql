{#- What lies in the raw folder. DuckDB only: a source on another engine brings its own staging. -#}

{% macro is_mapped() -%}
    {#- Whether UPTAKE_SOURCE is a mapping file; dbt_project.yml asks the same. -#}
    {{ return(env_var('UPTAKE_SOURCE', 'uptake').endswith(('.yml', '.yaml'))) }}
{%- endmacro %}

{% macro staging_folder() -%}
    {#- Of models/staging/, the folder that stages the active source. -#}
    {{ return('mapping' if is_mapped() else env_var('UPTAKE_SOURCE', 'uptake')) }}
{%- endmacro %}

{% macro active_source() -%}
    {#- The source's name: in the feature catalogue, in events. A mapping brings its own. -#}
    {{ return(mapping().get('name', 'mapping') if is_mapped() else staging_folder()) }}
{%- endmacro %}

{% macro staged(relation) -%}
    {#- The active source's own version of a staging relation, e.g. stg_gharchive__events. -#}
    {{ return(ref('stg_' ~ staging_folder() ~ '__' ~ relation)) }}
{%- endmacro %}

{% macro raw_folder() -%}
    {{ return(env_var('UPTAKE_RAW', 'sample') or 'sample') }}
{%- endmacro %}

{% macro source_meta(source_name, input) -%}
    {#-
        What is known of one input of a source: `files` (patterns), `as_of`, `reader`. It is `config.meta` of the source
        table, or comes from the mapping; {} while parsing.
    -#}
    {%- if execute and source_name == 'mapping' -%}
        {%- set found = {'as_of': mapping().as_of} -%}
        {%- do found.update(mapping().inputs.get(input, {})) -%}
        {{ return(found) }}
    {%- elif execute -%}
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

{% macro raw_lines(source_name, input, are_joined=false) -%}
    {#-
        One row for each line that is not blank: file, line (JSON; NULL where it is not JSON in UTF-8), read_order (of
        the lines read together: without gaps within a file, in its order; NULL of events, which stand in this order
        already: to number them, one thread has to read them all. A join may mix them up; then they `are_joined`).
        The patterns are `config.meta.files` of the source table; an absent input is an empty relation. Of the events,
        the materialization `by_file` has only those files read that are new. With a `reader` in `config.meta`, files
        may also be CSV, Parquet, JSON arrays or zip archives: `uptake.adapters.raw_files` turns them into NDJSON.
    -#}
    {%- set relation = source(source_name, input) -%}
    {%- set meta = source_meta(source_name, input) -%}
    {%- set files = existing_files(raw_folder(), meta.get('files', [])) -%}
    {%- if files %}
        {%- set files = "['" ~ files | join("', '") ~ "']" -%}
        {%- set files = "coalesce(getvariable('uptake_event_files'), " ~ files ~ ")" if input == 'events' else files -%}
        {%- set reader = meta.get('reader') %}
    select
        {{ original_file('filename') if reader is not none else 'filename' }} as file,
        json as line,
        {{ 'cast(null as bigint)' if input == 'events' and not are_joined else 'row_number() over ()' }} as read_order
    from
        read_ndjson_objects(
            {{ "uptake_as_ndjson(" ~ files ~ ", " ~ literal(tojson(reader)) ~ ")" if reader is not none else files }},
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

{% macro raw_records(source_name, input, names) -%}
    {#-
        The same of NDJSON whose fields are known, in half the time: file, record (all of them; NULL where the line is not
        JSON in UTF-8), read_order (NULL), and each field as a text; none has a value where the line is no object.
    -#}
    {%- set relation = source(source_name, input) -%}
    {%- set files = existing_files(raw_folder(), source_meta(source_name, input).get('files', [])) -%}
    {%- set type = "struct(" ~ names | join(' varchar, ') ~ " varchar)" -%}
    {%- if files %}
        {%- set files = "['" ~ files | join("', '") ~ "']" %}
    select
        filename as file,
        record,
        {%- for name in names %}
        record.{{ name }} as {{ name }},
        {%- endfor %}
        cast(null as bigint) as read_order
    from
        read_json(
            {{ "coalesce(getvariable('uptake_event_files'), " ~ files ~ ")" if input == 'events' else files }},
            format = 'newline_delimited',
            records = false,
            columns = {record: '{{ type }}'},
            ignore_errors = true,
            filename = true
        )
    {%- else %}
    select
        cast(null as varchar) as file,
        cast(null as {{ type }}) as record,
        {%- for name in names %}
        cast(null as varchar) as {{ name }},
        {%- endfor %}
        cast(null as bigint) as read_order
    where false
    {%- endif %}
{%- endmacro %}

{% macro original_file(copy) -%}
    {#- The path that `uptake.adapters.raw_files` made a copy of; any other path is itself. -#}
    case
        when {{ copy }} like '%/.uptake-as-ndjson/%'
            then url_decode(regexp_extract({{ copy }}, '^.*/\.uptake-as-ndjson/[^/]+/(.*)\.ndjson$', 1))
        else {{ copy }}
    end
{%- endmacro %}

{% macro line_numbers(file, ordinals, reader=none) -%}
    {#-
        Where some of a file's lines stand in it, from the list of how many lines that are not blank there are up to each;
        of its records, where a reader makes lines of it.
    -#}
    {%- if reader is none -%}
    uptake_line_numbers({{ file }}, {{ ordinals }})
    {%- else -%}
    list_select(uptake_record_lines({{ file }}, {{ literal(tojson(reader)) }}), {{ ordinals }})
    {%- endif -%}
{%- endmacro %}

{% macro event_line_numbers(file, ordinals) -%}
    {#- The same of an event file of the active source. -#}
    {{ line_numbers(file, ordinals, source_meta(staging_folder(), 'events').get('reader')) }}
{%- endmacro %}

{% macro literal(text) -%}
    {#- A text as SQL: whatever stands in it, it stays a text. -#}
    '{{ text | string | replace("'", "''") }}'
{%- endmacro %}

{% macro event_files() -%}
    {#- The files of events that lie in the raw folder now: file, file_version. -#}
    {%- set patterns = source_meta(staging_folder(), 'events').get('files', []) -%}
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

{% macro plain_text_or_null(column) -%}
    {#- The same of many rows: `trim` knows the spaces of all scripts, and most texts have none to look for. -#}
    case
        when
            {{ column }} >= '!' and {{ column }} < chr(127) and not suffix({{ column }}, ' ')
            and strlen({{ column }}) = length({{ column }})
            then {{ column }}
        else {{ text_or_null(column) }}
    end
{%- endmacro %}

{% macro number_or_null(value) -%}
    {#- `nan` and `inf` are no numbers here. -#}
    case when isfinite(try_cast({{ value }} as double)) then try_cast({{ value }} as double) end
{%- endmacro %}

{% macro in_calendar(moment) -%}
    {#- NULL for what no Python date can say (nor `infinity`): after an offset a moment may lie before 0001 or after 9999. -#}
    case
        when {{ moment }} between timestamp '0001-01-01' and timestamp '9999-12-31 23:59:59.999999' then {{ moment }}
    end
{%- endmacro %}

{% macro timestamp_or_null(value) -%}
    {#- ISO 8601 to naive UTC. An offset is applied; no offset means UTC. -#}
    {{ in_calendar(unchecked_timestamp(value)) }}
{%- endmacro %}

{% macro unchecked_timestamp(value) -%}
    {#- The same of very many rows, for whoever looks `in_calendar` afterwards, where that costs no second reading. -#}
    case
        when {{ value }} like '%Z' then try_cast({{ value }} as timestamp)
        when isfinite(try_cast({{ value }} as timestamptz)) then cast(try_cast({{ value }} as timestamptz) as timestamp)
    end
{%- endmacro %}

{% macro date_or_null(value) -%}
    case
        when try_cast({{ value }} as date) between date '0001-01-01' and date '9999-12-31'
            then try_cast({{ value }} as date)
    end
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
        Lines of inputs beside the events that cannot be used: file, line_no, reason. `inputs`: name -> fields that must be there.
    -#}
    {%- for input, required in inputs.items() %}
        {%- set checks = [] %}
        {%- for field in required %}
            {%- do checks.append((text_or_null('fields[' ~ loop.index ~ ']'), 'no ' ~ field)) %}
        {%- endfor %}
        {%- set extracted = "select file, line, read_order, " ~ fields('line', required) ~ " as fields from ("
            ~ raw_lines(source_name, input) ~ ")" %}
    {{ flaws_of("select file, read_order, " ~ problem_of('line', checks) ~ " as reason from (" ~ extracted ~ ")") }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro flaws_of(lines, reader=none) -%}
    {#- Of all lines of an input (file, read_order, reason) those that have a reason: file, line_no, reason. -#}
    (
        select
            file,
            unnest({{ line_numbers(
                'file', 'list_transform(read_orders, lambda read_order: read_order - first_read_order + 1)', reader
            ) }}) as line_no,
            unnest(reasons) as reason
        from (
            select
                file,
                min(read_order) as first_read_order,
                list(read_order) filter (where reason is not null) as read_orders,
                list(reason) filter (where reason is not null) as reasons
            from ({{ lines }})
            group by file
            having count(reason) > 0
        )
    )
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
    {{ return(source_meta(staging_folder(), 'events').get('as_of', 'now')) }}
{%- endmacro %}

{% macro relative_to_raw(file) -%}
    {#- Without the folder: where somebody keeps the raw logs is of no interest. -#}
    replace({{ file }}, '{{ (raw_folder() ~ '/') | replace("'", "''") }}', '')
{%- endmacro %}

{% macro last_word(trait, order) -%}
    {#- Of several values of a trait the last that says something. -#}
    last({{ trait }} order by {{ order }}) filter (where {{ trait }} is not null)
{%- endmacro %}

{% macro json_inside(line, name) -%}
    {#- An object inside a line, which exports to tables write as a text of JSON. -#}
    case json_type({{ line }}, '$.{{ name }}')
        when 'OBJECT' then json_extract({{ line }}, '$.{{ name }}')
        when 'VARCHAR' then try_cast(json_extract_string({{ line }}, '$.{{ name }}') as json)
    end
{%- endmacro %}

{% macro posthog_account(properties) -%}
    {#- The group an event belongs to. Exports keep `$groups`; some have the key of the first type only. -#}
    coalesce(
        {{ text_or_null(properties ~ " ->> '$.\"$groups\".\"" ~ var('posthog_group_type') ~ "\"'") }},
        {{ text_or_null(properties ~ " ->> '$.\"$group_0\"'") }}
    )
{%- endmacro %}
