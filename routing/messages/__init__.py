"""Request and response messages: validation, forwarding, CORS, trace context, and streaming bodies."""
