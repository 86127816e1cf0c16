-- grain: one row per enrollment
{{ ledger_table('enrollments', {
    'enrollment_id': 'bigint', 'playbook': 'varchar', 'account_id': 'varchar', 'entry_no': 'bigint', 'arm': 'varchar',
    'stratum': 'varchar', 'enrolled_at': 'timestamp', 'window_ends_at': 'timestamp', 'goal_reach': 'varchar',
    'goal_by': 'varchar', 'is_measured': 'boolean',
}) }}
