-- grain: one row: the moment all marts are as of; what happens later is not seen by any window
{%- set given = env_var('UPTAKE_AS_OF', '') or ('' if env_var('UPTAKE_RAW', '') else var('sample_as_of')) %}
{%- set rule = source_meta(active_source(), 'events').get('as_of', 'now') %}

with
moment as (

    {% if given -%}
    select {{ parse_timestamp(given) }} as as_of
    {%- elif rule == 'last_event' -%}
    select coalesce(max(occurred_at), {{ parse_timestamp(run_started_at.isoformat()) }}) as as_of
    from {{ ref('stg_usage_events') }}
    {%- else -%}
    select {{ parse_timestamp(run_started_at.isoformat()) }} as as_of
    {%- endif %}

),

final as (

    select
        as_of,
        cast(as_of as date) as as_of_day

    from moment

)

-- depends_on: {{ ref('stg_usage_events') }}
select * from final
