-- grain: one row per support ticket; calls do not tell of it
{{ empty_relation({
    'ticket_id': 'varchar', 'account_id': 'varchar', 'user_id': 'varchar', 'opened_at': 'timestamp',
    'closed_at': 'timestamp', 'severity': 'varchar', 'cause': 'varchar', 'is_escalation': 'boolean',
}) }}
