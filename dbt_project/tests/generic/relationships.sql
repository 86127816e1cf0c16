{% test relationships(model, column_name, to, field) %}
    {#-
        Every value is one of another relation's. As dbt's own test of this name, but each value is looked up once, and
        fails once, however many rows have it: daily facts name an account thousands of times.
    -#}
    with
    named as (

        select distinct {{ column_name }} as name
        from {{ model }}

    ),

    known as (

        select {{ field }} as name
        from {{ to }}

    ),

    final as (

        select named.name as {{ column_name }}

        from named
        left join known
            on named.name = known.name
        where named.name is not null and known.name is null

    )

    select * from final
{% endtest %}
