"""Explain what the gateway would do with a request, using its own rules, without calling a backend."""
