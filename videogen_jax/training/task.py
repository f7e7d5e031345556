"""What a task gives to the loop. The parts of VideoGen differ in this and in nothing else."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.models.remat import Remat
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.trees import Report

Params = Any  # a nested dict of arrays
Batch = Mapping[str, jax.Array]


class Samples(NamedTuple):
    """What a part makes now: rows of frames or, without fps, of stills."""

    rows_RFHWC: np.ndarray  # uint8 [rows, frames, height, width, 3]
    fps: float | None = None  # frames a second of the first row, at which all are shown


class Mean(NamedTuple):
    """A metric that is a mean over some samples of a batch: totals and counts add up over batches."""

    total: jax.Array
    count: jax.Array


Metrics = Mapping[str, jax.Array | Mean]
DrawSamples = Callable[[Params, int], Samples]  # (parameters, seed) -> samples
# A strict merge of a warm start: (fresh parameters, source) -> (merged, report).
Merge = Callable[[Params, Params], tuple[Params, Report]]


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
    """How the network that trains computes. Its parameters, their gradients and average and the loss
    are float32 in any case, and so are the frozen networks."""

    dtype: Literal["float32", "bfloat16"] = "float32"  # of activations and products
    remat: Remat = "none"  # see `models.remat`; UNets and the video decoder have it


def without_remat(compute: ComputeConfig, network: str) -> ComputeConfig:
    """`compute` as it is, for a network that recomputes nothing.

    Raises:
        UserError: it asks for recomputation.
    """
    if compute.remat != "none":
        raise UserError(
            f"compute.remat is {compute.remat!r}, but the {network} has no blocks to recompute: "
            "use 'none'"
        )
    return compute


def begin_from(params: Params, source: Params | None, merge: Merge) -> Params:
    """Fresh `params` warm-started from `source` (§3.5); prints the report. As they are for None.

    Raises:
        UserError: a name or shape that `merge` does not explain; lists every key.
    """
    if source is None:
        return params
    merged, report = merge(params, source)
    if is_main():
        print(report)
    return merged


class Task(Protocol):
    """One part of the model in training.

    `frozen` is a tree of arrays that the loss needs and that does not train (text encoder,
    autoencoder): it goes through the step as an argument, sharded like the parameters, because a
    constant in the program would be copied to every device and compiled in.

    The loss is a mean over samples, each drawing from its own key, so that a batch may be taken in
    micro-batches. A task that is otherwise says why in an attribute `couples_samples`.
    """

    frozen: Params

    def init(self, key: jax.Array) -> Params:
        """Parameters from nothing; traced under jit, so that they are created sharded."""
        ...

    def warm_start(self, params: Params) -> Params:
        """The parameters training starts from, given those of `init`; prints what it copied."""
        ...

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Scalar loss and metrics of one batch; all randomness of a sample comes from its key."""
        ...

    def samples(self, params: Params, seed: int, /) -> Samples | None:
        """What the part makes now of a few validation examples, if it can be seen."""
        ...

    def components(self, params: Params) -> dict[str, Params]:
        """The files of a model directory that these (averaged) parameters become, by name."""
        ...
