"""The task that trains a teacher: IFRNet on pixels, by its losses without target flows.

The public weights of IFRNet are not in the package index. A user has them and needs no such task.
"""

import dataclasses
from typing import Any

import jax

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.transforms import to_float
from videogen_jax.models.features.loading import PIXEL_FLOW_COMPONENT
from videogen_jax.models.flow import FlowConfig, LatentFlow
from videogen_jax.models.parameters import init_flow
from videogen_jax.training.losses.flow import FlowLossConfig, flow_loss
from videogen_jax.training.task import Batch, Metrics, Params, Task, TaskConfig, TaskContext
from videogen_jax.training.tasks.flow import FlowTaskConfig


@dataclasses.dataclass(frozen=True)
class PixelFlowTaskConfig(TaskConfig):
    """Sizes and loss weights of the teacher. Triplets of frames are those of the flow task."""

    command = "temporal_sr"

    network: FlowConfig = FlowConfig()
    loss: FlowLossConfig = FlowLossConfig(census_grey=True)

    def component(self) -> str:
        return PIXEL_FLOW_COMPONENT

    def build(self, context: TaskContext) -> "PixelFlowTask":
        return PixelFlowTask(self, context)

    def clips_source(self, data: DataConfig, clips: Source) -> Source:
        return FlowTaskConfig().clips_source(data, clips)

    def example_shapes(
        self, model: ModelConfig, data: DataConfig
    ) -> dict[str, jax.ShapeDtypeStruct]:
        return FlowTaskConfig().example_shapes(model, data)


class PixelFlowTask(Task):
    """`LatentFlow` on pixels in [0, 1], as IFRNet's, trained on `a`, `mid`, `b` and `time`."""

    def __init__(self, config: PixelFlowTaskConfig, context: TaskContext):
        self._config = config
        self._network = LatentFlow(config.network, context.compute.dtype)
        self.frozen: Params = {}

    def init(self, key: jax.Array) -> Params:
        return init_flow(key, self._config.network)

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        a, mid, b = (to_float(batch[name]) / 2 + 0.5 for name in ("a", "mid", "b"))
        output: Any = self._network.apply({"params": params}, a, b, batch["time"])
        features: Any = self._network.apply({"params": params}, a, b, mid, method="target_features")
        return flow_loss(output, mid, features, None, self._config.loss)

    def components(self, params: Params) -> dict[str, Params]:
        return {PIXEL_FLOW_COMPONENT: params}
