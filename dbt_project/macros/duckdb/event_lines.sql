{#- What `by_file` keeps true about the lines of event files: which of them count, and what they add up to. -#}

{% macro lines_of_files(lines, files) -%}
    {#- Starts the list of lines that come or go in this build: ids and days that have to be looked at. -#}
    create or replace temporary table uptake_touched_lines as {{ select_touched(lines, '(' ~ files ~ ')') }}
{%- endmacro %}

{% macro select_touched(lines, files) -%}
    select event_hash, date_day from {{ lines }} where problem is null and file in {{ files }}
{%- endmacro %}

{% macro misjudged_lines(lines, event_hashes=none) -%}
    {#-
        Lines whose `is_duplicate` is not what it should be: line_id, date_day, is_duplicate (as it should be). All
        lines are looked at, or those of some ids. Hashes are compared first, and ids only where those agree: numbers
        are grouped in a fraction of the time.

        Of several lines with one id the last received counts; the rest of the order only makes it the same every time.
    -#}
    with repeated as (
        select event_hash
        from {{ lines }}
        where {{ 'event_hash in ' ~ event_hashes if event_hashes else 'event_hash is not null' }}
        group by event_hash
        having count(*) > 1 or bool_or(is_duplicate)
    ),

    judged as (
        select
            rowid as line_id,
            date_day,
            is_duplicate as was_duplicate,
            row_number() over (
                partition by event_id
                order by
                    received_at desc nulls last,
                    occurred_at asc,
                    account_id asc,
                    user_id asc,
                    event_name asc,
                    quantity asc,
                    properties asc,
                    file asc,
                    read_order asc
            ) > 1 as is_duplicate
        from {{ lines }}
        where event_hash in (select event_hash from repeated)
    )

    select line_id, date_day, is_duplicate from judged where is_duplicate <> was_duplicate
{%- endmacro %}

{% macro judge_again(lines) -%}
    update {{ lines }} as lines
    set is_duplicate = misjudged.is_duplicate
    from uptake_misjudged as misjudged
    where lines.rowid = misjudged.line_id
{%- endmacro %}

{% macro count_of_files(lines, files=none) -%}
    select
        files.file,
        any_value(files.file_version) as file_version,
        count(lines.file) as count_lines,
        count(lines.problem) as count_quarantined
    from uptake_event_files as files
    left join {{ lines }} as lines on files.file = lines.file
    {{ 'where files.file in ' ~ files if files }}
    group by files.file
{%- endmacro %}

{% macro count_of_days(lines, days=none) -%}
    {#- `fingerprint` differs when anything about the events does, and does not tell from which files they came. -#}
    select
        date_day,
        event_name,
        count(*) filter (where not is_duplicate) as count_events,
        count(*) filter (where not is_duplicate and user_id is null) as count_unattributed,
        count(*) filter (where is_duplicate) as count_duplicates,
        min(occurred_at) filter (where not is_duplicate) as first_occurred_at,
        max(occurred_at) filter (where not is_duplicate) as last_occurred_at,
        coalesce(
            sum(hash(
                event_id, occurred_at, received_at, account_id, user_id, event_name, quantity, properties
            )) filter (where not is_duplicate),
            0
        ) as fingerprint
    from {{ lines }}
    where problem is null {{ 'and date_day in ' ~ days if days }}
    group by date_day, event_name
{%- endmacro %}
