-- grain: one row per account and user of contacts.ndjson, with the address: a view, never materialised
with
lines as ({{ raw_lines('uptake', 'contacts') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ fields('line', [
            'account_id', 'user_id', 'address', 'given_name', 'full_name', 'role', 'time_zone', 'locale', 'created_at',
            'consent_basis', 'consent_at', 'consent_expires_at'
        ]) }} as fields

    from lines

),

typed as (

    select
        line,
        {{ text_or_null('fields[1]') }} as account_id,
        {{ text_or_null('fields[2]') }} as user_id,
        {{ text_or_null('fields[3]') }} as address,
        {{ text_or_null('fields[4]') }} as given_name,
        {{ text_or_null('fields[5]') }} as full_name,
        {{ text_or_null('fields[6]') }} as role,
        {{ text_or_null('fields[7]') }} as time_zone,
        {{ text_or_null('fields[8]') }} as locale,
        {{ timestamp_or_null('fields[9]') }} as created_at,
        {{ text_or_null('fields[10]') }} as consent_basis,
        {{ timestamp_or_null('fields[11]') }} as consent_at,
        {{ timestamp_or_null('fields[12]') }} as consent_expires_at

    from extracted

),

-- Somebody described twice keeps one description, the same one in whatever order the lines come.
final as (

    select
        account_id,
        user_id,
        address,
        given_name,
        full_name,
        role,
        time_zone,
        locale,
        created_at,
        consent_basis,
        consent_at,
        consent_expires_at

    from typed
    where account_id is not null and user_id is not null
    qualify row_number() over (partition by account_id, user_id order by created_at desc nulls last, line desc) = 1

)

select * from final
