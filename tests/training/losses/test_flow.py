"""The losses of LatentFlow: comparison with IFRNet's in PyTorch, and training on motion."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support.references import import_reference
from videogen_jax.models.flow import FlowConfig, FlowOutput, LatentFlow
from videogen_jax.training.losses import flow as flow_losses
from videogen_jax.training.losses.flow import FlowLossConfig, flow_loss

torch = import_reference("torch")
torch_ifrnet = import_reference("tests.support.torch_ifrnet")

BLOCK_TOLERANCE = 1e-5

IFRNET_LOSS = FlowLossConfig(census_grey=True, end_point_weight=0.0)
SIZE = (2, 12, 16)


loss_and_metrics = jax.jit(flow_loss, static_argnums=4)
value_and_gradient = jax.jit(
    jax.value_and_grad(lambda *arguments: flow_loss(*arguments)[0]), static_argnums=4
)


def random_output(seed: int) -> FlowOutput:
    """Returns a random output of a network with three levels and flows of about a pixel."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> Any:
        return generator.normal(size=shape).astype(np.float32)

    return FlowOutput(
        merged_BHWC=normal(*SIZE, 3),
        flow_a_BHW2=normal(*SIZE, 2),
        flow_b_BHW2=normal(*SIZE, 2),
        mask_BHW1=normal(*SIZE, 1),
        residual_BHWC=normal(*SIZE, 3),
        features=(normal(2, 3, 4, 6), normal(2, 6, 8, 5)),
        flows=((normal(*SIZE, 2), normal(*SIZE, 2)), (normal(*SIZE, 2), normal(*SIZE, 2))),
    )


def test_loss_and_its_gradient_equal_ifrnet() -> None:
    ours, truth = random_output(0), random_output(1)
    target = truth.merged_BHWC, truth.features, (truth.flow_a_BHW2, truth.flow_b_BHW2)

    def to_torch(x: jax.Array) -> torch.Tensor:
        return torch.from_numpy(np.asarray(x)).permute(0, 3, 1, 2).requires_grad_()

    output, expected_target = jax.tree.map(to_torch, (ours, target))
    target_frame, target_features, target_flows = expected_target
    expected = torch_ifrnet.ifrnet_loss(
        torch_ifrnet.Output(*output), target_frame, target_features, *target_flows
    )
    expected.backward()

    loss, gradient = value_and_gradient(ours, *target, IFRNET_LOSS)
    np.testing.assert_allclose(loss, expected.item(), rtol=BLOCK_TOLERANCE)

    def assert_close(ours_BHWC: jax.Array, theirs_BCHW: torch.Tensor) -> None:
        if theirs_BCHW.grad is None:  # neither loss depends on it
            np.testing.assert_array_equal(ours_BHWC, 0)
        else:
            theirs_BHWC = theirs_BCHW.grad.permute(0, 2, 3, 1).numpy()
            np.testing.assert_allclose(ours_BHWC, theirs_BHWC, atol=BLOCK_TOLERANCE)

    jax.tree.map(assert_close, gradient, output)


def test_metrics_add_up_to_the_loss() -> None:
    output, truth = random_output(0), random_output(1)
    config = FlowLossConfig(2.0, 3.0, 0.5, 0.25, census_patch_size=5, end_point_weight=0.75)
    loss, metrics = loss_and_metrics(
        output, truth.merged_BHWC, truth.features, (truth.flow_a_BHW2, truth.flow_b_BHW2), config
    )
    names = ("charbonnier", "census", "geometry", "distillation", "end_point")
    parts = [metrics[name] for name in names]
    weighted = np.dot([2.0, 3.0, 0.5, 0.25, 0.75], parts)
    np.testing.assert_allclose(loss, weighted, rtol=BLOCK_TOLERANCE)
    error = jnp.linalg.norm(output.flow_a_BHW2 - truth.flow_a_BHW2, axis=-1).mean()
    error += jnp.linalg.norm(output.flow_b_BHW2 - truth.flow_b_BHW2, axis=-1).mean()
    np.testing.assert_allclose(metrics["end_point_error"], error / 2, rtol=BLOCK_TOLERANCE)


def test_a_perfect_output_costs_nothing_and_has_a_finite_gradient() -> None:
    output = random_output(0)
    flow_a, flow_b = output.flow_a_BHW2, output.flow_b_BHW2
    output = output._replace(flows=((flow_a, flow_b), (flow_a, flow_b)))
    target = output.merged_BHWC, output.features, (flow_a, flow_b)
    value, gradient = value_and_gradient(output, *target, IFRNET_LOSS)
    # The Charbonnier loss of zero is its ε, 1e-3. So is each of the four distillation losses,
    # which have a weight of 0.01.
    np.testing.assert_allclose(value, 1e-3 * (1 + 4 * 0.01), rtol=1e-3)
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_census_sees_structure_and_not_brightness() -> None:
    x = random_output(0).merged_BHWC
    assert flow_losses.census_loss(x, x + 5, 7) < 1e-9
    assert flow_losses.census_loss(x, -x, 7) > 0.1


def test_grey_census_is_blind_to_channels_that_cancel() -> None:
    output, truth = random_output(0), random_output(1)
    target = truth.features, (truth.flow_a_BHW2, truth.flow_b_BHW2)
    swapped = output.merged_BHWC[..., ::-1]
    _, grey = loss_and_metrics(output, swapped, *target, FlowLossConfig(census_grey=True))
    _, coloured = loss_and_metrics(output, swapped, *target, FlowLossConfig(census_grey=False))
    assert grey["census"] < 1e-9
    assert coloured["census"] > 0.1


def test_distillation_trusts_only_targets_that_are_near() -> None:
    flow_BHW2 = jnp.zeros((1, 1, 2, 2))
    target_BHW2 = jnp.array([[[[0.5, 0.0], [30.0, 0.0]]]])
    weight_BHW1 = flow_losses.robust_weight(flow_BHW2, target_BHW2, robustness=0.3)
    gradient = jax.grad(flow_losses.distillation_loss)(flow_BHW2, target_BHW2, weight_BHW1)
    assert gradient[0, 0, 0, 0] < -0.1
    assert jnp.abs(gradient[0, 0, 1, 0]) < 1e-4


def test_the_distance_of_the_finest_flows_is_weighted_by_trust() -> None:
    output, truth = random_output(0), random_output(1)
    target = truth.flow_a_BHW2, truth.flow_b_BHW2
    _, metrics = loss_and_metrics(output, truth.merged_BHWC, truth.features, target, IFRNET_LOSS)
    flows = output.flow_a_BHW2, output.flow_b_BHW2
    distances = [np.linalg.norm(x - y, axis=-1) for x, y in zip(flows, target, strict=True)]
    expected = sum((np.exp(-0.3 * distance) * distance).mean() for distance in distances)
    np.testing.assert_allclose(metrics["end_point"], expected, rtol=1e-4)


def test_images_smaller_than_a_patch_are_an_error() -> None:
    small = jnp.zeros((1, 4, 8, 3))
    with pytest.raises(ValueError, match="at least 7×7 pixels, one patch, got 4×8"):
        flow_losses.census_loss(small, small, 7)
    with pytest.raises(ValueError, match="census_patch_size must be odd"):
        FlowLossConfig(census_patch_size=4)


@pytest.mark.slow  # tests/training/tasks/test_flow.py overfits a batch by the same losses
def test_training_overfits_one_moving_pair() -> None:
    """A blob moves by four latent pixels; the network must learn both flows and the middle."""
    rows, columns = np.mgrid[:12, :12]

    def frame(column: float) -> Any:
        distance = np.square(columns - column) + np.square(rows - 6.0)
        values = np.exp(-distance / 6)[None, :, :, None] * [1.0, -1.0, 0.5, -0.5]
        return values.astype(np.float32)

    a, target, b = frame(4.0), frame(6.0), frame(8.0)
    flow_a_BHW2: Any = np.broadcast_to(np.array([-2.0, 0.0], np.float32), (1, 12, 12, 2))
    time_B = np.array([0.5], np.float32)
    model = LatentFlow(FlowConfig(4, (8, 12), side_channels=4, stem_stride=1))
    optimizer = optax.flatten(optax.adam(5e-3))  # of one vector, which compiles faster
    config = FlowLossConfig(distillation_weight=0.1, census_patch_size=5)

    def loss(params: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        output: Any = model.apply(params, a, b, time_B)
        features: Any = model.apply(params, a, b, target, method="target_features")
        return flow_loss(output, target, features, (flow_a_BHW2, -flow_a_BHW2), config)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, {"loss": value, **metrics}

    # Drawn by numpy, because `init` compiles slowly.
    generator = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: 0.07 * generator.normal(size=leaf.shape).astype(np.float32),
        jax.eval_shape(lambda: model.init(jax.random.key(0), a, b, time_B)),
    )
    state = jax.jit(optimizer.init)(params)
    params, state, first = step(params, state)
    for _ in range(150):
        params, state, last = step(params, state)
    assert last["loss"] < first["loss"] / 4
    assert last["charbonnier"] < first["charbonnier"] / 4
    assert last["end_point_error"] < 0.5 < first["end_point_error"]
