-- grain: one row per account, contact ('' = anybody in the account) and feature ('' = whatever event), ever used
{%- set keys = {'account_id': 'varchar', 'contact_id': 'varchar', 'feature_key': 'varchar'} -%}
{%- set changes = {
    'first_used_on': 'date', 'last_used_on': 'date', 'first_adopted_on': 'date',
    'windows_end_on': 'date', 'day_bits': 'bigint',
} -%}
{%- set kept = dict(keys, user_id='varchar', **changes) -%}
{{ config(
    materialized='by_key', days_of='int_contact_feature_days', keys=keys.keys() | list, changes=changes.keys() | list,
    keeps=kept, present='last_used_on',
) }}

with
contact_feature_days as {{ inlined() }} (select * from {{ ref('int_contact_feature_days') }}),

event_days as (select * from {{ ref('int_event_days') }}),

features as (select * from {{ ref('stg_features') }}),

as_of as (select * from {{ ref('int_as_of') }}),

changed_days as (select date_day from {{ changed_days(ref('int_contact_feature_days')) }}),

previous as {{ inlined() }} (select * from {{ previous_rows(kept) }}),

first_change as (

    select min(date_day) as changed_from
    from changed_days

),

newest_windows as (

    select max(windows_end_on) as end_on
    from previous

),

-- Days that have changed; and after a step back of as_of those, too, which the windows begin with again.
days_to_count as (

    select
        date_day,
        date_day as changed_day
    from changed_days

    union all

    select
        event_days.date_day,
        cast(null as date) as changed_day

    from event_days
    cross join as_of
    cross join newest_windows
    left join changed_days
        on event_days.date_day = changed_days.date_day
    where
        newest_windows.end_on > as_of.as_of_day
        and {{ in_either_window(days_ago('event_days.date_day', 'as_of.as_of_day')) }}
        and changed_days.date_day is null

),

days_with_bits as (

    select
        days_to_count.date_day,
        days_to_count.changed_day,
        case
            when {{ in_either_window(days_ago('days_to_count.date_day', 'as_of.as_of_day')) }}
                then {{ day_bit(days_ago('days_to_count.date_day', 'as_of.as_of_day')) }}
        end as day_bit

    from days_to_count
    cross join as_of

),

counted_days as (

    select {{ all_day_bits() }}(day_bit) as day_bits
    from days_with_bits

),

counted_rows as (

    select
        contact_feature_days.account_id,
        contact_feature_days.contact_id,
        contact_feature_days.feature_key,
        contact_feature_days.user_id,
        days_with_bits.changed_day,
        days_with_bits.day_bit

    from contact_feature_days
    inner join days_with_bits
        on contact_feature_days.date_day = days_with_bits.date_day

),

counted as (
    {{ by_key_of_use('counted_rows', {
        'user_id': ('max', 'user_id'),
        'first_changed_on': ('min', 'changed_day'),
        'last_changed_on': ('max', 'changed_day'),
        'day_bits': (all_day_bits(), 'day_bit'),
    }) }}
),

-- What was known of a key and is not of a changed day stays true; a day that was known and is gone leaves NULL. A row
-- that ends before the changed days is true as a whole, and no row of this build.
known as (

    select
        coalesce(previous.account_id, counted.account_id) as account_id,
        coalesce(previous.contact_id, counted.contact_id) as contact_id,
        coalesce(previous.feature_key, counted.feature_key) as feature_key,
        case when counted.contact_id <> '' then counted.user_id else previous.user_id end as user_id,
        case
            when previous.first_used_on is null then counted.first_changed_on
            when counted.first_changed_on <= previous.first_used_on then counted.first_changed_on
            when changed_first_days.date_day is null then previous.first_used_on
        end as first_used_on,
        case
            when previous.last_used_on is null then counted.last_changed_on
            when counted.last_changed_on >= previous.last_used_on then counted.last_changed_on
            when changed_last_days.date_day is null then previous.last_used_on
        end as last_used_on,
        previous.first_adopted_on,
        previous.first_used_on as was_first_used_on,
        counted.first_changed_on,
        as_of.as_of_day as windows_end_on,
        {{ renewed_day_bits(
            'previous.day_bits', days_ago('previous.windows_end_on', 'as_of.as_of_day'), 2 * var('window_days'),
            'counted_days.day_bits', 'counted.day_bits',
        ) }} as day_bits

    from previous
    full outer join counted
        on
            previous.account_id = counted.account_id
            and previous.contact_id = counted.contact_id
            and previous.feature_key = counted.feature_key
    cross join as_of
    cross join counted_days
    cross join first_change
    left join changed_days as changed_first_days
        on previous.first_used_on = changed_first_days.date_day
    left join changed_days as changed_last_days
        on previous.last_used_on = changed_last_days.date_day
    where
        counted.account_id is not null
        or previous.last_used_on >= first_change.changed_from
        or previous.windows_end_on > as_of.as_of_day

),

-- All days of a key that was not known before are changed days: they tell when it was adopted. In a new table this is
-- every key, and nothing has to be read again.
changed_rows as (

    select
        contact_feature_days.account_id,
        contact_feature_days.contact_id,
        contact_feature_days.feature_key,
        contact_feature_days.date_day

    from contact_feature_days
    inner join changed_days
        on contact_feature_days.date_day = changed_days.date_day
    where contact_feature_days.feature_key is not null

),

changed_use_days as (

    select
        account_id,
        contact_id,
        feature_key,
        date_day

    from changed_rows
    where contact_id is not null

    union all

    select distinct
        account_id,
        '' as contact_id,
        feature_key,
        date_day

    from changed_rows

),

changed_use_windows as (

    select
        *,
        {{ use_days_in_window(['account_id', 'contact_id', 'feature_key']) }} as use_days_in_window

    from changed_use_days

),

adopted_anew as (

    select
        changed_use_windows.account_id,
        changed_use_windows.contact_id,
        changed_use_windows.feature_key,
        min(changed_use_windows.date_day) as first_adopted_on

    from changed_use_windows
    inner join features
        on changed_use_windows.feature_key = features.feature_key
    where changed_use_windows.use_days_in_window >= features.adopted_days
    group by changed_use_windows.account_id, changed_use_windows.contact_id, changed_use_windows.feature_key

),

-- Whose days have to be read again, and from which on. Windows look back only, so what was adopted before a changed
-- day stays so.
reopened_days as (

    select
        account_id,
        contact_id,
        feature_key,
        first_changed_on as date_day,
        0 as is_lost

    from known
    where
        feature_key <> ''
        and was_first_used_on is not null
        and first_changed_on is not null
        and (first_adopted_on is null or first_adopted_on >= first_changed_on)

    union all

    -- One of the days that made it a habit may be gone.
    select
        known.account_id,
        known.contact_id,
        known.feature_key,
        changed_days.date_day,
        0 as is_lost

    from known
    inner join changed_days
        on
            known.first_adopted_on >= changed_days.date_day
            and {{ first_day_of_window('known.first_adopted_on') }} <= changed_days.date_day

    union all

    -- The first or the last day of use is gone: only all of its days tell which one it is now.
    select
        account_id,
        contact_id,
        feature_key,
        was_first_used_on as date_day,
        1 as is_lost

    from known
    where first_used_on is null or last_used_on is null

),

reopened as (

    select
        account_id,
        contact_id,
        feature_key,
        min(date_day) as reopened_on,
        max(is_lost) as is_lost

    from reopened_days
    group by account_id, contact_id, feature_key

),

-- Of the days of the window the bits of both tell what the 28 days up to them hold: nothing has to be read.
window_days as (

    select
        event_days.date_day,
        {{ days_ago('event_days.date_day', 'as_of.as_of_day') }} as age

    from event_days
    cross join as_of
    where {{ in_window(days_ago('event_days.date_day', 'as_of.as_of_day')) }}

),

adopted_in_window as (

    select
        known.account_id,
        known.contact_id,
        known.feature_key,
        min(window_days.date_day) as first_adopted_on

    from reopened
    inner join known
        on
            reopened.account_id = known.account_id
            and reopened.contact_id = known.contact_id
            and reopened.feature_key = known.feature_key
    inner join features
        on known.feature_key = features.feature_key
    inner join window_days
        on reopened.reopened_on <= window_days.date_day
    where
        {{ count_day_bits('known.day_bits', 'window_days.age', 1) }} = 1
        and {{ count_day_bits('known.day_bits', 'window_days.age', var('window_days')) }} >= features.adopted_days
    group by known.account_id, known.contact_id, known.feature_key

),

to_read as (

    select reopened.*
    from reopened
    cross join as_of
    where reopened.is_lost = 1 or not {{ in_window(days_ago('reopened.reopened_on', 'as_of.as_of_day')) }}

),

earliest as (

    select min(reopened_on) as reopened_on
    from to_read

),

days_to_read as (

    select event_days.date_day
    from event_days
    cross join earliest
    where event_days.date_day >= {{ first_day_of_window('earliest.reopened_on') }}

),

rows_to_read as (

    select contact_feature_days.*
    from contact_feature_days
    inner join days_to_read
        on contact_feature_days.date_day = days_to_read.date_day

),

use_days as ({{ days_of_use('rows_to_read', 'to_read', ['reopened_on']) }}),

use_windows as (

    select
        *,
        {{ use_days_in_window(['account_id', 'contact_id', 'feature_key']) }} as use_days_in_window

    from use_days

),

read_again as (

    select
        use_windows.account_id,
        use_windows.contact_id,
        use_windows.feature_key,
        min(use_windows.date_day) as first_used_on,
        max(use_windows.date_day) as last_used_on,
        min(
            case
                when
                    use_windows.date_day >= use_windows.reopened_on
                    and use_windows.use_days_in_window >= features.adopted_days
                    then use_windows.date_day
            end
        ) as first_adopted_on

    from use_windows
    left join features
        on use_windows.feature_key = features.feature_key
    group by use_windows.account_id, use_windows.contact_id, use_windows.feature_key

),

final as (

    select
        known.account_id,
        known.contact_id,
        known.feature_key,
        known.user_id,
        coalesce(known.first_used_on, read_again.first_used_on) as first_used_on,
        coalesce(known.last_used_on, read_again.last_used_on) as last_used_on,
        case
            when known.was_first_used_on is null then adopted_anew.first_adopted_on
            when reopened.account_id is null then known.first_adopted_on
            when read_again.account_id is null then adopted_in_window.first_adopted_on
            else read_again.first_adopted_on
        end as first_adopted_on,
        known.windows_end_on,
        known.day_bits

    from known
    left join reopened
        on
            known.account_id = reopened.account_id
            and known.contact_id = reopened.contact_id
            and known.feature_key = reopened.feature_key
    left join adopted_in_window
        on
            known.account_id = adopted_in_window.account_id
            and known.contact_id = adopted_in_window.contact_id
            and known.feature_key = adopted_in_window.feature_key
    left join read_again
        on
            known.account_id = read_again.account_id
            and known.contact_id = read_again.contact_id
            and known.feature_key = read_again.feature_key
    left join adopted_anew
        on
            known.account_id = adopted_anew.account_id
            and known.contact_id = adopted_anew.contact_id
            and known.feature_key = adopted_anew.feature_key

)

select * from final
