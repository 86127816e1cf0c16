{#- What data tests say beside their rows. -#}

{% macro is_sample() -%}
    {#- Whether this is the sample that comes with the project, and nobody's logs. -#}
    {{ return(env_var('UPTAKE_RAW', '') == '') }}
{%- endmacro %}

{% macro say_what_the_sample_hits(event_features) -%}
    {#- The sample shows a few of many features, which is no news: one line says so. -#}
    {%- if execute and is_sample() and flags.WHICH in ('build', 'test') -%}
        {%- set hit = run_query("select count(distinct feature_key) from " ~ event_features).columns[0][0] -%}
        {%- do log(
            "The sample hits " ~ hit ~ " features of the catalogue. `UPTAKE_RAW=/path/to/logs dbt build` counts those "
            ~ "that your logs never hit.", info=true
        ) -%}
    {%- endif -%}
{%- endmacro %}

{% macro refuse_lost_columns() -%}
    {#-
        Playbooks, reports and the engine say in exposures.yml, as tags, which columns of marts they read. Ends the test
        with the name of each column that its mart no longer has, and of everyone who reads it.
    -#}
    {%- if execute and flags.WHICH in ('build', 'test') -%}
        {%- set marts = {} -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' -%}
            {%- do marts.update({node.name: node.columns}) -%}
        {%- endfor -%}
        {%- set readers = {} -%}
        {%- for exposure in graph.exposures.values() -%}
            {%- for tag in exposure.tags if '.' in tag and tag.split('.')[1] not in marts.get(tag.split('.')[0], {}) -%}
                {%- do readers.setdefault(tag, []).append(exposure.label or exposure.name) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- set lost = [] -%}
        {%- for column, names in readers.items() -%}
            {%- do lost.append(column ~ ' is read by ' ~ names | join(', ')) -%}
        {%- endfor -%}
        {%- if lost -%}
            {{ exceptions.raise_compiler_error(
                "a mart has lost a column that somebody reads: " ~ lost | join('; ') ~ ". Bring it back, or mend its "
                ~ "readers and run `python -m uptake.adapters.exposures`"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
