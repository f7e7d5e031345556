"""The lines that a run prints before its first step: what it trains, on what, and where to."""

from pathlib import Path

import jax
from jax.sharding import Mesh

from videogen_jax.data.clips.aspect_buckets import name_of
from videogen_jax.models.components import component_names, component_shapes
from videogen_jax.models.parameters import count
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.task import Task


def start_summary(config: RunConfig, mesh: Mesh, run_dir: Path, task: Task) -> str:
    """Returns the start summary of a run, several lines.

    Args:
        config: the run.
        mesh: its devices.
        run_dir: its directory.
        task: its task.
    """
    component, frozen = config.task.component(), count(task.frozen)
    if component in component_names(config.model):  # whose shapes are known from the warm start
        trained = component_shapes(config.model, component)[component]
    else:
        trained = jax.eval_shape(task.init, jax.random.key(0))
    rows = {
        "devices": _devices(mesh),
        "parameters": f"{millions(count(trained))} in {component}, {millions(frozen)} frozen",
        "batch": _batch(config),
        "data": _data(config),
        "steps": _steps(config),
        "results": f"{run_dir}: metrics.jsonl, tensorboard/, samples/, checkpoints/",
    }
    lines = [f"  {name:<12}{text}" for name, text in rows.items()]
    return "\n".join([*lines, "compiling the step …"])


def millions(number: int) -> str:
    """Returns a number of parameters in millions, such as "3.1 M"."""
    return f"{number / 1e6:,.1f} M"


def _devices(mesh: Mesh) -> str:
    devices = list(mesh.devices.flat)
    axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items() if size > 1)
    return f"{len(devices)} × {devices[0].device_kind}" + (f" ({axes})" if axes else "")


def _batch(config: RunConfig) -> str:
    data = config.data
    pixels = " or ".join(map(name_of, data.buckets)) or data.resolution
    clip = f"{data.num_frames} frames of {pixels} pixels" if data.num_frames > 1 else ""
    parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    what = clip or f"images of {pixels} pixels"
    return f"{config.batch_size}{parts}, {what}, {config.compute.dtype}"


def _data(config: RunConfig) -> str:
    data = config.data
    if data.latent_cache:
        return f"latents of {data.latent_cache}"
    if data.mixture:
        return ", ".join(f"{folder} ({weight:g})" for folder, weight in data.mixture)
    return data.dataset or f"procedural shapes, {data.examples:,} clips per epoch"


def _steps(config: RunConfig) -> str:
    loop = config.loop
    samples = f", samples every {loop.sample_every}" if loop.sample_every else ""
    return f"{config.steps:,}, a checkpoint every {loop.checkpoint_every}{samples}"
