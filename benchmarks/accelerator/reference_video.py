"""The shipped model's video, made on a CPU: `python -m benchmarks.accelerator.reference_video`.

Frames are stored one below the other in a PNG file, which needs no video codec.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from videogen_jax import VideoGen
from videogen_jax.media.video import Video

FOLDER = Path(__file__).parent / "reference"
PROMPT = "a large red circle moving left over a navy background"
# A user's reference image: red increases to the right, blue to the bottom.
_RAMP = np.linspace(0, 255, 64).astype(np.uint8)
_PICTURE = np.stack(np.broadcast_arrays(_RAMP, np.uint8(128), _RAMP[:, None]), axis=-1)
# The options of each call by name. `quick` is for a dry run.
CALLS: dict[str, dict[str, Any]] = {
    "full": {},
    "quick": {"reference": _PICTURE, "steps": 4, "stages": 1},
}


def make(name: str) -> Video:
    """Makes the video of one of `CALLS` with seed 0 and full float32 precision."""
    with jax.default_matmul_precision("highest"):
        return VideoGen.load("shapes")(PROMPT, seed=0, **CALLS[name])


def save_strip(path: Path, frames_FHWC: np.ndarray) -> None:
    """Writes uint8 `[F, H, W, 3]` as one picture, the first frame at the top."""
    Image.fromarray(frames_FHWC.reshape(-1, *frames_FHWC.shape[2:])).save(path)


def read_strip(path: Path) -> np.ndarray:
    """Reads the square frames that `save_strip` wrote."""
    strip = np.asarray(Image.open(path).convert("RGB"))
    return strip.reshape(-1, strip.shape[1], *strip.shape[1:])


def frame_psnr(found_FHWC: np.ndarray, expected_FHWC: np.ndarray) -> np.ndarray:
    """Returns the peak signal-to-noise ratio of each frame in dB, at most 99 (equal frames)."""
    if found_FHWC.shape != expected_FHWC.shape:
        raise ValueError(f"frames of shape {found_FHWC.shape}, expected {expected_FHWC.shape}")
    error_F = np.square(found_FHWC.astype(float) - expected_FHWC).mean(axis=(1, 2, 3))
    return np.minimum(99.0, 10 * np.log10(255**2 / np.maximum(error_F, 1e-12)))


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    for call in CALLS:
        save_strip(FOLDER / f"{call}.png", make(call).frames)
