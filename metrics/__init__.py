"""What happened, counted and shown: it learns through routing.events, and nothing below knows it."""
