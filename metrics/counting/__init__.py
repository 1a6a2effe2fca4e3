"""Counting requests: in memory, in the shared store, and in the database."""
