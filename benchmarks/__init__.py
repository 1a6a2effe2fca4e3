"""Measurements, run by hand on a quiet machine; what they print are ratios of one run."""
