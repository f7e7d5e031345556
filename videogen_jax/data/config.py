"""Where the examples of a training run come from."""

import dataclasses

from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the examples come from."""

    dataset: str = ""  # folder of `train.ingest`; "" is the procedural shapes data
    mixture: tuple[tuple[str, float], ...] = ()  # or several folders, each with its weight
    examples: int = 100_000  # clips of the procedural shapes data, drawn once an epoch
    num_frames: int = 16
    resolution: int = 64  # pixels
    num_threads: int = 2
    degrade: DegradeConfig = DegradeConfig()  # what the video decoder learns to take back
    latent_cache: str = ""  # folder of `train.cache_latents`; "" encodes at every step
    # The rest is of real clips, see `data/clips/windows.py`.
    fps: float | None = None  # of a window, about; None: the clip's own
    random_crop: bool = False  # in training; else the middle
    held_back: int = 8  # clips at the end that are not trained on, at most a tenth
    max_damaged: float = 0.01  # share of the clips, above which a run stops

    def __post_init__(self):
        if self.dataset and self.mixture:
            raise UserError("dataset and mixture are both given; expected one of them")
        if self.latent_cache and self.mixture:
            raise UserError(
                "latent_cache and mixture are both given; a cache has the clips of one dataset"
            )
        if self.num_threads < 0:
            raise UserError(f"num_threads is {self.num_threads}, expected 0 or more")
