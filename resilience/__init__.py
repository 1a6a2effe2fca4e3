"""What keeps a call unharmed: breaker, cache and rate limit, three packages of one inner shape."""
