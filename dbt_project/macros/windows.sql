{#- Days, windows and states: the one place that says what they mean. -#}

{% macro day_number(day) -%}
    {#- Days since 1970-01-01, so that a window can be a range of whole numbers on every engine. -#}
    {{ dbt.datediff("cast('1970-01-01' as date)", day, 'day') }}
{%- endmacro %}

{% macro use_days_in_window(keys) -%}
    {#- On a use-day: how many use-days the window ending that day holds, itself included. One row per key and day. -#}
    count(*) over (
        partition by {{ keys | join(', ') }}
        order by {{ day_number('date_day') }}
        range between {{ var('window_days') - 1 }} preceding and current row
    )
{%- endmacro %}

{% macro days_ago(day, as_of_day) -%}
    {#- 0 on as_of's own day. -#}
    {{ dbt.datediff(day, as_of_day, 'day') }}
{%- endmacro %}

{% macro in_window(age) -%}
    {{ age }} between 0 and {{ var('window_days') - 1 }}
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
