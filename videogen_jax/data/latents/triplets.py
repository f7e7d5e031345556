"""Triplets of cached latents, which are those that `data/clips/triplets.py` takes of the frames."""

from dataclasses import dataclass
from typing import Any

from videogen_jax.data.clips.triplets import check_triplet_frames, inner_frame, with_time
from videogen_jax.data.latents.reader import LatentCache


@dataclass(frozen=True)
class CachedTriplets:
    """A cache's windows as triplets, with the flows that the cache was opened with.

    A triplet is the one that `Triplets` with this seed takes of the same window.

    Attributes:
        cache: latents of windows of F frames, F odd and at least 3.
        seed: as in `Triplets`.

    Raises:
        UserError: the windows have no middle frame.
    """

    cache: LatentCache
    seed: int = 0

    def __post_init__(self) -> None:
        check_triplet_frames(self.cache.layout.num_frames)

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`at(index, 0)`."""
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        """Returns a triplet.

        Returns:
            latents_<resolution>: float32 [3, H, W, Z], those of a, mid and b. Deviations likewise.
            time, fps: float32, as of `Triplets`.
            flow_a, flow_b: float32 [H, W, 2], the cached flows from mid to a and to b. The cache's
                other entries are kept.

        Raises:
            UserError: as `LatentCache.at`.
        """
        example, num_frames = self.cache.at(index, epoch), self.cache.layout.num_frames
        place = inner_frame(num_frames, self.seed, index, epoch)
        taken = {
            name: value[[0, place, num_frames - 1]] if name.startswith("latents_") else value
            for name, value in example.items()
        }
        if self.cache.has_flows:
            taken["flow_a"], taken["flow_b"] = self.cache.flows(index, epoch, place)
        return with_time(taken, place, num_frames)
