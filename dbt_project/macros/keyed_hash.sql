{% macro keyed_hash(parts) -%}
    {#-
        `uptake.domain.ids.keyed_hash` in SQL: the first 128 bits of HMAC-SHA256 over the parts, joined by the ASCII
        unit separator, as 32 hex digits.

        The key never stands in SQL. `uptake.adapters.dbt_plugin` puts the two padded keys of RFC 2104 into session
        variables of every cursor; without them a query fails instead of making ids that nobody else has.
    -#}
    case
        when getvariable('uptake_key_inner') is null then error('no key ring: run this through dbt or Uptake')
        else substr(
            sha256(
                getvariable('uptake_key_outer')
                || unhex(sha256(getvariable('uptake_key_inner') || encode({{ parts | join(" || chr(31) || ") }})))
            ),
            1, 32
        )
    end
{%- endmacro %}

{% macro contact_id(account_id, user_id) -%}
    {#- `uptake.domain.ids.contact_id`; NULL when the user is not known. -#}
    {{ keyed_hash(["'contact'", account_id, user_id]) }}
{%- endmacro %}
