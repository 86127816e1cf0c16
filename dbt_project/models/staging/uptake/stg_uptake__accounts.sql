-- grain: one row per account of accounts.ndjson
with
lines as ({{ raw_lines('uptake', 'accounts') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ fields('line', [
            'account_id', 'plan', 'created_at', 'arr', 'currency', 'seats', 'region', 'time_zone', 'locale', 'csm',
            'renewal_on', 'churned_on', 'is_internal'
        ]) }} as fields

    from lines

),

typed as (

    select
        line,
        {{ text_or_null('fields[1]') }} as account_id,
        {{ text_or_null('fields[2]') }} as plan,
        {{ timestamp_or_null('fields[3]') }} as created_at,
        {{ number_or_null('fields[4]') }} as arr,
        {{ text_or_null('fields[5]') }} as currency,
        try_cast(fields[6] as bigint) as seats,
        {{ text_or_null('fields[7]') }} as region,
        {{ text_or_null('fields[8]') }} as time_zone,
        {{ text_or_null('fields[9]') }} as locale,
        {{ text_or_null('fields[10]') }} as csm,
        {{ date_or_null('fields[11]') }} as renewal_on,
        {{ date_or_null('fields[12]') }} as churned_on,
        try_cast(fields[13] as boolean) as is_internal

    from extracted

),

-- An account described twice keeps one description, the same one in whatever order the lines come.
final as (

    select
        account_id,
        plan,
        created_at,
        arr,
        currency,
        seats,
        region,
        time_zone,
        locale,
        csm,
        renewal_on,
        churned_on,
        is_internal

    from typed
    where account_id is not null
    qualify row_number() over (partition by account_id order by created_at desc nulls last, line desc) = 1

)

select * from final
