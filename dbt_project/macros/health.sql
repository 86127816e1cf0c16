{#- Health, for every model that tells it: components, score, coverage and bands. Formulas: doc('health'). -#}

{% macro unless_by_nobody_known(value, count_contacts, is_unused) -%}
    {#- NULL where an account was used, and by nobody known: how many of its people were there is not told. -#}
    case when {{ count_contacts }} > 0 or {{ is_unused }} then {{ value }} end
{%- endmacro %}

{% macro health_components() -%}
    {#-
        The four components as columns health_<component>, each from 0 (bad) to 1 (good), NULL where not known; made of
        adoption_breadth, seats_used_share, usage_trend and days_since_last_use.
    -#}
    adoption_breadth as health_breadth,
    {{ clamp('seats_used_share', 0, 1) }} as health_seats,
    -- Steady use is 0.5, doubled or more is 1, vanished is 0.
    {{ clamp('(usage_trend + 1) / 2', 0, 1) }} as health_trend,
    -- Used today is 1; a whole window ago, or longer, is 0.
    {{ clamp('1 - cast(days_since_last_use as double) / ' ~ var('window_days'), 0, 1) }} as health_recency
{%- endmacro %}

{% macro health_weight_known() -%}
    {#- The sum of the weights whose component is known. -#}
    {%- for component in ['breadth', 'seats', 'trend', 'recency'] -%}
    case when health_{{ component }} is not null then {{ var('health_weight_' ~ component) }} else 0 end
    {{- ' + ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro health_score() -%}
    {#-
        The weighted mean of what is known; NULL when nothing is. Rounded, because sums of floats stray by their last
        bits: 0.4 + 0.2 of 0.6 is more than 1, and what is worth the threshold of a band may be less than it.
    -#}
    round(
        (
            {%- for component in ['breadth', 'seats', 'trend', 'recency'] %}
            coalesce({{ var('health_weight_' ~ component) }} * health_{{ component }}, 0)
            {{- ' +' if not loop.last }}
            {%- endfor %}
        ) / nullif({{ health_weight_known() }}, 0),
        9
    )
{%- endmacro %}

{% macro health_coverage() -%}
    {#- The share of the weights whose component is known. -#}
    ({{ health_weight_known() }}) / (
        {%- for component in ['breadth', 'seats', 'trend', 'recency'] -%}
        {{ var('health_weight_' ~ component) }}{{ ' + ' if not loop.last }}
        {%- endfor -%}
    )
{%- endmacro %}

{% macro band(value, age_days, bands) -%}
    {#-
        green, yellow or red by the age of the account; NULL where value or age is not known.
        bands: a var, rows of {from_age_days, yellow, green} in rising age: yellow and green begin at these values.
    -#}
    case
        when {{ value }} is null or {{ age_days }} is null then null
        {%- for row in var(bands) | reverse %}
        {%- if loop.last %}
        when {{ value }} >= {{ row.green }} then 'green'
        when {{ value }} >= {{ row.yellow }} then 'yellow'
        {%- else %}
        when {{ age_days }} >= {{ row.from_age_days }} then
            case
                when {{ value }} >= {{ row.green }} then 'green'
                when {{ value }} >= {{ row.yellow }} then 'yellow'
                else 'red'
            end
        {%- endif %}
        {%- endfor %}
        else 'red'
    end
{%- endmacro %}

{% macro covers_window(log_age) -%}
    {#- Whether a usage log that began so many days ago holds the window that ends today, whole. -#}
    {{ log_age }} >= {{ var('window_days') - 1 }}
{%- endmacro %}

{% macro covers_previous_window(log_age) -%}
    {{ log_age }} >= {{ 2 * var('window_days') - 1 }}
{%- endmacro %}
