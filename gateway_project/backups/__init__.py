"""Backups of the database: one consistent file that every kind of database can be restored from (ADR 51)."""
