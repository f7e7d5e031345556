"""VideoGen in JAX/Flax."""
