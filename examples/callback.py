"""Watches a video while it is made: writes the reference and each stage as soon as they are there.

python examples/callback.py "a red circle moving left" --stop-after "stage 1"
"""

from pathlib import Path

import numpy as np
import tyro

from videogen_jax import Progress, Video, VideoGen
from videogen_jax.media.pictures import save_picture


class Stopped(Exception):
    """The part after which to stop is done."""


def main(
    prompt: tyro.conf.Positional[str],
    /,
    model: str = "shapes",
    out: Path = Path("outputs/callback"),
    steps: int | None = None,
    stop_after: str = "",
) -> None:
    """Samples a prompt and writes what each part has made.

    Args:
        prompt: the prompt.
        model: name of a shipped model, or a model directory.
        out: folder for reference_image.png, stage_1.webp, ..., video.mp4.
        steps: steps of every sampler, by default the model's.
        stop_after: a part, such as "stage 1", after which nothing more is computed.
    """
    loaded = VideoGen.load(model)

    def watch(progress: Progress) -> None:
        if progress.result is None:  # a step in the middle of a part
            return
        name = progress.part.replace(" ", "_")
        if progress.part == "reference image":
            save_picture(out / f"{name}.png", np.asarray(progress.result)[0])
        else:  # latents of a stage or of temporal super-resolution
            frames = loaded.decode(progress.result)[0]
            Video(frames, loaded.config.fps, prompt).save(out / f"{name}.webp")
        print(f"{progress.part}: {progress.total} steps done")
        if progress.part == stop_after:
            raise Stopped(progress.part)  # ends the call

    try:
        loaded(prompt, progress=watch, steps=steps).save(out / "video.mp4")
    except Stopped as part:
        print(f"stopped after {part}; the files are in {out}")


if __name__ == "__main__":
    tyro.cli(main)
