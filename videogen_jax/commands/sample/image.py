"""Generates images: `videogen image "a red circle" --model DIR --out out.png`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax import VideoGen
from videogen_jax.commands.sampling_flags import (
    CacheDirectory,
    ImageFile,
    Prompts,
    call_sampling,
)
from videogen_jax.compilation import COMPILATION_CACHE, enable_compilation_cache
from videogen_jax.media.output import check_output, save_or_keep
from videogen_jax.media.pictures import check_picture_format, picture_grid, save_picture
from videogen_jax.pipeline.image_start import load_start
from videogen_jax.pipeline.model_files import read_model_config
from videogen_jax.pipeline.requests.checks import check_count
from videogen_jax.pipeline.requests.image import make_image_request
from videogen_jax.pipeline.requests.options import ImageOptions
from videogen_jax.weights.model_dir import DType

_MAX_IMAGES = 1000


def main(
    prompts: Prompts,
    /,
    model: str = "shapes",
    out: Path = Path("outputs/image.png"),
    images_per_prompt: int = 1,
    image: ImageFile = None,
    mask: ImageFile = None,
    sampling: tyro.conf.OmitArgPrefixes[ImageOptions] = ImageOptions(),
    dtype: DType = "float32",
    offload: bool = False,
    cache_dir: CacheDirectory = COMPILATION_CACHE,
) -> None:
    """Generates images with the image model of a model directory, and writes them as one picture.

    A model directory written by `convert stable-diffusion` is enough. Several images are sampled
    together and arranged in a grid: one row per prompt if `images_per_prompt` is above 1, otherwise
    a square of the prompts in order.

    Args:
        prompts: one or several prompts.
        model: name of a shipped model, or a model directory.
        out: .png, .jpg or .webp.
        images_per_prompt: number of different images per prompt.
        image: image file to start from, for all prompts.
        mask: image file; where it is white, the image is painted anew, elsewhere it stays.
        sampling: options of sampling.
        dtype: floating-point type of the parameters and of the networks' computation.
        offload: keep parameters in the host's memory, and move those of each network to the device
            only while it runs.
        cache_dir: folder of compiled programs, which later runs reuse.
    """
    check_count("images_per_prompt", images_per_prompt, 1, _MAX_IMAGES)
    request = make_image_request(
        read_model_config(model)[1],
        prompts,
        sampling,
        has_image=image is not None,
        has_mask=mask is not None,
    )
    if image is not None:
        load_start(image, mask, request)  # which checks the files
    check_picture_format(out)  # before minutes of sampling
    check_output(out)
    enable_compilation_cache(cache_dir)
    print(f"loading {model}")
    pictures = VideoGen.load(model, dtype=dtype, offload=offload).images(
        [prompt for prompt in prompts for _ in range(images_per_prompt)],
        image=image,
        mask=mask,
        options=sampling,
        progress=True,
    )
    grid = picture_grid(pictures, images_per_prompt if images_per_prompt > 1 else None)
    save_or_keep(out, lambda path: save_picture(path, grid), other_suffix=".png")
    count, height, width, _ = pictures.shape
    print(f"{out}: {count} image{'s' * (count > 1)} of {width}x{height}, seed {sampling.seed}")


call = partial(call_sampling, main)
