"""Drawing samples in groups of examples: the same pictures, whatever the groups and devices."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.micro_model import MICRO
from tests.support.task_context import task_context
from videogen_jax import layout, sharding
from videogen_jax.pipeline.groups import CLIP_PIXELS
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.previews import Drawing

NUMBER = 5
EXAMPLES = [
    {"caption": f"clip {i}", "video": np.full((2, 4, 4, 3), i, np.uint8), "fps": np.float32(8 + i)}
    for i in range(NUMBER)
]
COMPONENTS = {"scale": np.float32(2)}


def context() -> Any:
    """A context that gives as many examples as are asked for."""
    made = task_context(MICRO, COMPONENTS)
    return dataclasses.replace(made, validation=lambda number: EXAMPLES[:number])


def drawing(pixels: int, seen: list[int] | None = None) -> Drawing:
    """Draws two rows of an example: its video, and numbers that are drawn from its key."""

    def draw(params: Any, components: Any, batch: Any, keys_B: jax.Array) -> jax.Array:
        if seen is not None:
            seen.append(batch["video"].shape[0])
        assert batch["tokens"].shape == (len(keys_B), MICRO.text_encoder.max_length)
        video = batch["video"] * components["scale"] * params
        noise = jax.vmap(lambda key: jax.random.randint(key, video.shape[1:], 0, 256))(keys_B)
        return jnp.stack([video, noise], axis=1).astype(np.uint8)

    return Drawing(context(), NUMBER, pixels, draw)


@pytest.fixture(scope="module")
def at_once() -> np.ndarray:
    rows, fps, _ = drawing(1)(jnp.float32(3), seed=7)
    assert rows.shape == (2 * NUMBER, 2, 4, 4, 3) and fps == 8.0
    np.testing.assert_array_equal(rows[::2, 0, 0, 0, 0], [0, 6, 12, 18, 24])
    return rows


@pytest.mark.parametrize(("share", "size"), [(1, 1), (2, 2), (4, 3)])
def test_examples_are_drawn_a_few_at_a_time(share: int, size: int, at_once: np.ndarray):
    seen: list[int] = []
    rows, *_ = drawing(CLIP_PIXELS // share, seen)(jnp.float32(3), seed=7)
    np.testing.assert_array_equal(rows, at_once)
    assert seen == [size]  # traced once


def test_devices_draw_different_examples(at_once: np.ndarray):
    mesh, seen = sharding.make_mesh(MeshConfig(data=2, fsdp=2, frames=2)), []
    with layout.activate(mesh):
        drawn = drawing(CLIP_PIXELS, seen)
        assert drawn.at_once() == 4
        params = jax.device_put(jnp.float32(3), sharding.replicated(mesh))
        rows, *_ = drawn(params, seed=7)
    np.testing.assert_array_equal(rows, at_once)
    assert seen == [4]


def test_images_are_side_by_side():
    draw = lambda params, components, batch, keys_B: batch["video"][:, :1]  # noqa: E731
    rows, fps, _ = Drawing(context(), NUMBER, 1, draw)(jnp.float32(1), seed=0)
    assert rows.shape == (1, NUMBER, 4, 4, 3) and fps is None
