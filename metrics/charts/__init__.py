"""Traffic over time: what charts, their downloads and the API show."""
