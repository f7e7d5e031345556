"""The pictures of the README: videos of a few prompts by the shipped model."""

import dataclasses
from pathlib import Path

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.evaluation.shapes.sheets import save_sheet
from videogen_jax.media.video import Video
from videogen_jax.pipeline.videogen import VideoGen

# They cover the kinds of motion, background and size, and all shapes; none was selected by result.
PROMPTS = (
    "a large red circle moving left over a navy background",
    "a small yellow star growing on a navy background",
    "a large green square moving down and right over a beige background",
    "a small pink ring moving up over a white background",
    "a large orange triangle shrinking over a gray background",
    "a small cyan circle moving down and left over a brown background",
)
_OPEN_PROMPT = "a red circle moving left"  # leaves size and background to the reference
_REFERENCE_SEEDS = (0, 1, 2)
OWN_IMAGE = Path(__file__).parents[1] / "assets" / "reference.png"
"""A user's picture, drawn with another program."""
_SCALE = 3  # enlargement of the frames in a file, because viewers blur small ones


def make_gallery(model: VideoGen, image: Path, image_prompt: str, out: Path, seed: int) -> None:
    """Writes the gallery's files.

    `prompt_<i>.webp`: videos of six prompts; `prompts.png`: a sheet of them. `references.png`: one
    prompt with three reference images, drawn with three seeds, and one seed for the cascade
    (Fig. 3). `own_image.png` and `.webp`: a user's image as the reference. `frames_16.webp` and
    `frames_61.webp`: a clip before and after two rounds of temporal super-resolution, at the same
    speed.

    Args:
        model: a model of the shapes data.
        image: image file of the user's reference.
        image_prompt: prompt of the video from that image.
        out: output folder.
        seed: seed of all noise.

    Raises:
        UserError: the image is in the output folder, where a file may replace it.
    """
    if out.exists() and image.exists() and image.parent.samefile(out):
        raise UserError(f"{image} is in the output folder, where another file may replace it")
    out.mkdir(parents=True, exist_ok=True)
    videos = model(list(PROMPTS), seed=seed)
    save_sheet(out / "prompts.png", videos)
    for number, video in enumerate(videos):
        enlarged(video).save(out / f"prompt_{number}.webp")
    pictures = [model.images(_OPEN_PROMPT, seed=other)[0] for other in _REFERENCE_SEEDS]
    same = [model(_OPEN_PROMPT, seed=seed, reference=one, temporal_sr=0) for one in pictures]
    save_sheet(out / "references.png", same)
    own = model(image_prompt, seed=seed, reference=image)
    enlarged(own).save(out / "own_image.webp")
    save_sheet(out / "own_image.png", [own])
    for rounds in (0, 2):
        video = model(PROMPTS[2], seed=seed, temporal_sr=rounds)
        enlarged(video).save(out / f"frames_{len(video.frames)}.webp")


def enlarged(video: Video) -> Video:
    """Returns the video with every pixel three times as wide and high."""
    frames = video.frames.repeat(_SCALE, axis=1).repeat(_SCALE, axis=2)
    return dataclasses.replace(video, frames=np.ascontiguousarray(frames))
