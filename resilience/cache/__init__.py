"""The cache: responses stored in two tiers, per scope, and invalidated by tag."""
