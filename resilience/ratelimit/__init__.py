"""The rate limit: so many requests per caller in any window of time, over all workers."""
