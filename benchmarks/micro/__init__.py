"""What the request's rules cost one by one: `python -m benchmarks.micro`."""
