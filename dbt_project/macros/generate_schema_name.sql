{% macro generate_schema_name(custom_schema_name, node) -%}
    {#- Schemas are called what the layers are called, in every target. -#}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
