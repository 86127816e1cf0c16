-- grain: one row per subscription
with
lines as ({{ raw_lines('uptake', 'subscriptions') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ fields('line', ['subscription_id', 'account_id', 'plan', 'seats', 'arr', 'started_on', 'ended_on']) }}
            as fields

    from lines

),

typed as (

    select
        line,
        {{ text_or_null('fields[1]') }} as subscription_id,
        {{ text_or_null('fields[2]') }} as account_id,
        {{ text_or_null('fields[3]') }} as plan,
        try_cast(fields[4] as bigint) as seats,
        {{ number_or_null('fields[5]') }} as arr,
        {{ date_or_null('fields[6]') }} as started_on,
        {{ date_or_null('fields[7]') }} as ended_on

    from extracted

),

final as (

    select
        subscription_id,
        account_id,
        plan,
        seats,
        arr,
        started_on,
        ended_on

    from typed
    where subscription_id is not null and account_id is not null
    qualify row_number() over (partition by subscription_id order by started_on desc nulls last, line desc) = 1

)

select * from final
