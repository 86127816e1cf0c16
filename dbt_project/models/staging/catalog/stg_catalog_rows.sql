-- grain: one row per feature of the active source, as the catalogue or a mapping has it
with
catalog as (select * from {{ ref('feature_catalog') }}),

events as (select * from {{ ref('stg_usage_events') }}),

declared as (

    select * from catalog
    where source = '{{ active_source() }}'
    {{ mapped_feature_rows() }}

),

-- For a first look each event is a feature, until the first is named. A key is one of playbooks: small letters, digits
-- and _, the first a letter.
named as (

    select
        event_name,
        trim(regexp_replace(lower(event_name), '[^a-z0-9]+', '_', 'g'), '_') as slug,
        count(*) as count_events

    from events
    where {{ is_each_event_a_feature() }} and not exists (select 1 from declared)
    group by event_name

),

keyed as (

    select
        event_name,
        count_events,
        case
            when slug = '' then 'event_' || substr(md5(event_name), 1, 8)
            when slug < 'a' then 'event_' || substr(slug, 1, 57)
            else substr(slug, 1, 63)
        end as feature_key

    from named

),

-- Names that come to the same key are one feature. In a pattern | would part two of them, and * is any text.
first_look as (

    select
        '{{ active_source() }}' as source,
        feature_key,
        min(event_name) as name,
        string_agg(replace(event_name, '|', '*'), '|' order by event_name) as event_patterns,
        3 as adopted_days,
        1.0 as weight,
        row_number() over (order by sum(count_events) desc, feature_key) as ladder_rank

    from keyed
    group by feature_key
    qualify ladder_rank <= {{ var('first_look_features') }}

),

final as (

    select * from declared
    union all by name
    select * from first_look

)

-- The columns are those of the seed, however many.
select * from final  -- noqa: AM04
