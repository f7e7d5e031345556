"""Networks on devices that share clips return the same results as on one device."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import micro_model, tiny_model
from videogen_jax import layout, sharding
from videogen_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.parameters import init_discriminator
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.sharding import MeshConfig

ATOL = 1e-4  # one evaluation of a network in float32
MODEL = micro_model.MICRO


def assert_same_on_devices(network: Callable[..., Any], params: Any, *inputs: np.ndarray) -> None:
    """Compares one device with 2 × 2 devices that share the batch and each clip."""
    expected = jax.jit(network)(params, *inputs)
    config = MeshConfig(data=2, frames=2, min_sharded_bytes=1)
    mesh = sharding.make_mesh(config, jax.devices()[:4])
    params = sharding.put_tree(params, sharding.tree_shardings(mesh, params, config))
    batch = sharding.put_batch(mesh, {str(i): array for i, array in enumerate(inputs)})
    with layout.activate(mesh):
        found = jax.jit(network)(params, *batch.values())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=ATOL), found, expected)
    assert len(jax.tree.leaves(found)[0].sharding.device_set) == 4


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


@pytest.mark.parametrize("frames", [4, 3])
def test_a_stage(frames: int):
    """Two devices cannot share three frames, so they share rows."""
    network: Any = SpaceTimeUNet(MODEL.stages[0].unet)

    def apply(params: Any, x: Any, time: Any, text: Any, pooled: Any) -> Any:
        return network.apply({"params": params}, x, time, text, pooled_BD=pooled, fps_B=time)

    inputs = normal(2, frames, 4, 4, 8), np.arange(2.0, dtype=np.float32)
    text = normal(2, 5, 16), normal(2, 16)
    assert_same_on_devices(apply, micro_model.params()["stage_1"], *inputs, *text)


def test_the_video_decoder():
    network: Any = VideoDecoder(MODEL.autoencoder)
    apply = lambda params, z: network.apply({"params": params}, z)
    assert_same_on_devices(apply, micro_model.params()["video_decoder"], normal(2, 4, 4, 4, 4))


def test_a_discriminator_of_windows():
    """Its norm is over the whole batch; two devices share four frames, and rows of the windows."""
    config = DiscriminatorConfig(channels=4, num_layers=1, frames=3)
    params = tiny_model.random_params(lambda key: init_discriminator(key, config, 8))
    network: Any = PatchDiscriminator(config)
    apply = lambda params, x: network.apply({"params": params}, x)
    assert_same_on_devices(apply, params, normal(2, 4, 8, 8, 3))


def test_the_flow_keeps_the_frames_of_a_pair_together():
    network: Any = LatentFlow(MODEL.flow)
    apply = lambda params, a, b, time: network.apply({"params": params}, a, b, time)
    a, b = normal(4, 8, 8, 4), normal(4, 8, 8, 4)[::-1].copy()
    assert_same_on_devices(apply, micro_model.params()["flow"], a, b, np.full(4, 0.5, np.float32))


def test_each_entry_of_a_batch_alone():
    """Two devices have other clips, so they split no axis of a clip; two share its frames."""
    seen = []

    def one(x_FC: Any) -> Any:
        seen.append((layout.tiles("images", 4), layout.clip_tiles(1, 4), layout.num_shards()))
        return layout.constrain(x_FC, "images .").sum()

    mesh = sharding.make_mesh(MeshConfig(data=2, frames=2), jax.devices()[:4])
    x = normal(6, 4, 3)
    with layout.activate(mesh):
        assert layout.batch_devices() == 2 and layout.tiles("images", 4) == 4
        found = jax.jit(layout.over_batch(one))(*sharding.put_batch(mesh, {"x": x}).values())
        assert layout.batch_devices() == 2
    np.testing.assert_allclose(found, x.sum(axis=(1, 2)), atol=ATOL)
    assert seen == [(2, (1, 2), 2)]
