-- grain: one row per message to one contact
{{ ledger_table('sends', {'send_id': 'varchar', 'enrollment_id': 'bigint', 'status': 'varchar'}) }}
