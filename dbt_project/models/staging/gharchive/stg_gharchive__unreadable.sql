-- grain: one row per line of the inputs beside the events that cannot be used; the archive has no other inputs
{{ empty_relation({'file': 'varchar', 'line_no': 'bigint', 'reason': 'varchar'}) }}
