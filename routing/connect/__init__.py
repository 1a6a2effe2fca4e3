"""Pages on which a caller connects an account at a service's provider, and the links to them."""
