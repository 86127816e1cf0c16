-- grain: one row per subscription
{%- set subscriptions = mapped_input('subscriptions') %}
with
lines as ({{ raw_lines('mapping', 'subscriptions') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ mapped_fields(subscriptions) }} as fields

    from lines

),

typed as (

    select
        line,
        {{ mapped_latest(subscriptions) }} as latest,
        {{ mapped(subscriptions, 'subscription_id') }} as subscription_id,
        {{ mapped(subscriptions, 'account_id') }} as account_id,
        {{ mapped(subscriptions, 'plan') }} as plan,
        {{ mapped(subscriptions, 'seats', 'bigint') }} as seats,
        {{ mapped(subscriptions, 'arr', 'double') }} as arr,
        {{ mapped(subscriptions, 'started_on', 'date') }} as started_on,
        {{ mapped(subscriptions, 'ended_on', 'date') }} as ended_on

    from extracted

),

-- What is described twice keeps one description, the same one in whatever order the lines come.
final as (

    select
        subscription_id,
        account_id,
        plan,
        seats,
        arr,
        started_on,
        ended_on

    from typed
    where subscription_id is not null and account_id is not null
    qualify
        row_number() over (
            partition by subscription_id order by latest desc nulls last, started_on desc nulls last, line desc
        ) = 1

)

select * from final
