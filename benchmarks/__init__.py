"""Benchmarks, run by hand on an idle machine. They report ratios within one run, not absolute figures."""
