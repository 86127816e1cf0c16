"""One file per outside thing: the only code that knows DuckDB, SQL, HTTP, dbt or Great Expectations."""
