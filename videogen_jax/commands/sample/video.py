"""Generates videos: `videogen sample "a red circle moving left" --out out.mp4`."""

import math
import os
from functools import partial
from pathlib import Path

import jax
import tyro

from videogen_jax import Video, VideoGen
from videogen_jax.cli import COMPILATION_CACHE, enable_compilation_cache
from videogen_jax.commands.sampling_flags import (
    CacheDirectory,
    Prompts,
    ReferenceFile,
    call_sampling,
)
from videogen_jax.errors import UserError
from videogen_jax.media.output import (
    check_format,
    check_name,
    check_output,
    save_or_keep,
    save_sheet,
    sheet_path,
)
from videogen_jax.models.components import require_components
from videogen_jax.pipeline.model_files import read_model_config
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import make_request
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.weights.model_dir import DType, list_components


def main(
    prompts: Prompts,
    /,
    model: str = "shapes",
    out: Path = Path("outputs/video.mp4"),
    reference: ReferenceFile = None,
    sampling: tyro.conf.OmitArgPrefixes[VideoOptions] = VideoOptions(),
    dtype: DType = "float32",
    mesh: tuple[int, int, int] = (1, 1, 1),
    cache_dir: CacheDirectory = COMPILATION_CACHE,
) -> None:
    """Generates a video of each prompt, with a contact sheet of the reference and the frames.

    Args:
        prompts: one or several prompts, which are sampled together.
        model: name of a shipped model, or a model directory.
        out: .mp4, .gif, .webp, or a folder for PNG frames, which are replaced; for several prompts
            out_0.mp4, ..., which must not exist. The contact sheet is out.png, or out_sheet.png if
            out.png is another file.
        reference: image file to use as the reference image.
        sampling: options of sampling.
        dtype: floating-point type of the networks' computation.
        mesh: devices per axis: prompts are split over data and fsdp, each clip over frames; an axis
            of -1 takes the remaining devices.
        cache_dir: folder of compiled programs, which later runs reuse.
    """
    directory, config = read_model_config(model)
    request = make_request(config, prompts, sampling)
    require_components(list_components(directory), request.components(reference is None), directory)
    inputs = [] if reference is None else [reference]
    paths = _paths(out, len(prompts))
    for path in paths:  # before minutes of sampling
        check_format(path, request.final_fps)
        check_output(path, inputs)
        check_output(sheet_path(path, inputs), inputs)
    enable_compilation_cache(cache_dir)
    devices = jax.devices() if -1 in mesh else jax.devices()[: math.prod(mesh)]
    print(f"loading {model}; the first call compiles, on {len(devices)} × {devices[0].device_kind}")
    loaded = VideoGen.load(model, mesh=make_mesh(MeshConfig(*mesh), devices), dtype=dtype)
    videos = loaded(prompts, reference=reference, options=sampling, progress=True)
    errors = []
    for path, video in zip(paths, videos, strict=True):
        try:
            _save(video, path, inputs)
        except Exception as error:  # the other videos are still to be saved
            errors.append(error)
    if errors:
        raise errors[0]


def _paths(out: Path, count: int) -> list[Path]:
    """Returns the path of each video.

    Raises:
        UserError: one of several exists already: `out` names them only by their beginning.
    """
    check_name(out)
    if count == 1:
        return [out]
    paths = [out.with_name(f"{out.stem}_{number}{out.suffix}") for number in range(count)]
    for path in paths:
        if os.path.lexists(path):
            raise UserError(
                f"{path} exists already, and --out {out} does not name it; "
                "remove it or give another --out"
            )
    return paths


def _save(video: Video, path: Path, inputs: list[Path]) -> None:
    save_or_keep(path, video.save, other_suffix="")
    sheet = sheet_path(path, inputs)  # again, because a file may have come while sampling
    save_sheet(sheet, video.contact_sheet(caption=video.prompt), path)
    print(f"{path} and {sheet}: {video!r}")


call = partial(call_sampling, main)
