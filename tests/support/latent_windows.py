"""A small source of windows with encoders of numpy, and the latent cache that they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videogen_jax.data.latents.layout import CacheLayout
from videogen_jax.data.latents.shards import Encoders, write_info, write_shards

CLIPS, EPOCHS, FRAMES, TOKENS, WIDTH = 11, 2, 5, 4, 5
INNER = FRAMES - 2
LAYOUT = CacheLayout(
    CLIPS,
    EPOCHS,
    4,
    "float32",
    {16: (FRAMES, 2, 2, 3), 8: (FRAMES, 1, 1, 3)},
    (TOKENS, WIDTH),
    (INNER, 2, 2, 2, 2),
)
BATCH = 3  # does not divide the number of windows of a shard


class Windows:
    """A source with a different window of noise, and one of three captions, in each epoch."""

    def __len__(self) -> int:
        return CLIPS

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.at(index, 0)

    def at(self, index: int, epoch: int) -> dict[str, Any]:
        rng = np.random.default_rng([index, epoch])
        return {
            "video": rng.integers(0, 256, (FRAMES, 16, 16, 3), np.uint8),
            "fps": np.float32(8 + index),
            "caption": ["", "one", f"clip {index}"][(index + epoch) % 3],
            "index": np.int32(100 + index),
        }


def latents_of(video_BFHW3: np.ndarray) -> dict[int, np.ndarray]:
    """Replaces an autoencoder: mean and deviation of colours in blocks of 8 and 16 pixels."""
    assert len(video_BFHW3) == BATCH
    blocks = video_BFHW3.reshape(BATCH, FRAMES, 2, 8, 2, 8, 3).astype(np.float32)
    small = np.stack([blocks.mean(axis=(3, 5)), blocks.std(axis=(3, 5))], axis=1)
    return {16: small, 8: small.mean(axis=(3, 4), keepdims=True)}


def tokens_of(captions: Sequence[str]) -> np.ndarray:
    return np.array([[len(text), *text.encode()[-3:].ljust(3)] for text in captions], np.int32)


def text_of(tokens_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    states = tokens_BT[..., None] * np.arange(1, WIDTH + 1) / 7
    return states, states.sum(axis=1)


def flows_of(video_BFHW3: np.ndarray) -> np.ndarray:
    """Replaces a teacher: differences of colours of the inner frames from both ends."""
    colours = latents_of(video_BFHW3)[16][:, 0, ..., :2]
    return np.stack([colours[:, 1:-1] - colours[:, i : i + 1] for i in (0, FRAMES - 1)], axis=2)


ENCODERS = Encoders(latents_of, tokens_of, text_of, BATCH, flows_of)


def write(
    directory: Path, layout: CacheLayout = LAYOUT, encoders: Encoders = ENCODERS, threads: int = 0
) -> Path:
    shards = range(layout.num_shards)
    write_shards(directory, layout, Windows(), encoders, shards, num_threads=threads, quiet=True)
    write_info(directory, layout, {})
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    """Returns the contents of every file, including hidden ones, by path."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def expected(index: int, epoch: int) -> dict[str, np.ndarray]:
    window = Windows().at(index, epoch)
    latents = latents_of(np.stack([window["video"]] * BATCH))
    states, pooled = text_of(tokens_of([window["caption"]]))
    return {
        **{f"latents_{size}": moments[0, 0] for size, moments in latents.items()},
        **{f"latents_std_{size}": moments[0, 1] for size, moments in latents.items()},
        **{"text_states": states[0], "text_pooled": pooled[0]},
        **{"fps": window["fps"], "index": window["index"]},
    }


def expected_flows(index: int, epoch: int, frame: int) -> np.ndarray:
    """Returns what `LatentCache.flows` does."""
    video = Windows().at(index, epoch)["video"]
    return flows_of(np.stack([video] * BATCH))[0, frame - 1]
