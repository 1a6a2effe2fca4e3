"""The countries of addresses, from an optional database file (ADR 58). Nothing is imported for it without one."""
