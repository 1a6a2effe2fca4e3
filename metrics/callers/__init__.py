"""Who calls: consumers, callers without one, API keys and teams, from the counts of metering."""
