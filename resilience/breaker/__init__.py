"""The circuit breaker: one circuit per service, shared by all workers of the cluster."""
