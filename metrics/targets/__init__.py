"""The condition of services' targets in all workers: reported with each worker's counts, and read from there."""
