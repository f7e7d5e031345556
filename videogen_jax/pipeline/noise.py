"""Noise that belongs to one sample: a function of (seed, sample, part of the chain, step).

Nothing else enters, so a video does not depend on what it is batched with or on how many devices
share the batch. Letters: B samples.
"""

import math

import jax
import numpy as np

# What a part of the chain (the image model, a stage, the refiner) draws from its keys.
INITIAL, LOW_RES, FIRST_STEP = 0, 1, 2


@jax.jit
def sample_keys(seed: np.uint32, sample_B: jax.Array) -> jax.Array:
    """The key of each sample, `[B]`, from the call's seed and the samples' numbers, int32 `[B]`."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), sample_B)


@jax.jit
def fold_in(keys_B: jax.Array, number: jax.Array | int) -> jax.Array:
    """`jax.random.fold_in` of the same number into every sample's key, `[B]`."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, number)


def normal(keys_B: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal noise, float32 `[B, *shape]`, each sample's from its own key."""
    # Drawn flat: XLA takes six times as long to compile the generator for an array of several axes.
    flat = jax.vmap(lambda key: jax.random.normal(key, (math.prod(shape),)))(keys_B)
    return flat.reshape(-1, *shape)
