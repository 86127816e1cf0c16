-- grain: one row per account
{%- set accounts = mapped_input('accounts') %}
with
lines as ({{ raw_lines('mapping', 'accounts') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ mapped_fields(accounts) }} as fields

    from lines

),

typed as (

    select
        line,
        {{ mapped_latest(accounts) }} as latest,
        {{ mapped(accounts, 'account_id') }} as account_id,
        {{ mapped(accounts, 'plan') }} as plan,
        {{ mapped(accounts, 'created_at', 'timestamp') }} as created_at,
        {{ mapped(accounts, 'arr', 'double') }} as arr,
        {{ mapped(accounts, 'currency') }} as currency,
        {{ mapped(accounts, 'seats', 'bigint') }} as seats,
        {{ mapped(accounts, 'region') }} as region,
        {{ mapped(accounts, 'time_zone') }} as time_zone,
        {{ mapped(accounts, 'locale') }} as locale,
        {{ mapped(accounts, 'csm') }} as csm,
        {{ mapped(accounts, 'renewal_on', 'date') }} as renewal_on,
        {{ mapped(accounts, 'churned_on', 'date') }} as churned_on,
        {{ mapped(accounts, 'is_internal', 'boolean') }} as is_internal

    from extracted

),

-- What is described twice keeps one description, the same one in whatever order the lines come.
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
    qualify
        row_number() over (
            partition by account_id order by latest desc nulls last, created_at desc nulls last, line desc
        ) = 1

)

select * from final
