"""Composition of the gateway: reads the environment, builds the parts, and runs the server."""
