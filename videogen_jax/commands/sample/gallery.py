"""Makes the pictures of the README: `videogen gallery --out docs/media`."""

from functools import partial
from pathlib import Path

from videogen_jax import VideoGen
from videogen_jax.cli import command, enable_compilation_cache
from videogen_jax.evaluation.gallery import OWN_IMAGE, make_gallery


def main(
    model: str = "shapes",
    image: Path = OWN_IMAGE,
    image_prompt: str = "a large blue star moving left over a beige background",
    seed: int = 0,
    out: Path = Path("outputs/gallery"),
) -> None:
    """Six prompts, one prompt with three references, a user's image, and 16 frames made 61.

    Args:
        model: name of a model that ships, or a model directory of the shapes data.
        image: picture file, the user's image.
        image_prompt: what is to happen in it.
        seed: of all noise.
        out: folder for the files.
    """
    enable_compilation_cache()
    make_gallery(VideoGen.load(model), image, image_prompt, out, seed)
    print(out)


call = partial(command, main)
