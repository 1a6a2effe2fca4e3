"""The way to a backend: an HTTP/1.1 client that passes bytes on as they are."""
