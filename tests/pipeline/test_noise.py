"""Noise is a function of seed, sample and number only."""

import jax
import numpy as np

from videogen_jax.pipeline import noise

SHAPE = (3, 4, 2)


def draw(seed: int, samples: list[int], number: int) -> np.ndarray:
    keys = noise.sample_keys(np.uint32(seed), np.array(samples, np.int32))
    return np.asarray(noise.normal(noise.fold_in(keys, number), SHAPE))


def test_a_sample_does_not_depend_on_its_batch():
    together = draw(7, [0, 1, 2, 3], number=5)
    assert together.shape == (4, *SHAPE)
    for sample in range(4):
        np.testing.assert_array_equal(together[sample], draw(7, [sample], number=5)[0])


def test_seed_sample_and_number_each_give_other_noise():
    draws = [draw(*args)[0] for args in ((7, [0], 5), (8, [0], 5), (7, [1], 5), (7, [0], 6))]
    for i, one in enumerate(draws):
        assert all(np.abs(one - other).max() > 0.1 for other in draws[:i])


def test_it_is_jax_normal_noise_of_the_sample_key():
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(2**32 - 1), 3), 5)
    np.testing.assert_array_equal(draw(2**32 - 1, [3], 5)[0], jax.random.normal(key, SHAPE))


def test_samples_with_seeds_of_their_own_have_the_keys_of_calls_alone():
    seeds = [3, 0, 2**32 - 1]
    keys = noise.seed_keys(np.array(seeds, np.uint32))
    alone = [noise.sample_keys(np.uint32(seed), np.zeros(1, np.int32))[0] for seed in seeds]
    np.testing.assert_array_equal(
        jax.random.key_data(keys), [jax.random.key_data(key) for key in alone]
    )
