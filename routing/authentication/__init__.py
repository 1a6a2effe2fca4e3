"""Authentication: API keys by digest, tokens of identity providers by signature or introspection."""
