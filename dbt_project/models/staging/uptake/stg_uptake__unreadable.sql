-- grain: one row per line of the inputs beside the events that cannot be used
{{ unreadable_lines('uptake', {
    'accounts': ['account_id'],
    'contacts': ['account_id', 'user_id'],
    'subscriptions': ['subscription_id', 'account_id'],
    'tickets': ['ticket_id', 'account_id'],
}) }}
