-- grain: one row per subscription; events do not tell of it
{{ empty_relation({
    'subscription_id': 'varchar', 'account_id': 'varchar', 'plan': 'varchar', 'seats': 'bigint', 'arr': 'double',
    'started_on': 'date', 'ended_on': 'date',
}) }}
