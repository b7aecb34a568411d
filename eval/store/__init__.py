"""The Parquet store: tables, units of work, files on any file system, and SQL."""
