-- grain: one row per feature of the active source, as the catalogue or a mapping has it
{#- Of a source that says so, each event is a feature until the catalogue has its first row: so many of them. -#}
{%- set first_look = 100 %}
with
catalog as (select * from {{ ref('feature_catalog') }}),

events as (select * from {{ ref('stg_usage_events') }}),

declared as (

    select * from catalog
    where source = '{{ active_source() }}'

    {%- for feature in mapped_features() %}

    union all by name

    select
        '{{ active_source() }}' as source,
        {%- for column, value in feature.items() %}
        {{ literal(value) if value is string else (value if value is not none else 'null') }} as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    {%- endfor %}

),

{%- if is_each_event_a_feature() %}

named as (

    select
        event_name,
        count(*) as count_events,
        -- A key of playbooks: small letters, digits and _, the first a letter. Names that come to the same are one feature.
        trim(regexp_replace(lower(event_name), '[^a-z0-9]+', '_', 'g'), '_') as slug,
        case
            when slug = '' then 'event_' || substr(md5(event_name), 1, 8)
            when slug < 'a' then 'event_' || substr(slug, 1, 57)
            else substr(slug, 1, 63)
        end as feature_key

    from events
    where not exists (select 1 from declared)
    group by event_name

),

first_look as (

    select
        '{{ active_source() }}' as source,
        feature_key,
        min(event_name) as name,
        -- | would part two patterns; * is any text.
        string_agg(replace(event_name, '|', '*'), '|' order by event_name) as event_patterns,
        3 as adopted_days,
        1.0 as weight,
        row_number() over (order by sum(count_events) desc, feature_key) as ladder_rank

    from named
    group by feature_key
    qualify ladder_rank <= {{ first_look }}

),

final as (

    select * from declared
    union all by name
    select * from first_look

)
{%- else %}

final as (select * from declared)
{%- endif %}

select * from final
