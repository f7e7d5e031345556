"""Tests and measures this library on an accelerator: `python -m benchmarks.accelerator`."""
