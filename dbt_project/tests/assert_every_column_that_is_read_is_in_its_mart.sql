-- Ends with an error that names the column and its readers, before anybody misses it.
{{ refuse_lost_columns() }}
select 'no column is lost' as nothing
where false
