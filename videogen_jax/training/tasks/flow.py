"""Training the latent flow network of temporal super-resolution (§3.3, §3.5).

It trains on triplets of frames: of real clips, with the flows of a pixel-space IFRNet, the teacher,
as targets or without any; or of the procedural shapes, whose flows are known. A latent cache may
have the latents of real clips, and the teacher's flows.

Letters: B triplets, H height, W width, Z latent channels; `2` is a flow's (x, y).
"""

import dataclasses
import functools
import logging
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.data.clips.triplets import Triplets, check_triplet_frames
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.shapes.sources import ShapesHighFps
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.errors import UserError
from videogen_jax.models.features.loading import PIXEL_FLOW_COMPONENT
from videogen_jax.models.flow import FlowOutput, LatentFlow
from videogen_jax.models.parameters import init_flow
from videogen_jax.models.warm_start import warm_start_flow
from videogen_jax.models.warp import resize_flow
from videogen_jax.pipeline.decode import decode_frames, quantise
from videogen_jax.pipeline.temporal_sr import flow_midpoints, interleave
from videogen_jax.training.frozen import clip_latents
from videogen_jax.training.losses.flow import FlowLossConfig, charbonnier_loss, flow_loss
from videogen_jax.training.losses.photometric import photometric_loss
from videogen_jax.training.previews import Drawing
from videogen_jax.training.processes.distributed import is_main
from videogen_jax.training.task import (
    Batch,
    CachedLatents,
    Metrics,
    Params,
    Task,
    TaskConfig,
    TaskContext,
    begin_from,
    without_remat,
)
from videogen_jax.training.teacher import load_teacher, teacher_flows

SAMPLE_TRIPLETS = 8
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FlowTaskConfig(TaskConfig):
    """Loss weights and teacher of the flow task."""

    command = "temporal_sr"

    loss: FlowLossConfig = FlowLossConfig()
    # Directory that `videogen convert ifrnet` wrote, for real clips. Without a teacher, the losses
    # that need no target flow train the network alone, and a photometric one of the frames.
    teacher: str = ""
    start_from_teacher: bool = True  # copy its parameters where name and shape are the same

    def component(self) -> str:
        return "flow"

    def build(self, context: TaskContext) -> "FlowTask":
        return FlowTask(self, context)

    def frozen_components(self) -> tuple[str, ...]:
        return ("autoencoder",)

    def cached_latents(self, model: ModelConfig) -> CachedLatents:
        resolutions = (model.refiner.resolution,)
        return CachedLatents(resolutions, False, captions=False, triplets=True, flows=self.teacher)

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
        known = () if data.has_clips else ("flow_a", "flow_b")
        return {
            **dict.fromkeys(("a", "mid", "b"), image),
            **dict.fromkeys(known, flow),
            "time": jax.ShapeDtypeStruct((), np.float32),
        }


class FlowTask(Task):
    """`LatentFlow`, trained on triplets of frames, from `Triplets` or `ShapesHighFps`.

    A batch has `a`, `mid` and `b`, uint8 `[B, H, W, 3]`, and `time`, float32 `[B]`, that of mid
    between a (0) and b (1). The target flows, from mid to a and to b, are those of the teacher at
    the frames' resolution, or `flow_a` and `flow_b` of the batch, float32 `[B, H, W, 2]` in pixels.
    They are resized and rescaled to the latents (§3.5), which are those of the refiner's
    resolution. The loss weights every target by its distance from the flow that interpolates best,
    as in IFRNet.

    A batch from a latent cache has latents in place of a, mid and b, and the teacher's flows
    (`CachedTriplets`). The step then needs no frozen network. The teacher's parameters are only
    read when a new run starts from them, or for validation, which has pixels.

    Raises:
        MissingFile: the teacher's directory has no `pixel_flow`.
        UserError: there is a teacher or a latent cache, but the procedural shapes have true flows;
            or the teacher is not a network on RGB frames.
    """

    def __init__(self, config: FlowTaskConfig, context: TaskContext):
        model = context.model
        self._config, self._context, self._model = config, context, model
        dtype = without_remat(context.compute, "flow network").dtype
        self._network = LatentFlow(model.flow, dtype)
        _check_targets(config, context.data)
        self.frozen: dict[str, Params] = {}
        if not context.data.latent_cache:
            self.frozen = context.frozen | self._teacher_parameters()
        pixels = 3 * model.refiner.resolution**2
        self.drawing = Drawing(context, SAMPLE_TRIPLETS, pixels, self._rows)

    def init(self, key: jax.Array) -> Params:
        return init_flow(key, self._model.flow)

    def warm_start(self, params: Params) -> Params:
        starts = self._config.start_from_teacher
        teacher = self._teacher_parameters().get(PIXEL_FLOW_COMPONENT) if starts else None
        return begin_from(params, teacher, warm_start_flow)

    @property
    def pixel_networks(self) -> Params:
        if not self._context.data.latent_cache:
            return {}
        return self._context.replaced | self._teacher_parameters()

    @functools.cached_property
    def _teacher(self) -> tuple[LatentFlow, Params] | None:
        context = self._context
        if not self._config.teacher:
            return None
        load = functools.partial(context.feature_network, PIXEL_FLOW_COMPONENT)
        return load_teacher(load, self._config.teacher, context.compute.dtype)

    def _teacher_parameters(self) -> dict[str, Params]:
        return {} if self._teacher is None else {PIXEL_FLOW_COMPONENT: self._teacher[1]}

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        latents = self._latents(frozen, batch)
        a, mid, b = latents[:, 0], latents[:, 1], latents[:, 2]
        output: Any = self._network.apply({"params": params}, a, b, batch["time"])
        features: Any = self._network.apply({"params": params}, a, b, mid, method="target_features")
        flows = self._target_flows(frozen, batch, mid.shape[1:3])
        loss, metrics = flow_loss(output, mid, features, flows, self._config.loss)
        if flows is None and (weight := self._config.loss.photometric_weight):
            metrics["photometric"] = self._photometric(output, batch)
            loss += weight * metrics["photometric"]
        # The loss without any flow; `charbonnier` should be lower.
        time_B111 = batch["time"][:, None, None, None]
        average = (1 - time_B111) * a + time_B111 * b
        return loss, {**metrics, "charbonnier_of_average": charbonnier_loss(average - mid)}

    def _photometric(self, output: FlowOutput, batch: Batch) -> jax.Array:
        config, flows = self._config.loss, (output.flow_a_BHW2, output.flow_b_BHW2)
        a, mid, b = (to_float(batch[name]) for name in ("a", "mid", "b"))
        return photometric_loss(flows, (a, mid, b), config.census_patch_size, config.smoothness)

    def _target_flows(
        self, frozen: Params, batch: Batch, size: Sequence[int]
    ) -> tuple[jax.Array, jax.Array] | None:
        """Returns the flows from mid to a and to b in latent pixels; None if none are known."""
        if "flow_a" in batch:  # those of a cache have this size already
            return resize_flow(batch["flow_a"], size), resize_flow(batch["flow_b"], size)
        if self._teacher is None:
            return None
        network, params = self._teacher[0], frozen[PIXEL_FLOW_COMPONENT]
        return teacher_flows(network, params, batch["a"], batch["b"], batch["time"], size)

    def _latents(self, frozen: Params, batch: Batch) -> jax.Array:
        """Returns the scaled latents of a, mid and b, `[B, 3, H, W, Z]`."""
        if "a" in batch:
            batch = {"video": jnp.stack([batch["a"], batch["mid"], batch["b"]], axis=1)}
        return clip_latents(self._model, frozen, batch, self._model.refiner.resolution, None)

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


def _check_targets(config: FlowTaskConfig, data: DataConfig) -> None:
    """Raises UserError for options of real clips without any; reports clips without targets."""
    if data.has_clips:
        if config.teacher:
            return
        if data.latent_cache and config.loss.photometric_weight:
            raise UserError(
                f"data.latent_cache is {data.latent_cache!r}, but the photometric loss of a flow "
                "without a teacher needs pixels: name a teacher (task.teacher), train without a "
                "cache, or set task.loss.photometric_weight to 0, which learns motion more slowly"
            )
        if is_main():
            _log.info("no teacher (--task.teacher): the flow trains without target flows")
        return
    options = {"task.teacher": config.teacher, "data.latent_cache": data.latent_cache}
    for name, value in options.items():
        if value:
            raise UserError(
                f"{name} is {value!r}, but the flow trains on triplets of the procedural shapes, "
                "which are rendered with their true flows: leave it empty, or name real clips "
                "(data.dataset)"
            )
