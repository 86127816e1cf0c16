{#- Access friction: the kinds there are, and what is said of a kind that the source does not log. -#}

{% macro friction_kinds() -%}
    {#- kind -> its column in the marts. A kind more needs its columns in the contracts of both marts as well. -#}
    {{ return({
        'sign_in_failure': 'count_sign_in_failures_28',
        'error': 'count_errors_28',
        'unsupported_browser': 'count_unsupported_browsers_28',
        'blocked_request': 'count_blocked_requests_28',
    }) }}
{%- endmacro %}

{% macro friction_kind_names() -%}
    '{{ friction_kinds().keys() | join("', '") }}'
{%- endmacro %}

{% macro friction_counts(kind, count) -%}
    {#- Of rows with a kind and a count: the columns of all kinds, and their sum. -#}
    cast(sum({{ count }}) as bigint) as count_friction_28
    {%- for name, column in friction_kinds().items() %},
    cast(sum(case when {{ kind }} = '{{ name }}' then {{ count }} else 0 end) as bigint) as {{ column }}
    {%- endfor %}
{%- endmacro %}

{% macro friction_sums() -%}
    {#- The same columns, of rows that have them. -#}
    sum(count_friction_28) as count_friction_28
    {%- for column in friction_kinds().values() %},
    sum({{ column }}) as {{ column }}
    {%- endfor %}
{%- endmacro %}

{% macro known_friction(patterns) -%}
    {#- One row: which kinds the source logs at all. Each is 1 or NULL. -#}
    select
        {%- for kind, column in friction_kinds().items() %}
        max(case when kind = '{{ kind }}' then 1 end) as knows_{{ column }},
        {%- endfor %}
        max(1) as knows_count_friction_28
    from {{ patterns }}
{%- endmacro %}

{% macro friction_columns(friction, known) -%}
    {#- 0 where none was met, NULL where the source would not say. -#}
    {%- for column in ['count_friction_28'] + friction_kinds().values() | list %}
        case
            when {{ known }}.knows_{{ column }} = 1 then cast(coalesce({{ friction }}.{{ column }}, 0) as bigint)
        end as {{ column }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
