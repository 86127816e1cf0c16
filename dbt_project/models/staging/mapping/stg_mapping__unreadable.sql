-- grain: one row per line of the inputs beside the events that cannot be used
{{ mapped_flaws('accounts') }}
union all
{{ mapped_flaws('contacts') }}
union all
{{ mapped_flaws('subscriptions') }}
union all
{{ mapped_flaws('tickets') }}
