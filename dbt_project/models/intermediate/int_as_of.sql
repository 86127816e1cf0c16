-- grain: one row: the moment all marts are as of; what happens later is not seen by any window

with
moment as (

    {% if given_as_of() %}
        select {{ parse_timestamp(given_as_of()) }} as as_of
    {% elif as_of_rule() == 'last_event' %}
        select coalesce(max(occurred_at), {{ parse_timestamp(run_started_at.isoformat()) }}) as as_of
        from {{ ref('stg_usage_events') }}
    {% else %}
        select {{ parse_timestamp(run_started_at.isoformat()) }} as as_of
    {% endif %}

),

final as (

    select
        as_of,
        cast(as_of as date) as as_of_day

    from moment

)

-- depends_on: {{ ref('stg_usage_events') }}
select * from final
