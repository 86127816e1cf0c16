{#-
    What a mapping says, as SQL. A name of somebody's is a JSON pointer and every other text a literal, both quoted by
    `literal`: nothing in a mapping is ever SQL.
-#}

{% macro mapping() -%}
    {#- UPTAKE_SOURCE as `uptake.adapters.source_mapping` has read it and held it against the raw folder; {} while parsing. -#}
    {%- if execute and is_mapped() -%}
        {%- set found = run_query(
            "select uptake_mapping(" ~ literal(env_var('UPTAKE_SOURCE')) ~ ", " ~ literal(raw_folder()) ~ ")"
        ) -%}
        {{ return(fromjson(found.columns[0][0])) }}
    {%- endif -%}
    {{ return({}) }}
{%- endmacro %}

{% macro mapped_input(name) -%}
    {#- One input of the mapping, or one without fields. -#}
    {{ return(mapping().get('inputs', {}).get(name, {'pointers': [], 'fields': {}})) }}
{%- endmacro %}

{% macro mapped_fields(input) -%}
    {#- What the pointers of an input find in a line, as a list of texts. -#}
    {%- if input.pointers -%}
    json_extract_string(line, [{% for pointer in input.pointers %}{{ literal(pointer) }}{{ ', ' if not loop.last }}{% endfor %}])
    {%- else -%}
    cast([] as varchar [])
    {%- endif -%}
{%- endmacro %}

{% macro mapped_part(part) -%}
    {#- The text at one column. What leads into an object may lead into a text of JSON as well, as exports have it. -#}
    {%- set direct = 'fields[' ~ part.at ~ ']' -%}
    {%- if part.rest is defined -%}
        {%- set root = 'fields[' ~ part.root ~ ']' -%}
        {%- set direct = 'coalesce(' ~ direct ~ ', case when json_valid(' ~ root ~ ') then json_extract_string(' ~ root
            ~ ', ' ~ literal(part.rest) ~ ') end)' -%}
    {%- endif -%}
    {{ text_or_null(direct) }}
{%- endmacro %}

{% macro mapped(input, name, type='varchar') -%}
    {#- A field of the contract, NULL where it has no value, or none of this type; `text` of a time is as it was written. -#}
    {%- set field = input.fields.get(name) -%}
    {%- if field is none -%}
    cast(null as {{ type }})
    {%- else -%}
        {%- set text = mapped_text(field) -%}
        {%- if type in ('varchar', 'text') -%}
    {{ text }}
        {%- elif type == 'double' -%}
    {{ number_or_null(text) }}
        {%- elif type == 'timestamp' -%}
    {{ mapped_moment(field, text) }}
        {%- elif type == 'date' -%}
    cast({{ mapped_moment(field, text) }} as date)
        {%- else -%}
    try_cast({{ text }} as {{ type }})
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro mapped_text(field) -%}
    {%- set parts = [] -%}
    {%- for part in field.parts -%}
        {%- do parts.append(mapped_part(part)) -%}
    {%- endfor -%}
    {%- if field.value is not none -%}
        {%- set text = literal(field.value) -%}
    {%- elif field.join is not none -%}
        {%- set text = "nullif(concat_ws(" ~ literal(field.join) ~ ", " ~ parts | join(', ') ~ "), '')" -%}
    {%- else -%}
        {%- set text = parts[0] if parts | length == 1 else 'coalesce(' ~ parts | join(', ') ~ ')' -%}
    {%- endif -%}
    {{ text if field.default is none else 'coalesce(' ~ text ~ ', ' ~ literal(field.default) ~ ')' }}
{%- endmacro %}

{% macro mapped_moment(field, text) -%}
    {#- A time as naive UTC. -#}
    {%- set number = 'try_cast(' ~ text ~ ' as decimal(38, 6))' -%}
    {%- if field.formats -%}
        {%- set formats = [] -%}
        {%- for format in field.formats -%}
            {%- do formats.append(literal(format)) -%}
        {%- endfor -%}
    {{ in_zone('try_strptime(' ~ text ~ ', [' ~ formats | join(', ') ~ '])', field.zone) }}
    {%- elif field.unit == 'iso' -%}
    {{ iso_in_zone(text, field.zone) }}
    {%- elif field.unit == 'auto' -%}
    case
        when {{ number }} is null then {{ iso_in_zone(text, field.zone) }}
        -- So many seconds are in the year 5138, so many milliseconds as well.
        when abs({{ number }}) < 1e11 then {{ in_zone(since_1970(number, 1000000), field.zone) }}
        when abs({{ number }}) < 1e14 then {{ in_zone(since_1970(number, 1000), field.zone) }}
        else {{ in_zone(since_1970(number, 1), field.zone) }}
    end
    {%- else -%}
    {{ in_zone(
        since_1970(number, {'seconds': 1000000, 'milliseconds': 1000, 'microseconds': 1}[field.unit]), field.zone
    ) }}
    {%- endif -%}
{%- endmacro %}

{% macro since_1970(number, microseconds) -%}
    {{ in_calendar('try(make_timestamp(cast(' ~ number ~ ' * ' ~ microseconds ~ ' as bigint)))') }}
{%- endmacro %}

{% macro in_zone(moment, zone) -%}
    {#- A wall clock's time as UTC. -#}
    {{ moment if zone is none else in_calendar('cast(timezone(' ~ literal(zone) ~ ', ' ~ moment ~ ') as timestamp)') }}
{%- endmacro %}

{% macro iso_in_zone(text, zone) -%}
    {%- if zone is none -%}
    {{ timestamp_or_null(text) }}
    {%- else -%}
    case
        when regexp_matches({{ text }}, ':[0-9]{2}.*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$') then {{ timestamp_or_null(text) }}
        when isfinite(try_cast({{ text }} as timestamp)) then {{ in_zone('try_cast(' ~ text ~ ' as timestamp)', zone) }}
    end
    {%- endif -%}
{%- endmacro %}

{% macro mapped_properties(input) -%}
    {#- One column as it is, several as an object of them. -#}
    {%- set kept = input.get('properties', []) -%}
    {%- if kept | length == 1 -%}
    {{ mapped_part(kept[0]) }}
    {%- elif kept -%}
    cast(json_object({% for part in kept %}{{ literal(part.name) }}, {{ mapped_part(part) }}{{ ', ' if not loop.last }}{% endfor %}) as varchar)
    {%- else -%}
    cast(null as varchar)
    {%- endif -%}
{%- endmacro %}

{% macro mapped_latest(input) -%}
    {#- By what the latest of several rows about one thing is told. -#}
    {{ mapped_part(input.latest_by) if input.latest_by is defined else 'cast(null as varchar)' }}
{%- endmacro %}

{% macro lookup_field() -%}
    {#- The field of events that is looked up; '' if none is. -#}
    {{ return(mapping().get('lookup', {}).get('field', '')) }}
{%- endmacro %}

{% macro lookup_key() -%}
    {#- What an event says that is looked up. -#}
    {{ 'typed.' ~ lookup_field() if lookup_field() else 'cast(null as varchar)' }}
{%- endmacro %}

{% macro looked_up(name) -%}
    {{ 'lookup.given' if lookup_field() == name else 'typed.' ~ name }}
{%- endmacro %}

{% macro lookup_content() -%}
    {{ return(mapping().get('lookup', {}).get('content', '')) }}
{%- endmacro %}

{% macro lookup_rows() -%}
    {#- The lookup: found (what an event says, each once), given. -#}
    {%- set lookup = mapped_input('lookup') -%}
    select
        {{ mapped(lookup, 'key') }} as found,
        {{ mapped(lookup, 'gives') }} as given
    from (select cast(line as varchar) as line, {{ mapped_fields(lookup) }} as fields from ({{ raw_lines('mapping', 'lookup') }}))
    where found is not null
    qualify row_number() over (partition by found order by {{ mapped_latest(lookup) }} desc nulls last, line desc) = 1
{%- endmacro %}

{% macro mapped_problem(line, required) -%}
    {#- `problem_of`, and why a record of a CSV file could not even become a line. `required`: (value, reason). -#}
    {%- set checks = [] -%}
    {%- for value, reason in required -%}
        {%- do checks.append((value, reason | replace("'", "''"))) -%}
    {%- endfor -%}
    coalesce(
        case
            when json_type({{ line }}) = 'UBIGINT'
                then nullif(uptake_record_problem(cast({{ line }} as varchar)), '')
        end,
        {{ problem_of(line, checks) }}
    )
{%- endmacro %}

{% macro lacks(input, name) -%}
    {#- The reason when a field has no value. -#}
    {%- set field = input.fields.get(name) -%}
    {{ return('no ' ~ name ~ (': ' ~ field.says ~ ' is empty' if field is not none and field.says else '')) }}
{%- endmacro %}

{% macro is_no_moment(input, name) -%}
    {#- The reason when a field is not a time as the mapping has it. -#}
    {%- set field = input.fields.get(name) -%}
    {%- if field is none -%}
        {{ return('no ' ~ name) }}
    {%- endif -%}
    {%- set kind = 'a time like ' ~ field.formats | join(' or ') if field.formats else {
        'iso': 'an ISO 8601 time', 'auto': 'an ISO 8601 time or a number'
    }.get(field.unit, 'a number of ' ~ field.unit) -%}
    {{ return(name ~ ': ' ~ field.says ~ ' is not ' ~ kind) }}
{%- endmacro %}

{% macro mapped_event_problem(line, events) -%}
    {#- Why a line is no event: which of the columns that it needs says nothing. -#}
    {%- set required = [] -%}
    {%- for name in ('account_id', 'event_name') -%}
        {%- if lookup_field() == name -%}
            {%- do required.append(('looked_up', lacks(events, name))) -%}
            {%- set files = mapped_input('lookup').files | join(' or ') -%}
            {%- do required.append((name, 'no ' ~ name ~ ': ' ~ events.fields[name].says ~ ' is not in ' ~ files)) -%}
        {%- else -%}
            {%- do required.append((name, lacks(events, name))) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do required.append(('raw_occurred_at', lacks(events, 'occurred_at'))) -%}
    {%- do required.append(('occurred_at', is_no_moment(events, 'occurred_at'))) -%}
    {{ mapped_problem(line, required) }}
{%- endmacro %}

{% macro mapped_flaws(name) -%}
    {#- Lines of one input beside the events that cannot be used. -#}
    {%- set input = mapped_input(name) -%}
    {%- set required = [] -%}
    {%- for key in input.get('keys', []) -%}
        {%- do required.append((mapped(input, key), lacks(input, key))) -%}
    {%- endfor -%}
    {%- set fields = mapped_fields(input) -%}
    {{ flaws_of(
        "select file, read_order, " ~ mapped_problem('line', required) ~ " as reason from (select file, line, read_order, "
        ~ fields ~ " as fields from (" ~ raw_lines('mapping', name) ~ "))",
        input.get('reader')
    ) }}
{%- endmacro %}

{% macro has_sandbox_addresses() -%}
    {{ 'true' if mapping().get('sandbox_addresses') else 'false' }}
{%- endmacro %}

{% macro mapped_features() -%}
    {#- The features that the mapping names, as rows of the catalogue. -#}
    {{ return(mapping().get('features', [])) }}
{%- endmacro %}

{% macro is_each_event_a_feature() -%}
    {#- Whether a source without a row in the catalogue has its events as features, for a first look. -#}
    {%- if is_mapped() -%}
        {%- set is_so = mapped_features() | length == 0 -%}
    {%- else -%}
        {%- set is_so = source_meta(staging_folder(), 'events').get('features') == 'each_event' -%}
    {%- endif -%}
    {{ 'true' if is_so else 'false' }}
{%- endmacro %}

{% macro mapped_feature_rows() -%}
    {#- The same, as SQL to be added to the catalogue's rows. -#}
    {%- for feature in mapped_features() %}
    union all by name
    select
        {{ literal(active_source()) }} as source,
        {%- for column, value in feature.items() %}
        {{ literal(value) if value is string else (value if value is not none else 'null') }} as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    {%- endfor %}
{%- endmacro %}
