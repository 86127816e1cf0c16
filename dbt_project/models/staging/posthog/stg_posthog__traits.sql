-- grain: one row per event that sets properties of a person or a group
with
lines as ({{ raw_lines('posthog', 'properties') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ fields('line', ['event', 'timestamp', 'person_id', 'distinct_id']) }} as fields,
        {{ json_inside('line', 'properties') }} as properties

    from lines

),

told as (

    select
        line,
        case when fields[1] = '$groupidentify' then 'group' else 'identify' end as call_type,
        {{ timestamp_or_null('fields[2]') }} as called_at,
        coalesce({{ text_or_null('fields[3]') }}, {{ text_or_null('fields[4]') }}) as user_id,
        properties,
        {{ posthog_account('properties') }} as account_id,
        json_extract_string(
            properties,
            [
                '$."$group_type"', '$."$group_key"', '$."$group_set".plan', '$."$group_set".created_at',
                '$."$group_set".country', '$."$set".email', '$."$set".first_name', '$."$set".name', '$."$set".title',
                '$."$set".time_zone', '$."$set".locale', '$."$set".created_at'
            ]
        ) as fields

    from extracted
    where
        fields[1] = '$groupidentify'
        or json_type(properties, '$."$set"') = 'OBJECT'

),

final as (

    select
        line,
        call_type,
        called_at,
        case when call_type = 'identify' then user_id end as user_id,
        case
            when call_type = 'identify' then account_id
            when fields[1] = '{{ var('posthog_group_type') }}' then {{ text_or_null('fields[2]') }}
        end as account_id,
        {{ text_or_null('fields[6]') }} as address,
        {{ text_or_null('fields[7]') }} as given_name,
        {{ text_or_null('fields[8]') }} as full_name,
        {{ text_or_null('fields[9]') }} as role,
        {{ text_or_null('fields[10]') }} as time_zone,
        {{ text_or_null('fields[11]') }} as locale,
        case
            when call_type = 'group' then {{ timestamp_or_null('fields[4]') }}
            else {{ timestamp_or_null('fields[12]') }}
        end as created_at,
        {{ text_or_null('fields[3]') }} as plan,
        {{ text_or_null('fields[5]') }} as region

    from told

)

select * from final
