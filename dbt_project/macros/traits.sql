{#- Sources that tell of people and accounts call by call: what all calls together say of each. -#}

{% macro accounts_of_traits(traits) -%}
    {#- One row for each account that a group call tells of. A call tells some traits; of each the last word counts. -#}
    select
        account_id,
        {{ last_word('plan', 'called_at, line') }} as plan,
        {{ last_word('created_at', 'called_at, line') }} as created_at,
        cast(null as double) as arr,
        cast(null as varchar) as currency,
        cast(null as bigint) as seats,
        {{ last_word('region', 'called_at, line') }} as region,
        cast(null as varchar) as time_zone,
        cast(null as varchar) as locale,
        cast(null as varchar) as csm,
        cast(null as date) as renewal_on,
        cast(null as date) as churned_on,
        cast(null as boolean) as is_internal
    from {{ traits }}
    where call_type = 'group' and account_id is not null
    group by account_id
{%- endmacro %}

{% macro people_of_traits(traits, events) -%}
    {#-
        One row for each account and user, with the address. Who belongs to an account is told by calls that name both,
        and by whatever is done in its name. Nobody tells a basis to mail somebody on, so none is claimed.
    -#}
    select
        members.account_id,
        members.user_id,
        users.address,
        users.given_name,
        users.full_name,
        users.role,
        users.time_zone,
        users.locale,
        users.created_at,
        cast(null as varchar) as consent_basis,
        cast(null as timestamp) as consent_at,
        cast(null as timestamp) as consent_expires_at
    from (
        select account_id, user_id from {{ traits }} where account_id is not null and user_id is not null
        union distinct
        select account_id, user_id from {{ events }} where is_duplicate is not null and user_id is not null
    ) as members
    left join (
        select
            user_id,
            {%- for trait in ['address', 'given_name', 'full_name', 'role', 'time_zone', 'locale', 'created_at'] %}
            {{ last_word(trait, 'called_at, line') }} as {{ trait }}{{ ',' if not loop.last }}
            {%- endfor %}
        from {{ traits }}
        where call_type = 'identify' and user_id is not null
        group by user_id
    ) as users
        on members.user_id = users.user_id
{%- endmacro %}
