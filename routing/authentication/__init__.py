"""Authentication: API keys by digest, Firebase ID tokens by signature."""
