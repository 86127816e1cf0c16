{% test grain(model, columns) %}
    {#- One row per these columns, none of them NULL. Fails with the keys. -#}
    select
        {{ columns | join(', ') }},
        count(*) as count_rows
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1 or {{ columns | join(' is null or ') }} is null
{% endtest %}
