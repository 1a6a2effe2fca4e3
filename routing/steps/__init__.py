"""The steps of a request, in order: rate limit, authentication, cache, circuit breaker, backend call, accounting."""
