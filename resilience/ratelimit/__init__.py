"""Rate limits per caller in a sliding window, over all workers."""
