"""Benchmarks: ratios to the bare calls underneath, taken in one run."""
