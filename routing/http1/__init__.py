"""The HTTP/1.1 server connection: parses requests, runs their handlers, and encodes the responses."""
