{#- What data tests do beside finding rows. -#}

{% macro is_untested(day, relation, columns) -%}
    {#-
        Of a table by day: whether the rows of a day were not yet seen by the test of this grain since they were made.
        `dbt test` looks at all, because a table may have been changed by hand.
    -#}
    {%- if flags.WHICH == 'build' -%}
        {{ day }} is null or {{ day }} not in (
            select date_day from {{ companion(relation, 'days') }} where tested_as = '{{ columns | join(', ') }}'
        )
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{% materialization test, adapter='duckdb' %}
    {#- dbt's own; of a table by day, days that have passed are remembered, and others are asked for again. -#}
    {%- set done = materialization_test_default() -%}
    {%- set arguments = model.test_metadata.kwargs if model.test_metadata else {} -%}
    {%- if arguments.day and not config.get('where') and load_result('main').data[0][0] == 0 -%}
        {%- set tested = graph.nodes[model.attached_node] -%}
        {%- set relation = api.Relation.create(database=tested.database, schema=tested.schema, identifier=tested.alias) -%}
        {%- do run_query(
            "update " ~ companion(relation, 'days') ~ " set tested_as = '" ~ arguments.columns | join(', ') ~ "'"
            ~ " where tested_as is distinct from '" ~ arguments.columns | join(', ') ~ "'"
        ) -%}
        {%- do adapter.commit() -%}
    {%- endif -%}
    {{ return(done) }}
{% endmaterialization %}

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
