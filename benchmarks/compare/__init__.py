"""Throughput compared with other proxies: `python -m benchmarks.compare`."""
