{#-
    What `by_file` keeps true about the lines of event files: their numbers and ids, which of them count, and what they
    add up to. Work beyond one pass is done for the lines that need it only.
-#}

{% macro complete_lines(lines, files=none) -%}
    {#- What lines cannot tell one by one, once they are in the table. -#}
    {{ number_flaws(lines, files) }};
    {{ name_copies(lines, files) }}
{%- endmacro %}

{% macro number_flaws(lines, files=none) -%}
    {#-
        A file is read as a whole, so its lines follow each other without a gap: where a flawed one stands in the file
        is known from its distance to the first. DuckDB keeps the order in which it reads, with several threads as well:
        a row's number in the table, which holds while nothing is deleted, is the order.
    -#}
    update {{ lines }} as lines
    set line_no = numbered.line_no
    from (
        select
            unnest(line_ids) as line_id,
            unnest({{ event_line_numbers(
                'file', 'list_transform(read_orders, lambda read_order: read_order - first_read_order + 1)'
            ) }}) as line_no
        from (
            select
                file,
                list(rowid) filter (where problem is not null) as line_ids,
                list(coalesce(read_order, rowid)) filter (where problem is not null) as read_orders,
                case
                    when max(coalesce(read_order, rowid)) - min(coalesce(read_order, rowid)) + 1 = count(*)
                        then min(coalesce(read_order, rowid))
                    else error('the lines of ' || file || ' are not in their order')
                end as first_read_order
            from {{ lines }}
            {{ 'where file in ' ~ files if files }}
            group by file
            having count(problem) > 0
        )
    ) as numbered
    where lines.rowid = numbered.line_id
{%- endmacro %}

{% macro id_of_copy(line_hash, copy_in_file) -%}
    {#- The id of a line without one: what it says, and how many such lines there are up to it in its file. -#}
    md5({{ line_hash }} || ':' || {{ copy_in_file }})
{%- endmacro %}

{% macro name_copies(lines, files=none) -%}
    {#-
        Two equal lines without an id in one file are two events; the same file downloaded twice is not. All copies of a
        line were read with the id of the first.
    -#}
    update {{ lines }} as lines
    set event_id = copies.event_id, event_hash = hash(copies.event_id)
    from (
        select
            unnamed.rowid as line_id,
            row_number() over (partition by unnamed.file, unnamed.event_id order by unnamed.rowid) as copy_in_file,
            {{ id_of_copy('unnamed.event_id', 'copy_in_file') }} as event_id
        from {{ lines }} as unnamed
        inner join (
            select
                file,
                event_hash
            from {{ lines }}
            where not has_id and event_hash is not null {{ 'and file in ' ~ files if files }}
            group by file, event_hash
            having count(*) > 1
        ) as repeated
            on unnamed.file = repeated.file and unnamed.event_hash = repeated.event_hash
        where not unnamed.has_id
        qualify copy_in_file > 1
    ) as copies
    where lines.rowid = copies.line_id
{%- endmacro %}

{% macro lines_of_files(lines, files) -%}
    {#- Starts the list of lines that come or go in this build: ids and days that have to be looked at. -#}
    create or replace temporary table uptake_touched_lines as {{ select_touched(lines, '(' ~ files ~ ')') }}
{%- endmacro %}

{% macro select_touched(lines, files) -%}
    select event_hash, date_day from {{ lines }} where event_hash is not null and file in {{ files }}
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
                    rowid asc
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
        files.file_version,
        coalesce(counted.count_lines, 0) as count_lines,
        coalesce(counted.count_quarantined, 0) as count_quarantined
    from uptake_event_files as files
    left join (
        select
            file,
            count(event_hash) + count(problem) as count_lines,
            count(problem) as count_quarantined
        from {{ lines }}
        {{ 'where file in ' ~ files if files }}
        group by file
    ) as counted
        on files.file = counted.file
    {{ 'where files.file in ' ~ files if files }}
{%- endmacro %}

{% macro count_of_days(lines, days=none) -%}
    {#-
        `fingerprint` differs when anything about the events does, and does not tell from which files they came.
        `count_naming_subscription` tells the gate on which days there is something to compare with subscriptions.
    -#}
    select
        date_day,
        event_name,
        count(*) filter (where not is_duplicate) as count_events,
        count(*) filter (where not is_duplicate and user_id is null) as count_unattributed,
        count(*) filter (where is_duplicate) as count_duplicates,
        count(*) filter (where contains(cast(properties as varchar), 'subscription_id')) as count_naming_subscription,
        min(occurred_at) filter (where not is_duplicate) as first_occurred_at,
        max(occurred_at) filter (where not is_duplicate) as last_occurred_at,
        coalesce(
            sum(hash(
                event_hash, occurred_at, received_at, account_id, user_id, event_name, quantity, properties
            )) filter (where not is_duplicate),
            0
        ) as fingerprint
    from {{ lines }}
    where is_duplicate is not null {{ 'and date_day in ' ~ days if days }}
    group by date_day, event_name
{%- endmacro %}
