"""Plans memory without sampling: `videogen plan-video paper --topology v5e:2x2`.

Sets environment variables of this process: libtpu has no other interface for these settings.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import tyro

from videogen_jax.commands.sampling_flags import call_sampling
from videogen_jax.config import ModelConfig
from videogen_jax.configs import MODELS
from videogen_jax.errors import UserError
from videogen_jax.pipeline.model_files import read_model_config
from videogen_jax.pipeline.requests.checks import check_count
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.requests.video import MAX_ROUNDS, Request, make_request
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.planning.report import ticking
from videogen_jax.training.planning.topology import Topology, parse_topology, prepare
from videogen_jax.training.planning.video_report import (
    describe_search,
    describe_video,
    program_line,
)
from videogen_jax.training.planning.videos import (
    VideoPlan,
    least_bytes,
    plan_video,
    smallest_mesh,
)
from videogen_jax.weights.model_dir import DType

Model: TypeAlias = Annotated[
    str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL_OR_PRESET", help_behavior_hint="")
]
Number: TypeAlias = Annotated[
    int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: from the model)")
]
Pixels: TypeAlias = Annotated[
    str, tyro.conf.arg(metavar="HEIGHTxWIDTH", help_behavior_hint="(default: from the model)")
]


def main(
    model: Model,
    /,
    topology: str,
    mesh: tuple[int, int, int] = (1, -1, 1),
    prompts: int = 1,
    frames: Number = None,
    size: Pixels = "",
    sampling: tyro.conf.OmitArgPrefixes[VideoOptions] = VideoOptions(),
    dtype: DType = "float32",
    offload: bool = False,
    own_reference: bool = False,
    components: tuple[str, ...] = (),
    find_mesh: bool = False,
) -> None:
    """Compiles the programs of a video for absent devices; prints what each needs of a device.

    Args:
        model: name of a shipped model, a model directory, or the preset of a model such as paper.
        topology: v4:2x2x1, v5e:2x2, v5p:2x2x1, v6e:2x2, h100:1 or cpu:1.
        mesh: devices per axis, data, fsdp and frames, as for sample.video.
        prompts: number of prompts that are sampled together.
        frames: frames of the finished video, in place of --temporal-sr.
        size: height and width of the video, such as 512x768, in place of --height and --width.
        sampling: options of sampling.
        dtype: floating-point type of the parameters and of the networks' computation.
        offload: whether components take turns on the device.
        own_reference: whether the reference is the user's.
        components: compile the programs of these components only.
        find_mesh: find the fewest chips, up to those of topology, over which the call fits, with
            parameters and prompts over all of them; mesh has no effect.
    """
    wanted = parse_topology(topology)
    prepare(wanted)
    config = _config(model)
    check_count("prompts", prompts, 1)
    changes: dict[str, int] = _size(size)
    if frames is not None:
        changes["temporal_sr"] = _rounds(config, sampling, frames)
    request = make_request(config, ["a prompt"] * prompts, sampling, **changes)

    def plan(devices: Topology, sizes: tuple[int, int, int] = (1, -1, 1)) -> VideoPlan:
        with ticking(f"compiling for {devices}"):
            return plan_video(
                config,
                request,
                devices,
                MeshConfig(*sizes),
                dtype=dtype,
                offload=offload,
                own_reference=own_reference,
                only=components,
                report=lambda one: print(program_line(one), flush=True),
            )

    if not find_mesh:
        print(describe_video(plan(wanted, mesh), _spoken(request, dtype, offload)))
        return
    least = least_bytes(config, request, dtype=dtype, offload=offload, own_reference=own_reference)
    found, tried = smallest_mesh(wanted, least, plan)
    print(describe_search(found, tried))
    if found is not None:
        print(describe_video(tried[-1], _spoken(request, dtype, offload)))


def _config(model: str) -> ModelConfig:
    if model in MODELS and not Path(model).exists():
        return MODELS[model]
    return read_model_config(model)[1]


def _size(text: str) -> dict[str, int]:
    """Parses "512x768". Raises UserError if it is not two numbers."""
    if not text:
        return {}
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise UserError(f"--size {text!r}: expected height and width, such as 512x768")
    return {"height": int(height), "width": int(width)}


def _rounds(config: ModelConfig, options: VideoOptions, frames: int) -> int:
    """Returns the rounds of temporal super-resolution that make `frames` frames."""
    first = config.num_frames if options.num_frames is None else options.num_frames
    possible = [(first - 1) * 2**rounds + 1 for rounds in range(MAX_ROUNDS + 1)]
    if frames not in possible:
        raise UserError(
            f"--frames {frames}: expected {', '.join(map(str, possible[:5]))}, ...: {first} frames "
            "of the cascade (--num-frames) and rounds of temporal super-resolution"
        )
    return possible.index(frames)


def _spoken(request: Request, dtype: str, offload: bool) -> str:
    (height, width), count = request.sizes[-1], len(request.prompts)
    prompts = f"{count} prompt{'s' * (count > 1)}"
    frames = f"{request.final_num_frames} frames of {width}x{height}"
    return f"{prompts}, {frames}, {dtype}{', offloaded' * offload}"


call = partial(call_sampling, main)
