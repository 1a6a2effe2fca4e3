"""The gateway beside its peers: `python -m benchmarks.compare`."""
