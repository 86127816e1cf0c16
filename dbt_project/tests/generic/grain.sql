{% test grain(model, columns, day=none) %}
    {#-
        One row per these columns, none of them NULL. Fails with the keys. `day`: the column among them that a model by
        day is made by: a build then looks only at days that it, or one before it, has made and not yet tested.
    -#}
    select
        {{ columns | join(', ') }},
        count(*) as count_rows
    from {{ model }}
    where {{ is_untested(day, model, columns) if day else 'true' }}
    group by {{ columns | join(', ') }}
    having count(*) > 1 or {{ columns | join(' is null or ') }} is null
{% endtest %}
