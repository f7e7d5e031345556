"""A task: all that training one part of the model is, to the loop and to a run.

Everything that differs between the parts of VideoGen is behind `TaskConfig` and `Task`; nothing
outside `training/tasks/` asks which task it has.
"""

import abc
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import jax
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.shapes.sources import shapes_clips
from videogen_jax.errors import UserError
from videogen_jax.models.remat import Remat
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.trees import Report

_log = logging.getLogger(__name__)

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
        _log.info("%s", report)
    return merged


class CachedLatents(NamedTuple):
    """What a task reads from a latent cache in place of pixels and captions."""

    resolutions: tuple[int, ...]  # in pixels, from low to high
    deviation: bool  # the posterior's standard deviation too, to draw latents
    captions: bool  # text states too


@dataclasses.dataclass(frozen=True)
class TaskContext:
    """What a task is built from besides its own configuration.

    A run reads the arrays from a model directory. A plan of a run has `jax.ShapeDtypeStruct` in
    their place, and neither a warm start nor examples.

    Attributes:
        model: configuration of the whole model.
        data: where the run's examples come from.
        compute: how the network that trains computes.
        components: parameters of the components that `TaskConfig.frozen_components` names.
        null_text: the empty prompt's cached `text_states` and `text_pooled` if the run trains from
            a latent cache, else None.
        warm_start: reads the parameters of a component by name; None for the empty name.
        tokenize: texts to token ids, int32 `[B, T]`.
        validation: the first validation examples, so many, as the task trains on.
    """

    model: ModelConfig
    data: DataConfig
    compute: ComputeConfig
    components: Params
    null_text: Params | None
    warm_start: Callable[[str], Params | None]
    tokenize: Callable[[Sequence[str]], np.ndarray]
    validation: Callable[[int], Sequence[Mapping[str, Any]]]

    @property
    def frozen(self) -> Params:
        """The components that the step needs: a latent cache replaces two of them."""
        if self.null_text is None:
            return self.components
        cached = ("text_encoder", "autoencoder")
        others = {name: tree for name, tree in self.components.items() if name not in cached}
        return {"null_text": self.null_text, **others}


@dataclasses.dataclass(frozen=True)
class TaskConfig(abc.ABC):
    """A task's part of a run's configuration, and what the run has to know before it has the task.

    A subclass is a frozen dataclass; its fields are what a user sets. Configuration files name it
    by its class. A new task is a file in `training/tasks/`, a line in `tasks.TASKS` and a preset.
    """

    command: ClassVar[str]
    """The training command that offers runs of this task, such as "cascade"."""

    @abc.abstractmethod
    def component(self) -> str:
        """The component of a model directory that the task trains."""

    @abc.abstractmethod
    def build(self, context: TaskContext) -> "Task":
        """The task itself. Raises UserError if a field does not fit the model."""

    def frozen_components(self) -> tuple[str, ...]:
        """Components that the loss or the samples need and that do not train."""
        return ()

    def cached_latents(self, model: ModelConfig) -> CachedLatents | None:
        """What it reads from a latent cache; None if it trains on pixels."""
        return None

    def split_frames(self, num_frames: int) -> int:
        """Frames of a clip of `num_frames` that a mesh's `frames` axis divides; 0 for none."""
        return 0

    def shapes_source(self, data: DataConfig, split: str, size: int) -> Source:
        """Procedural examples to train on, `size` of them."""
        return shapes_clips(split, size, data.resolution, data.num_frames)

    def clips_source(self, data: DataConfig, clips: Source) -> Source:
        """Examples to train on, made from captioned real clips.

        Raises:
            UserError: real clips lack what the task learns from.
        """
        return clips

    def example_shapes(
        self, model: ModelConfig, data: DataConfig
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """The arrays of an example from pixels, besides `fps`, `index` and `tokens`."""
        shape = (data.num_frames, data.resolution, data.resolution, 3)
        return {"video": jax.ShapeDtypeStruct(shape, np.uint8)}


class Task(Protocol):
    """One part of the model in training.

    `frozen` is a tree of arrays that the loss needs and that does not train (text encoder,
    autoencoder): it goes through the step as an argument, sharded like the parameters, because a
    constant in the program would be copied to every device and compiled in.

    The loss is a mean over samples, each drawing from its own key, so that a batch may be taken in
    micro-batches. A task for which that is not so gives the reason in an attribute
    `couples_samples`.
    """

    frozen: Params

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters; traced under jit, so that they are created sharded."""
        ...

    def warm_start(self, params: Params) -> Params:
        """The parameters that training starts from, given those of `init`; prints what it copied.

        By default they stay as they are.
        """
        return params

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Scalar loss and metrics of one batch; all randomness of a sample comes from its key."""
        ...

    def samples(self, params: Params, seed: int, /) -> Samples | None:
        """What the part makes now of a few validation examples; by default nothing."""
        return None

    def components(self, params: Params) -> dict[str, Params]:
        """The files of a model directory that these (averaged) parameters become, by name."""
        ...
