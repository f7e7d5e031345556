"""The validation loss of a toy task: exact means, the same draws each time, one compilation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.micro_model import counting_compilations
from videogen_jax import layout, sharding
from videogen_jax.data.loader import Mixture, read_once
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.pipeline import noise
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.losses.diffusion import FRACTIONS, denoising_loss
from videogen_jax.training.runs.validation import HeldOut
from videogen_jax.training.task import Mean, Task
from videogen_jax.training.validation import Validation, group_of

NUMBER = 7
SCALE = 3.0


class Numbers:
    """A source of numbers from `first` on, of which each epoch has others."""

    def __init__(self, size: int = 20, first: int = 0):
        self._size, self._first = size, first

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        return {"x": np.float32(self._first + index + 100 * epoch)}


class NumberTask(Task):
    """Its loss depends on the sample's number and noise. One metric is of some samples only."""

    frozen = {"scale": np.float32(SCALE)}

    def loss(self, params, frozen, batch, keys_B):
        eps_B = noise.normal(keys_B, ())
        loss_B = params["weight"] * frozen["scale"] * batch["x"] + eps_B
        odd_B = batch["x"] % 2 == 1
        metrics = {
            "odd": Mean(jnp.where(odd_B, batch["x"], 0.0).sum(), odd_B.sum()),
            "none": Mean(jnp.zeros(()), jnp.zeros((), jnp.int32)),
            "fraction": batch[FRACTIONS].mean(),
        }
        return loss_B.mean(), metrics


class PairTask(NumberTask):
    """Its loss compares the samples of a batch."""

    validation_group = 2

    def loss(self, params, frozen, batch, keys_B):
        return jnp.square(batch["x"][:, None] - batch["x"]).mean(), {}


def validate(task: Task, size: int, mesh_config=MeshConfig(), devices=1, number=NUMBER, seed=0):
    mesh = sharding.make_mesh(mesh_config, jax.devices()[:devices])
    group = group_of(task, number)
    number = number // group * group
    held_out = HeldOut(Numbers(), number, -(-number // size) * size, seed)
    positions = sharding.batch_positions(mesh, size)
    read = lambda: read_once(held_out, size, num_threads=0, positions=positions)
    params = {"weight": jnp.float32(0.5)}
    with layout.activate(mesh):
        validation = Validation(task, read, mesh, group, seed)
        shards = sharding.tree_shardings(mesh, (params, task.frozen))
        params, frozen = sharding.put_tree((params, task.frozen), shards)
        return validation, lambda: validation(params, frozen)


def expected(seed: int = 0) -> float:
    keys = [jax.random.fold_in(jax.random.key(seed), place) for place in range(NUMBER)]
    eps = [float(jax.random.normal(key, (1,))[0]) for key in keys]
    return float(np.mean(0.5 * SCALE * np.arange(NUMBER) + eps))


@pytest.mark.parametrize(
    ("size", "mesh_config", "devices"),
    [(1, MeshConfig(), 1), (3, MeshConfig(), 1), (7, MeshConfig(), 1), (8, MeshConfig(2, 2, 1), 4)],
)
def test_the_mean_is_that_of_the_examples(size: int, mesh_config: MeshConfig, devices: int):
    """Whatever the batch, also if the last one is filled up, and on several devices."""
    _, run = validate(NumberTask(), size, mesh_config, devices)
    metrics = run()
    assert metrics.keys() == {"val/loss", "val/odd", "val/fraction"}  # a mean of none is no number
    np.testing.assert_allclose(metrics["val/loss"], expected(), rtol=1e-6)
    assert metrics["val/odd"] == 3.0


def test_every_call_is_the_same_and_only_the_first_compiles():
    _, run = validate(NumberTask(), 3)
    first = run()
    with counting_compilations() as programs:
        assert run() == first
    assert programs == []
    assert validate(NumberTask(), 3, seed=1)[1]()["val/loss"] == pytest.approx(expected(1))
    assert first["val/loss"] != pytest.approx(expected(1))


def test_examples_that_are_compared_stay_together():
    """Of 7 examples, 6 are 3 pairs; neighbours differ by 1 and half of all pairs are of one."""
    for size, mesh_config, devices in ((2, MeshConfig(), 1), (8, MeshConfig(2, 2, 1), 4)):
        assert validate(PairTask(), size, mesh_config, devices)[1]() == {"val/loss": 0.5}


def test_values_that_are_not_finite_are_left_out():
    class Broken(NumberTask):
        def validation_loss(self, params, frozen, batch, keys_B):
            return jnp.nan * batch["x"].mean(), {"x": batch["x"].mean()}

    assert validate(Broken(), 7)[1]() == {"val/x": 3.0}


def test_a_copy_that_does_not_count_may_be_anything():
    """It is not multiplied by zero, so a loss that is not finite there has no effect."""

    class Inverse(NumberTask):
        def validation_loss(self, params, frozen, batch, keys_B):
            return (1 / (NUMBER - batch["x"])).mean(), {}

    held_out = HeldOut(Numbers(), NUMBER, 8, 0)
    rows = [dict(held_out[i]) for i in range(8)]
    assert rows[7]["x"] == 6.0
    rows[7]["x"] = np.float32(NUMBER)
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    metrics = Validation(Inverse(), lambda: [batch], mesh, 1, 0)({}, {})
    assert metrics["val/loss"] == pytest.approx(np.mean(1 / np.arange(1, NUMBER + 1)), rel=1e-6)


def test_timesteps_are_spread_evenly_whatever_the_number():
    held_out = HeldOut(Numbers(), 1000, 1000, seed=0)
    fractions = np.array([held_out[i][FRACTIONS] for i in range(1000)])
    assert 0 <= fractions.min() and fractions.max() < 1
    for number in (8, 64, 1000):  # uniform random ones would differ by about the root of this
        quarters = np.bincount((fractions[:number] * 4).astype(int), minlength=4)
        assert np.abs(quarters - number / 4).max() <= 2
    shifted = HeldOut(Numbers(), 10, 10, seed=1)[0][FRACTIONS]
    assert shifted != fractions[0]


def test_clips_that_are_few_have_more_windows_and_a_mixture_takes_turns():
    few = HeldOut(Numbers(3), 7, 7, 0)
    assert [few[i]["x"] for i in range(7)] == [0, 1, 2, 100, 101, 102, 200]
    mixed = HeldOut(Mixture((Numbers(2), Numbers(3, 10)), (1.0, 1.0)), 6, 6, 0)
    assert [mixed[i]["x"] for i in range(6)] == [0, 10, 1, 11, 100, 12]


def test_given_fractions_are_the_timesteps_of_the_loss():
    seen = []

    def predict(x_t, timesteps_B):
        seen.append(timesteps_B)
        return jnp.zeros_like(x_t)

    fractions_B = np.array([0.0, 0.25, np.nextafter(np.float32(1), np.float32(0))], np.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    x0 = jnp.ones((3, 2))
    schedule = ScheduleConfig(num_train_timesteps=1000)
    denoising_loss(schedule, predict, x0, keys, fractions_B=fractions_B)
    assert seen[0].tolist() == [0, 250, 999]
