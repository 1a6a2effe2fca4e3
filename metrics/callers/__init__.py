"""Who calls: consumers, callers without one, API keys and teams, by what the metering has counted of them."""
