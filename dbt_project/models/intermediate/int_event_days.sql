-- grain: one row per UTC day on which something happened up to as_of, with the version of what is made of its events

with
event_days as (select * from {{ ref('stg_event_days') }}),

feature_patterns as (select * from {{ ref('stg_feature_patterns') }}),

friction_patterns as (select * from {{ ref('stg_friction_patterns') }}),

features as (select * from {{ ref('stg_features') }}),

as_of as (select * from {{ ref('int_as_of') }}),

patterns as (

    select
        feature_key,
        event_pattern
    from feature_patterns

    union all

    select
        'friction:' || kind as feature_key,
        event_pattern
    from friction_patterns

),

pattern_lists as (

    select {{ listed("feature_key || '=' || event_pattern", 'feature_key, event_pattern') }} as patterns
    from patterns

),

adopted_days_lists as (

    select {{ listed("feature_key || '=' || adopted_days", 'feature_key') }} as adopted_days
    from features

),

-- Names of which nothing has happened yet are left out. A day that as_of cuts in two is another one when as_of moves.
days as (

    select
        event_days.date_day,
        sum(event_days.count_events) as count_events,
        sum(event_days.fingerprint) as fingerprint,
        case when max(event_days.last_occurred_at) > max(as_of.as_of) then max(as_of.as_of) end as cut_at

    from event_days
    inner join as_of
        on event_days.first_occurred_at <= as_of.as_of
    group by event_days.date_day

),

-- Contact ids depend on the key ring, so the id of nobody tells whether it is another one.
final as (

    select
        days.date_day,
        {{ version_of([
            'days.count_events', 'days.fingerprint', 'days.cut_at', 'pattern_lists.patterns',
            'adopted_days_lists.adopted_days', contact_id("''", "''"),
        ]) }} as day_version

    from days
    cross join pattern_lists
    cross join adopted_days_lists

)

select * from final
