"""The request's way: nine steps in plain async Python, and the configuration they follow."""
