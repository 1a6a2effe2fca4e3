"""Steps 5 and 8: cache lookup and storage, coalescing, revalidation, Cache-Status."""
