"""The interface of a task, through which the loop and a run train one part of the model.

Everything that differs between the parts of VideoGen is behind `TaskConfig` and `Task`. Nothing
outside `training/tasks/` depends on the type of a task.
"""

import abc
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

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

if TYPE_CHECKING:
    from videogen_jax.training.previews import Drawing

_log = logging.getLogger(__name__)

Params = Any  # a nested dict of arrays
Batch = Mapping[str, jax.Array]


class Samples(NamedTuple):
    """Preview samples of a part: rows of frames or, without fps, of still images."""

    rows_RFHWC: np.ndarray  # uint8 [rows, frames, height, width, 3]
    fps: float | None = None  # frames per second of the first row; all rows are shown at this rate
    captions: tuple[str, ...] = ()  # of the examples, if they have any


class Mean(NamedTuple):
    """A mean over some samples of a batch; totals and counts can be summed over batches."""

    total: jax.Array
    count: jax.Array


Metrics = Mapping[str, jax.Array | Mean]
# A strict merge of a warm start: (fresh parameters, source) -> (merged, report).
Merge = Callable[[Params, Params], tuple[Params, Report]]


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
    """Compute dtype and rematerialisation of the network that trains.

    Its parameters, their gradients and average, the loss and the frozen components of the model are
    always float32. Frozen networks of a loss (the flow's teacher, LPIPS) have this dtype too.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"  # of activations and products
    remat: Remat = "none"  # see `models.remat`; UNets and the video decoder support it


def without_remat(compute: ComputeConfig, network: str) -> ComputeConfig:
    """Returns `compute` unchanged, for a network that does not support rematerialisation.

    Raises:
        UserError: `compute.remat` is not "none".
    """
    if compute.remat != "none":
        raise UserError(
            f"compute.remat is {compute.remat!r}, but the {network} has no blocks to recompute: "
            "use 'none'"
        )
    return compute


def begin_from(params: Params, source: Params | None, merge: Merge) -> Params:
    """Returns `params` or their shapes, warm-started from `source` (§3.5), and prints the report.

    If `source` is None, `params` are returned unchanged.

    Raises:
        UserError: `merge` does not expect a name or shape; the message lists every such key.
    """
    if source is None:
        return params
    merged, report = merge(params, source)
    if is_main():
        _log.info("%s", report)
    return merged


class CachedLatents(NamedTuple):
    """The arrays that a task reads from a latent cache in place of pixels and captions."""

    resolutions: tuple[int, ...]  # in pixels, from low to high
    deviation: bool  # also the posterior's standard deviation, to draw latents
    captions: bool  # also text states
    triplets: bool = False  # of each window its ends and an inner frame, see `CachedTriplets`
    flows: str = ""  # and target flows: those of the teacher in this directory; "" for none


@dataclasses.dataclass(frozen=True)
class TaskContext:
    """The inputs from which a task is built, besides its own configuration.

    A run reads the arrays from a model directory. A plan of a run uses `jax.ShapeDtypeStruct` in
    their place, and has neither a warm start nor examples.

    Attributes:
        model: configuration of the whole model.
        data: configuration of the run's examples.
        compute: compute dtype and rematerialisation of the network that trains.
        components: parameters of the components that `TaskConfig.frozen_components` names.
        null_text: the empty prompt's cached `text_states` and `text_pooled` if the run trains from
            a latent cache, otherwise None.
        warm_start: returns the parameters of a component by name; None for the empty name.
        feature_network: returns configuration and parameters of a network of a loss, from the name
            of its component and the directory that its converter wrote to; see
            `models.features.loading.load_network`.
        tokenize: returns the token ids of texts, int32 `[B, T]`.
        training: returns the first N training examples, as the task trains on them.
        validation: returns the first N validation examples.
    """

    model: ModelConfig
    data: DataConfig
    compute: ComputeConfig
    components: Params
    null_text: Params | None
    warm_start: Callable[[str], Params | None]
    feature_network: Callable[[str, str], tuple[Any, Params]]
    tokenize: Callable[[Sequence[str]], np.ndarray]
    training: Callable[[int], Sequence[Mapping[str, Any]]]
    validation: Callable[[int], Sequence[Mapping[str, Any]]]

    @property
    def frozen(self) -> Params:
        """The frozen arrays that the step needs. A latent cache replaces two of the components."""
        if self.null_text is None:
            return self.components
        cached = ("text_encoder", "autoencoder")
        others = {name: tree for name, tree in self.components.items() if name not in cached}
        return {"null_text": self.null_text, **others}

    @property
    def replaced(self) -> Params:
        """The components that a latent cache replaces; none without one."""
        frozen = self.frozen
        return {name: tree for name, tree in self.components.items() if name not in frozen}


@dataclasses.dataclass(frozen=True)
class TaskConfig(abc.ABC):
    """A task's part of a run's configuration, with what the run needs before the task is built.

    A subclass is a frozen dataclass whose fields are the user's settings. Configuration files
    contain the name of the class. To add a task, add a file in `training/tasks/`, a line in
    `tasks.TASKS` and a preset.
    """

    command: ClassVar[str]
    """The training command that offers runs of this task, such as "cascade"."""
    takes_buckets: ClassVar[bool] = False
    """Whether the task trains on aspect buckets (`DataConfig.buckets`), not on squares only."""

    @abc.abstractmethod
    def component(self) -> str:
        """Returns the name of the component of a model directory that the task trains."""

    @abc.abstractmethod
    def build(self, context: TaskContext) -> "Task":
        """Builds the task. Raises UserError if a field does not fit the model."""

    def frozen_components(self) -> tuple[str, ...]:
        """Returns the components that the loss or the samples need and that do not train."""
        return ()

    def cached_latents(self, model: ModelConfig) -> CachedLatents | None:
        """Returns what the task reads from a latent cache; None if it trains on pixels."""
        return None

    def split_frames(self, num_frames: int) -> int:
        """Returns how many frames of a clip a mesh's `frames` axis must divide; 0 for none."""
        return 0

    def shapes_source(self, data: DataConfig, split: str, size: int) -> Source:
        """Returns `size` procedural examples to train on."""
        return shapes_clips(split, size, data.resolution, data.num_frames, data.fps)

    def clips_source(self, data: DataConfig, clips: Source) -> Source:
        """Returns examples to train on, made from captioned real clips.

        Raises:
            UserError: the task needs something that real clips do not have.
        """
        return clips

    def example_shapes(
        self, model: ModelConfig, data: DataConfig
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the arrays of an example from pixels, besides `fps`, `index` and `tokens`.

        Of aspect buckets, those of the largest one.
        """
        shape = (data.num_frames, *data.largest_size, 3)
        return {"video": jax.ShapeDtypeStruct(shape, np.uint8)}


class Task(Protocol):
    """One part of the model in training.

    `frozen` is a tree of arrays that the loss needs and that do not train (text encoder,
    autoencoder). It is an argument of the step and sharded like the parameters. As a constant it
    would be compiled into the program and copied to every device.

    The loss is a mean over samples, and each sample draws from its own key, so a batch may be split
    into micro-batches. If the loss of a task is not such a mean, the attribute `couples_samples`
    gives the reason.

    A validation has pixels, also if the run trains from a latent cache; `pixel_networks` are the
    frozen arrays that it then needs in addition. It computes the loss of each example on its own,
    or of `validation_group` consecutive examples if the loss compares the samples of a batch.
    """

    frozen: Params
    pixel_networks: Params = {}
    validation_group: int = 1
    drawing: "Drawing | None" = None  # draws the samples, if there are any

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters; traced under jit, so that they are created sharded."""
        ...

    def warm_start(self, params: Params) -> Params:
        """Returns the parameters that training starts from, and prints what it copied.

        `params` are the shapes of those of `init`. A leaf that is returned as a shape is
        initialised by `init`; by default all are.
        """
        return params

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Returns scalar loss and metrics of a batch. All randomness comes from samples' keys."""
        ...

    def validation_loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Returns loss and metrics of held-out examples, by default those of training.

        A task overrides it if its training loss does not measure how good the result is.
        """
        return self.loss(params, frozen, batch, keys_B)

    def samples(self, params: Params, seed: int) -> Samples | None:
        """Returns the part's outputs for a few validation examples; None without `drawing`."""
        return None if self.drawing is None else self.drawing(params, seed)

    def components(self, params: Params) -> dict[str, Params]:
        """Returns the model directory's components made of these (averaged) parameters, by name."""
        ...
