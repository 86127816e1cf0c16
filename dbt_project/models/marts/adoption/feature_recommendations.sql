-- grain: one row per contact and rank, the first few; the rule of choice is doc('feature_recommendations')
with
contacts as (select * from {{ ref('dim_contacts') }}),

account_features as (select * from {{ ref('account_features') }}),

contact_features as (select * from {{ ref('contact_features') }}),

features as (select * from {{ ref('dim_features') }}),

reach as (select * from {{ ref('feature_reach') }}),

rules as (select * from {{ ref('int_feature_rules') }}),

enrollments as (select * from {{ ref('stg_ledger__enrollments') }}),

enrollment_contacts as (select * from {{ ref('stg_ledger__enrollment_contacts') }}),

as_of as (select * from {{ ref('int_as_of') }}),

-- In every arm, those who got no mail too: else what is recommended would tell who did.
taught_recently as (

    select distinct
        enrollment_contacts.contact_id,
        enrollment_contacts.feature_key

    from enrollment_contacts
    inner join enrollments
        on enrollment_contacts.enrollment_id = enrollments.enrollment_id
    cross join as_of
    where
        {{ days_ago('enrollments.enrolled_at', 'as_of.as_of_day') }} < {{ var('teach_again_after_days') }}

),

-- Contacts active in the window, by role, and those of them who use a feature; where the account has paid for it.
active_contacts as (

    select distinct
        contacts.contact_id,
        contacts.account_id,
        contacts.role

    from contact_features
    inner join contacts
        on contact_features.contact_id = contacts.contact_id
    where contact_features.days_used_28 > 0

),

active_roles as (

    select
        account_id,
        role,
        count(*) as count_active

    from active_contacts
    group by account_id, role

),

role_chances as (

    select
        active_roles.role,
        account_features.feature_key,
        sum(active_roles.count_active) as count_active

    from active_roles
    inner join account_features
        on active_roles.account_id = account_features.account_id
    where account_features.is_entitled
    group by active_roles.role, account_features.feature_key

),

role_uses as (

    select
        active_contacts.role,
        contact_features.feature_key,
        count(*) as count_using

    from contact_features
    inner join active_contacts
        on contact_features.contact_id = active_contacts.contact_id
    inner join account_features
        on
            contact_features.account_id = account_features.account_id
            and contact_features.feature_key = account_features.feature_key
    where contact_features.days_used_28 > 0 and account_features.is_entitled
    group by active_contacts.role, contact_features.feature_key

),

role_shares as (

    select
        role_chances.role,
        role_chances.feature_key,
        role_chances.count_active,
        coalesce(role_uses.count_using, 0) as count_using,
        {{ ratio(
            'sum(role_uses.count_using) over (partition by role_chances.feature_key)',
            'sum(role_chances.count_active) over (partition by role_chances.feature_key)'
        ) }} as share

    from role_chances
    left join role_uses
        on role_chances.role = role_uses.role and role_chances.feature_key = role_uses.feature_key

),

seldom as (

    select
        role,
        feature_key

    from role_shares
    where
        role is not null
        and {{ shrunk_lift('count_using', 'count_active', 'share') }} < {{ var('role_seldom_lift') }}
        -- Had the role used it like everybody, there would be enough people to see it.
        and share * count_active >= {{ var('rule_prior') }}

),

-- What an account uses speaks for what it does not use.
advised as (

    select
        account_features.account_id,
        rules.feature_key,
        avg(ln(rules.lift)) as score,
        max(rules.lift) as lift

    from account_features
    inner join rules
        on account_features.feature_key = rules.has_feature_key
    where account_features.is_entitled and account_features.days_used_28 > 0
    group by account_features.account_id, rules.feature_key
    having avg(ln(rules.lift)) > 0

),

-- Who has no habit yet begins with the ladder: what goes well with the habits of colleagues comes later.
habits as (

    select distinct contact_id
    from contact_features
    where adoption_state = 'adopted'

),

-- `feature_no` counts the features up the ladder, those without a rung after it; it decides between equals.
numbered as (

    select
        *,
        row_number() over (
            order by case when ladder_rank is null then 1 else 0 end, ladder_rank, feature_key
        ) as feature_no

    from features

),

-- Nothing comes before what it builds on has been used: so what builds on something is looked up from there.
possible as (

    select
        base.contact_id,
        base.account_id,
        numbered.feature_key,
        own.adoption_state,
        base.adoption_state as base_state

    from contact_features as base
    inner join numbered
        on base.feature_key = numbered.prerequisite
    left join contact_features as own
        on base.contact_id = own.contact_id and numbered.feature_key = own.feature_key

    union all

    select
        contacts.contact_id,
        contacts.account_id,
        numbered.feature_key,
        own.adoption_state,
        cast(null as varchar) as base_state

    from contacts
    cross join numbered
    left join contact_features as own
        on contacts.contact_id = own.contact_id and numbered.feature_key = own.feature_key
    where numbered.prerequisite is null

),

-- Who has adopted it needs no lesson.
candidates as (

    select
        possible.contact_id,
        possible.account_id,
        possible.feature_key,
        numbered.feature_no,
        numbered.ladder_rank,
        possible.adoption_state,
        possible.adoption_state is not null or coalesce(possible.base_state = 'adopted', false) as is_step,
        seldom.feature_key is not null as is_seldom,
        case when habits.contact_id is not null then advised.score end as score

    from possible
    inner join account_features
        on
            possible.account_id = account_features.account_id
            and possible.feature_key = account_features.feature_key
            and account_features.is_entitled
    inner join numbered
        on possible.feature_key = numbered.feature_key
    inner join contacts
        on possible.contact_id = contacts.contact_id
    left join taught_recently
        on possible.contact_id = taught_recently.contact_id and possible.feature_key = taught_recently.feature_key
    left join seldom
        on contacts.role = seldom.role and possible.feature_key = seldom.feature_key
    left join habits
        on possible.contact_id = habits.contact_id
    left join advised
        on possible.account_id = advised.account_id and possible.feature_key = advised.feature_key
    where coalesce(possible.adoption_state, 'never') <> 'adopted' and taught_recently.contact_id is null

),

bests as (

    select
        contact_id,
        min(case when is_step and not is_seldom and ladder_rank is not null then feature_no end) as lowest_step,
        max(case when not is_seldom then score end) as best_score

    from candidates
    group by contact_id

),

placed as (

    select
        candidates.*,
        case
            when candidates.is_seldom then 8
            when candidates.feature_no = bests.lowest_step then 1
            when candidates.score = bests.best_score then 2
            when candidates.ladder_rank is not null and candidates.is_step then 3
            when candidates.ladder_rank is not null then 4
            when candidates.is_step then 5
            when candidates.score is not null then 6
            else 7
        end as place

    from candidates
    inner join bests
        on candidates.contact_id = bests.contact_id

),

-- One number to sort by, which is much cheaper than a row of columns: the place, and within it a fraction below 1.
ranked as (

    select
        placed.*,
        reach.account_reach,
        row_number() over (
            partition by placed.contact_id
            order by
                placed.place + case
                    when placed.place = 6 then 0.99 / (1 + placed.score)
                    when placed.place = 7 then 0.99 * (1 - coalesce(reach.account_reach, 0))
                    else 0
                end + 0.000001 * placed.feature_no
        ) as recommendation_rank

    from placed
    left join reach
        on placed.feature_key = reach.feature_key

),

chosen as (

    select
        *,
        case
            when place = 2 or place = 6 then 'rule'
            when ladder_rank is not null then 'ladder'
            else 'reach'
        end as chosen_by

    from ranked
    where recommendation_rank <= {{ var('recommendations_per_contact') }}

),

-- The strongest word is the reason that is told.
reasons as (

    select
        chosen.contact_id,
        chosen.feature_key,
        min(because.name) as because_name,
        max(rules.lift) as lift

    from chosen
    inner join advised
        on chosen.account_id = advised.account_id and chosen.feature_key = advised.feature_key
    inner join rules
        on chosen.feature_key = rules.feature_key and advised.lift = rules.lift
    inner join account_features
        on
            chosen.account_id = account_features.account_id
            and rules.has_feature_key = account_features.feature_key
            and account_features.is_entitled
            and account_features.days_used_28 > 0
    inner join features as because
        on rules.has_feature_key = because.feature_key
    where chosen.chosen_by = 'rule'
    group by chosen.contact_id, chosen.feature_key

),

final as (

    select
        chosen.contact_id,
        chosen.account_id,
        chosen.recommendation_rank,
        chosen.feature_key,
        features.name
        || case chosen.adoption_state
            when 'tried' then ' was tried, but is not a habit yet'
            when 'lapsed' then ' was a habit once and is not any more'
            else ' is in the plan and not used yet'
        end
        || coalesce('; it builds on ' || prerequisites.name || ', already in use', '')
        || case chosen.chosen_by
            when 'ladder' then '; rung ' || chosen.ladder_rank || ' of the ladder'
            when 'rule'
                then
                    '; accounts which use ' || reasons.because_name || ' also use it, '
                    || cast(cast(reasons.lift as decimal(10, 1)) as varchar) || ' times as often'
            else
                coalesce('; used by ' || cast(round(100 * chosen.account_reach) as bigint) || ' % of accounts', '')
        end as reason,
        chosen.chosen_by

    from chosen
    inner join features
        on chosen.feature_key = features.feature_key
    left join features as prerequisites
        on features.prerequisite = prerequisites.feature_key
    left join reasons
        on chosen.contact_id = reasons.contact_id and chosen.feature_key = reasons.feature_key

)

select * from final
