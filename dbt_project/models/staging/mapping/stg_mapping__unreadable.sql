-- grain: one row per line of the inputs beside the events that cannot be used
{%- for input in ['accounts', 'contacts', 'subscriptions', 'tickets'] %}
{{ mapped_flaws(input) }}
{{ 'union all' if not loop.last }}
{%- endfor %}
