"""Circuit breaker, cache and rate limit: three packages with the same structure, and what they share."""
