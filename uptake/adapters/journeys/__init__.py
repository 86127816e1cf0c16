"""The rules of the tick, set-wise in DuckDB; `uptake.domain` says what each of them means for one row."""
