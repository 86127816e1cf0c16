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

preferences as (select * from {{ ref('stg_ledger__preferences') }}),

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

-- Who has answered that they need no lesson on a feature gets none, however long ago that was.
taught_no_more as (

    select
        contact_id,
        feature_key
    from taught_recently
    union distinct
    select
        contact_id,
        feature_key
    from preferences

),

-- `feature_no` counts the features up the ladder, those without a rung after it; it decides between equals.
ordered as (

    select
        *,
        row_number() over (
            order by case when ladder_rank is null then 1 else 0 end, ladder_rank, feature_key
        ) as feature_no

    from features

),

numbered as (

    select
        ordered.*,
        reach.account_reach,
        base.feature_no as prerequisite_no

    from ordered
    left join reach
        on ordered.feature_key = reach.feature_key
    left join ordered as base
        on ordered.prerequisite = base.feature_key

),

-- From here on contacts, accounts and features are numbers: joins on long ids would cost more than all the rest.
numbered_contacts as (

    select
        *,
        row_number() over (order by contact_id) as contact_no

    from contacts

),

entitled as (

    select
        account_features.account_id,
        numbered.feature_no,
        numbered.prerequisite,
        numbered.prerequisite_no,
        numbered.ladder_rank,
        numbered.account_reach,
        account_features.days_used_28,
        dense_rank() over (order by account_features.account_id) as account_no

    from account_features
    inner join numbered
        on account_features.feature_key = numbered.feature_key
    where account_features.is_entitled

),

used as (

    select
        numbered_contacts.contact_no,
        numbered.feature_no,
        contact_features.adoption_state,
        contact_features.days_used_28

    from contact_features
    inner join numbered_contacts
        on contact_features.contact_id = numbered_contacts.contact_id
    inner join numbered
        on contact_features.feature_key = numbered.feature_key

),

built_on as (

    select distinct prerequisite_no
    from numbered

),

-- What somebody has used that something builds on.
bases as (

    select
        used.contact_no,
        used.feature_no,
        used.adoption_state

    from used
    inner join built_on
        on used.feature_no = built_on.prerequisite_no

),

-- Who has no habit yet begins with the ladder: what goes well with the habits of colleagues comes later.
known as (

    select
        contact_no,
        max(case when days_used_28 > 0 then 1 else 0 end) as is_active,
        max(case when adoption_state = 'adopted' then 1 else 0 end) as has_habit

    from used
    group by contact_no

),

-- What an account uses speaks for what it does not use.
numbered_rules as (

    select
        numbered.feature_no,
        has.feature_no as has_feature_no,
        rules.lift,
        ln(rules.lift) as weight

    from rules
    inner join numbered
        on rules.feature_key = numbered.feature_key
    inner join numbered as has
        on rules.has_feature_key = has.feature_key

),

advised as (

    select
        entitled.account_no,
        numbered_rules.feature_no,
        avg(numbered_rules.weight) as score,
        max(numbered_rules.lift) as lift

    from entitled
    inner join numbered_rules
        on entitled.feature_no = numbered_rules.has_feature_no
    where entitled.days_used_28 > 0
    group by entitled.account_no, numbered_rules.feature_no
    having avg(numbered_rules.weight) > 0

),

-- What each contact's account has paid for, and what the contact makes of it.
possible as (

    select
        numbered_contacts.contact_no,
        numbered_contacts.role,
        coalesce(known.is_active, 0) as is_active,
        coalesce(known.has_habit, 0) as has_habit,
        entitled.account_no,
        entitled.feature_no,
        entitled.prerequisite,
        entitled.prerequisite_no,
        entitled.ladder_rank,
        entitled.account_reach,
        own.adoption_state,
        coalesce(own.days_used_28, 0) as days_used_28

    from numbered_contacts
    inner join entitled
        on numbered_contacts.account_id = entitled.account_id
    left join known
        on numbered_contacts.contact_no = known.contact_no
    left join used as own
        on numbered_contacts.contact_no = own.contact_no and entitled.feature_no = own.feature_no

),

-- Contacts active in the window, by role, and those of them who use a feature; where the account has paid for it.
role_uses as (

    select
        role,
        feature_no,
        sum(is_active) as count_active,
        sum(case when days_used_28 > 0 then 1 else 0 end) as count_using

    from possible
    group by role, feature_no

),

role_shares as (

    select
        *,
        {{ ratio(
            'sum(count_using) over (partition by feature_no)', 'sum(count_active) over (partition by feature_no)'
        ) }} as share

    from role_uses

),

seldom as (

    select
        role,
        feature_no

    from role_shares
    where
        role is not null
        and {{ shrunk_lift('count_using', 'count_active', 'share') }} < {{ var('role_seldom_lift') }}
        -- Had the role used it like everybody, there would be enough people to see it.
        and share * count_active >= {{ var('rule_prior') }}

),

taught as (

    select
        numbered_contacts.contact_no,
        numbered.feature_no

    from taught_no_more
    inner join numbered_contacts
        on taught_no_more.contact_id = numbered_contacts.contact_id
    inner join numbered
        on taught_no_more.feature_key = numbered.feature_key

),

-- Who has adopted it needs no lesson, and nothing comes before what it builds on has been used.
candidates as (

    select
        possible.contact_no,
        possible.account_no,
        possible.feature_no,
        possible.ladder_rank,
        possible.account_reach,
        possible.adoption_state,
        possible.adoption_state is not null or coalesce(base.adoption_state = 'adopted', false) as is_step,
        seldom.feature_no is not null as is_seldom,
        case when possible.has_habit = 1 then advised.score end as score

    from possible
    left join bases as base
        on possible.contact_no = base.contact_no and possible.prerequisite_no = base.feature_no
    left join taught
        on possible.contact_no = taught.contact_no and possible.feature_no = taught.feature_no
    left join seldom
        on possible.role = seldom.role and possible.feature_no = seldom.feature_no
    left join advised
        on possible.account_no = advised.account_no and possible.feature_no = advised.feature_no
    where
        coalesce(possible.adoption_state, 'never') <> 'adopted'
        and (possible.prerequisite is null or base.contact_no is not null)
        and taught.contact_no is null

),

bests as (

    select
        contact_no,
        min(case when is_step and not is_seldom and ladder_rank is not null then feature_no end) as lowest_step,
        max(case when not is_seldom then score end) as best_score

    from candidates
    group by contact_no

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
        on candidates.contact_no = bests.contact_no

),

-- One number to sort by, which is much cheaper than a row of columns: the place, and within it a fraction below 1.
ranked as (

    select
        contact_no,
        account_no,
        feature_no,
        adoption_state,
        place,
        row_number() over (
            partition by contact_no
            order by
                place + case
                    when place = 6 then 0.99 / (1 + score)
                    when place = 7 then 0.99 * (1 - coalesce(account_reach, 0))
                    else 0
                end + 0.000001 * feature_no
        ) as recommendation_rank

    from placed

),

chosen as (

    select
        ranked.*,
        case
            when ranked.place = 2 or ranked.place = 6 then 'rule'
            when numbered.ladder_rank is not null then 'ladder'
            else 'reach'
        end as chosen_by

    from ranked
    inner join numbered
        on ranked.feature_no = numbered.feature_no
    where ranked.recommendation_rank <= {{ var('recommendations_per_contact') }}

),

-- The strongest word is the reason that is told.
reasons as (

    select
        chosen.contact_no,
        chosen.feature_no,
        min(because.name) as because_name,
        max(advised.lift) as lift

    from chosen
    inner join advised
        on chosen.account_no = advised.account_no and chosen.feature_no = advised.feature_no
    inner join numbered_rules
        on chosen.feature_no = numbered_rules.feature_no and advised.lift = numbered_rules.lift
    inner join entitled
        on
            chosen.account_no = entitled.account_no
            and numbered_rules.has_feature_no = entitled.feature_no
            and entitled.days_used_28 > 0
    inner join numbered as because
        on numbered_rules.has_feature_no = because.feature_no
    where chosen.chosen_by = 'rule'
    group by chosen.contact_no, chosen.feature_no

),

final as (

    select
        numbered_contacts.contact_id,
        numbered_contacts.account_id,
        chosen.recommendation_rank,
        numbered.feature_key,
        numbered.name
        || case chosen.adoption_state
            when 'tried' then ' was tried, but is not a habit yet'
            when 'lapsed' then ' was a habit once and is not any more'
            else ' is in the plan and not used yet'
        end
        || coalesce('; it builds on ' || prerequisites.name || ', already in use', '')
        || case chosen.chosen_by
            when 'ladder' then '; rung ' || numbered.ladder_rank || ' of the ladder'
            when 'rule'
                then
                    '; accounts which use ' || reasons.because_name || ' also use it, '
                    || cast(cast(reasons.lift as decimal(10, 1)) as varchar) || ' times as often'
            else
                coalesce('; used by ' || cast(round(100 * numbered.account_reach) as bigint) || ' % of accounts', '')
        end as reason,
        chosen.chosen_by

    from chosen
    inner join numbered_contacts
        on chosen.contact_no = numbered_contacts.contact_no
    inner join numbered
        on chosen.feature_no = numbered.feature_no
    left join numbered as prerequisites
        on numbered.prerequisite_no = prerequisites.feature_no
    left join reasons
        on chosen.contact_no = reasons.contact_no and chosen.feature_no = reasons.feature_no

)

select * from final
