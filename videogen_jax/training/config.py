"""Configuration of a run's optimizer and training loop.

It is not in `optim.py` and `loop.py`, so that presets load without optax and Orbax.
"""

import dataclasses
from typing import Literal

from videogen_jax.errors import UserError

VALIDATION_PREFIX = "val/"  # of the names of its metrics
OptimizerName = Literal["adamw", "adafactor", "lion", "muon", "sgd"]


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """Optimizer settings. The defaults are Stable Diffusion's AdamW, plus warm-up and clipping.

    `lion` (Chen et al. 2023) needs a learning rate 3 to 10 times smaller, a weight decay larger by
    the same factor, and `b2` 0.99. `adafactor` (Shazeer & Stern 2018) has no momentum and factored
    second moments, about 4 bytes less memory per parameter and moment. Its learning rate is
    absolute, as with the other rules. `muon` (Jordan 2024) orthogonalises the momentum of kernels,
    as matrices of all inputs by output channels. Its updates are scaled so that AdamW's learning
    rates apply; all other parameters use AdamW. `sgd` has momentum `b1`.

    Raises:
        UserError: a value is out of range; the message names the field.
    """

    name: OptimizerName = "adamw"
    learning_rate: float = 1e-4  # peak
    schedule: Literal["constant", "cosine", "linear"] = "constant"  # after the warm-up
    final_fraction: float = 0.0  # cosine, linear: last learning rate as a fraction of the peak
    warmup_steps: int = 1000  # linear from 0
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8  # adamw
    weight_decay: float = 1e-2  # decoupled: times the learning rate
    decay: tuple[str, ...] = ("(.*/)?kernel",)  # what decays: no norms, biases or embeddings
    clip_norm: float = 1.0  # global norm of the gradient; 0: no clipping
    multipliers: tuple[tuple[str, float], ...] = ()  # of the learning rate; first match
    freeze: tuple[str, ...] = ()  # parameters without gradient, optimizer state and update

    def __post_init__(self):
        if self.learning_rate <= 0:
            raise UserError(f"optim.learning_rate is {self.learning_rate}, expected > 0")
        for field in ("final_fraction", "warmup_steps", "epsilon", "weight_decay", "clip_norm"):
            if getattr(self, field) < 0:
                raise UserError(f"optim.{field} is {getattr(self, field)}, expected 0 or more")
        for field in ("b1", "b2"):
            if not 0 <= getattr(self, field) < 1:
                raise UserError(f"optim.{field} is {getattr(self, field)}, expected in [0, 1)")
        for pattern, multiplier in self.multipliers:
            if multiplier < 0:
                raise UserError(
                    f"optim.multipliers has {multiplier} for {pattern!r}, expected 0 or more"
                )


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """Intervals, checkpoints and averaging of the training loop; intervals are in steps."""

    ema_decay: float = 0.9999
    log_every: int = 50
    sample_every: int = 1000  # 0: never
    checkpoint_every: int = 1000
    # Steps that may run while a checkpoint is written. 0: none, so a kill loses at most one
    # interval. None: no limit until the next checkpoint is due.
    steps_during_save: int | None = None
    keep_checkpoints: int = 2  # the newest
    validate_every: int = 0  # 0: never; see `ValidationConfig`
    # Also kept: those with the lowest best_metric, a metric of validation such as "val/loss", or
    # the mean of one of training since the previous checkpoint. "": `best`.
    keep_best: int = 1
    best_metric: str = ""
    max_skipped: int = 10  # consecutive steps with a non-finite loss or gradient: then stop

    def __post_init__(self):
        if self.steps_during_save is not None and self.steps_during_save < 0:
            raise UserError(
                f"loop.steps_during_save is {self.steps_during_save}, expected 0 or more, or None"
            )
        if self.validate_every < 0:
            raise UserError(f"loop.validate_every is {self.validate_every}, expected 0 or more")
        if self.keep_best and self.best.startswith(VALIDATION_PREFIX):
            self._check_best()

    @property
    def best(self) -> str:
        """The metric of the best checkpoint: `best_metric`, or the loss of validation if any."""
        default = f"{VALIDATION_PREFIX}loss" if self.validate_every else "loss"
        return self.best_metric or default

    def _check_best(self) -> None:
        validate, save = self.validate_every, self.checkpoint_every
        if not validate:
            raise UserError(
                f"loop.best_metric is {self.best_metric!r}, but nothing is validated: set "
                "loop.validate_every, or name a metric of training"
            )
        if validate % save and save % validate:
            raise UserError(
                f"loop.validate_every is {validate} and loop.checkpoint_every {save}, expected one "
                "to be a multiple of the other, so that checkpoints are validated"
            )


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """The held-out examples of validation and their noise, which no training seed changes."""

    # Folder of `videogen ingest` whose clips are held out; "": the clips that the run's dataset
    # holds back, or the validation split of the procedural shapes.
    dataset: str = ""
    # Windows of the held-out clips in turn, with other noise each. Clips that are fewer have
    # several windows, as in several epochs.
    examples: int = 256
    seed: int = 0  # of windows, timesteps and noise

    def __post_init__(self):
        if self.examples < 1:
            raise UserError(f"validation.examples is {self.examples}, expected 1 or more")
        if self.seed < 0:
            raise UserError(f"validation.seed is {self.seed}, expected 0 or more")
