"""Mining logs of any size: one definition of what is mined, run by DuckDB on one machine or by Spark on many."""
