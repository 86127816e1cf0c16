-- grain: one row: the moment all marts are as of; what happens later is not seen by any of them

with
event_days as (select * from {{ ref('stg_event_days') }}),

events as (select * from {{ ref('stg_usage_events') }}),

moment as (

    {% if given_as_of() %}
        select {{ parse_timestamp(given_as_of()) }} as as_of
    {% elif as_of_rule() == 'last_event' %}
        select coalesce(max(last_occurred_at), {{ parse_timestamp(run_started_at.isoformat()) }}) as as_of
        from event_days
    {% else %}
        select {{ parse_timestamp(run_started_at.isoformat()) }} as as_of
    {% endif %}

),

last_days as (

    select max(event_days.date_day) as date_day
    from event_days
    inner join moment
        on event_days.first_occurred_at <= moment.as_of

),

-- Of the events themselves only those of one day are read.
newest as (

    select max(events.occurred_at) as newest_event_at
    from events
    inner join last_days
        on events.date_day = last_days.date_day
    cross join moment
    where events.occurred_at <= moment.as_of

),

final as (

    select
        moment.as_of,
        cast(moment.as_of as date) as as_of_day,
        newest.newest_event_at

    from moment
    cross join newest

)

select * from final
