"""The cache: answers kept in two tiers, found by scope, and taken back by tag."""
