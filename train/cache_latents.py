"""Encodes the shapes clips once: `python -m train.cache_latents MODEL_DIR OUT --clips N`."""

from pathlib import Path

import tyro

from videogen_jax.doors import enable_compilation_cache, run
from videogen_jax.training.cache import cache_shapes


def main(
    model_dir: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    /,
    clips: int = 8000,
    num_frames: int = 16,
) -> None:
    """Writes the latents of training clips at every resolution that the model has a denoiser for.

    Args:
        model_dir: has the autoencoder and `config.json`.
        out: folder to make.
        clips: how many.
        num_frames: of each clip; 1 encodes first frames only.
    """
    enable_compilation_cache()
    cache_shapes(model_dir, out, clips, num_frames)


if __name__ == "__main__":
    run(lambda: tyro.cli(main, prog="python -m train.cache_latents"))
