"""The server: listening sockets, worker processes, lifespan, WebSockets, and the embedded Valkey."""
