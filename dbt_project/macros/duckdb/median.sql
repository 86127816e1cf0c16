{% macro median_of(value) -%}
    {#- The aggregate function: the middle value, or the mean of the two in the middle; NULL of no rows. -#}
    median({{ value }})
{%- endmacro %}
