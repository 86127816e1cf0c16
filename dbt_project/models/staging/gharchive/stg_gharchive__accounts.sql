-- grain: one row per account seen in the archive
with
events as (select * from {{ ref('stg_event_lines') }}),

-- The archive knows no plans: `default` is entitled to the whole catalogue.
final as (

    select distinct
        account_id,
        'default' as plan,
        cast(null as timestamp) as created_at,
        cast(null as double) as arr,
        cast(null as varchar) as currency,
        cast(null as bigint) as seats,
        cast(null as varchar) as region,
        cast(null as varchar) as time_zone,
        cast(null as varchar) as locale,
        cast(null as varchar) as csm,
        cast(null as date) as renewal_on,
        cast(null as date) as churned_on,
        cast(null as boolean) as is_internal

    from events
    where problem is null

)

select * from final
