"""Django's database backend for PostgreSQL with a pool that reports a server that is away at once (ADR 51)."""
