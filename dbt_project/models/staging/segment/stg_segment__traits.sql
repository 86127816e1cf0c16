-- grain: one row per identify or group call; traits of users and of accounts
with
lines as ({{ raw_lines('segment', 'calls') }}),

-- Few calls tell of anybody; to look for all traits in every line would cost four times as much.
telling as (

    select line
    from lines
    where json_extract_string(line, '$.type') in ('identify', 'group')

),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ fields('line', [
            'type', 'timestamp', 'userId', 'groupId', 'context.groupId', 'traits.email', 'traits.firstName',
            'traits.lastName', 'traits.name', 'traits.title', 'context.timezone', 'context.locale', 'traits.createdAt',
            'traits.plan', 'traits.address.country'
        ]) }} as fields

    from telling

),

final as (

    select
        line,
        fields[1] as call_type,
        {{ timestamp_or_null('fields[2]') }} as called_at,
        {{ text_or_null('fields[3]') }} as user_id,
        case
            when fields[1] = 'group' then {{ text_or_null('fields[4]') }}
            else {{ text_or_null('fields[5]') }}
        end as account_id,
        {{ text_or_null('fields[6]') }} as address,
        {{ text_or_null('fields[7]') }} as given_name,
        coalesce(
            {{ text_or_null('fields[9]') }}, {{ text_or_null("concat_ws(' ', fields[7], fields[8])") }}
        ) as full_name,
        {{ text_or_null('fields[10]') }} as role,
        {{ text_or_null('fields[11]') }} as time_zone,
        {{ text_or_null('fields[12]') }} as locale,
        {{ timestamp_or_null('fields[13]') }} as created_at,
        {{ text_or_null('fields[14]') }} as plan,
        {{ text_or_null('fields[15]') }} as region

    from extracted

)

select * from final
