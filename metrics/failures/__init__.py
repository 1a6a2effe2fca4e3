"""The last failed requests of each consumer and each service: recorded off the request path, and bounded."""
