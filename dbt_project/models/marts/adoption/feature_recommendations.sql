-- grain: one row per contact and rank, the first few
with
contacts as (select * from {{ ref('dim_contacts') }}),

accounts as (select * from {{ ref('dim_accounts') }}),

account_features as (select * from {{ ref('account_features') }}),

contact_features as (select * from {{ ref('contact_features') }}),

features as (select * from {{ ref('stg_features') }}),

candidates as (

    select
        contacts.contact_id,
        contacts.account_id,
        accounts.plan,
        account_features.feature_key,
        features.name,
        features.ladder_rank,
        features.prerequisite,
        coalesce(own.adoption_state, 'never') as adoption_state

    from contacts
    inner join accounts
        on contacts.account_id = accounts.account_id
    inner join account_features
        on contacts.account_id = account_features.account_id and account_features.is_entitled
    inner join features
        on account_features.feature_key = features.feature_key
    left join contact_features as own
        on contacts.contact_id = own.contact_id and features.feature_key = own.feature_key
    -- Who has adopted it needs no lesson.
    where coalesce(own.adoption_state, 'never') <> 'adopted'

),

-- The ladder: the lowest rung first, but nothing before what it builds on has been used at least once.
ranked as (

    select
        candidates.*,
        prerequisites.name as prerequisite_name,
        row_number() over (
            partition by candidates.contact_id
            order by candidates.ladder_rank, candidates.feature_key
        ) as recommendation_rank

    from candidates
    left join features as prerequisites
        on candidates.prerequisite = prerequisites.feature_key
    left join contact_features as base
        on candidates.contact_id = base.contact_id and candidates.prerequisite = base.feature_key
    where candidates.prerequisite is null or base.feature_key is not null

),

final as (

    select
        contact_id,
        account_id,
        recommendation_rank,
        feature_key,
        name
        || case adoption_state
            when 'never' then ' is in the plan and not used yet'
            when 'tried' then ' was tried, but is not a habit yet'
            else ' was a habit once and is not any more'
        end
        || case
            when prerequisite_name is not null then '; it builds on ' || prerequisite_name || ', already in use'
            else ''
        end
        || '; rung ' || ladder_rank || ' of the ladder' as reason,
        'ladder' as chosen_by

    from ranked
    where recommendation_rank <= {{ var('recommendations_per_contact') }}

)

select * from final
