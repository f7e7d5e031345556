"""What a run of training sets, and the runs by name: `<model>-<part>`."""

import dataclasses
from collections.abc import Mapping

from videogen_jax import presets
from videogen_jax.config import ModelConfig
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.loop import LoopConfig
from videogen_jax.training.optim import OptimConfig
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.cascade import CascadeTaskConfig
from videogen_jax.training.tasks.temporal_sr import FlowTaskConfig, RefinerTaskConfig
from videogen_jax.training.tasks.text_encoder import TextEncoderTaskConfig
from videogen_jax.training.tasks.text_to_image import TextToImageTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig

TaskConfig = (
    AutoencoderTaskConfig
    | TextEncoderTaskConfig
    | TextToImageTaskConfig
    | CascadeTaskConfig
    | FlowTaskConfig
    | RefinerTaskConfig
    | VideoDecoderTaskConfig
)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the examples come from."""

    examples: int = 100_000  # clips of the procedural shapes data, drawn once an epoch
    num_frames: int = 16
    resolution: int = 64  # pixels
    num_threads: int = 2
    degrade: DegradeConfig = DegradeConfig()  # what the video decoder learns to take back
    latent_cache: str = ""  # folder of `train.cache_latents`; "" encodes at every step


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes; saved in the run directory as `config.json`."""

    model: ModelConfig
    task: TaskConfig
    steps: int
    batch_size: int
    seed: int = 0
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    loop: LoopConfig = LoopConfig()


def _run(
    model: ModelConfig,
    task: TaskConfig,
    steps: int,
    batch_size: int,
    learning_rate: float,
    data: DataConfig,
) -> RunConfig:
    """A short run on the shapes: a high rate, a cosine to zero and a short average."""
    return RunConfig(
        model=model,
        task=task,
        steps=steps,
        batch_size=batch_size,
        data=data,
        optim=OptimConfig(learning_rate=learning_rate, schedule="cosine", warmup_steps=100),
        loop=LoopConfig(ema_decay=0.998, sample_every=500, checkpoint_every=250),
    )


def _sd(task: TaskConfig) -> RunConfig:
    """Stable Diffusion's settings: AdamW at a constant 1e-4, long average."""
    return RunConfig(presets.PAPER, task, steps=100_000, batch_size=256)


def _parts(
    model: ModelConfig,
    autoencoder: AutoencoderTaskConfig,
    text_encoder: TextEncoderTaskConfig,
    budget: Mapping[str, tuple[int, int, float]],
    resolution: int,
) -> dict[str, RunConfig]:
    """The runs of all parts of a model, in the order in which they train.

    `budget` is (steps, batch size, learning rate) by part; stages are `stage-1`, `stage-2`, ….
    """
    last = len(model.stages)
    clips = DataConfig(resolution=resolution, num_frames=model.num_frames)
    images = dataclasses.replace(clips, num_frames=1)
    tasks: dict[str, tuple[TaskConfig, DataConfig]] = {
        "autoencoder": (autoencoder, images),
        "text-encoder": (
            text_encoder,
            dataclasses.replace(
                clips, resolution=text_encoder.resolution, num_frames=text_encoder.num_frames
            ),
        ),
        "image": (TextToImageTaskConfig(), images),
    }
    for stage in range(1, last + 1):
        # Noised further in training than the level sampling uses, which is then well inside.
        noise = 2 * model.stages[stage - 1].low_res_noise
        start = f"stage_{stage - 1}" if stage > 1 else "image_unet"
        tasks[f"stage-{stage}"] = CascadeTaskConfig(stage, start, low_res_noise=noise), clips
    high_fps = dataclasses.replace(clips, num_frames=2 * (model.num_frames // 2) + 1)
    tasks["flow"] = FlowTaskConfig(), clips
    tasks["refiner"] = RefinerTaskConfig(f"stage_{last}"), high_fps
    tasks["video-decoder"] = VideoDecoderTaskConfig(), clips
    return {
        f"{model.name}-{part}": _run(model, task, *budget[part], data)
        for part, (task, data) in tasks.items()
    }


_SHAPES_RUNS = _parts(
    presets.SHAPES,
    AutoencoderTaskConfig(),
    TextEncoderTaskConfig(),
    {
        "autoencoder": (2500, 16, 1.5e-3),
        "text-encoder": (800, 64, 1e-3),
        "image": (8000, 32, 1e-3),
        "stage-1": (3500, 16, 1e-3),
        "stage-2": (600, 4, 5e-4),
        "flow": (400, 32, 1e-3),
        "refiner": (200, 4, 5e-4),
        "video-decoder": (150, 2, 3e-4),
    },
    resolution=64,
)
_TINY_RUNS = _parts(
    presets.TINY,
    AutoencoderTaskConfig(resolutions=(32, 16)),
    TextEncoderTaskConfig(16, 4, tower_channels=(8, 16), embedding_dim=16),
    dict.fromkeys(
        (
            "autoencoder",
            "text-encoder",
            "image",
            "stage-1",
            "stage-2",
            "stage-3",
            "flow",
            "refiner",
            "video-decoder",
        ),
        (4, 8, 1e-3),
    ),
    resolution=32,
)
_PAPER_RUNS = {
    "paper-stage-1": _sd(CascadeTaskConfig(1)),
    "paper-stage-2": _sd(CascadeTaskConfig(2, warm_start="stage_1")),
    "paper-stage-3": _sd(CascadeTaskConfig(3, warm_start="stage_2")),
}
RUNS = _SHAPES_RUNS | _TINY_RUNS | _PAPER_RUNS
"""Every run by name, those of one model in the order in which they train."""


def runs_of(*tasks: type) -> dict[str, RunConfig]:
    """The runs whose task is of one of these types: the presets of one training script."""
    return {name: config for name, config in RUNS.items() if isinstance(config.task, tasks)}
