{#- Days, windows and states: the one place that says what they mean. -#}

{% macro day_number(day) -%}
    {#- Days since 1970-01-01, so that a window can be a range of whole numbers on every engine. -#}
    {{ dbt.datediff("cast('1970-01-01' as date)", day, 'day') }}
{%- endmacro %}

{% macro use_days_in_window(keys, day='date_day') -%}
    {#- On a use-day: how many use-days the window ending that day holds, itself included. One row per key and day. -#}
    count(*) over (
        partition by {{ keys | join(', ') }}
        order by {{ day_number(day) }}
        range between {{ var('window_days') - 1 }} preceding and current row
    )
{%- endmacro %}

{% macro first_day_of_window(last_day) -%}
    {{ dbt.dateadd('day', 1 - var('window_days'), last_day) }}
{%- endmacro %}

{% macro first_day_of_previous_window(last_day) -%}
    {#- Of the window before the one that ends on this day. -#}
    cast({{ dbt.dateadd('day', 1 - 2 * var('window_days'), last_day) }} as date)
{%- endmacro %}

{% macro by_key_of_use(rows, measures) -%}
    {#-
        `rows` of int_contact_feature_days by account, contact ('' = anybody in the account) and feature ('' = whatever
        event). Unattributed use is the account's alone, and use of what is no feature is use of whatever.
        `measures`: name -> (aggregate function, argument); one that can be applied twice, like min.
    -#}
    with measured as (
        select
            account_id,
            contact_id,
            feature_key
            {%- for name, measure in measures.items() %},
            {{ measure[0] }}({{ measure[1] }}) as {{ name }}
            {%- endfor %}
        from {{ rows }}
        group by account_id, contact_id, feature_key
    )
    {% for kind in kinds_of_use() %}
    select
        account_id,
        {{ kind.contact or "''" }} as contact_id,
        {{ kind.feature or "''" }} as feature_key
        {%- for name, measure in measures.items() %},
        {{ name if kind.contact and kind.feature else measure[0] ~ '(' ~ name ~ ')' }} as {{ name }}
        {%- endfor %}
    from measured
    where {{ kind.where }}
    {%- if not (kind.contact and kind.feature) %}
    group by {{ kind['keys'] | join(', ') }}
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {% endfor %}
{%- endmacro %}

{% macro days_of_use(rows, keys, columns) -%}
    {#- Days of use, each once, of some of the keys of `by_key_of_use`: those of the relation `keys`, with columns of it. -#}
    {% for kind in kinds_of_use() %}
    select
        keys.account_id,
        keys.contact_id,
        keys.feature_key,
        {{ rows }}.date_day
        {%- for column in columns %},
        keys.{{ column }}
        {%- endfor %}
    from {{ rows }}
    inner join {{ keys }} as keys
        on
            {% for key in kind['keys'] -%}
            {{ rows }}.{{ key }} = keys.{{ key }} and
            {% endfor -%}
            {{ "keys.contact_id = '' and" if not kind.contact }}
            {{ "keys.feature_key = '' and" if not kind.feature }}
            {{ rows }}.date_day >= {{ first_day_of_window('keys.' ~ columns[0]) }}
    {%- if not (kind.contact and kind.feature) %}
    group by keys.account_id, keys.contact_id, keys.feature_key, {{ rows }}.date_day
        {%- for column in columns %}, keys.{{ column }}{% endfor %}
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {% endfor %}
{%- endmacro %}

{% macro kinds_of_use() -%}
    {%- set kinds = [] -%}
    {%- for contact in ('contact_id', none) -%}
        {%- for feature in ('feature_key', none) -%}
            {%- set known = [contact, feature] | reject('none') | list -%}
            {%- do kinds.append({
                'contact': contact,
                'feature': feature,
                'keys': ['account_id'] + known,
                'where': (known or ['account_id']) | join(' is not null and ') ~ ' is not null',
            }) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(kinds) }}
{%- endmacro %}

{% macro days_in_window(day_bits) -%}
    {{ count_day_bits(day_bits, 0, var('window_days')) }}
{%- endmacro %}

{% macro days_in_previous_window(day_bits) -%}
    {{ count_day_bits(day_bits, var('window_days'), var('window_days')) }}
{%- endmacro %}

{% macro days_ago(day, as_of_day) -%}
    {#- 0 on as_of's own day. -#}
    {{ dbt.datediff(day, as_of_day, 'day') }}
{%- endmacro %}

{% macro age_in_days(created_at, as_of_day) -%}
    {#- NULL for what was not there yet: an archive's accounts may be younger than its last event. -#}
    case
        when cast({{ created_at }} as date) <= {{ as_of_day }} then {{ days_ago(created_at, as_of_day) }}
    end
{%- endmacro %}

{% macro in_window(age) -%}
    {{ age }} between 0 and {{ var('window_days') - 1 }}
{%- endmacro %}

{% macro in_either_window(age) -%}
    {{ age }} between 0 and {{ 2 * var('window_days') - 1 }}
{%- endmacro %}

{% macro in_previous_window(age) -%}
    {{ age }} between {{ var('window_days') }} and {{ 2 * var('window_days') - 1 }}
{%- endmacro %}

{% macro adoption_state(days_used, adopted_days, first_adopted_on, last_used_on) -%}
    case
        when {{ last_used_on }} is null then 'never'
        when {{ days_used }} >= {{ adopted_days }} then 'adopted'
        when {{ first_adopted_on }} is not null then 'lapsed'
        else 'tried'
    end
{%- endmacro %}

{% macro ratio(numerator, denominator) -%}
    {#- NULL instead of a division by zero: unknown is never zero. -#}
    cast({{ numerator }} as double) / nullif({{ denominator }}, 0)
{%- endmacro %}

{% macro clamp(value, low, high) -%}
    {#- Not least/greatest: they skip NULL on some engines, and what is not known must stay so. -#}
    case when {{ value }} < {{ low }} then {{ low }} when {{ value }} > {{ high }} then {{ high }} else {{ value }} end
{%- endmacro %}

{% macro parse_timestamp(text) -%}
    {#- An ISO 8601 literal as naive UTC. -#}
    cast(cast('{{ text | replace("'", "''") }}' as timestamptz) as timestamp)
{%- endmacro %}

{% macro matches_pattern(name, pattern) -%}
    {#- `*` stands for any text; every other character for itself. -#}
    {{ name }} like replace(
        replace(replace(replace({{ pattern }}, '!', '!!'), '%', '!%'), '_', '!_'), '*', '%'
    ) escape '!'
{%- endmacro %}

{% macro listed(value, order) -%}
    {#- All values of a column in one text. -#}
    {{ dbt.listagg(value, "'|'", "order by " ~ order) }}
{%- endmacro %}

{% macro version_of(parts) -%}
    {#- A text that is another one when any of the parts is; NULL is a part like others. -#}
    {%- set texts = [] -%}
    {%- for part in parts -%}
        {%- do texts.append("coalesce(cast(" ~ part ~ " as " ~ dbt.type_string() ~ "), '')") -%}
    {%- endfor -%}
    {{ dbt.hash(texts | join(" || ';' || ")) }}
{%- endmacro %}
