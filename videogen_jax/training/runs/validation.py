"""The validation of a run: its held-out examples and the size of its batches."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.sharding import Mesh

from videogen_jax import sharding
from videogen_jax.data.aspect_batches import Buckets
from videogen_jax.data.loader import Mixture, Source, read_once
from videogen_jax.pipeline.groups import CLIP_PIXELS, at_once, spread
from videogen_jax.tokenizer import Tokenizer
from videogen_jax.training.losses.diffusion import FRACTIONS
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.examples import example_in_turn, held_out_source
from videogen_jax.training.task import Task
from videogen_jax.training.validation import COUNTS, PLACE, Validation, group_of

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class HeldOut:
    """A source of held-out examples, filled up to whole batches with copies that do not count.

    Timesteps are spread by the additive recurrence of the golden ratio: any number of first
    examples covers them evenly, and an example's timestep does not depend on that number.

    Attributes:
        source: the held-out examples.
        number: how many examples count.
        length: of this source, at least `number`.
        seed: shifts all timesteps.
    """

    source: Source | Mixture | Buckets
    number: int
    length: int
    seed: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns an example with its place, its timestep's fraction, and whether it counts."""
        place = min(index, self.number - 1)
        shift = np.random.default_rng(self.seed).random()
        return {
            **example_in_turn(self.source, place),
            PLACE: np.int32(place),
            COUNTS: np.bool_(index < self.number),
            FRACTIONS: np.float32((shift + place * _GOLDEN) % 1.0),
        }


def make_validation(
    config: RunConfig, task: Task, tokenizer: Tokenizer, mesh: Mesh
) -> Validation | None:
    """Returns the validation of a run, None if it does not validate.

    Raises:
        MissingFile: there is no such dataset.
        UserError: it has no clip that the run can use.
    """
    if not config.loop.validate_every:
        return None
    settings, data = config.validation, config.data
    source = held_out_source(config, settings.examples, settings.seed)
    group = group_of(task, settings.examples)
    number = settings.examples // group * group
    size = batch_size(config, task, mesh)
    held_out = HeldOut(source, number, math.ceil(number / size) * size, settings.seed)
    batches = functools.partial(
        read_once,
        held_out,
        size,
        tokenizer,
        config.model.text_encoder.max_length,
        num_threads=data.num_threads,
        positions=sharding.batch_positions(mesh, size),
    )
    return Validation(task, batches, mesh, group, settings.seed)


def batch_size(config: RunConfig, task: Task, mesh: Mesh) -> int:
    """Returns how many examples all devices process at a time.

    A device has at most as many as of a micro-batch in training, and as have `CLIP_PIXELS` pixels,
    but at least one group. The result of the validation does not depend on it.
    """
    examples, data = config.validation.examples, config.data
    group = group_of(task, examples)
    devices = sharding.batch_shares(mesh)
    trained = config.batch_size // config.accumulate // devices
    most = min(at_once(CLIP_PIXELS, data.num_frames, data.resolution, data.resolution), trained)
    return group * spread(examples // group, devices, max(1, most // group))
