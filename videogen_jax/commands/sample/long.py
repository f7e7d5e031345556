"""Generates a video of several clips: `videogen long "a red circle moving left" --clips 10`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax import VideoGen
from videogen_jax.commands.sample.own_video import save
from videogen_jax.commands.sampling_flags import (
    CacheDirectory,
    Folder,
    Prompts,
    ReferenceFile,
    call_sampling,
)
from videogen_jax.compilation import COMPILATION_CACHE, enable_compilation_cache
from videogen_jax.errors import UserError
from videogen_jax.media.output import check_format, check_name, check_output, sheet_path
from videogen_jax.models.components import require_components
from videogen_jax.pipeline.model_files import read_model_config
from videogen_jax.pipeline.prompt_files import read_prompts
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import make_request
from videogen_jax.weights.model_dir import DType, list_components


def main(
    prompts: Prompts,
    /,
    model: str = "shapes",
    clips: int | None = None,
    storyboard: Folder = None,
    out: Path = Path("outputs/long.mp4"),
    reference: ReferenceFile = None,
    sampling: tyro.conf.OmitArgPrefixes[VideoOptions] = VideoOptions(),
    dtype: DType = "float32",
    offload: bool = False,
    cache_dir: CacheDirectory = COMPILATION_CACHE,
) -> None:
    """Generates one video of several clips, each of which begins where the one before it ends.

    Args:
        prompts: one for all clips, or several in order.
        model: name of a shipped model, or a model directory.
        clips: number of clips, over which the prompts are spread; by default one for each prompt.
        storyboard: in place of prompts, a .txt or .jsonl with the prompt of each clip, as the
            prompts file of sample.video. Seeds are those of --seed.
        out: .mp4, .gif, .webp, or a folder for PNG frames, which are replaced. A contact sheet of
            16 frames is out.png, or out_sheet.png if out.png is another file.
        reference: image file, the reference of the first clip.
        sampling: options of sampling.
        dtype: floating-point type of the parameters and of the networks' computation.
        offload: keep parameters in the host's memory, and move those of each network to the device
            only while it runs.
        cache_dir: folder of compiled programs, which later runs reuse.
    """
    if storyboard is not None:
        if prompts:
            raise UserError("there are prompts and --storyboard, expected one of the two")
        prompts = tuple(line.prompt for line in read_prompts(storyboard))
    directory, config = read_model_config(model)
    request = make_request(config, prompts, sampling)
    require_components(list_components(directory), request.components(reference is None), directory)
    inputs = [] if reference is None else [reference]
    check_name(out)
    check_format(out, request.final_fps)
    check_output(out, inputs)
    check_output(sheet_path(out, inputs), inputs)
    enable_compilation_cache(cache_dir)
    print(f"loading {model}")
    loaded = VideoGen.load(model, dtype=dtype, offload=offload)
    made = loaded.long(prompts, clips=clips, reference=reference, options=sampling, progress=True)
    save(made, out, inputs)


call = partial(call_sampling, main)
