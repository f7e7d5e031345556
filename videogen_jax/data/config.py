"""Configuration of a training run's data."""

import dataclasses

from videogen_jax.data.clips.aspect_buckets import name_of
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
    # Heights and widths of windows, in place of squares of `resolution`: each clip takes the one
    # that is nearest in aspect ratio, and every batch has one. Networks at another resolution than
    # `resolution` get them enlarged or reduced as much as squares.
    buckets: tuple[tuple[int, int], ...] = ()
    random_crop: bool = False  # random in training; by default the middle
    held_back: int = 8  # validation clips at the end of the dataset, at most a tenth
    max_damaged: float = 0.01  # fraction of damaged clips above which a run stops

    @property
    def has_clips(self) -> bool:
        """True if the data is clips of datasets, not the procedural shapes."""
        return bool(self.dataset or self.mixture)

    @property
    def largest_size(self) -> tuple[int, int]:
        """Height and width of the windows with most pixels."""
        squares = ((self.resolution, self.resolution),)
        return max(self.buckets or squares, key=lambda size: size[0] * size[1])

    def size_at(self, resolution: int, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the height and width of windows of `size` for a network at `resolution`."""
        height, width = (side * resolution // self.resolution for side in size)
        return (height, width) if self.buckets else (resolution, resolution)

    def __post_init__(self):
        check_fps(self.fps)
        self._check_buckets()
        if self.dataset and self.mixture:
            raise UserError("dataset and mixture are both given; expected one of them")
        if self.latent_cache and self.mixture:
            raise UserError(
                "latent_cache and mixture are both given; a cache has the clips of one dataset"
            )
        for name in ("num_threads", "num_workers"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}, expected 0 or more")

    def _check_buckets(self) -> None:
        if self.buckets and not self.dataset:
            what = "mixture is given too" if self.mixture else "the procedural shapes are squares"
            raise UserError(f"buckets are of the clips of one dataset, but {what}")
        for size in self.buckets:
            if min(size) < 1 or self.buckets.count(size) > 1:
                raise UserError(
                    f"buckets has {name_of(size)}, expected different sizes of 1 or more pixels"
                )
