-- grain: one row per line of the call files that is not blank, readable or not
with
lines as ({{ raw_lines('segment', 'events') }}),

extracted as (

    select
        file,
        line,
        read_order,
        {{ fields('line', [
            'messageId', 'timestamp', 'originalTimestamp', 'receivedAt', 'context.groupId', 'userId', 'type', 'event',
            'name', 'category', 'properties', 'groupId'
        ]) }} as fields

    from lines

),

typed as (

    select
        file,
        line,
        read_order,
        {{ text_or_null('fields[1]') }} as event_id,
        coalesce(fields[2], fields[3]) as raw_occurred_at,
        {{ unchecked_timestamp('coalesce(fields[2], fields[3])') }} as occurred_at,
        {{ unchecked_timestamp('fields[4]') }} as received_at,
        {{ text_or_null('fields[5]') }} as account_id,
        {{ text_or_null('fields[6]') }} as user_id,
        coalesce({{ text_or_null('fields[7]') }}, '') as call_type,
        {{ text_or_null('fields[8]') }} as track_name,
        coalesce({{ text_or_null('fields[9]') }}, {{ text_or_null('fields[10]') }}) as page_name,
        fields[11] as properties,
        {{ text_or_null('fields[12]') }} as group_id

    from extracted

),

named as (

    select
        *,
        case
            when call_type = 'track' then track_name
            when call_type in ('page', 'screen') then call_type || '.' || coalesce(page_name, 'unnamed')
        end as event_name,
        -- Calls about users and accounts are read by stg_segment__traits. Visitors whom no account and no user is known
        -- of do not use what an account has bought.
        case
            when call_type = 'group' then group_id is null
            when call_type in ('identify', 'alias', 'delete') then false
            when call_type in ('track', 'page', 'screen') then account_id is not null or user_id is not null
            else true
        end as is_usage

    from typed

),

final as (

    select
        file,
        line,
        read_order,
        is_usage,
        event_id,
        occurred_at,
        {{ in_calendar('received_at') }} as received_at,
        account_id,
        user_id,
        event_name,
        cast(1 as double) as quantity,
        properties,
        {{ problem_of('line', [
            ("nullif(call_type = 'group', true)", 'no groupId'),
            ("nullif(call_type not in ('track', 'page', 'screen'), true)", 'type is not one of Segment'),
            ('account_id', 'no context.groupId'),
            ('event_name', 'no event'),
            ('raw_occurred_at', 'no timestamp'),
            (in_calendar('occurred_at'), 'timestamp is not an ISO 8601 time'),
        ]) }} as problem

    from named

)

select * from final
