"""Noise of each sample: a function of (seed, sample, part of the pipeline, step).

Nothing else enters. So a video depends neither on the other samples of its batch nor on the number
of devices that share the batch. Letters: B samples.
"""

import math

import jax
import numpy as np

# The draws of one part of the pipeline (the image model, a stage or the refiner) from its keys.
INITIAL, LOW_RES, FIRST_STEP = 0, 1, 2


@jax.jit
def sample_keys(seed: np.uint32, sample_B: jax.Array) -> jax.Array:
    """Returns each sample's key, `[B]`, from the call's seed and sample numbers, int32 `[B]`."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), sample_B)


@jax.jit
def seed_keys(seed_B: jax.Array) -> jax.Array:
    """Returns the keys `[B]` of samples with a seed each, uint32 `[B]`.

    A sample's key is the one that it has as the only sample of a call with its seed.
    """
    return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 0))(seed_B)


@jax.jit
def fold_in(keys_B: jax.Array, number: jax.Array | int) -> jax.Array:
    """Folds the same number into every sample's key, `[B]`, as `jax.random.fold_in`."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, number)


def normal(keys_B: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws standard normal noise, float32 `[B, *shape]`, each sample's from its own key."""
    # Drawn flat: XLA takes six times as long to compile the generator for an array of several axes.
    flat = jax.vmap(lambda key: jax.random.normal(key, (math.prod(shape),)))(keys_B)
    return flat.reshape(-1, *shape)
