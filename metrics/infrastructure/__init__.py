"""What the gateway itself runs on, for Prometheus: its workers, and Redis as they see it."""
