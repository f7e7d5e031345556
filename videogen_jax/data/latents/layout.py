"""Latent caches of clips: the layout of the files.

A cache is a folder:

OUT/cache.json                    configuration (`training/latents/config.py`), written first
OUT/shard-00000-of-00004/         windows of `clips_per_shard` clips, complete or absent:
    windows.npy                   `WINDOW` [N, E]: clip index, fps, row of the text
    latents_64.npy                [N, E, 2, F, H, W, Z]: scaled posterior mean and deviation
    flows.npy                     [N, E, F - 2, 2, H, W, 2], of a cache with a teacher: the flows
                                  from each inner frame to both ends of the window
    text_states.npy               [S, T, D], one row per distinct text; row 0: the empty prompt
    text_pooled.npy               [S, D]
    checksums.npz                 of each row of these files (`checksums.py`)
OUT/info.json                     counts, shapes, types, and the configuration again; written last

Letters: N clips, E epochs, F frames, H height, W width, Z latent channels, S texts, T tokens,
D text channels; a trailing 2 is a flow's (x, y).
"""

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

INFO_FILE = "info.json"
BEGUN_FILE = "cache.json"
WINDOW = np.dtype([("index", "<i4"), ("fps", "<f4"), ("text", "<i4")])
CacheDType = Literal["float32", "float16"]
Array = tuple[tuple[int, ...], np.dtype[Any]]  # shape and type of a file


@dataclass(frozen=True)
class CacheLayout:
    """The files of a cache and the shapes of their arrays.

    Attributes:
        clips: N of all shards together.
        epochs: E, windows of each clip.
        clips_per_shard: the last shard may have fewer.
        dtype: type of latents, text states and flows on disk.
        latents: (F, H, W, Z) of a window, by resolution in pixels.
        text: (T, D) of a caption.
        flows: (F - 2, 2, H, W, 2) of a window; None for a cache without flows.
    """

    clips: int
    epochs: int
    clips_per_shard: int
    dtype: CacheDType
    latents: Mapping[int, tuple[int, int, int, int]]
    text: tuple[int, int]
    flows: tuple[int, int, int, int, int] | None = None

    @property
    def num_frames(self) -> int:
        """F, frames of a window."""
        return next(iter(self.latents.values()))[0]

    @property
    def num_shards(self) -> int:
        return -(-self.clips // self.clips_per_shard)

    def shard_clips(self, shard: int) -> int:
        """Returns the number of clips in a shard."""
        return min(self.clips_per_shard, self.clips - shard * self.clips_per_shard)

    def shard_name(self, shard: int) -> str:
        return f"shard-{shard:05d}-of-{self.num_shards:05d}"

    def arrays(self, shard: int, texts: int) -> dict[str, Array]:
        """Returns shape and type of every array of a shard with `texts` texts, by name."""
        windows = (self.shard_clips(shard), self.epochs)
        dtype = np.dtype(self.dtype)
        latents = {
            f"latents_{resolution}": ((*windows, 2, *shape), dtype)
            for resolution, shape in self.latents.items()
        }
        flows = {} if self.flows is None else {"flows": ((*windows, *self.flows), dtype)}
        length, width = self.text
        text = {
            "text_states": ((texts, length, width), dtype),
            "text_pooled": ((texts, width), dtype),
        }
        return {"windows": (windows, WINDOW), **latents, **flows, **text}


@functools.lru_cache
def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Returns the header of a `.npy` file, which precedes the values."""
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue()
