"""`SpaceTimeUNet`: a video model starts as its image model; which inputs affect which outputs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from videogen_jax import trees
from videogen_jax.configs.tiny import TINY
from videogen_jax.errors import UserError
from videogen_jax.kernels import choices
from videogen_jax.models.unet import SpaceTimeUNet, UNetConfig
from videogen_jax.models.warm_start import warm_start_unet

NETWORK_TOLERANCE = 1e-4

IMAGE = TINY.image.unet
# The same channels as the image model, so both add in the same order.
VIDEO = dataclasses.replace(IMAGE, temporal=True, low_res_noise=True)
STAGE = dataclasses.replace(VIDEO, in_channels=3 * IMAGE.in_channels)
CLIPS, FRAMES, SIZE, TOKENS = 2, 3, 4, 5

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


X_BFHWC = normal(CLIPS, FRAMES, SIZE, SIZE, IMAGE.in_channels)
INPUTS = {
    "timesteps_B": np.array([3, 700]),
    "text_BTD": normal(CLIPS, TOKENS, IMAGE.cross_attention_dim),
    "pooled_BD": normal(CLIPS, TINY.text_encoder.hidden_size),
    "fps_B": np.array([8.0, 24.0], np.float32),
    "low_res_noise_B": np.array([0, 50]),
}


@jax.jit(static_argnums=0)
def run(config: UNetConfig, params, x_BFHWC, inputs):
    return SpaceTimeUNet(config).apply({"params": params}, x_BFHWC, **inputs)


def init(config: UNetConfig):
    """Returns an initialisation function of a key, for `eval_shape` or `jit`."""
    x = jnp.zeros((CLIPS, 1, 8, 8, config.in_channels))
    text = jnp.zeros((CLIPS, TOKENS, config.cross_attention_dim))
    inputs = {**INPUTS, "text_BTD": text, "pooled_BD": text[:, 0]}
    return lambda key: SpaceTimeUNet(config).init(key, x, **inputs)["params"]


@functools.cache
def shapes(config: UNetConfig):
    return jax.eval_shape(init(config), tiny_model.key())


@pytest.fixture(scope="module")
def fresh():
    """A video model whose layers over frames are as initialised; its image model is any."""
    leaves = trees.flatten(tiny_model.random_params(init(VIDEO)))
    new = leaves.keys() - set(trees.paths(shapes(IMAGE)))

    def initialised(key: jax.Array) -> dict[str, jax.Array]:
        return {path: leaf for path, leaf in trees.flatten(init(VIDEO)(key)).items() if path in new}

    return trees.unflatten(leaves | tiny_model.compiled_init(initialised))


@pytest.fixture(scope="module")
def image(fresh):
    """The image model within the video model."""
    names = trees.paths(shapes(IMAGE))
    leaves = trees.flatten(fresh)
    return trees.unflatten({name: leaves[name] for name in names})


@pytest.fixture(scope="module")
def trained():
    """A video model with random parameters, so its temporal layers have an effect."""
    return tiny_model.random_params(init(VIDEO))


def test_video_model_starts_as_the_image_model(fresh, image):
    """Compiled, up to the order of sums; `test_initial_identity.py` compares bits."""
    expected = run(IMAGE, image, X_BFHWC, INPUTS)
    assert expected.dtype == jnp.float32 and jnp.abs(expected).max() > 0.1
    np.testing.assert_allclose(run(VIDEO, fresh, X_BFHWC, INPUTS), expected, atol=1e-5)


def test_image_model_takes_frames_for_independent_images(image):
    expected = run(IMAGE, image, X_BFHWC, INPUTS)
    for frame in range(FRAMES):
        alone = run(IMAGE, image, X_BFHWC[:, frame : frame + 1], INPUTS)
        np.testing.assert_allclose(alone[:, 0], expected[:, frame], atol=NETWORK_TOLERANCE)


def test_warm_started_stage_starts_as_the_image_model_whatever_its_conditions(fresh, image):
    kernel = normal(3, 3, STAGE.in_channels, STAGE.block_out_channels[0])
    stage = {**fresh, "conv_in": {**fresh["conv_in"], "kernel": kernel}}
    params, _ = warm_start_unet(stage, image)
    conditions = normal(*X_BFHWC.shape[:-1], STAGE.in_channels - IMAGE.in_channels)
    output = run(STAGE, params, np.concatenate([X_BFHWC, conditions], axis=-1), INPUTS)
    expected = run(IMAGE, image, X_BFHWC, INPUTS)
    np.testing.assert_allclose(output, expected, atol=NETWORK_TOLERANCE)


def test_every_3x3_convolution_has_a_temporal_one_of_the_same_name():
    leaves = trees.flatten(shapes(VIDEO))
    kernels = [path for path, leaf in leaves.items() if leaf.shape[:2] == (3, 3) and leaf.ndim == 4]
    assert len(kernels) > 10
    for path in kernels:
        *blocks, name, _ = path.split("/")
        temporal = leaves["/".join([*blocks, f"temporal_{name}", "kernel"])]
        channels = leaves[path].shape[-1]
        assert temporal.shape == (3, channels, channels)


def test_other_frame_counts_and_sizes_run():
    for frames, size in ((1, 4), (7, 2), (16, 8)):
        x = jnp.zeros((CLIPS, frames, size, size, VIDEO.in_channels))
        output = jax.eval_shape(lambda params: run(VIDEO, params, x, INPUTS), shapes(VIDEO))
        assert output.shape == (CLIPS, frames, size, size, VIDEO.out_channels)


def changed(x: np.ndarray, index) -> np.ndarray:
    x = x.copy()
    x[index] *= -1.0
    return x


def test_without_temporal_layers_frames_are_independent(image):
    before = run(IMAGE, image, X_BFHWC, INPUTS)
    after = run(IMAGE, image, changed(X_BFHWC, (0, 1)), INPUTS)
    moved = np.asarray(before != after).any(axis=(2, 3, 4))
    np.testing.assert_array_equal(moved, [[False, True, False], [False] * 3])


def test_with_temporal_layers_a_clips_frames_see_each_other(trained):
    before = run(VIDEO, trained, X_BFHWC, INPUTS)
    after = run(VIDEO, trained, changed(X_BFHWC, (0, 1)), INPUTS)
    moved = np.asarray(before != after).any(axis=(2, 3, 4))
    np.testing.assert_array_equal(moved, [[True] * 3, [False] * 3])


@pytest.mark.parametrize("name", INPUTS)
def test_every_condition_reaches_every_frame_of_its_clip(trained, name):
    before = run(VIDEO, trained, X_BFHWC, INPUTS)
    other = INPUTS[name].copy()
    other[0] = other[0] / 2 + 1
    after = run(VIDEO, trained, X_BFHWC, INPUTS | {name: other})
    moved = np.asarray(before != after).any(axis=(2, 3, 4))
    np.testing.assert_array_equal(moved, [[True] * FRAMES, [False] * FRAMES])


def trace_with(kernel) -> None:
    """Traces the video model, without `run`, which would not trace what it already has."""
    unet = SpaceTimeUNet(dataclasses.replace(VIDEO, attention=kernel))
    call = lambda params, x: unet.apply({"params": params}, x, **INPUTS)
    jax.eval_shape(call, shapes(VIDEO), X_BFHWC)


@pytest.mark.parametrize(
    ("kernel", "pixels", "others"),
    [("auto", "blocked", "blocked"), ("cpu", "cpu", "blocked"), ("blocked", "blocked", "blocked")],
)
def test_a_kernel_that_is_chosen_by_hand_is_that_of_attention_within_an_image(
    kernel, pixels, others
):
    with choices.recording() as taken:
        trace_with(kernel)
    of_frames = {sizes for sizes in taken if sizes.queries == sizes.keys == FRAMES}
    of_text = {sizes for sizes in taken if sizes.keys == TOKENS}
    within = taken.keys() - of_frames - of_text
    assert of_frames and of_text and within
    assert {taken[sizes] for sizes in within} == {pixels}
    assert {taken[sizes] for sizes in of_frames | of_text} == {others}


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("cudnn", "attention 'cudnn' cannot compute 16 queries, .* it is a kernel for cuda"),
        ("flash", "attention is 'flash', expected one of auto, blocked, cpu, cudnn, splash"),
    ],
)
def test_a_kernel_that_cannot_be_is_refused_in_one_line(kernel, message):
    with pytest.raises(UserError, match=message) as refused:
        trace_with(kernel)
    assert "\n" not in str(refused.value)


def test_frames_know_their_index(trained):
    """Equal frames have different outputs, which depend on the index, not only on neighbours."""
    still = np.repeat(X_BFHWC[:, :1], FRAMES, axis=1)
    output = run(VIDEO, trained, still, INPUTS)
    backwards = output[:, ::-1]
    assert jnp.abs(output - backwards).max() > 0.01


@pytest.mark.parametrize("name", ["fps_B", "low_res_noise_B", "pooled_BD"])
def test_a_condition_that_is_missing_is_an_error(name):
    inputs = {key: value for key, value in INPUTS.items() if key != name}
    with pytest.raises(ValueError, match=f"needs the condition {name}"):
        jax.eval_shape(lambda params: run(VIDEO, params, X_BFHWC, inputs), shapes(VIDEO))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": (2,)}, "UNetConfig.num_heads has 1 entries, expected one per level"),
        ({"attention_levels": (True,) * 3}, "UNetConfig.attention_levels has 3 entries"),
        ({"num_heads": (3, 2)}, "16 is not divisible by norm_groups=8 and num_heads=3"),
        ({"norm_groups": 32}, "16 is not divisible by norm_groups=32"),
    ],
)
def test_sizes_that_cannot_be_are_errors(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(IMAGE, **change)
