"""Parses and validates the configuration, given as a file's text or as plain structures, and keeps it up to date."""
