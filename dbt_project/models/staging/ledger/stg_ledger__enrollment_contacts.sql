-- grain: one row per enrollment and contact
{{ ledger_table('enrollment_contacts', {
    'enrollment_id': 'bigint', 'contact_id': 'varchar', 'feature_key': 'varchar',
}) }}
