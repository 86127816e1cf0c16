{#-
    Weeks. Of the calendar: whole ones from Monday to Sunday, numbered from the one in which 1970 began. Of a window: seven
    days each, of which the last are those up to as_of's own day.
-#}

{% macro weeks_ago(age) -%}
    {#- The week of the window in which a day so many days ago lies; 0 is the last seven days. -#}
    cast(floor(({{ age }}) / 7.0) as bigint)
{%- endmacro %}

{% macro in_last_week(age) -%}
    {{ age }} between 0 and 6
{%- endmacro %}

{% macro week_no(day) -%}
    cast(floor(({{ day_number(day) }} + 3) / 7.0) as bigint)
{%- endmacro %}

{% macro history_weeks() -%}
    {#- How many weeks ago the weeks of history were: generated_number, from 1. -#}
    {{ dbt.generate_series(var('health_history_weeks')) }}
{%- endmacro %}

{% macro weeks_of_window() -%}
    {#- generated_number from 1 to 4: the weeks of a window, and the windows that hold a week. -#}
    {{ dbt.generate_series(4) }}
{%- endmacro %}

{% macro weeks_of_both_windows() -%}
    {#- The same to 8: with those whose window before holds it. -#}
    {{ dbt.generate_series(8) }}
{%- endmacro %}

{% macro day_of_week(day) -%}
    {#- 0 on Mondays. -#}
    {{ day_number(day) }} + 3 - 7 * {{ week_no(day) }}
{%- endmacro %}

{% macro week_ends_on(week_no) -%}
    {#- Its Sunday. -#}
    cast({{ dbt.dateadd('day', '7 * (' ~ week_no ~ ') + 3', "cast('1970-01-01' as date)") }} as date)
{%- endmacro %}
