"""What a run of training sets."""

import dataclasses

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.errors import UserError
from videogen_jax.sharding import MeshConfig
from videogen_jax.training import tasks  # noqa: F401 -- a configuration file may name any
from videogen_jax.training.config import LoopConfig, OptimConfig
from videogen_jax.training.task import ComputeConfig, TaskConfig


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes; saved in the run directory as `config.json`."""

    model: ModelConfig
    task: TaskConfig
    steps: int
    batch_size: int
    accumulate: int = 1  # micro-batches of batch_size / accumulate, for one update
    seed: int = 0
    init_from: str = ""  # run directory or checkpoint whose weights a new run starts from
    data: DataConfig = DataConfig()
    compute: ComputeConfig = ComputeConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    loop: LoopConfig = LoopConfig()

    def __post_init__(self):
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise UserError(
                f"accumulate is {self.accumulate}, expected a divisor of batch_size, which is "
                f"{self.batch_size}"
            )
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}, expected 0 or more")
