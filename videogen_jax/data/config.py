"""Configuration of a training run's data."""

import dataclasses

from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.rates import Fps, check_fps
from videogen_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data of a training run."""

    dataset: str = ""  # folder of `videogen ingest`; "" is the procedural shapes data
    mixture: tuple[tuple[str, float], ...] = ()  # or several folders, each with its weight
    examples: int = 100_000  # number of procedural shapes clips per epoch
    num_frames: int = 16
    resolution: int = 64  # pixels
    num_threads: int = 2
    num_workers: int = 0  # processes that read the data, each with its threads; 0: in this process
    degrade: DegradeConfig = DegradeConfig()  # degradations in training the video decoder
    latent_cache: str = ""  # folder of `videogen cache-latents`; "" encodes at every step
    # Approximate rate of a window; two values: the range from which each window draws its rate;
    # None: the clip's own, and for procedural shapes the one at which a window spans the clip.
    fps: Fps = None
    # The fields below are for real clips, see `data/clips/windows.py`.
    random_crop: bool = False  # random in training; by default the middle
    held_back: int = 8  # validation clips at the end of the dataset, at most a tenth
    max_damaged: float = 0.01  # fraction of damaged clips above which a run stops

    @property
    def has_clips(self) -> bool:
        """True if the data is clips of datasets, not the procedural shapes."""
        return bool(self.dataset or self.mixture)

    def __post_init__(self):
        check_fps(self.fps)
        if self.dataset and self.mixture:
            raise UserError("dataset and mixture are both given; expected one of them")
        if self.latent_cache and self.mixture:
            raise UserError(
                "latent_cache and mixture are both given; a cache has the clips of one dataset"
            )
        for name in ("num_threads", "num_workers"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}, expected 0 or more")
