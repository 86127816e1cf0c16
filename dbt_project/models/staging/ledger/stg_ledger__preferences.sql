-- grain: one row per answer of a contact
{{ ledger_table('preferences', {
    'preference_id': 'bigint', 'contact_id': 'varchar', 'answer': 'varchar', 'feature_key': 'varchar', 'given_at': 'timestamp',
}) }}
