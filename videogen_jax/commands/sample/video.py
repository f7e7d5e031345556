"""Generates videos: `videogen sample "a red circle moving left" --out out.mp4`."""

import math
from functools import partial
from pathlib import Path

import jax
import tyro

from videogen_jax import VideoGen
from videogen_jax.cli import COMPILATION_CACHE, enable_compilation_cache
from videogen_jax.commands.sampling_flags import Prompts, ReferenceFile, call_sampling
from videogen_jax.media.output import check_format, check_output
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.weights.model_dir import DType


def main(
    prompts: Prompts,
    /,
    model: str = "shapes",
    out: Path = Path("outputs/video.mp4"),
    reference: ReferenceFile = None,
    sampling: tyro.conf.OmitArgPrefixes[VideoOptions] = VideoOptions(),
    dtype: DType = "float32",
    mesh: tuple[int, int, int] = (1, 1, 1),
    cache_dir: Path = COMPILATION_CACHE,
) -> None:
    """Generates a video of each prompt, with a contact sheet of the reference and the frames.

    Args:
        prompts: one or several prompts, which are sampled together.
        model: name of a shipped model, or a model directory.
        out: .mp4, .gif, .webp, or a folder for PNG frames; for several prompts out_0.mp4, ...
        reference: image file to use as the reference image.
        sampling: options of sampling.
        dtype: floating-point type of the networks' computation.
        mesh: devices per axis: prompts are split over data and fsdp, each clip over frames; an axis
            of -1 takes the remaining devices.
        cache_dir: folder of compiled programs, which later runs reuse.
    """
    paths = [out] if len(prompts) == 1 else [_numbered(out, i) for i in range(len(prompts))]
    for path in paths:  # before minutes of sampling
        check_format(path)
        check_output(path)
        check_output(path.with_suffix(".png"))
    enable_compilation_cache(cache_dir)
    print(f"loading {model}")
    devices = jax.devices() if -1 in mesh else jax.devices()[: math.prod(mesh)]
    loaded = VideoGen.load(model, mesh=make_mesh(MeshConfig(*mesh), devices), dtype=dtype)
    videos = loaded(prompts, reference=reference, options=sampling, progress=True)
    for path, video in zip(paths, videos, strict=True):
        sheet = path.with_suffix(".png")
        video.save(path)
        video.contact_sheet(sheet, caption=video.prompt)
        print(f"{path} and {sheet}: {video!r}")


def _numbered(out: Path, number: int) -> Path:
    return out.with_name(f"{out.stem}_{number}{out.suffix}")


call = partial(call_sampling, main)
