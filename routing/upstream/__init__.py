"""Per-service state of this worker: call permits, concurrency limit, retry budget."""
