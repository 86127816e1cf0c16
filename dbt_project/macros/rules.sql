{#- Association rules: how much likelier something is for those who have something else. -#}

{% macro shrunk_lift(count_both, count_has, share) -%}
    {#-
        How many times as often as everybody (`share`) those who have the one use the other: 1 = just as often.
        `rule_prior` imagined ones who behave like everybody are added, so that few observations say little.
    -#}
    ({{ count_both }} + {{ var('rule_prior') }} * ({{ share }})) / ({{ count_has }} + {{ var('rule_prior') }})
    / nullif({{ share }}, 0)
{%- endmacro %}
