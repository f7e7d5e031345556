"""The optimizer: AdamW with warm-up, a learning-rate schedule and global-norm clipping."""

import dataclasses
from typing import Any, Literal

import jax
import optax


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW; the defaults are Stable Diffusion's with a warm-up and clipping added."""

    learning_rate: float = 1e-4  # peak
    schedule: Literal["constant", "cosine"] = "constant"  # after the warm-up
    final_fraction: float = 0.0  # cosine: of the peak, at the last step
    warmup_steps: int = 1000
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-2  # kernels only
    clip_norm: float = 1.0  # of the whole gradient

    def __post_init__(self):
        if self.learning_rate <= 0:
            raise ValueError(f"optim.learning_rate is {self.learning_rate}, expected > 0")


def learning_rate(config: OptimConfig, steps: int) -> optax.Schedule:
    """Step → learning rate, for a run of `steps` steps."""
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        end = peak * config.final_fraction
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(steps, warmup + 1), end)
    return optax.schedules.warmup_constant_schedule(0.0, peak, warmup)


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clip by global norm, then AdamW with decoupled weight decay on kernels."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            learning_rate(config, steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=_kernels,
        ),
    )


def _kernels(params: Any) -> Any:
    """True for matrices and convolution kernels: norms, biases and embeddings do not decay."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)
