"""Upgrades from the last release, beside it, and back to it."""
