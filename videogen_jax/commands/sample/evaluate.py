"""Scores a model or a folder of videos: `videogen evaluate --protocol videogen ...`."""

from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import jax
import tyro

from videogen_jax import VideoGen
from videogen_jax.commands.sampling_flags import CacheDirectory, call_sampling
from videogen_jax.compilation import COMPILATION_CACHE, enable_compilation_cache
from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.evaluate import Evaluation, generation_plan
from videogen_jax.evaluation.runner.options import EvaluateOptions
from videogen_jax.evaluation.runner.protocols import PROTOCOLS, Name
from videogen_jax.models.components import require_components
from videogen_jax.pipeline.model_files import read_model_config
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.training.processes.distributed import DistributedConfig, connect
from videogen_jax.training.processes.peers import ending_at_once
from videogen_jax.weights.model_dir import DType, list_components

VideoFolder: TypeAlias = Annotated[
    Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")
]


def main(
    model: str = "",
    videos: VideoFolder = None,
    real: str = "",
    protocol: Name = "videogen",
    out: Path = Path("outputs/evaluate"),
    evaluation: Annotated[EvaluateOptions, tyro.conf.OmitArgPrefixes] = EvaluateOptions(),
    sampling: tyro.conf.OmitArgPrefixes[VideoOptions] = VideoOptions(),
    dtype: DType = "float32",
    cache_dir: CacheDirectory = COMPILATION_CACHE,
    distributed: DistributedConfig = DistributedConfig(),
) -> None:
    """Scores the videos of a model, or those of a folder, by the protocol of a paper.

    The same command again goes on where it stopped. The result is in OUT/result.json, with every
    setting. docs/evaluation.md describes the protocols.

    Args:
        model: name of a shipped model, or a model directory. Its videos are written to OUT/videos,
            video i with the seed --seed + i, without temporal super-resolution by default.
        videos: folder of videos, in place of a model. A manifest.jsonl there has their captions.
        real: real videos: a dataset of `videogen ingest`, a folder, or shapes.
        protocol: what is generated and compared; the flags below change single values.
        out: folder of the videos, statistics and result.
        evaluation: changes of the protocol, and how it is run.
        sampling: options of sampling.
        dtype: floating-point type of the networks' computation.
        cache_dir: folder of compiled programs, which later runs reuse.
        distributed: how several processes connect; each is started with the same command, and all
            see the same folders.
    """
    if bool(model) == (videos is not None):
        raise UserError("give either --model or --videos")
    connect(distributed)
    enable_compilation_cache(cache_dir)
    with ending_at_once():
        chosen = PROTOCOLS[protocol].changed(evaluation)
        run = Evaluation(chosen, evaluation, real, out)
        if videos is None:
            directory, config = read_model_config(model)
            plan = generation_plan(run, directory, config, sampling, dtype)
            needed = plan.request.components(generates_reference=True)
            require_components(list_components(directory), needed, directory)
            mesh = make_mesh(MeshConfig(), jax.local_devices())
            run.generate(plan, lambda: VideoGen.load(model, mesh=mesh, dtype=dtype))
            videos = plan.folder
        line = run.score(videos)
        if line is not None:
            print(f"{run.result_file}: {line}")


call = partial(call_sampling, main)
