"""What caching has saved, by month and service."""
