{#-
    Sets of days as bits of one number: a pass over two windows then counts distinct days of any group. Engines call
    the functions differently.
-#}

{% macro day_bit(age) -%}
    {#- A set of days as the bits of one number, bit 0 = as_of's day: two windows of 28 days have room in 63 bits. -#}
    cast(1 as bigint) << cast({{ age }} as integer)
{%- endmacro %}

{% macro count_day_bits(day_bits, age, days) -%}
    {#- How many of these days are in the set: from `age` days ago on backwards. NULL is the empty set. -#}
    cast(coalesce(bit_count(({{ day_bits }} >> {{ age }}) & ((cast(1 as bigint) << {{ days }}) - 1)), 0) as bigint)
{%- endmacro %}

{% macro all_day_bits() -%}
    {#- The aggregate function that puts sets together. -#}
    bit_or
{%- endmacro %}

{% macro older_day_bits(day_bits, days_since, days) -%}
    {#- A set as it was `days_since` days ago, without the days that have left the last `days` since. -#}
    {%- set step = 'cast(' ~ clamp('coalesce(' ~ days_since ~ ', 0)', 0, days) ~ ' as integer)' -%}
    ({{ day_bits }} & ((cast(1 as bigint) << ({{ days }} - {{ step }})) - 1)) << {{ step }}
{%- endmacro %}

{% macro renewed_day_bits(day_bits, days_since, days, counted_days, counted_bits) -%}
    {#-
        The same with what was counted anew: `counted_bits`, of the days `counted_days`. A set of later (days_since < 0)
        is not known any more, and NULL is the empty set.
    -#}
    coalesce(
        case when {{ days_since }} >= 0
            then ({{ older_day_bits(day_bits, days_since, days) }}) & ~coalesce({{ counted_days }}, 0)
        end, 0
    ) | coalesce({{ counted_bits }}, 0)
{%- endmacro %}
