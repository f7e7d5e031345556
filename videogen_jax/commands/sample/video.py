"""Generates videos: `videogen sample "a red circle moving left" --out out.mp4`."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import tyro

from videogen_jax import Video, VideoGen
from videogen_jax.commands.sample.prompts_file import (
    PromptsFile,
    PromptsJob,
    VideoFormat,
    mesh_of,
)
from videogen_jax.commands.sampling_flags import (
    CacheDirectory,
    Folder,
    Prompts,
    ReferenceFile,
    StartAfter,
    call_sampling,
)
from videogen_jax.compilation import COMPILATION_CACHE, enable_compilation_cache
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
from videogen_jax.training.processes.distributed import DistributedConfig, connect, is_main
from videogen_jax.weights.model_dir import DType, list_components


def main(
    prompts: Prompts,
    /,
    model: str = "shapes",
    out: Path = Path("outputs/video.mp4"),
    reference: ReferenceFile = None,
    sampling: tyro.conf.OmitArgPrefixes[VideoOptions] = VideoOptions(),
    keep_latents: Folder = None,
    start_from: Folder = None,
    start_after: StartAfter = None,
    prompts_file: PromptsFile = None,
    out_dir: Path = Path("outputs/videos"),
    files: VideoFormat = "mp4",
    batch_size: int = 1,
    dtype: DType = "float32",
    offload: bool = False,
    mesh: tuple[int, int, int] = (1, 1, 1),
    distributed: DistributedConfig = DistributedConfig(),
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
        keep_latents: folder that receives the reference and the latents of each part.
        start_from: such a folder of an earlier call of as many prompts, frames and pixels; the call
            goes on from it, with its own prompts and options.
        start_after: the part after which it goes on, reference, stage_1, ... or temporal_sr.
        prompts_file: a .txt with a prompt in each line, or a .jsonl with a "prompt" and, if wanted,
            "id", "seed" and "negative_prompt" in each line. The videos are written to out_dir,
            without contact sheets; the same command again makes those that are missing. The seed of
            line n, from 0, is seed + n.
        out_dir: folder for the videos of prompts_file, and a manifest.jsonl.
        files: format of the videos of prompts_file.
        batch_size: lines of prompts_file that are sampled together.
        dtype: floating-point type of the parameters and of the networks' computation.
        offload: keep parameters in the host's memory, and move those of each network to the device
            only while it runs.
        mesh: devices per axis: prompts are split over data and fsdp, parameters over fsdp, each
            clip over frames; an axis of -1 takes the remaining devices. With prompts_file, each of
            several processes has such a mesh of its own devices and makes a part of the videos,
            unless they are too few for it.
        distributed: how several processes find each other; all have the same command line.
        cache_dir: folder of compiled programs, which later runs reuse.
    """
    connect(distributed)
    directory, config = read_model_config(model)
    enable_compilation_cache(cache_dir)
    load = partial(VideoGen.load, model, dtype=dtype, offload=offload)
    if prompts_file is not None:
        if prompts:
            raise UserError("there are prompts and --prompts-file, expected one of the two")
        job = PromptsJob(prompts_file, out_dir, f".{files}", batch_size, reference, sampling, mesh)
        return job.run(directory, config, load, dtype)
    request = make_request(config, prompts, sampling)
    if start_from is None:  # otherwise the call finds out what the folder has
        needed = request.components(reference is None)
        require_components(list_components(directory), needed, directory)
    inputs = [] if reference is None else [reference]
    paths = _paths(out, len(prompts)) if is_main() else []
    for path in paths:  # before minutes of sampling
        check_format(path, request.final_fps)
        check_output(path, inputs)
        check_output(sheet_path(path, inputs), inputs)
    device_mesh = mesh_of(mesh)
    kind = device_mesh.devices.flat[0].device_kind
    print(f"loading {model}; the first call compiles, on {device_mesh.size} × {kind}")
    loaded = load(mesh=device_mesh)
    kept = {"keep_latents": keep_latents, "start_from": start_from, "start_after": start_after}
    videos = loaded(prompts, reference=reference, options=sampling, progress=is_main(), **kept)
    if is_main():
        _save_all(videos, paths, inputs)


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


def _save_all(videos: Sequence[Video], paths: Sequence[Path], inputs: list[Path]) -> None:
    """Saves each video; raises the first error after the others are saved."""
    errors = []
    for path, video in zip(paths, videos, strict=True):
        try:
            _save(video, path, inputs)
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _save(video: Video, path: Path, inputs: list[Path]) -> None:
    save_or_keep(path, video.save, other_suffix="")
    sheet = sheet_path(path, inputs)  # again, because a file may have come while sampling
    save_sheet(sheet, video.contact_sheet(caption=video.prompt), path)
    print(f"{path} and {sheet}: {video!r}")


call = partial(call_sampling, main)
