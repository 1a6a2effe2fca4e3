"""Django's database backend for PostgreSQL, with a pool that reports an unavailable server at once (ADR 51)."""
