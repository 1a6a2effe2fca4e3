"""The command palette: what staff find with Ctrl-K. Services, routes, requests, keys, pages and operations."""
