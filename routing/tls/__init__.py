"""TLS to backends: whom the gateway trusts there, and the certificate by which they know it."""
