{% test between_0_and_1(model, columns) %}
    {#- Shares that are known lie between 0 and 1. -#}
    select *
    from {{ model }}
    where {% for column in columns %}{{ 'or ' if not loop.first }}not {{ column }} between 0 and 1 {% endfor %}
{% endtest %}
