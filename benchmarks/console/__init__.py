"""Pictures of the console, and what it costs those who are served: `make screenshots`, `make bench-console`."""
