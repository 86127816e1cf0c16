-- The marts as one script makes them that somebody wrote by hand, for logs without a flaw: nothing is quarantined,
-- nothing deduplicated, nothing tested, nothing prepared for tomorrow. Variables: raw, catalogue, as_of.

create table events as
select *
from read_json(
    getvariable('raw') || '/events/*.ndjson*',
    format = 'newline_delimited',
    columns = {
        event_id: 'varchar', occurred_at: 'timestamp', received_at: 'timestamp', account_id: 'varchar',
        user_id: 'varchar', event_name: 'varchar', quantity: 'double', properties: 'json'
    }
);

create table accounts as
select *
from read_json(
    getvariable('raw') || '/accounts.ndjson',
    columns = {
        account_id: 'varchar', plan: 'varchar', created_at: 'timestamp', arr: 'double', currency: 'varchar',
        seats: 'bigint', region: 'varchar', time_zone: 'varchar', locale: 'varchar', csm: 'varchar', renewal_on: 'date'
    }
);

create table contacts as
select
    md5(account_id || ':' || user_id) as contact_id,
    *
from read_json(
    getvariable('raw') || '/contacts.ndjson',
    columns = {
        account_id: 'varchar', user_id: 'varchar', role: 'varchar', time_zone: 'varchar', locale: 'varchar',
        created_at: 'timestamp'
    }
);

create table tickets as
select *
from read_json(
    getvariable('raw') || '/tickets.ndjson',
    columns = {ticket_id: 'varchar', account_id: 'varchar', opened_at: 'timestamp', closed_at: 'timestamp'}
);

create table features as
select *
from read_csv(getvariable('catalogue'))
where source = 'uptake';

create table event_features as
select distinct
    names.event_name,
    patterns.feature_key
from (select distinct event_name from events) as names
inner join (select feature_key, unnest(string_split(event_patterns, '|')) as event_pattern from features) as patterns
    on names.event_name like replace(replace(patterns.event_pattern, '_', '\_'), '*', '%') escape '\';

create table contact_feature_days as
select
    days.* exclude (user_id),
    contacts.contact_id
from (
    select
        events.account_id,
        events.user_id,
        event_features.feature_key,
        cast(events.occurred_at as date) as date_day,
        count(*) as count_events,
        sum(coalesce(events.quantity, 1)) as sum_quantity
    from events
    left join event_features
        on events.event_name = event_features.event_name
    where events.occurred_at <= getvariable('as_of')
    group by all
) as days
left join contacts
    on days.account_id = contacts.account_id and days.user_id = contacts.user_id;

create table fct_account_feature_daily as
select
    account_id,
    feature_key,
    date_day,
    cast(sum(count_events) as bigint) as count_events,
    count(contact_id) as count_contacts,
    sum(sum_quantity) as sum_quantity
from contact_feature_days
where feature_key is not null
group by all
order by date_day, account_id, feature_key;

-- When something was first used on enough days within 28: days of use, the n-th before them.
create macro state_of(days_used, adopted_days, first_adopted_on) as
    case
        when days_used >= adopted_days then 'adopted'
        when first_adopted_on is not null then 'lapsed'
        else 'tried'
    end;

create table contact_features as
with
use_days as (
    select
        days.contact_id,
        days.account_id,
        days.feature_key,
        days.date_day,
        features.adopted_days,
        cast(getvariable('as_of') as date) - days.date_day < 28 as is_recent,
        lag(days.date_day, cast(features.adopted_days as integer) - 1) over (
            partition by days.contact_id, days.feature_key order by days.date_day
        ) > days.date_day - 28 as is_adopted
    from contact_feature_days as days
    inner join features
        on days.feature_key = features.feature_key
    where days.contact_id is not null
),

used as (
    select
        contact_id,
        account_id,
        feature_key,
        adopted_days,
        count(*) filter (where is_recent) as days_used_28,
        min(date_day) as first_used_on,
        max(date_day) as last_used_on,
        min(date_day) filter (where is_adopted) as first_adopted_on
    from use_days
    group by all
)

select
    * exclude (adopted_days),
    state_of(days_used_28, adopted_days, first_adopted_on) as adoption_state
from used;

create table account_features as
with
use_days as (
    select
        daily.account_id,
        daily.feature_key,
        daily.date_day,
        features.adopted_days,
        cast(getvariable('as_of') as date) - daily.date_day as age,
        lag(daily.date_day, cast(features.adopted_days as integer) - 1) over (
            partition by daily.account_id, daily.feature_key order by daily.date_day
        ) > daily.date_day - 28 as is_adopted
    from fct_account_feature_daily as daily
    inner join features
        on daily.feature_key = features.feature_key
),

used as (
    select
        account_id,
        feature_key,
        adopted_days,
        count(*) filter (where age < 28) as days_used_28,
        count(*) filter (where age between 28 and 55) as days_used_prev_28,
        min(date_day) as first_used_on,
        max(date_day) as last_used_on,
        min(date_day) filter (where is_adopted) as first_adopted_on
    from use_days
    group by all
),

entitled as (
    select
        accounts.account_id,
        features.feature_key
    from accounts
    cross join features
    where features.plans_entitled is null or accounts.plan in string_split(features.plans_entitled, '|')
),

reach as (
    select
        account_id,
        feature_key,
        count(*) as count_contacts_28
    from contact_features
    where days_used_28 > 0
    group by all
)

select
    account_id,
    feature_key,
    entitled.account_id is not null as is_entitled,
    case
        when used.last_used_on is null then 'never'
        else state_of(used.days_used_28, used.adopted_days, used.first_adopted_on)
    end as adoption_state,
    coalesce(used.days_used_28, 0) as days_used_28,
    coalesce(used.days_used_prev_28, 0) as days_used_prev_28,
    coalesce(reach.count_contacts_28, 0) as count_contacts_28,
    used.first_used_on,
    used.last_used_on,
    used.first_adopted_on
from (select account_id, feature_key, account_id as is_entitled from entitled) as entitled
full join used using (account_id, feature_key)
left join reach using (account_id, feature_key);

create table accounts_current as
with
contact_days as (
    select distinct
        account_id,
        contact_id,
        cast(getvariable('as_of') as date) - date_day as age
    from contact_feature_days
    where contact_id is not null and cast(getvariable('as_of') as date) - date_day < 56
),

activity as (
    select
        account_id,
        contact_id,
        count(*) filter (where age < 28) as active_days_28,
        count(*) filter (where age >= 28) as active_days_prev_28
    from contact_days
    group by all
),

active as (
    select
        account_id,
        count(*) filter (where active_days_28 > 0) as count_active_contacts_28,
        count(*) filter (where active_days_28 >= 8) as count_healthy_contacts,
        sum(active_days_28) as sum_active_days_28,
        sum(active_days_prev_28) as sum_active_days_prev_28
    from activity
    group by all
),

breadth as (
    select
        account_id,
        count(*) as count_features_entitled,
        count(*) filter (where adoption_state = 'adopted') as count_features_adopted
    from account_features
    where is_entitled
    group by all
),

people as (
    select account_id, count(*) as count_contacts from contacts group by all
),

last_use as (
    select account_id, max(date_day) as last_used_on from contact_feature_days group by all
),

open_tickets as (
    select account_id, count(*) as count_open_tickets
    from tickets
    where opened_at <= getvariable('as_of') and coalesce(closed_at > getvariable('as_of'), true)
    group by all
)

select
    accounts.account_id,
    accounts.plan,
    accounts.region,
    accounts.arr,
    accounts.currency,
    accounts.seats,
    accounts.csm,
    date_diff('day', accounts.created_at, getvariable('as_of')) as age_days,
    accounts.renewal_on,
    coalesce(open_tickets.count_open_tickets, 0) as count_open_tickets,
    coalesce(people.count_contacts, 0) as count_contacts,
    coalesce(active.count_active_contacts_28, 0) as count_active_contacts_28,
    coalesce(active.count_active_contacts_28, 0) / accounts.seats as seats_used_share,
    breadth.count_features_entitled,
    breadth.count_features_adopted,
    breadth.count_features_adopted / breadth.count_features_entitled as adoption_breadth,
    coalesce(active.count_healthy_contacts, 0) / accounts.seats as adoption_depth,
    active.sum_active_days_28 / nullif(28 * active.count_active_contacts_28, 0) as stickiness,
    (active.sum_active_days_28 - active.sum_active_days_prev_28) / nullif(active.sum_active_days_prev_28, 0)
        as usage_trend,
    cast(getvariable('as_of') as date) - last_use.last_used_on as days_since_last_use
from accounts
left join active using (account_id)
left join breadth using (account_id)
left join people using (account_id)
left join last_use using (account_id)
left join open_tickets using (account_id);
