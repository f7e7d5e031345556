"""Parameters in the requested type, sharded, read in parts, and in turns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import UserError, VideoGen
from videogen_jax.configs.paper import PAPER
from videogen_jax.models.components import component_shapes
from videogen_jax.pipeline import placement
from videogen_jax.pipeline.placement import OffloadedParams, as_dtype, parameter_shardings
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.weights.files import SafeTensors
from videogen_jax.weights.model_dir import load_component, open_component, save_component
from videogen_jax.weights.stored import StoredTensor

PROMPT = "a red circle"


def offloaded() -> VideoGen:
    """The micro model with offloading, with the compiled programs of the one without."""
    compiled = micro_model.model()
    model = VideoGen(MICRO, micro_model.params(), micro_model.TOKENIZER, offload=True)
    model.cascade, model.decoder = compiled.cascade, compiled.decoder
    model.temporal_sr, model.images._cascade = compiled.temporal_sr, compiled.cascade
    model.restore._codec._encode = compiled.restore._codec._encode
    model.restore._codec._decoder = compiled.decoder
    return model


def on_devices(model: VideoGen) -> list[str]:
    assert isinstance(model.params, OffloadedParams)
    return model.params.on_devices


def test_parts_take_their_turns_on_the_devices_and_the_video_is_the_same(monkeypatch):
    model, turns = offloaded(), []
    assert not on_devices(model)
    real = OffloadedParams.turn

    def turn(self: OffloadedParams, *parts: tuple[str, ...]) -> None:
        real(self, *parts)
        turns.append(self.on_devices)

    monkeypatch.setattr(OffloadedParams, "turn", turn)
    video = model(PROMPT)
    np.testing.assert_array_equal(video.frames, micro_model.model()(PROMPT).frames)
    assert turns == [
        ["autoencoder", "image_unet", "text_encoder"],
        ["autoencoder", "image_unet", "stage_1"],
        ["autoencoder", "stage_1", "stage_2"],
        ["autoencoder", "flow", "refiner", "stage_2"],
        ["flow", "refiner", "video_decoder"],
        ["video_decoder"],
        [],
    ]


def test_images_and_own_videos_take_turns_too(monkeypatch):
    model = offloaded()
    np.testing.assert_array_equal(model.images(PROMPT), micro_model.model().images(PROMPT))
    assert not on_devices(model)
    clip = micro_model.model()(PROMPT, temporal_sr=0)
    seen = []
    stream = model.restore.stream(clip)
    for frame, expected in zip(stream, micro_model.model().restore(clip).frames, strict=True):
        seen.append(on_devices(model))
        np.testing.assert_array_equal(frame, expected)
    assert seen[0] == ["autoencoder", "video_decoder"] and not on_devices(model)


def test_a_component_is_found_and_saved_without_moving_it(tmp_path):
    model = offloaded()
    assert "flow" in model.params and "stage_9" not in model.params
    model.save(tmp_path / "model")
    assert not on_devices(model)
    saved = load_component(tmp_path / "model", "flow")
    jax.tree.map(np.testing.assert_array_equal, saved, micro_model.params()["flow"])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, "float16"])
def test_parameters_have_the_requested_type(dtype):
    model = VideoGen(MICRO, micro_model.params(), micro_model.TOKENIZER, dtype=dtype)
    assert {x.dtype for x in jax.tree.leaves(model.params)} == {jnp.dtype(dtype)}


def test_images_with_parameters_in_half_the_bytes_are_close():
    expected = micro_model.model().images(PROMPT, as_float=True)
    model = VideoGen(MICRO, micro_model.params(), micro_model.TOKENIZER, dtype="bfloat16")
    error = np.abs(model.images(PROMPT, as_float=True) - expected)
    # Three steps of a random network with guidance amplify bfloat16's 3 significant digits.
    assert 0 < error.mean() < 0.05


def test_an_unknown_type_is_refused():
    with pytest.raises(UserError, match="dtype is 'int8', expected one of float32, bfloat16"):
        VideoGen(MICRO, {}, micro_model.TOKENIZER, dtype="int8")
    with pytest.raises(UserError, match="offload is 'yes', expected True or False"):
        VideoGen(MICRO, {}, micro_model.TOKENIZER, offload="yes")  # pyright: ignore


# Sharding, and reading in parts


def share(params: dict, shardings: dict) -> float:
    """Returns the share of a device in the bytes of parameters."""
    pairs = list(zip(jax.tree.leaves(params), jax.tree.leaves(shardings), strict=True))
    part = sum(np.prod(where.shard_shape(leaf.shape)) for leaf, where in pairs)
    return part / sum(np.prod(leaf.shape) for leaf, _ in pairs)


@pytest.mark.parametrize(
    "components",
    [
        ("image_unet",),
        # Flax takes a quarter of a minute to find the shapes of all components.
        pytest.param((), marks=pytest.mark.slow),
    ],
)
def test_eight_devices_have_an_eighth_of_the_papers_parameters_each(components):
    full = component_shapes(PAPER, *components)
    for dtype in (jnp.float32, jnp.bfloat16):
        shapes = jax.eval_shape(lambda tree, to=dtype: as_dtype(tree, to), full)
        for sizes in ((1, 8, 1), (1, 2, 4)):
            mesh = make_mesh(MeshConfig(*sizes))
            assert share(shapes, parameter_shardings(mesh, shapes)) <= 1.05 / 8


def test_a_mesh_without_fsdp_has_all_parameters_on_every_device():
    shapes = component_shapes(MICRO, "stage_1")
    assert share(shapes, parameter_shardings(make_mesh(MeshConfig(2, 1, 4)), shapes)) == 1


def test_each_device_reads_its_part_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(placement, "RULES", MeshConfig(min_sharded_bytes=1))
    params, read = micro_model.params()["stage_1"], []
    save_component(tmp_path, "stage_1", params)
    real = StoredTensor.__getitem__

    def recorded(self: StoredTensor, index: tuple) -> np.ndarray:
        part = real(self, index)
        read.append(part.nbytes)
        return part

    monkeypatch.setattr(StoredTensor, "__getitem__", recorded)
    mesh = make_mesh(MeshConfig(1, 8, 1))
    placed = placement.place(mesh, open_component(tmp_path, "stage_1"), jnp.bfloat16)
    largest = max(x.size for x in jax.tree.leaves(params))
    assert max(read) <= 2 * largest / 8
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(x, y.astype(jnp.bfloat16)), placed, params
    )


def test_numbers_beyond_float16_are_refused(tmp_path):
    save_component(tmp_path, "flow", {"kernel": np.array([1.0, 1e6], np.float32)})
    stored = StoredTensor(SafeTensors(tmp_path / "flow.safetensors"), "kernel", np.dtype("float16"))
    with pytest.raises(UserError, match="kernel has numbers that float16 cannot hold"):
        stored[...]
