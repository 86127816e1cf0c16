-- grain: one row per account and user, with the address: a view, never materialised
{%- set contacts = mapped_input('contacts') %}
with
lines as ({{ raw_lines('mapping', 'contacts') }}),

events as (select * from {{ ref('stg_event_lines') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ mapped_fields(contacts) }} as fields

    from lines

),

typed as (

    select
        line,
        {{ mapped_latest(contacts) }} as latest,
        {{ mapped(contacts, 'account_id') }} as account_id,
        {{ mapped(contacts, 'user_id') }} as user_id,
        {{ mapped(contacts, 'address') }} as address,
        {{ mapped(contacts, 'given_name') }} as given_name,
        {{ mapped(contacts, 'full_name') }} as full_name,
        {{ mapped(contacts, 'role') }} as role,
        {{ mapped(contacts, 'time_zone') }} as time_zone,
        {{ mapped(contacts, 'locale') }} as locale,
        {{ mapped(contacts, 'created_at', 'timestamp') }} as created_at,
        {{ mapped(contacts, 'consent_basis') }} as consent_basis,
        {{ mapped(contacts, 'consent_at', 'timestamp') }} as consent_at,
        {{ mapped(contacts, 'consent_expires_at', 'timestamp') }} as consent_expires_at

    from extracted

),

described as (

    select
        account_id,
        user_id,
        address,
        given_name,
        full_name,
        role,
        time_zone,
        locale,
        created_at,
        consent_basis,
        consent_at,
        consent_expires_at

    from typed
    where account_id is not null and user_id is not null
    qualify
        row_number() over (
            partition by account_id, user_id order by latest desc nulls last, created_at desc nulls last, line desc
        ) = 1

),

seen as (

    select distinct
        account_id,
        user_id

    from events
    where problem is null and user_id is not null and {{ has_sandbox_addresses() }}

),

-- RFC 2606 keeps example.invalid from ever existing. One user has one address in all accounts, as people do.
final as (

    select
        coalesce(described.account_id, seen.account_id) as account_id,
        coalesce(described.user_id, seen.user_id) as user_id,
        case
            when {{ has_sandbox_addresses() }}
                then
                    substr(sha256('{{ active_source() }}:' || coalesce(described.user_id, seen.user_id)), 1, 20)
                    || '@example.invalid'
            else described.address
        end as address,
        described.given_name,
        described.full_name,
        described.role,
        described.time_zone,
        described.locale,
        described.created_at,
        described.consent_basis,
        described.consent_at,
        described.consent_expires_at

    from described
    full outer join seen
        on described.account_id = seen.account_id and described.user_id = seen.user_id

)

select * from final
