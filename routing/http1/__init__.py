"""HTTP/1.1 as the gateway speaks it with its clients: bytes on a connection in, requests out, and answers back."""
