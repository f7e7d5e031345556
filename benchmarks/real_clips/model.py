"""The model that is trained on real clips, and its runs, in the order in which they train.

All parts are small, for CPU hours, and differ from `configs/shapes.py` where real clips need it:
latents of 8 channels, no stages, a refiner that starts without weights of a stage.
"""

import dataclasses
from pathlib import Path

from benchmarks.real_clips import material
from benchmarks.real_clips.pixel_flow import PixelFlowTaskConfig
from videogen_jax.configs.shapes import SHAPES
from videogen_jax.data.config import DataConfig
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.models.flow import FlowConfig
from videogen_jax.training.config import LoopConfig, OptimConfig
from videogen_jax.training.latents.making import CacheOptions
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.tasks.autoencoder import AutoencoderTaskConfig
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.tasks.refiner import RefinerTaskConfig
from videogen_jax.training.tasks.video_decoder import VideoDecoderTaskConfig

LATENT_CHANNELS = 8
RATE = 12.5  # of the clip whose missing frames are interpolated; the clips have 25 and 30 fps

_REFINER = dataclasses.replace(
    SHAPES.refiner.unet, in_channels=3 * LATENT_CHANNELS, out_channels=LATENT_CHANNELS
)
REAL = dataclasses.replace(
    SHAPES,
    name="real",
    autoencoder=dataclasses.replace(
        SHAPES.autoencoder, latent_channels=LATENT_CHANNELS, block_out_channels=(16, 32, 64)
    ),
    image=dataclasses.replace(
        SHAPES.image,
        unet=dataclasses.replace(
            SHAPES.image.unet, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS
        ),
    ),
    stages=(
        dataclasses.replace(
            SHAPES.stages[0],
            unet=dataclasses.replace(
                SHAPES.stages[0].unet, in_channels=2 * LATENT_CHANNELS, out_channels=LATENT_CHANNELS
            ),
        ),
        dataclasses.replace(SHAPES.stages[1], unet=_REFINER),
    ),
    flow=dataclasses.replace(SHAPES.flow, in_channels=LATENT_CHANNELS),
    refiner=dataclasses.replace(SHAPES.refiner, unet=_REFINER),
    num_frames=8,
    fps=RATE,
)
# IFRNet on pixels with three of its four levels: frames of 64 pixels.
TEACHER = FlowConfig(in_channels=3, encoder_channels=(24, 36, 54), side_channels=18)
_WINDOW = 2 * REAL.num_frames - 1  # that of sampling
_WINDOWS_FPS = (RATE / 2, 2 * RATE)


def caches(out: Path) -> dict[str, tuple[Path, CacheOptions]]:
    """Returns the latent caches by name: the dataset and the options of each.

    `out` is the folder of `material`.
    """
    size = (material.SIZE,)
    moved = CacheOptions(5, resolutions=size, epochs=6, teacher=str(out / "teacher"))
    windows = CacheOptions(_WINDOW, resolutions=size, epochs=6, fps=_WINDOWS_FPS)
    return {
        "moved": (out / "translations", moved),
        "windows": (out / "train", windows),
    }


def runs(out: Path) -> dict[str, RunConfig]:
    """Returns the runs by name, in the order in which they train.

    `out` is the folder of `material`, which also gets the teacher and the latent caches.
    """
    moved = _cached(out, "moved")
    return {
        "autoencoder": _run(
            AutoencoderTaskConfig(resolutions=(64,), kl_weight=1e-6, squared_weight=4.0),
            DataConfig(dataset=str(out / "train"), num_frames=1, random_crop=True),
            steps=700,
            batch_size=16,
            learning_rate=2e-3,
        ),
        "teacher": _run(
            PixelFlowTaskConfig(str(out / "packages"), TEACHER),
            DataConfig(num_frames=5, resolution=material.SIZE, examples=4000),
            steps=800,
            batch_size=8,
            learning_rate=5e-3,
            optimizer="muon",
        ),
        "flow-translations": _run(
            FlowTaskConfig(),
            dataclasses.replace(moved, latent_cache=""),  # the photometric loss needs pixels
            steps=2000,
            batch_size=16,
            learning_rate=5e-3,
            optimizer="muon",
        ),
        "flow-translations-teacher": _run(
            FlowTaskConfig(teacher=str(out / "teacher"), start_from_teacher=False),
            moved,
            steps=1000,
            batch_size=16,
            learning_rate=5e-3,
            optimizer="muon",
        ),
        "flow": _run(
            FlowTaskConfig(),
            DataConfig(dataset=str(out / "train"), num_frames=3, fps=(2 * RATE / 4, 2 * RATE)),
            steps=1500,
            batch_size=16,
            learning_rate=5e-3,
            optimizer="muon",
        ),
        "refiner": _run(
            RefinerTaskConfig(warm_start="", interpolation="flow"),
            _cached(out, "windows"),
            steps=800,
            batch_size=8,
            learning_rate=2e-3,
            optimizer="muon",
        ),
        "video-decoder": _run(
            VideoDecoderTaskConfig(clean_probability=0.4),
            DataConfig(
                dataset=str(out / "train"), num_frames=8, degrade=DegradeConfig(blur_scale=0.25)
            ),
            steps=600,
            batch_size=4,
            learning_rate=5e-4,
        ),
    }


def _cached(out: Path, name: str) -> DataConfig:
    """Returns the data of a run that trains from a cache of `caches`."""
    dataset, options = caches(out)[name]
    assert options.num_frames is not None
    return DataConfig(
        dataset=str(dataset),
        num_frames=options.num_frames,
        fps=options.fps,
        resolution=material.SIZE,
        latent_cache=str(out / "caches" / name),
    )


def _run(
    task, data: DataConfig, steps: int, batch_size: int, learning_rate: float, optimizer="adamw"
) -> RunConfig:
    return RunConfig(
        model=REAL,
        task=task,
        data=data,
        steps=steps,
        batch_size=batch_size,
        optim=OptimConfig(
            name=optimizer, learning_rate=learning_rate, schedule="cosine", warmup_steps=100
        ),
        loop=LoopConfig(ema_decay=0.998, sample_every=1000, checkpoint_every=250),
    )
