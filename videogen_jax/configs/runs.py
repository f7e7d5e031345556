"""The runs by name: `<model>-<part>`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from videogen_jax.config import ModelConfig
from videogen_jax.configs import models
from videogen_jax.data.config import DataConfig
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.training.loop import LoopConfig
from videogen_jax.training.optim import OptimConfig, OptimizerName
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.task import ComputeConfig, TaskConfig
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig
from videogen_jax.training.tasks.text_encoder import TextEncoderTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig

# Every parameter of a stage but the temporal layers and the first convolution, whose input channels
# for the reference are new too.
SPATIAL = r"(?!(.*/)?temporal_|conv_in/).*"


def _run(
    model: ModelConfig,
    task: TaskConfig,
    steps: int,
    batch_size: int,
    learning_rate: float,
    optimizer: OptimizerName,
    data: DataConfig,
) -> RunConfig:
    """A short run on the shapes: a high rate, a cosine to zero and a short average."""
    return RunConfig(
        model=model,
        task=task,
        steps=steps,
        batch_size=batch_size,
        data=data,
        optim=OptimConfig(optimizer, learning_rate, schedule="cosine", warmup_steps=100),
        loop=LoopConfig(ema_decay=0.998, sample_every=500, checkpoint_every=250),
    )


Part = tuple[TaskConfig, DataConfig]
Budget = tuple[int, int, float, OptimizerName]  # steps, batch size, learning rate, rule


def _video_parts(model: ModelConfig, resolution: int | None = None) -> dict[str, Part]:
    """Task and data of every part that Stable Diffusion has not, in the order of training (§3.5).

    Clips are of `resolution` pixels, by default of what the part makes.
    """

    def clips(needed: int, num_frames: int = model.num_frames) -> DataConfig:
        return DataConfig(resolution=resolution or needed, num_frames=num_frames)

    parts: dict[str, Part] = {}
    for number, stage in enumerate(model.stages, start=1):
        # Noised further in training than the level sampling uses, which is then well inside.
        noise = 2 * stage.low_res_noise
        start = f"stage_{number - 1}" if number > 1 else "image_unet"
        task = CascadeTaskConfig(number, start, low_res_noise=noise)
        parts[f"stage-{number}"] = task, clips(stage.resolution)
    last, refined = f"stage_{len(model.stages)}", model.refiner.resolution
    high_fps = clips(refined, num_frames=2 * (model.num_frames // 2) + 1)
    parts["flow"] = FlowTaskConfig(), clips(refined)
    parts["refiner"] = RefinerTaskConfig(last), high_fps
    sharp = clips(model.stages[-1].resolution)
    degrade = DegradeConfig.for_pixels(sharp.resolution)
    parts["video-decoder"] = VideoDecoderTaskConfig(), dataclasses.replace(sharp, degrade=degrade)
    return parts


def _image_parts(
    autoencoder: AutoencoderTaskConfig, text_encoder: TextEncoderTaskConfig, resolution: int
) -> dict[str, Part]:
    """Task and data of the parts that a model without Stable Diffusion's weights trains first."""
    images = DataConfig(resolution=resolution, num_frames=1)
    few_frames = DataConfig(resolution=text_encoder.resolution, num_frames=text_encoder.num_frames)
    return {
        "autoencoder": (autoencoder, images),
        "text-encoder": (text_encoder, few_frames),
        "image": (TextToImageTaskConfig(), images),
    }


def _from_nothing(
    model: ModelConfig, parts: Mapping[str, Part], budget: Mapping[str, Budget]
) -> dict[str, RunConfig]:
    """The runs of a small model, each with the budget of its part."""
    return {
        f"{model.name}-{part}": _run(model, task, *budget[part], data)
        for part, (task, data) in parts.items()
    }


def _from_stable_diffusion(model: ModelConfig) -> dict[str, RunConfig]:
    """Stable Diffusion's settings for every part of video (§3.5): AdamW at 1e-4, long average.

    One run more trains of stage 1 only what the image model has not.
    """
    runs = {
        part: RunConfig(
            model,
            task,
            steps=100_000,
            batch_size=256,
            data=data,
            compute=ComputeConfig("bfloat16", "none" if part == "flow" else "blocks"),
        )
        for part, (task, data) in _video_parts(model).items()
    }
    optim = OptimConfig(freeze=(SPATIAL,))
    runs["stage-1-temporal"] = dataclasses.replace(runs["stage-1"], optim=optim)
    return {f"{model.name}-{part}": run for part, run in runs.items()}


_SHAPES_RUNS = _from_nothing(
    models.SHAPES,
    _image_parts(AutoencoderTaskConfig(kl_weight=1e-5), TextEncoderTaskConfig(resolution=64), 64)
    | _video_parts(models.SHAPES, 64),
    {
        "autoencoder": (2500, 16, 1.5e-3, "adamw"),
        "text-encoder": (2000, 64, 1e-3, "adamw"),
        "image": (10000, 32, 3e-3, "muon"),
        "stage-1": (2000, 16, 3e-3, "muon"),
        "stage-2": (2000, 4, 3e-3, "muon"),
        "flow": (400, 32, 1e-3, "adamw"),
        "refiner": (400, 8, 2e-3, "muon"),
        "video-decoder": (2000, 2, 2e-4, "adamw"),
    },
)


def _without(run: RunConfig, **changes: Any) -> RunConfig:
    """The same run, with the same budget, but for what an ablation leaves out."""
    return dataclasses.replace(run, task=dataclasses.replace(run.task, **changes))


_ABLATIONS = {
    "shapes-stage-1-no-reference": _without(_SHAPES_RUNS["shapes-stage-1"], reference_dropout=1.0),
    "shapes-stage-2-no-reference": _without(_SHAPES_RUNS["shapes-stage-2"], reference_dropout=1.0),
    "shapes-refiner-slerp": _without(_SHAPES_RUNS["shapes-refiner"], interpolation="slerp"),
}
_TINY_PARTS = _image_parts(
    AutoencoderTaskConfig(resolutions=(32, 16)),
    TextEncoderTaskConfig(16, 4, tower_channels=(8, 16), embedding_dim=16),
    32,
) | _video_parts(models.TINY, 32)
_TINY_RUNS = _from_nothing(
    models.TINY, _TINY_PARTS, dict.fromkeys(_TINY_PARTS, (4, 8, 1e-3, "adamw"))
)
RUNS = (
    _SHAPES_RUNS
    | _ABLATIONS
    | _TINY_RUNS
    | _from_stable_diffusion(models.SMALL)
    | _from_stable_diffusion(models.PAPER)
)
"""Every run by name, those of one model in the order in which they train, then its ablations."""
ABLATIONS = {
    "no-reference": ("shapes-stage-1-no-reference", "shapes-stage-2-no-reference"),
    "slerp": ("shapes-refiner-slerp",),
}
"""The paper's ablations that are trained: Table 3 and Fig. 6."""


def runs_of(command: str) -> dict[str, RunConfig]:
    """The runs that a training command offers, such as "cascade", by name."""
    return {name: config for name, config in RUNS.items() if config.task.command == command}
