"""What a task gives to the loop. The parts of VideoGen differ in this and in nothing else."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from videogen_jax.trees import Report

Params = Any  # a nested dict of arrays
Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
SampleSheet = Callable[[Params, int], np.ndarray]  # (parameters, seed) -> uint8 picture
# A strict merge of a warm start: (fresh parameters, source) -> (merged, report).
Merge = Callable[[Params, Params], tuple[Params, Report]]


def begin_from(params: Params, source: Params | None, merge: Merge) -> Params:
    """Fresh `params` warm-started from `source` (§3.5); prints the report. As they are for None.

    Raises:
        ValueError: a name or shape that `merge` does not explain; lists every key.
    """
    if source is None:
        return params
    merged, report = merge(params, source)
    if jax.process_index() == 0:
        print(report)
    return merged


class Task(Protocol):
    """One part of the model in training.

    `frozen` is a tree of arrays that the loss needs and that does not train (text encoder,
    autoencoder): it goes through the step as an argument, sharded like the parameters, because a
    constant in the program would be copied to every device and compiled in.
    """

    frozen: Params

    def init(self, key: jax.Array) -> Params:
        """Parameters from nothing; traced under jit, so that they are created sharded."""
        ...

    def warm_start(self, params: Params) -> Params:
        """The parameters training starts from, given those of `init`; prints what it copied."""
        ...

    def loss(
        self, params: Params, frozen: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Scalar loss and scalar metrics of one batch; all its randomness comes from `key`."""
        ...

    def sample_sheet(self, params: Params, seed: int, /) -> np.ndarray | None:
        """What the part makes now, as one picture, uint8 `[height, width, 3]`, if it can be seen."""
        ...

    def components(self, params: Params) -> dict[str, Params]:
        """The files of a model directory that these (averaged) parameters become, by name."""
        ...
