"""Limits of the calls to a backend: those beyond its rate wait in a fair queue, or are refused."""
