"""The circuit breaker: one verdict per service for the whole cluster."""
