"""The task that trains a teacher: IFRNet on pixels, with known flows as targets.

The public weights of IFRNet are not in the package index. A user has them and needs no such task.
IFRNet itself was trained with the flows of another network as targets. Here they are those of
photographs that move by known amounts.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.real_clips import material
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
    """Sizes and loss weights of the teacher, and the folder of its photographs' packages."""

    command = "temporal_sr"

    packages: str
    network: FlowConfig = FlowConfig()
    loss: FlowLossConfig = FlowLossConfig(census_grey=True)

    def component(self) -> str:
        return PIXEL_FLOW_COMPONENT

    def build(self, context: TaskContext) -> "PixelFlowTask":
        return PixelFlowTask(self, context)

    def shapes_source(self, data: DataConfig, split: str, size: int) -> Source:
        return MovedPhotographs(self.packages, size, seed=int(split != "train"))

    def example_shapes(
        self, model: ModelConfig, data: DataConfig
    ) -> dict[str, jax.ShapeDtypeStruct]:
        return FlowTaskConfig().example_shapes(model, data)


@dataclasses.dataclass(frozen=True)
class MovedPhotographs:
    """Triplets of moved photographs with their true flows, drawn anew in every epoch.

    Attributes:
        packages: folder of the extracted packages, of `material.download`.
        length: number of triplets.
        seed: sources with different seeds have other triplets.
    """

    packages: str
    length: int
    seed: int = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`at(index, 0)`."""
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        """Returns a triplet with the entries of `ShapesHighFps`, but fps and index; no caption."""
        rng = np.random.default_rng([self.seed, index, epoch])
        stills = _photographs(self.packages)
        square = material.moving_square(stills[rng.integers(len(stills))], rng)
        first = int(rng.integers(material.MOVED_FRAMES - material.LAST))
        middle = int(rng.choice(material.MIDDLES))
        a, mid, b = (square.frame(first + number) for number in (0, middle, material.LAST))
        time = np.float32(middle / material.LAST)
        moved = material.LAST * square.velocity_2
        flows = material.true_flows(moved[None], time[None], material.SIZE)
        flow_a, flow_b = (flow[0].astype(np.float32) for flow in flows)
        known = {"flow_a": flow_a, "flow_b": flow_b, "time": time}
        return {"a": a, "mid": mid, "b": b, **known, "caption": ""}


@functools.cache
def _photographs(packages: str) -> list[np.ndarray]:
    shots = [shot for shot in material.SHOTS if not shot.held_out]
    return material.images(shots, Path(packages))


class PixelFlowTask(Task):
    """`LatentFlow` on pixels in [0, 1], as IFRNet's, trained on triplets with their flows."""

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
        flows = batch["flow_a"], batch["flow_b"]
        return flow_loss(output, mid, features, flows, self._config.loss)

    def components(self, params: Params) -> dict[str, Params]:
        return {PIXEL_FLOW_COMPONENT: params}
