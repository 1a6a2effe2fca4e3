"""The last failed requests of each consumer, for its people: recorded off the request path, and bounded."""
