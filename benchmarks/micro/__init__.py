"""Microbenchmarks of single functions on the request path: `python -m benchmarks.micro`."""
