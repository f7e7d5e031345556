"""Test set-up: 8 virtual CPU devices, full float32 products, quick compilation.

Without most of XLA's optimizations programs compile in half the time, which is most of the suite's.
"""

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_disable_most_optimizations", True)


def pytest_collection_modifyitems(items):
    """The file that takes longest goes first, or one process waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_run.py")
