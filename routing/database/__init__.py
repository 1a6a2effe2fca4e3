"""Reads and writes the Django models: loads, applies and versions the configuration, and issues API keys."""
