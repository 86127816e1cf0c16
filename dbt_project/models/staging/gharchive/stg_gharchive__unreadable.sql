-- grain: one row per line of the inputs beside the events that cannot be used; the archive has no other inputs
{{ empty_relation({'file': 'varchar', 'ordinal': 'bigint', 'line_no': 'bigint', 'reason': 'varchar'}) }}
