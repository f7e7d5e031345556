"""Training the latent flow network of temporal super-resolution (§3.3, §3.5).

It trains on triplets of frames: of real clips, with the flows of a pixel-space IFRNet, the teacher,
as targets or without any; or of the procedural shapes, whose flows are known.

Letters: B triplets, H height, W width, Z latent channels; `2` is a flow's (x, y).
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.triplets import Triplets, check_triplet_frames
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.shapes.sources import ShapesHighFps
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.errors import UserError
from videogen_jax.models.features.loading import PIXEL_FLOW_COMPONENT
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.parameters import init_flow
from videogen_jax.models.warm_start import warm_start_flow
from videogen_jax.models.warp import resize_flow
from videogen_jax.pipeline.decode import decode_frames, quantise
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.pipeline.temporal_sr import flow_midpoints, interleave
from videogen_jax.training.losses.flow import FlowLossConfig, charbonnier_loss, flow_loss
from videogen_jax.training.previews import Drawing
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.task import (
    Batch,
    Metrics,
    Params,
    Task,
    TaskConfig,
    TaskContext,
    begin_from,
    without_remat,
)

SAMPLE_TRIPLETS = 8
_RGB = 3
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FlowTaskConfig(TaskConfig):
    """Loss weights and teacher of the flow task."""

    command = "temporal_sr"

    loss: FlowLossConfig = FlowLossConfig()
    # Directory that `videogen convert ifrnet` wrote, for real clips. Without a teacher, the losses
    # that need no target flow train the network alone.
    teacher: str = ""
    start_from_teacher: bool = True  # copy its parameters where name and shape are the same

    def component(self) -> str:
        return "flow"

    def build(self, context: TaskContext) -> "FlowTask":
        return FlowTask(self, context)

    def frozen_components(self) -> tuple[str, ...]:
        return ("autoencoder",)

    def shapes_source(self, data: DataConfig, split: str, size: int) -> Source:
        return ShapesHighFps(split, size, resolution=data.resolution)

    def clips_source(self, data: DataConfig, clips: Source) -> Source:
        check_triplet_frames(data.num_frames)
        return Triplets(clips)

    def example_shapes(
        self, model: ModelConfig, data: DataConfig
    ) -> dict[str, jax.ShapeDtypeStruct]:
        size = (data.resolution, data.resolution)
        image = jax.ShapeDtypeStruct((*size, 3), np.uint8)
        flow = jax.ShapeDtypeStruct((*size, 2), np.float32)
        known = () if _has_clips(data) else ("flow_a", "flow_b")
        return {
            **dict.fromkeys(("a", "mid", "b"), image),
            **dict.fromkeys(known, flow),
            "time": jax.ShapeDtypeStruct((), np.float32),
        }


def _has_clips(data: DataConfig) -> bool:
    return bool(data.dataset or data.mixture)


class FlowTask(Task):
    """`LatentFlow`, trained on triplets of frames, from `Triplets` or `ShapesHighFps`.

    A batch has `a`, `mid` and `b`, uint8 `[B, H, W, 3]`, and `time`, float32 `[B]`, that of mid
    between a (0) and b (1). The target flows, from mid to a and to b, are those of the teacher at
    the frames' resolution, or `flow_a` and `flow_b` of the batch, float32 `[B, H, W, 2]` in pixels.
    They are resized and rescaled to the latents (§3.5), which are those of the refiner's
    resolution. The loss weights every target by its distance from the flow that interpolates best,
    as in IFRNet.

    Raises:
        MissingFile: the teacher's directory has no `pixel_flow`.
        UserError: there is a teacher, but the procedural shapes have true flows; or it is not a
            network on RGB frames.
    """

    def __init__(self, config: FlowTaskConfig, context: TaskContext):
        model = context.model
        self._config, self._model = config, model
        dtype = without_remat(context.compute, "flow network").dtype
        self._network = LatentFlow(model.flow, dtype)
        self._teacher, teacher_params = _load_teacher(config, context)
        frozen: dict[str, Params] = context.frozen
        self.frozen = frozen | teacher_params
        pixels = 3 * model.refiner.resolution**2
        self.drawing = Drawing(context, SAMPLE_TRIPLETS, pixels, self._rows)

    def init(self, key: jax.Array) -> Params:
        return init_flow(key, self._model.flow)

    def warm_start(self, params: Params) -> Params:
        teacher = self.frozen.get(PIXEL_FLOW_COMPONENT) if self._config.start_from_teacher else None
        return begin_from(params, teacher, warm_start_flow)

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        latents = self._latents(frozen, batch)
        a, mid, b = latents[:, 0], latents[:, 1], latents[:, 2]
        output: Any = self._network.apply({"params": params}, a, b, batch["time"])
        features: Any = self._network.apply({"params": params}, a, b, mid, method="target_features")
        flows = self._target_flows(frozen, batch, mid.shape[1:3])
        loss, metrics = flow_loss(output, mid, features, flows, self._config.loss)
        # The loss without any flow; `charbonnier` should be lower.
        time_B111 = batch["time"][:, None, None, None]
        average = (1 - time_B111) * a + time_B111 * b
        return loss, {**metrics, "charbonnier_of_average": charbonnier_loss(average - mid)}

    def _target_flows(
        self, frozen: Params, batch: Batch, size: Sequence[int]
    ) -> tuple[jax.Array, jax.Array] | None:
        """Returns the flows from mid to a and to b in latent pixels; None if none are known."""
        if "flow_a" in batch:
            flows = batch["flow_a"], batch["flow_b"]
        elif self._teacher is not None:
            # IFRNet's pixels are in [0, 1].
            a, b = (to_float(batch[name]) / 2 + 0.5 for name in ("a", "b"))
            output: Any = self._teacher.apply(
                {"params": frozen[PIXEL_FLOW_COMPONENT]}, a, b, batch["time"]
            )
            flows = output.flow_a_BHW2, output.flow_b_BHW2
        else:
            return None
        flow_a, flow_b = (resize_flow(jax.lax.stop_gradient(flow), size) for flow in flows)
        return flow_a, flow_b

    def _latents(self, frozen: Params, batch: Batch) -> jax.Array:
        """Returns the scaled latents of a, mid and b, `[B, 3, H, W, Z]`."""
        frames = to_float(jnp.stack([batch["a"], batch["mid"], batch["b"]], axis=1))
        return encode_frames(self._model, frozen, frames, self._model.refiner.resolution)

    def _rows(
        self, params: Params, components: Params, batch: Batch, keys_B: jax.Array
    ) -> jax.Array:
        """Returns the rows a, interpolated, true middle, b; all but the true one are decoded."""
        ends = self._latents(components, batch)[:, ::2]
        middle = flow_midpoints(self._model.flow, params, ends, time_B=batch["time"])
        clip = interleave(ends, middle)
        pixels = decode_frames(self._model.autoencoder, components["autoencoder"], clip)
        truth = resize(to_float(batch["mid"]), pixels.shape[2])
        rows = (pixels[:, 0], pixels[:, 1], truth, pixels[:, 2])
        return jnp.stack([quantise(row) for row in rows], axis=1)

    def components(self, params: Params) -> dict[str, Params]:
        return {"flow": params}


def _load_teacher(
    config: FlowTaskConfig, context: TaskContext
) -> tuple[LatentFlow | None, dict[str, Params]]:
    """Returns the teacher and its parameters by name, in the compute dtype; or None and none."""
    clips = _has_clips(context.data)
    if not config.teacher:
        if clips and is_main():
            _log.info("no teacher (--task.teacher): the flow trains without target flows")
        return None, {}
    if not clips:
        raise UserError(
            f"task.teacher is {config.teacher!r}, but the procedural shapes have true flows: "
            "leave it empty, or name real clips (data.dataset)"
        )
    sizes, params = context.feature_network(PIXEL_FLOW_COMPONENT, config.teacher)
    if sizes.in_channels != _RGB:
        raise UserError(
            f"{config.teacher}: the teacher takes frames of {sizes.in_channels} channels, expected "
            f"{_RGB} (RGB)"
        )
    dtype = context.compute.dtype
    return LatentFlow(sizes, dtype), {PIXEL_FLOW_COMPONENT: trees.in_dtype(params, dtype)}
