"""A toy task for runs through the production path: the mean of each latent channel."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from tests.support.micro_model import MICRO
from videogen_jax.data.config import DataConfig
from videogen_jax.training.config import LoopConfig, OptimConfig
from videogen_jax.training.frozen import clip_latents
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.task import CachedLatents, Samples, Task, TaskConfig

RESOLUTION = 16


@dataclasses.dataclass(frozen=True)
class MeanTaskConfig(TaskConfig):
    """Learns the mean of each latent channel, which minimises the squared error to all latents."""

    command = "mean"
    scale: float = 1.0

    def component(self):
        return "mean"

    def build(self, context):
        return MeanTask(self, context)

    def frozen_components(self):
        return ("autoencoder",)

    def cached_latents(self, model):
        return CachedLatents((RESOLUTION,), deviation=False, captions=False)


class MeanTask(Task):
    def __init__(self, config, context):
        self._config, self._context = config, context
        self.frozen, self.pixel_networks = context.frozen, context.replaced

    def init(self, key):
        return {"mean": jnp.zeros(self._context.model.autoencoder.latent_channels)}

    def loss(self, params, frozen, batch, keys_B):
        latents = clip_latents(self._context.model, frozen, batch, RESOLUTION, None)
        return self._config.scale * jnp.square(latents - params["mean"]).mean(), {}

    def samples(self, params, seed):
        return Samples(np.stack([self._context.validation(2)[0]["video"]]))

    def components(self, params):
        return {"mean": params}


def run_config(**data) -> RunConfig:
    return RunConfig(
        model=MICRO,
        task=MeanTaskConfig(scale=2.0),
        steps=4,
        batch_size=8,
        data=DataConfig(examples=16, num_frames=2, resolution=RESOLUTION, num_threads=0, **data),
        optim=OptimConfig("sgd", learning_rate=0.25, warmup_steps=0, decay=()),
        loop=LoopConfig(ema_decay=0.0, log_every=1, sample_every=4, checkpoint_every=2),
    )
