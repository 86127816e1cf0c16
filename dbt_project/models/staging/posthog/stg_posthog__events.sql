-- grain: one row per line of the event files that is not blank, readable or not
with
lines as ({{ raw_lines('posthog', 'events') }}),

extracted as (

    select
        file,
        line,
        read_order,
        {{ fields('line', ['uuid', 'timestamp', 'created_at', 'person_id', 'distinct_id', 'event']) }} as fields,
        {{ json_inside('line', 'properties') }} as properties

    from lines

),

typed as (

    select
        file,
        line,
        read_order,
        {{ text_or_null('fields[1]') }} as event_id,
        fields[2] as raw_occurred_at,
        {{ unchecked_timestamp('fields[2]') }} as occurred_at,
        {{ unchecked_timestamp('fields[3]') }} as received_at,
        {{ posthog_account('properties') }} as account_id,
        coalesce({{ text_or_null('fields[4]') }}, {{ text_or_null('fields[5]') }}) as user_id,
        {{ text_or_null('fields[6]') }} as event_name,
        coalesce(properties ->> '$."$is_identified"' = 'false', false)
        or coalesce(properties ->> '$."$process_person_profile"' = 'false', false) as is_visitor,
        cast(properties as varchar) as properties

    from extracted

),

final as (

    select
        file,
        line,
        read_order,
        -- Events about people and groups are read by stg_posthog__traits. Visitors whom no account and no user is known
        -- of do not use what an account has bought.
        coalesce(
            event_name not in ('$identify', '$set', '$groupidentify', '$create_alias', '$merge_dangerously')
            and not (is_visitor and account_id is null),
            true
        ) as is_usage,
        event_id,
        occurred_at,
        {{ in_calendar('received_at') }} as received_at,
        account_id,
        user_id,
        event_name,
        cast(1 as double) as quantity,
        properties,
        {{ problem_of('line', [
            ('event_name', 'no event'),
            ('account_id', 'no group of the type ' ~ var('posthog_group_type')),
            ('raw_occurred_at', 'no timestamp'),
            (in_calendar('occurred_at'), 'timestamp is not an ISO 8601 time'),
        ]) }} as problem

    from typed

)

select * from final
