"""Writes that are done once: the first answer to an Idempotency-Key is kept, and given to whoever repeats it."""
