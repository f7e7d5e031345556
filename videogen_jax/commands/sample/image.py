"""Makes images of prompts: `videogen image "a red circle" --model DIR --out out.png`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax import VideoGen
from videogen_jax.cli import COMPILATION_CACHE, enable_compilation_cache
from videogen_jax.commands.sampling_flags import Prompts, call_sampling
from videogen_jax.errors import UserError
from videogen_jax.media.output import check_output
from videogen_jax.media.pictures import check_picture_format, picture_grid, save_picture
from videogen_jax.pipeline.requests.options import ImageOptions
from videogen_jax.weights.model_dir import DType


def main(
    prompts: Prompts,
    /,
    model: str = "shapes",
    out: Path = Path("outputs/image.png"),
    images_per_prompt: int = 1,
    sampling: tyro.conf.OmitArgPrefixes[ImageOptions] = ImageOptions(),
    dtype: DType = "float32",
    cache_dir: Path = COMPILATION_CACHE,
) -> None:
    """Makes images of each prompt by the image model of a model directory, all in one picture.

    A model directory as `convert stable-diffusion` makes it is enough. Several images are sampled
    together and written as a grid: a row for each prompt if there are more images of each, else a
    square of the prompts in order.

    Args:
        prompts: one text or several.
        model: name of a model that ships, or a model directory.
        out: .png, .jpg or .webp.
        images_per_prompt: different images of the same prompt.
        sampling: how the images are sampled.
        dtype: floating-point type that the networks compute in.
        cache_dir: where compiled programs are kept, so that the next start need not compile.
    """
    if images_per_prompt < 1:
        raise UserError(f"images_per_prompt is {images_per_prompt}, expected at least 1")
    check_picture_format(out)  # before minutes are spent on what cannot be written
    check_output(out)
    enable_compilation_cache(cache_dir)
    print(f"loading {model}")
    pictures = VideoGen.load(model, dtype=dtype).images(
        [prompt for prompt in prompts for _ in range(images_per_prompt)],
        options=sampling,
        progress=True,
    )
    save_picture(out, picture_grid(pictures, images_per_prompt if images_per_prompt > 1 else None))
    count, height, width, _ = pictures.shape
    print(f"{out}: {count} image{'s' * (count > 1)} of {width}x{height}, seed {sampling.seed}")


call = partial(call_sampling, main)
