"""The LPIPS term: when it is on, what it computes in which dtype, and the frames it compares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import task_context
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.models.features.loading import load_network, network_shapes
from videogen_jax.models.features.lpips import LPIPSConfig, lpips
from videogen_jax.models.parameters import init_lpips
from videogen_jax.training.losses.perceptual import (
    draw_frames,
    perceptual_loss,
    perceptual_network,
    take_frames,
)
from videogen_jax.training.task import ComputeConfig
from videogen_jax.weights.configured import add_configured

TINY = LPIPSConfig("alexnet", (2, 3, 4, 5, 6))
PARAMS = tiny_model.random_params(lambda key: init_lpips(key, TINY))


def context(**options):
    return task_context(MICRO, feature_network=(TINY, PARAMS), **options)


def test_it_is_the_mean_distance_in_the_dtype_of_the_run():
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 3, 31, 31, 3)).astype(np.float32)
    frozen = perceptual_network("DIR", 1.0, context(compute=ComputeConfig("bfloat16")))
    assert {leaf.dtype for leaf in jax.tree.leaves(frozen)} == {jnp.dtype("bfloat16")}

    @jax.jit
    def values(frozen):
        distances = (lpips(frozen["lpips"], x, y, dtype) for dtype in ("bfloat16", "float32"))
        return perceptual_loss(frozen, x, y), *distances

    found, expected, in_float32 = values(frozen)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-6)
    assert found != in_float32.mean()


def test_without_a_weight_there_is_no_network():
    assert perceptual_network("", 0.0, context()) == {}


@pytest.mark.parametrize(
    ("lpips_dir", "weight", "message"),
    [
        ("", 1.0, "perceptual_weight is 1.0, but task.lpips is empty: expected the directory that"),
        ("DIR", 0.0, "task.lpips is 'DIR', but task.perceptual_weight is 0: expected a weight"),
        ("DIR", -1.0, "task.perceptual_weight is -1.0, expected 0 or more"),
    ],
)
def test_half_a_term_is_refused(lpips_dir, weight, message):
    with pytest.raises(UserError, match=message):
        perceptual_network(lpips_dir, weight, context())


def test_what_is_not_a_directory_with_lpips_is_named(tmp_path):
    add_configured(tmp_path / "teacher", "pixel_flow", MICRO.flow, {"kernel": np.zeros(2)}, None)
    (tmp_path / "vgg16.ckpt").write_bytes(b"weights")
    for load in (load_network, network_shapes):
        for name in ("teacher", "none", "vgg16.ckpt"):
            with pytest.raises(
                MissingFile, match=f"{name}/lpips.json|directory .*{name}|'lpips' in .*{name}"
            ):
                load("lpips", tmp_path / name)


def test_each_clips_frames_are_drawn_from_its_key():
    keys_B = jax.random.split(jax.random.key(3), 200)
    drawn_BK = draw_frames(keys_B, 5, 3)
    assert drawn_BK.shape == (200, 3)
    assert all(len(set(frames)) == 3 for frames in drawn_BK.tolist())
    np.testing.assert_array_equal(draw_frames(keys_B[7:9], 5, 3), drawn_BK[7:9])
    counts = np.bincount(np.ravel(drawn_BK), minlength=5)  # 120 each, with a deviation of 7
    assert counts.sum() == 600 and counts.min() > 90 and counts.max() < 150
    video_BFHWC = np.random.default_rng(0).normal(size=(2, 5, 2, 2, 3))
    taken = take_frames(video_BFHWC, drawn_BK[:2])
    for clip, frames, found in zip(video_BFHWC, drawn_BK[:2], taken, strict=True):
        np.testing.assert_allclose(found, clip[np.asarray(frames)], rtol=1e-6)
