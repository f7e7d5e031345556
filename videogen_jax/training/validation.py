"""The validation loss: a task's loss on held-out examples with fixed noise and timesteps.

The key of an example is a function of the validation's seed and the example's place. So all
validations of a run, and those of runs with other training seeds, compute the same function of the
parameters. The parameters are the averaged ones, which are sampled and exported.

Letters: B examples, G examples of a group, M = B / G groups.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from videogen_jax import layout, sharding
from videogen_jax.pipeline import noise
from videogen_jax.training.config import VALIDATION_PREFIX
from videogen_jax.training.losses.diffusion import FRACTIONS
from videogen_jax.training.task import Batch, Mean, Params, Task

# Entries of a batch: the places of its examples among all, and whether they count. Examples that do
# not count fill up the last batch.
PLACE, COUNTS = "validation_place", "validation_counts"


def extra_shapes(size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of the entries that validation adds to a batch of `size` examples."""
    dtypes = {PLACE: np.int32, COUNTS: np.bool_, FRACTIONS: np.float32}
    return {name: jax.ShapeDtypeStruct((size,), dtype) for name, dtype in dtypes.items()}


def group_of(task: Task, number: int) -> int:
    """Returns how many of `number` examples the task's loss compares with each other."""
    return min(task.validation_group, number)


def make_program(task: Task, group: int, seed: int) -> Callable[[Params, Params, Batch], Any]:
    """Returns the function `(params, frozen, batch) -> {name: Mean}` of a batch, to be jitted.

    The loss of each group of examples is computed on its own, so that the mean over all groups is
    exact, however many a batch has and whichever do not count.
    """

    def of_group(params: Params, frozen: Params, batch: Batch) -> dict[str, Mean]:
        batch = dict(batch)
        counts_G, places_G = batch.pop(COUNTS), batch.pop(PLACE)
        keys_G = noise.sample_keys(jnp.uint32(seed), places_G)
        loss, metrics = task.validation_loss(params, frozen, batch, keys_G)
        return {
            name: _where(counts_G.all(), value) for name, value in {"loss": loss, **metrics}.items()
        }

    def program(params: Params, frozen: Params, batch: Batch) -> dict[str, Mean]:
        groups = {name: x.reshape(-1, group, *x.shape[1:]) for name, x in batch.items()}
        of_groups = layout.over_batch(lambda batch: of_group(params, frozen, batch))(groups)
        return jax.tree.map(lambda x_M: x_M.sum(axis=0), of_groups)

    return program


def jit_program(task: Task, group: int, seed: int, mesh: Mesh) -> Any:
    """Returns the function of `make_program`, jitted; its result is on every device."""
    return jax.jit(make_program(task, group, seed), out_shardings=sharding.replicated(mesh))


class Validation:
    """A function `(averaged parameters, frozen) -> {"val/…": value}` of a run's task.

    Args:
        task: the task.
        batches: returns this process's share of all batches, anew at each call.
        mesh: the mesh of the run.
        group: of `group_of`.
        seed: of the noise.
    """

    def __init__(
        self,
        task: Task,
        batches: Callable[[], Iterable[Mapping[str, np.ndarray]]],
        mesh: Mesh,
        group: int,
        seed: int,
    ):
        self._task, self._batches, self._mesh = task, batches, mesh
        self._program = jit_program(task, group, seed, mesh)

    def __call__(self, params: Params, frozen: Params) -> dict[str, float]:
        """Returns the mean of the loss and of each metric, those that are finite.

        Args:
            params: averaged parameters, on the mesh.
            frozen: the task's frozen arrays, on the mesh.
        """
        networks = self._task.pixel_networks
        networks = sharding.put_tree(networks, sharding.tree_shardings(self._mesh, networks))
        frozen = {**frozen, **networks}
        results: list[dict[str, Mean]] = []
        for batch in self._batches():
            results.append(self._program(params, frozen, sharding.put_batch(self._mesh, batch)))
            if len(results) > 1:  # one batch waits while another is computed, not all of them
                jax.block_until_ready(results[-2])
        sums = jax.tree.map(
            lambda *values: np.sum(values, dtype=np.float64), *jax.device_get(results)
        )
        return {
            f"{VALIDATION_PREFIX}{name}": float(mean.total / mean.count)
            for name, mean in sums.items()
            if mean.count and np.isfinite(mean.total)
        }


def _where(counts: jax.Array, value: jax.Array | Mean) -> Mean:
    mean = value if isinstance(value, Mean) else Mean(value, jnp.ones(()))
    return jax.tree.map(lambda x: jnp.where(counts, x, 0.0), Mean(*mean))
