"""Incidents of services: what is wrong, since when, and what there is to know about it."""
