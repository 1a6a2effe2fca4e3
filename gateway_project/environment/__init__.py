"""The static configuration's sections, each read from its environment variables."""
