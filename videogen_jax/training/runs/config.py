"""The configuration of a training run."""

import dataclasses
import os
from typing import Any, Literal, TypeAlias

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.errors import UserError
from videogen_jax.sharding import MeshConfig
from videogen_jax.training import tasks  # noqa: F401 -- a configuration file may name any
from videogen_jax.training.config import LoopConfig, OptimConfig, ValidationConfig
from videogen_jax.training.task import ComputeConfig, TaskConfig
from videogen_jax.weights import config_file

ModelFrom: TypeAlias = Literal["preset", "dir"]
"""Whose model a run trains: the preset's, or that of the model directory."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that determines what a run computes; saved as `config.json` in its directory."""

    model: ModelConfig
    task: TaskConfig
    steps: int
    batch_size: int
    accumulate: int = 1  # micro-batches per update, each of batch_size / accumulate examples
    seed: int = 0
    init_from: str = ""  # run directory or checkpoint whose weights a new run starts from
    data: DataConfig = DataConfig()
    compute: ComputeConfig = ComputeConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    loop: LoopConfig = LoopConfig()
    validation: ValidationConfig = ValidationConfig()

    def __post_init__(self):
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise UserError(
                f"accumulate is {self.accumulate}, expected a divisor of batch_size, which is "
                f"{self.batch_size}"
            )
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}, expected 0 or more")
        if self.validation.dataset and not self.data.has_clips:
            raise UserError(
                f"validation.dataset is {self.validation.dataset!r}, but the run trains on the "
                "procedural shapes, which have a validation split: leave it empty"
            )


def load_run(path: str | os.PathLike[str], base: RunConfig | None = None) -> RunConfig:
    """Reads a run's `config.json`, or a part of one that replaces fields of another run.

    Args:
        path: a JSON file of fields as `save_config` writes them.
        base: the run whose fields are replaced one by one. A tuple is replaced as a whole, and so
            is the task if the file has another `task.type`. Without `base`, the file must contain
            every field that has no default.

    Raises:
        MissingFile: there is no such file.
        UserError: the file is not JSON, has an unknown or repeated field or a value of the wrong
            type, or lacks a field that has no default. The message names the file, the field and
            what was expected.
    """
    changes = config_file.read_json(path)
    data = changes if base is None else _merged(config_file.to_dict(base), changes)
    return config_file.from_dict(data, RunConfig, where=str(path))


def _merged(base: Any, changes: Any) -> Any:
    """Merges `changes` into `base`, by field where both have fields of the same dataclass."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    kind = base.get(config_file.TYPE)
    if changes.get(config_file.TYPE, kind) != kind:
        return changes
    merged = {name: _merged(base.get(name), value) for name, value in changes.items()}
    return base | merged
