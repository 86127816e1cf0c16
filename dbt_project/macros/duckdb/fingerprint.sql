{% macro fingerprint_of(columns) -%}
    {#- Of the rows of a group, in whatever order: another one when anything about them is. -#}
    sum(hash({{ columns | join(', ') }}))
{%- endmacro %}
