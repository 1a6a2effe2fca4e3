"""Requests and responses as such: validation, forwarding, CORS, trace context, and bodies as streams."""
