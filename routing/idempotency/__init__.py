"""Idempotency keys: the first response to a key is saved and replayed to retries of the request."""
