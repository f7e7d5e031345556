"""Proves and measures this library on the accelerator at hand: `python -m benchmarks.accelerator`."""
