-- grain: one row per group that a $groupidentify event tells of
with
traits as (select * from {{ ref('stg_posthog__traits') }}),

-- A call tells some traits; of each trait the last word counts.
final as (

    select
        account_id,
        {{ last_word('plan', 'called_at, line') }} as plan,
        {{ last_word('created_at', 'called_at, line') }} as created_at,
        cast(null as double) as arr,
        cast(null as varchar) as currency,
        cast(null as bigint) as seats,
        {{ last_word('region', 'called_at, line') }} as region,
        cast(null as varchar) as time_zone,
        cast(null as varchar) as locale,
        cast(null as varchar) as csm,
        cast(null as date) as renewal_on,
        cast(null as date) as churned_on,
        cast(null as boolean) as is_internal

    from traits
    where call_type = 'group' and account_id is not null
    group by account_id

)

select * from final
