-- grain: one row per line of the inputs beside the events that cannot be used; all lines are in the event files
{{ empty_relation({'file': 'varchar', 'line_no': 'bigint', 'reason': 'varchar'}) }}
