"""Restores one's own video: `videogen restore IN.mp4 --model DIR`."""

from functools import partial
from pathlib import Path

import tyro

from videogen_jax import VideoGen
from videogen_jax.commands.sample.own_video import InputVideo, check_outputs, save
from videogen_jax.commands.sampling_flags import CacheDirectory, call_sampling
from videogen_jax.compilation import COMPILATION_CACHE, enable_compilation_cache
from videogen_jax.models.components import require_components
from videogen_jax.pipeline.model_files import read_model_config
from videogen_jax.pipeline.own_video.stream import FrameStream
from videogen_jax.pipeline.requests.options import RestoreOptions
from videogen_jax.pipeline.requests.own_video import make_restore_request
from videogen_jax.weights.model_dir import DType, list_components


def main(
    video: InputVideo,
    /,
    model: str = "shapes",
    out: Path = Path("outputs/restored.mp4"),
    sampling: tyro.conf.OmitArgPrefixes[RestoreOptions] = RestoreOptions(),
    dtype: DType = "float32",
    offload: bool = False,
    cache_dir: CacheDirectory = COMPILATION_CACHE,
) -> None:
    """Encodes and decodes a video with the autoencoder and the video decoder of a model.

    The video decoder is trained to restore degraded clips. The video may have any length: it is
    read, decoded and written in windows. The sound is copied into an .mp4.

    Args:
        video: a video file.
        model: name of a shipped model, or a model directory.
        out: .mp4, .gif, .webp, or a folder for PNG frames, which are replaced. A contact sheet of
            16 frames is out.png, or out_sheet.png if out.png is another file.
        sampling: options of restoration.
        dtype: floating-point type of the parameters and of the networks' computation.
        offload: keep parameters in the host's memory, and move those of each network to the device
            only while it runs.
        cache_dir: folder of compiled programs, which later runs reuse.
    """
    directory, config = read_model_config(model)
    source = FrameStream.of(video)
    request = make_restore_request(config, source, sampling)
    require_components(list_components(directory), request.components(), directory)
    check_outputs(out, video, float(request.rate))
    enable_compilation_cache(cache_dir)
    print(f"{video}: {source!r}\nloading {model}")
    loaded = VideoGen.load(model, dtype=dtype, offload=offload)
    save(loaded.restore.stream(source, options=sampling, progress=True), out, [video])


call = partial(call_sampling, main)
