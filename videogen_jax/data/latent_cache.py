"""Clips encoded once: latents on disk in place of pixels, for training denoisers of frozen latents.

A cache is a folder with `latents_<resolution>.npy` (float16 `[N, F, H, W, Z]`, scaled posterior
means), `fps.npy` and `captions.json`; it is written beside and renamed, so it is whole or not there.

Letters: N clips, F frames, H height, W width, Z latent channels.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from videogen_jax.data.loader import Source

Encode = Callable[[np.ndarray], Mapping[int, np.ndarray]]


class LatentCache:
    """A source of `{"latents_<resolution>": float16 [F, H, W, Z], "fps", "caption", "index"}`.

    Raises:
        FileNotFoundError: there is no cache in `directory`.
    """

    def __init__(self, directory: Path):
        files = sorted(directory.glob("latents_*.npy"))
        if not files or not (directory / "captions.json").exists():
            raise FileNotFoundError(
                f"{directory}: no latent cache there (train.cache_latents makes one)"
            )
        self._latents = {file.stem: np.load(file, mmap_mode="r") for file in files}
        self._fps = np.load(directory / "fps.npy")
        self._captions = json.loads((directory / "captions.json").read_text())

    def __len__(self) -> int:
        return len(self._captions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        latents = {name: np.asarray(array[index]) for name, array in self._latents.items()}
        captions = self._captions[index]
        return {**latents, "fps": self._fps[index], "caption": captions, "index": index}


def write_latent_cache(
    source: Source, encode: Encode, directory: Path, batch_size: int = 32
) -> None:
    """Encodes all of `source` into `directory`.

    Args:
        source: clips, `{"video": uint8 [F, H, W, 3], "fps", "caption"}`.
        encode: uint8 `[B, F, H, W, 3]` → scaled latents `[B, F, h, w, Z]` by resolution in pixels.
        directory: must not exist.

    Raises:
        FileExistsError: `directory` is there already.
    """
    if directory.exists():
        raise FileExistsError(f"{directory} exists already; remove it to encode again")
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    arrays: dict[int, np.memmap] = {}
    fps, captions = [], []
    progress = tqdm(total=len(source), desc=f"encoding {directory.name}", unit="clip")
    for start, clips in _batches(source, batch_size):
        for resolution, latents in encode(np.stack([clip["video"] for clip in clips])).items():
            if resolution not in arrays:
                shape = (len(source), *latents.shape[1:])
                path = partial / f"latents_{resolution}.npy"
                arrays[resolution] = np.lib.format.open_memmap(path, "w+", np.float16, shape)
            arrays[resolution][start : start + len(clips)] = latents[: len(clips)]
        fps += [clip["fps"] for clip in clips]
        captions += [clip["caption"] for clip in clips]
        progress.update(len(clips))
    for array in arrays.values():
        array.flush()
    np.save(partial / "fps.npy", np.asarray(fps, np.float32))
    (partial / "captions.json").write_text(json.dumps(captions))
    partial.rename(directory)


def _batches(source: Source, size: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    for start in range(0, len(source), size):
        yield start, [source[i] for i in range(start, min(start + size, len(source)))]
