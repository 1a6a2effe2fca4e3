"""Django's side of the ASGI application: its handler, threads, and what bounds them."""
