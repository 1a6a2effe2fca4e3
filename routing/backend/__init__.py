"""The HTTP/1.1 client for backends, which passes header fields and bodies on unchanged."""
