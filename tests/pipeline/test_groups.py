"""Images and clips in groups: the same result, in memory that does not grow with their number."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import layout, sharding
from videogen_jax.pipeline import decode, encode
from videogen_jax.pipeline.groups import at_once, in_groups
from videogen_jax.sharding import MeshConfig

MODEL = micro_model.MICRO


def test_as_many_as_have_so_many_pixels_and_at_least_one():
    assert at_once(100, 5, 5) == 4 and at_once(100, 4, 5, 5) == 1 and at_once(10, 5, 5) == 1


@pytest.mark.parametrize(("number", "size", "sizes"), [(7, 3, {3}), (8, 4, {4}), (5, 4, {3})])
def test_groups_are_equal_and_at_most_of_the_size(number: int, size: int, sizes: set[int]):
    seen = set()

    def double(x: jax.Array) -> dict[str, jax.Array]:
        seen.add(x.shape[0])
        return {"doubled": 2 * x, "sum": x.sum(axis=1)}

    x = np.arange(number * 2.0).reshape(number, 2)
    result = in_groups(double, jnp.asarray(x), size)
    np.testing.assert_array_equal(result["doubled"], 2 * x)
    np.testing.assert_array_equal(result["sum"], x.sum(axis=1))
    assert seen == sizes


def test_one_group_is_no_loop():
    assert "while" not in str(jax.make_jaxpr(lambda x: in_groups(jnp.sin, x, 4))(jnp.ones(4)))


def test_devices_take_their_share_of_every_group_without_traffic():
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, frames=2))
    x = jnp.arange(24.0).reshape(24, 1)
    shared = jax.device_put(x, sharding.NamedSharding(mesh, layout_spec(mesh)))
    seen = set()

    def negated(x: jax.Array) -> jax.Array:
        seen.add(x.shape[0])
        return -layout.constrain(x, "images .")

    with layout.activate(mesh):
        program: Any = jax.jit(lambda x: in_groups(negated, x, 2)).lower(shared).compile()
        np.testing.assert_array_equal(program(shared), -x)
    assert seen == {16}  # two of each device
    text = program.as_text()
    assert "all-gather" not in text and "all-to-all" not in text and "permute" not in text


def layout_spec(mesh: jax.sharding.Mesh) -> jax.sharding.PartitionSpec:
    return jax.sharding.PartitionSpec(layout.ACTIVATIONS["images"])


@pytest.mark.parametrize("network", ["encoder", "video decoder"])
def test_memory_does_not_grow_with_the_number_of_images_or_clips(network: str, monkeypatch):
    """In groups of two images or of one clip of two frames."""
    pixels, side = 16, 8
    monkeypatch.setattr(encode, "IMAGE_PIXELS", 2 * pixels**2)
    monkeypatch.setattr(decode, "CLIP_PIXELS", 2 * pixels**2)
    video = decode.VideoDecoder(MODEL.autoencoder)
    params = jax.eval_shape(lambda: micro_model.params(MODEL, "autoencoder", "video_decoder"))
    calls = {
        "encoder": lambda p, x: encode.encode_frames(MODEL, p, x, pixels),
        "video decoder": lambda p, x: decode.decode_clips(video, p["video_decoder"], x),
    }
    shape = (pixels, pixels, 3) if network == "encoder" else (side, side, 4)

    def temporary(clips: int) -> int:
        x = jax.ShapeDtypeStruct((clips, 2, *shape), np.float32)
        compiled: Any = jax.jit(calls[network]).lower(params, x).compile()
        memory = compiled.memory_analysis()
        return memory.temp_size_in_bytes - 3 * memory.output_size_in_bytes

    few, many = temporary(2), temporary(8)
    assert many < 1.2 * few
