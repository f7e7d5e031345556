"""Training the latent flow network of temporal super-resolution (§3.3, §3.5).

It trains on frames with known flows.

Letters: B triplets, H height, W width, Z latent channels; `2` is a flow's (x, y).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.shapes.sources import ShapesHighFps
from videogen_jax.data.transforms import resize, to_float, to_uint8
from videogen_jax.errors import UserError
from videogen_jax.models.flow import LatentFlow
from videogen_jax.models.parameters import init_flow
from videogen_jax.models.warp import resize_flow
from videogen_jax.pipeline.decode import decode_frames
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.pipeline.temporal_sr import flow_midpoints, interleave
from videogen_jax.training.losses.flow import FlowLossConfig, charbonnier_loss, flow_loss
from videogen_jax.training.task import (
    Batch,
    Metrics,
    Params,
    Samples,
    Task,
    TaskConfig,
    TaskContext,
    without_remat,
)

SAMPLE_TRIPLETS = 8
_HALF_WAY = 0.5


@dataclasses.dataclass(frozen=True)
class FlowTaskConfig(TaskConfig):
    """Loss weights of the flow task."""

    command = "temporal_sr"

    loss: FlowLossConfig = FlowLossConfig()

    def component(self) -> str:
        return "flow"

    def build(self, context: TaskContext) -> "FlowTask":
        return FlowTask(self, context)

    def frozen_components(self) -> tuple[str, ...]:
        return ("autoencoder",)

    def shapes_source(self, data: DataConfig, split: str, size: int) -> Source:
        return ShapesHighFps(split, size, resolution=data.resolution)

    def clips_source(self, data: DataConfig, clips: Source) -> Source:
        raise UserError(
            "the flow trains on the true flows of procedural shapes, which real clips do not have: "
            "leave data.dataset and data.mixture empty for this run"
        )

    def example_shapes(
        self, model: ModelConfig, data: DataConfig
    ) -> dict[str, jax.ShapeDtypeStruct]:
        size = (data.resolution, data.resolution)
        images = dict.fromkeys(("a", "mid", "b"), jax.ShapeDtypeStruct((*size, 3), np.uint8))
        flows = dict.fromkeys(("flow_a", "flow_b"), jax.ShapeDtypeStruct((*size, 2), np.float32))
        return {**images, **flows, "time": jax.ShapeDtypeStruct((), np.float32)}


class FlowTask(Task):
    """`LatentFlow`, trained on triplets of frames with true flows, as `ShapesHighFps` makes them.

    A batch has `a`, `mid` and `b`, uint8 `[B, H, W, 3]`, with mid half-way in time, and `flow_a`
    and `flow_b`, float32 `[B, H, W, 2]`, from mid to a and to b in pixels. The flows are resized
    and rescaled to the latents (§3.5), which are those of the refiner's resolution. The paper takes
    the flows from a pixel-space IFRNet instead.
    """

    def __init__(self, config: FlowTaskConfig, context: TaskContext):
        model = context.model
        self._config, self._context, self._model = config, context, model
        self._network = LatentFlow(model.flow, without_remat(context.compute, "flow network").dtype)
        self.frozen = context.frozen
        self._draw = jax.jit(self._pictures)

    def init(self, key: jax.Array) -> Params:
        return init_flow(key, self._model.flow)

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        latents = self._latents(frozen, batch)
        a, mid, b = latents[:, 0], latents[:, 1], latents[:, 2]
        time_B = jnp.full(a.shape[0], _HALF_WAY)
        output: Any = self._network.apply({"params": params}, a, b, time_B)
        features: Any = self._network.apply({"params": params}, a, b, mid, method="target_features")
        flow_a, flow_b = (resize_flow(batch[name], mid.shape[1:3]) for name in ("flow_a", "flow_b"))
        loss, metrics = flow_loss(output, mid, features, flow_a, flow_b, self._config.loss)
        # The loss without any flow; `charbonnier` should be lower.
        return loss, {**metrics, "charbonnier_of_average": charbonnier_loss((a + b) / 2 - mid)}

    def _latents(self, frozen: Params, batch: Batch) -> jax.Array:
        """Returns the scaled latents of a, mid and b, `[B, 3, H, W, Z]`."""
        frames = to_float(jnp.stack([batch["a"], batch["mid"], batch["b"]], axis=1))
        return encode_frames(self._model, frozen, frames, self._model.refiner.resolution)

    def samples(self, params: Params, seed: int) -> Samples:
        """Returns the rows a, interpolated, true middle, b; all but the true one are decoded."""
        examples = self._context.validation(SAMPLE_TRIPLETS)
        batch = {name: np.stack([e[name] for e in examples]) for name in ("a", "mid", "b")}
        return Samples(to_uint8(self._draw(params, self.frozen, batch)))

    def _pictures(self, params: Params, frozen: Params, batch: Batch) -> jax.Array:
        """Returns the rows of the samples, float `[4, B, H, W, 3]`."""
        ends = self._latents(frozen, batch)[:, ::2]
        clip = interleave(ends, flow_midpoints(self._model.flow, params, ends))
        pixels = decode_frames(self._model.autoencoder, frozen["autoencoder"], clip)
        truth = resize(to_float(batch["mid"]), pixels.shape[2])
        return jnp.stack([pixels[:, 0], pixels[:, 1], truth, pixels[:, 2]])

    def components(self, params: Params) -> dict[str, Params]:
        return {"flow": params}
