"""LatentFlow: parity with IFRNet in PyTorch, and the properties of its flows and frames."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from tests.support.references import import_reference
from videogen_jax.models import flow
from videogen_jax.models.flow import FlowConfig, FlowOutput, LatentFlow
from videogen_jax.models.warp import backward_warp

torch = import_reference("torch")
torch_ifrnet = import_reference("tests.support.torch_ifrnet")

NETWORK_TOLERANCE = 1e-4

PIXELS = FlowConfig(encoder_channels=(4, 6, 8, 10), side_channels=3, stem_kernel=7)
LATENTS = FlowConfig(in_channels=4, encoder_channels=(8, 12), side_channels=4, stem_stride=1)
TIME_B = jnp.array([0.5, 0.25])

apply = jax.jit(
    lambda config, params, a, b, time: LatentFlow(config).apply({"params": params}, a, b, time),
    static_argnums=0,
)
target_features = jax.jit(
    lambda config, params, a, b, target: LatentFlow(config).apply(
        {"params": params}, a, b, target, method="target_features"
    ),
    static_argnums=0,
)


def init(config: FlowConfig) -> Any:
    frame = jnp.zeros((1, 8, 8, config.in_channels))
    return LatentFlow(config).init(jax.random.key(0), frame, frame, jnp.zeros(1))["params"]


@functools.cache
def init_shapes(config: FlowConfig) -> Any:
    return jax.eval_shape(lambda: init(config))


def random_frames(height: int, width: int, channels: int) -> np.ndarray:
    """Returns three batches of frames, `[3, B, H, W, C]`."""
    shape = (3, 2, height, width, channels)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def reference_model(config: FlowConfig) -> torch_ifrnet.IFRNet:
    return torch_ifrnet.IFRNet(config.encoder_channels, config.side_channels, config.stem_kernel)


def as_params(state: dict[str, torch.Tensor]) -> Any:
    flat = {
        torch_ifrnet.flax_path(name): torch_ifrnet.flax_layout(value).numpy()
        for name, value in state.items()
    }
    return unflatten_dict(flat, sep="/")


def assert_trees_close(ours: Any, theirs: Any) -> None:
    def check(ours_BHWC: jax.Array, theirs_BCHW: torch.Tensor) -> None:
        theirs_BHWC = theirs_BCHW.permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(ours_BHWC, theirs_BHWC, atol=NETWORK_TOLERANCE)

    jax.tree.map(check, ours, theirs)


@pytest.fixture(scope="module")
def latent_params() -> Any:
    """Random parameters, including biases and slopes, from numpy: `init` compiles slowly."""
    generator = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: 0.07 * generator.normal(size=leaf.shape).astype(np.float32),
        init_shapes(LATENTS),
    )


@pytest.mark.parametrize("config", [PIXELS, flow.IFRNET_S], ids=["tiny", "ifrnet_s"])
def test_equals_ifrnet(config: FlowConfig) -> None:
    torch.manual_seed(0)
    reference: Any = reference_model(config).requires_grad_(False)
    for module in reference.modules():
        if isinstance(module, torch.nn.PReLU):
            module.weight.uniform_(0.1, 0.4)  # equal slopes would hide an exchange of channels
    # Flows of several pixels, so the warps have an effect.
    reference.decoder4.convblock[2].weight.mul_(20)
    params = as_params(reference.state_dict())
    a, b, target = random_frames(32, 48, 3)
    a_torch, b_torch, target_torch = (
        torch.from_numpy(x).permute(0, 3, 1, 2) for x in (a, b, target)
    )

    output = apply(config, params, a, b, TIME_B)
    assert jnp.abs(output.flow_a_BHW2).max() > 1
    expected = reference(a_torch, b_torch, torch.from_numpy(np.array(TIME_B)))
    assert_trees_close(output, FlowOutput(*expected))

    features = target_features(config, params, a, b, target)
    mean = (a_torch + b_torch).mean((1, 2, 3), keepdim=True) / 2
    assert_trees_close(features, tuple(reference.encode(target_torch - mean)[2::-1]))


@pytest.mark.parametrize(
    ("config", "num_parameters"),
    [(flow.IFRNET, 4_959_692), (flow.IFRNET_S, 2_803_610), (flow.IFRNET_L, 19_699_460)],
    ids=["ifrnet", "ifrnet_s", "ifrnet_l"],
)
def test_published_sizes_have_all_parameters(config: FlowConfig, num_parameters: int) -> None:
    with torch.device("meta"):
        state = reference_model(config).state_dict()
    expected = {
        torch_ifrnet.flax_path(name): tuple(torch_ifrnet.flax_layout(value).shape)
        for name, value in state.items()
    }
    params: dict[str, Any] = flatten_dict(init_shapes(config), sep="/")
    assert {path: value.shape for path, value in params.items()} == expected
    assert sum(value.size for value in params.values()) == num_parameters


@pytest.mark.parametrize(
    "config",
    [LATENTS, FlowConfig(4, (8, 12, 16), 4, stem_stride=1), FlowConfig(4, (8, 12), 4), PIXELS],
)
@pytest.mark.parametrize("size", [(4, 4), (9, 14)])
def test_any_size_and_config(config: FlowConfig, size: tuple[int, int]) -> None:
    def run(params: Any) -> tuple[FlowOutput, tuple[jax.Array, ...]]:
        a, b, target = jnp.zeros((3, 2, *size, config.in_channels))
        model = LatentFlow(config).bind({"params": params})
        return model(a, b, TIME_B), model.target_features(a, b, target)

    output, features = jax.eval_shape(run, init_shapes(config))
    assert output.merged_BHWC.shape == (2, *size, config.in_channels)
    assert output.residual_BHWC.shape == (2, *size, config.in_channels)
    assert output.mask_BHW1.shape == (2, *size, 1)
    for flow_BHW2 in (output.flow_a_BHW2, output.flow_b_BHW2, *jax.tree.leaves(output.flows)):
        assert flow_BHW2.shape == (2, *size, 2)
    assert len(output.flows) == len(output.features) == len(config.encoder_channels) - 1
    assert [x.shape for x in features] == [x.shape for x in output.features]


def test_merged_is_made_of_the_other_outputs(latent_params: Any) -> None:
    a, b, _ = random_frames(9, 14, 4)
    output = apply(LATENTS, latent_params, a, b, TIME_B)
    mask = output.mask_BHW1
    warped_a = backward_warp(a, output.flow_a_BHW2)
    warped_b = backward_warp(b, output.flow_b_BHW2)
    expected = mask * warped_a + (1 - mask) * warped_b + output.residual_BHWC
    np.testing.assert_allclose(output.merged_BHWC, expected, atol=NETWORK_TOLERANCE)
    assert jnp.ptp(mask) > 0


def test_without_flow_and_residual_identical_frames_stay(latent_params: Any) -> None:
    a, _, _ = random_frames(9, 14, 4)
    params = jax.tree.map(jnp.zeros_like, latent_params)
    output = apply(LATENTS, params, a, a, TIME_B)
    np.testing.assert_array_equal(output.flow_a_BHW2, 0)
    np.testing.assert_allclose(output.merged_BHWC, a, atol=NETWORK_TOLERANCE)


def test_brightness_changes_nothing_but_the_brightness(latent_params: Any) -> None:
    a, b, target = random_frames(9, 14, 4)
    dark = apply(LATENTS, latent_params, a, b, TIME_B)
    bright = apply(LATENTS, latent_params, a + 3, b + 3, TIME_B)
    np.testing.assert_allclose(bright.flow_b_BHW2, dark.flow_b_BHW2, atol=NETWORK_TOLERANCE)
    np.testing.assert_allclose(bright.merged_BHWC, dark.merged_BHWC + 3, atol=NETWORK_TOLERANCE)
    dark_features = target_features(LATENTS, latent_params, a, b, target)
    bright_features = target_features(LATENTS, latent_params, a + 3, b + 3, target + 3)
    np.testing.assert_allclose(bright_features[0], dark_features[0], atol=NETWORK_TOLERANCE)


def test_samples_are_independent_and_time_matters(latent_params: Any) -> None:
    a, b, _ = random_frames(9, 14, 4)
    flows = apply(LATENTS, latent_params, a, b, TIME_B).flow_a_BHW2
    later = apply(LATENTS, latent_params, a, b, jnp.array([0.5, 0.75])).flow_a_BHW2
    np.testing.assert_array_equal(flows[0], later[0])
    assert (flows[1] != later[1]).any()


def test_every_parameter_gets_a_gradient(latent_params: Any) -> None:
    a, b, target = random_frames(9, 14, 4)

    def error(params: Any) -> jax.Array:
        merged_BHWC = apply(LATENTS, params, a, b, TIME_B).merged_BHWC
        return jnp.square(merged_BHWC - target).mean()

    gradient: dict[str, Any] = flatten_dict(jax.jit(jax.grad(error))(latent_params), sep="/")
    for path, value in gradient.items():
        assert jnp.isfinite(value).all() and (value != 0).any(), path


def test_bfloat16_features_give_float32_flows_and_frames(latent_params: Any) -> None:
    a, b, _ = random_frames(9, 14, 4)
    exact = apply(LATENTS, latent_params, a, b, TIME_B)
    model = LatentFlow(LATENTS, jnp.bfloat16)
    output = jax.jit(model.apply)({"params": latent_params}, a, b, TIME_B)
    assert output.features[0].dtype == jnp.bfloat16
    assert output.flow_a_BHW2.dtype == output.merged_BHWC.dtype == jnp.float32
    # bfloat16 has 8 significant bits.
    np.testing.assert_allclose(output.merged_BHWC, exact.merged_BHWC, atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder_channels": (8,)}, "encoder_channels must have at least 2 levels"),
        ({"stem_stride": 4}, "stem_stride must be 1 or 2"),
        ({"stem_kernel": 4}, "stem_kernel must be odd"),
        ({"side_channels": 96}, "side_channels must be between 1 and 95"),
    ],
)
def test_impossible_configs_are_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowConfig(**arguments)


def test_frames_that_do_not_fit_are_errors(latent_params: Any) -> None:
    frame = jnp.zeros((2, 8, 8, 4))
    with pytest.raises(ValueError, match=r"frames must be \[B, H, W, 4\]"):
        apply(LATENTS, latent_params, frame[..., :3], frame[..., :3], TIME_B)
    with pytest.raises(ValueError, match="frames differ in shape"):
        apply(LATENTS, latent_params, frame, frame[:, :4], TIME_B)
