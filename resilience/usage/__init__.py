"""Quotas: how many requests a subject may make in an hour, a day, a week, a month or a year, and how many it has."""
