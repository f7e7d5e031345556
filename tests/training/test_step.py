"""The train step: accumulation, freezing, and skipped steps."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from tests.support import micro_model, tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import task_context
from videogen_jax.models.remat import Remat
from videogen_jax.training.config import OptimConfig
from videogen_jax.training.optim import learning_rate, make_optimizer
from videogen_jax.training.step import StepOptions, init_state, make_step
from videogen_jax.training.task import ComputeConfig, Mean
from videogen_jax.training.tasks.cascade import CascadeTask, CascadeTaskConfig
from videogen_jax.training.tasks.text_encoder import TextEncoderTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig
from videogen_jax.training.telemetry.flops import count_flops, jaxpr_flops

LOSS_TOLERANCE, PARAMETER_TOLERANCE = 1e-5, 1e-6
SAMPLES = 8
KEY = jax.random.key(3)


class Line:
    """Fits y = a x + b + noise; the loss is not finite if x is not."""

    frozen = None

    def init(self, key):
        return {"slope": {"kernel": jnp.ones((2, 2))}, "offset": {"bias": jnp.full(2, 0.5)}}

    def loss(self, params, frozen, batch, keys_B):
        noise = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys_B)
        y = batch["x"] @ params["slope"]["kernel"] + params["offset"]["bias"]
        error_B = jnp.square(y - 2 * batch["x"] - noise).mean(axis=1)
        large_B = batch["x"][:, 0] > 0
        mean = Mean(jnp.where(large_B, error_B, 0).sum(), large_B.sum())
        return error_B.mean(), {"error_of_large": mean, "error": error_B.mean()}


def line_batch(value: float | None = None) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(SAMPLES, 2)).astype(np.float32)
    if value is not None:
        x[3, 1] = value
    return {"x": x}


def run(optimizer, batches, options=StepOptions(), state=None):
    """Returns the state and metrics after each batch."""
    task = Line()
    step = jax.jit(make_step(task, optimizer, 0.9, options))
    state, results = state or init_state(optimizer, task.init(KEY)), []
    for batch in batches:
        state, metrics = step(state, None, batch, KEY)
        results.append((state, metrics))
    return results


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@functools.cache
def stage(compute: ComputeConfig = ComputeConfig()) -> tuple[CascadeTask, dict[str, np.ndarray]]:
    """Returns a stage with every source of randomness, and a batch of cached latents."""
    config = CascadeTaskConfig(2, text_dropout=0.5, reference_dropout=0.5, low_res_noise=500)
    frozen = micro_model.params(MICRO, "text_encoder", "autoencoder")
    rng = np.random.default_rng(0)
    shape = (SAMPLES, 2)
    batch = {}
    for stage in MICRO.stages:
        side = MICRO.latent_size(stage.resolution)
        mean, std = rng.normal(size=(2, *shape, side, side, 4)).astype(np.float32)
        batch[f"latents_{stage.resolution}"] = mean
        batch[f"latents_std_{stage.resolution}"] = 0.1 * np.abs(std)
    prompts = [f"a red circle {i}" for i in range(SAMPLES)]
    batch["tokens"] = micro_model.TOKENIZER(prompts, MICRO.text_encoder.max_length)
    batch["fps"] = np.full(SAMPLES, 8.0, np.float32)
    return config.build(task_context(MICRO, frozen, compute=compute)), batch


def start():
    return micro_model.params(MICRO, "stage_2")["stage_2"]


class AsVector:
    """The stage with its parameters as one vector: one update and one average to compile.

    `Line` has parameters of several shapes.
    """

    def __init__(self, task: CascadeTask):
        self._task, self.frozen = task, task.frozen
        self.start, self._tree_of = ravel_pytree(start())

    def loss(self, params, frozen, batch, keys_B):
        return self._task.loss(self._tree_of(params), frozen, batch, keys_B)


class Taken(NamedTuple):
    """A step of the stage: its new parameters, metrics and floating-point operations."""

    params: jax.Array
    metrics: dict[str, jax.Array]
    flops: float


@functools.cache
def stage_step(accumulate: int = 1, remat: Remat = "none") -> Taken:
    """Takes one step of SGD on the stage."""
    task, batch = stage(ComputeConfig(remat=remat))
    vector, optimizer = AsVector(task), optax.sgd(1e-2)
    inputs = init_state(optimizer, vector.start), task.frozen, batch, KEY
    step = make_step(vector, optimizer, 0.9, StepOptions(accumulate))
    traced = jax.jit(step).trace(*inputs)
    state, metrics = traced.lower().compile()(*inputs)
    return Taken(state.params, metrics, count_flops(traced.jaxpr.jaxpr).total)


def assert_as_whole_batch(found: Taken):
    expected = stage_step()
    assert expected.metrics.keys() == found.metrics.keys()
    for name, value in expected.metrics.items():
        np.testing.assert_allclose(found.metrics[name], value, rtol=LOSS_TOLERANCE, err_msg=name)
    np.testing.assert_allclose(found.params, expected.params, atol=PARAMETER_TOLERANCE)


# Every further step compiles for ten seconds: the quick one accumulates and recomputes.
@pytest.mark.parametrize(
    ("accumulate", "remat"),
    [
        (4, "blocks"),
        pytest.param(4, "none", marks=pytest.mark.slow),
        pytest.param(1, "blocks", marks=pytest.mark.slow),
        pytest.param(1, "dots", marks=pytest.mark.slow),
    ],
)
def test_micro_batches_and_recomputed_activations_change_no_number(accumulate: int, remat: Remat):
    before, _ = ravel_pytree(start())
    assert jnp.abs(stage_step().params - before).max() > 100 * PARAMETER_TOLERANCE
    assert_as_whole_batch(stage_step(accumulate, remat))


@pytest.mark.slow  # three gradients; tests/models/test_memory.py has a bound of what blocks keep
def test_policies_compute_more_the_less_they_keep():
    policies: tuple[Remat, ...] = ("none", "dots", "blocks")
    frozen = micro_model.params(MICRO, "text_encoder", "autoencoder")
    decoder = micro_model.params(MICRO, "video_decoder")
    clips = {name: np.zeros((1, 2, 16, 16, 3), np.uint8) for name in ("video", "degraded")}
    of_decoder = []
    for policy in policies:
        context = task_context(MICRO, frozen, compute=ComputeConfig(remat=policy))
        gradient = jax.grad(VideoDecoderTaskConfig().build(context).loss, has_aux=True)
        of_decoder.append(jaxpr_flops(gradient, decoder, frozen, clips, KEY[None]).total)
    for counts in ([stage_step(remat=policy).flops for policy in policies], of_decoder):
        assert counts[0] <= counts[1] < counts[2] < 1.5 * counts[0]


def test_bfloat16_computes_the_same_roughly_and_keeps_float32_parameters():
    whole = stage_step().metrics["loss"]
    task, batch = stage(ComputeConfig("bfloat16"))
    keys_B = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(KEY, 0), np.arange(SAMPLES))
    loss, _ = jax.jit(task.loss)(start(), task.frozen, batch, keys_B)
    assert loss.dtype == jnp.float32 and loss != whole
    np.testing.assert_allclose(loss, whole, rtol=0.02)
    assert {x.dtype for x in jax.tree.leaves(jax.eval_shape(task.init, KEY))} == {
        jnp.dtype(jnp.float32)
    }


def test_a_network_without_blocks_recomputes_nothing():
    with pytest.raises(ValueError, match="compute.remat is 'dots', but the text encoder has no"):
        context = task_context(MICRO, compute=ComputeConfig(remat="dots"))
        TextEncoderTaskConfig(16, 4).build(context)


def test_a_mean_over_some_samples_is_one_over_the_batch():
    (_, whole), (_, parts) = (
        run(optax.sgd(0.1), [line_batch()], StepOptions(accumulate=n))[0] for n in (1, 8)
    )
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=LOSS_TOLERANCE, err_msg=name)


def test_accumulation_that_cannot_be_exact_is_refused():
    text = TextEncoderTaskConfig(16, 4).build(task_context(tiny_model.TINY))
    for task, accumulate, message in (
        (Line(), 0, "accumulate is 0, expected 1 or more"),
        (text, 2, "accumulate is 2, but the contrastive loss compares every sample"),
    ):
        with pytest.raises(ValueError, match=message):
            make_step(task, optax.sgd(0.1), 0.9, StepOptions(accumulate=accumulate))
    with pytest.raises(ValueError, match="batch of 8 is not divisible by accumulate, which is 3"):
        run(optax.sgd(0.1), [line_batch()], StepOptions(accumulate=3))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(value):
    optimizer = make_optimizer(OptimConfig(warmup_steps=0), 10)
    batches = [line_batch(), line_batch(value), line_batch(value), line_batch()]
    (good, _), (bad, seen), (worse, _), (after, _) = run(optimizer, batches)
    for state in (bad, worse):
        assert_equal(
            (state.params, state.ema, state.opt_state), (good.params, good.ema, good.opt_state)
        )
    assert [int(state.step) for state in (good, bad, worse, after)] == [1, 2, 3, 4]
    assert [int(state.skipped) for state in (good, bad, worse, after)] == [0, 1, 2, 2]
    assert [int(state.skipped_in_a_row) for state in (good, bad, worse, after)] == [0, 1, 2, 0]
    assert not np.isfinite(seen["loss"]) and seen["skipped"] == 1
    assert (after.params["slope"]["kernel"] != good.params["slope"]["kernel"]).any()


def test_an_update_that_is_not_finite_is_not_made():
    """The gradient is finite, but the learning rate makes the update overflow."""
    ((state, metrics),) = run(optax.sgd(1e38), [line_batch(100.0)])
    assert np.isfinite(metrics["grad_norm"]) and int(state.skipped) == 1
    assert_equal(state.params, Line().init(KEY))


def test_after_too_many_in_a_row_nothing_changes_any_more():
    options = StepOptions(max_skipped=2)
    bad, good = line_batch(np.nan), line_batch()
    results = run(optax.sgd(0.1), [good, bad, bad, good, good], options)
    assert [int(state.skipped_in_a_row) for state, _ in results] == [0, 1, 2, 3, 4]
    assert_equal(results[-1][0].params, results[0][0].params)


@pytest.mark.parametrize("freeze", [("slope/.*",), ("offset/bias",)])
def test_frozen_parameters_have_no_state_and_no_update(freeze):
    optimizer = make_optimizer(
        OptimConfig(warmup_steps=0, freeze=freeze, decay=(".*",), weight_decay=0.1), 10
    )
    options = StepOptions(freeze=freeze)
    frozen, free = ("slope", "offset") if freeze[0].startswith("slope") else ("offset", "slope")
    start = Line().init(KEY)
    state, metrics = run(optimizer, [line_batch(), line_batch()], options)[-1]
    assert_equal(state.params[frozen], start[frozen])
    assert_equal(state.ema[frozen], start[frozen])
    for leaf in (state.params, state.ema):
        assert all((a != b).any() for a, b in zip(leaf[free].values(), start[free].values()))
    moments = [x for x in jax.tree.leaves(state.opt_state) if jnp.ndim(x)]
    shapes = {x.shape for x in moments}
    assert len(moments) == 2 and shapes == {next(iter(start[free].values())).shape}
    free_norm = optax.tree.norm(state.params[free])
    np.testing.assert_allclose(metrics["param_norm"], free_norm, rtol=1e-6)


def test_no_gradient_is_computed_of_frozen_parameters():
    """With a frozen in y = x a + b, only the forward pass has a matrix product."""

    def products(freeze: tuple[str, ...]) -> int:
        optimizer = make_optimizer(OptimConfig(freeze=freeze, decay=(".*",)), 10)
        step = make_step(Line(), optimizer, 0.9, StepOptions(freeze=freeze))
        state = init_state(optimizer, Line().init(KEY))
        return str(jax.make_jaxpr(step)(state, None, line_batch(), KEY)).count("dot_general")

    assert products(("slope/.*",)) == 1 < products(())


def test_the_learning_rate_reported_is_the_one_used():
    config = OptimConfig(name="sgd", b1=0.0, learning_rate=0.1, warmup_steps=4, weight_decay=0.0)
    optimizer = make_optimizer(config, 10)
    options = StepOptions(learning_rate=learning_rate(config, 10))
    batches = [line_batch(), line_batch(np.nan), line_batch(), line_batch()]
    results = run(optimizer, batches, options)
    rates = [float(metrics["learning_rate"]) for _, metrics in results]
    np.testing.assert_allclose(rates, [0.0, 0.025, 0.025, 0.05])
    (_, (before, _), (after, metrics), _) = results
    change = optax.tree.norm(jax.tree.map(jnp.subtract, after.params, before.params))
    np.testing.assert_allclose(change, 0.025 * min(metrics["grad_norm"], 1.0), rtol=1e-5)
