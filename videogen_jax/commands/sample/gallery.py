"""Makes the README's pictures: `videogen gallery --out docs/media`."""

from functools import partial
from pathlib import Path

from videogen_jax import VideoGen
from videogen_jax.cli import command
from videogen_jax.compilation import enable_compilation_cache
from videogen_jax.evaluation.shapes.gallery import OWN_IMAGE, make_gallery
from videogen_jax.weights.model_dir import DType


def main(
    model: str = "shapes",
    image: Path = OWN_IMAGE,
    image_prompt: str = "a large blue star moving left over a beige background",
    seed: int = 0,
    out: Path = Path("outputs/gallery"),
    dtype: DType = "float32",
) -> None:
    """Makes the README's pictures.

    They show six prompts, one prompt with three references, a user's image as the reference, and
    temporal super-resolution from 16 to 61 frames.

    Args:
        model: name of a shipped model, or a model directory, of the shapes data.
        image: image file, the user's image.
        image_prompt: prompt for the user's image.
        seed: seed of all noise.
        out: folder for the files.
        dtype: floating-point type of the parameters and of the networks' computation.
    """
    enable_compilation_cache()
    make_gallery(VideoGen.load(model, dtype=dtype), image, image_prompt, out, seed)
    print(out)


call = partial(command, main)
