"""Whose a credential is: API keys by digest, Firebase ID tokens by their signature."""
