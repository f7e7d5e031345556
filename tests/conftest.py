"""Test set-up: 8 virtual CPU devices, full float32 products, no silent rank promotion across ranks."""

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
