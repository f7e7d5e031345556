"""Counts the operations of the training steps of `paper`; creates `operations.json`.

    python -m benchmarks.cost.operations

They are counted in the jaxpr of each step, so nothing is compiled or computed. Each run is stored
with a fingerprint; the same command counts only runs that have changed since.
"""

import dataclasses
import functools
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from videogen_jax import layout, sharding
from videogen_jax.atomic import replacing
from videogen_jax.config import ModelConfig
from videogen_jax.configs import RUNS
from videogen_jax.configs.paper import PAPER
from videogen_jax.models.components import component_shapes
from videogen_jax.models.features.loading import PIXEL_FLOW_COMPONENT
from videogen_jax.models.flow import FlowConfig
from videogen_jax.models.parameters import count
from videogen_jax.pipeline.encode import encode_posterior
from videogen_jax.training.optim import make_optimizer
from videogen_jax.training.runs.build import abstract_task, batch_shapes
from videogen_jax.training.runs.config import RunConfig
from videogen_jax.training.runs.train import step_options
from videogen_jax.training.step import init_state, make_step
from videogen_jax.training.tasks.flow import FlowTaskConfig
from videogen_jax.training.telemetry.flops import jaxpr_flops
from videogen_jax.weights.config_file import save_config, to_dict

FILE = Path(__file__).parent / "operations.json"
PARTS = ("stage-1", "stage-2", "stage-3", "flow", "refiner", "video-decoder")
# The published IFRNet, on RGB frames.
IFRNET = FlowConfig(in_channels=3, encoder_channels=(32, 48, 72, 96), side_channels=32)
_DETERMINES = ("model", "task", "data", "compute")  # the operations of a clip


def read() -> dict[str, dict[str, Any]]:
    """Returns the figures of each run, by preset and then by name.

    `run` is its fingerprint, `parameters` the number of parameters that train, and `flops` the
    operations of a step for one clip; `flops_cached` if the run reads a latent cache. `encoding`
    has the operations of encoding one frame, by resolution.
    """
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def fingerprint(config: RunConfig) -> str:
    """Returns a checksum of the fields of a run on which the operations of a clip depend."""
    values = {name: to_dict(config)[name] for name in _DETERMINES}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def step_flops(config: RunConfig, *, cached: bool = False) -> float:
    """Counts the operations of a training step on real clips, for one clip of the batch.

    All operations count that a device executes: frozen networks, and what recomputation repeats.

    Args:
        config: a run; the operations of the optimizer, which has no products, do not count.
        cached: the step reads a latent cache in place of pixels.
    """
    data = dataclasses.replace(config.data, dataset="clips", latent_cache="c" if cached else "")
    config = dataclasses.replace(config, batch_size=1, accumulate=1, data=data)
    task, optimizer = abstract_task(config), make_optimizer(config.optim, config.steps)
    with layout.activate(sharding.make_mesh(config.mesh, jax.devices()[:1])):
        step = make_step(task, optimizer, config.loop.ema_decay, step_options(config))
        state = jax.eval_shape(lambda: init_state(optimizer, task.init(jax.random.key(0))))
        key = jax.eval_shape(lambda: jax.random.key(0))
        found = jaxpr_flops(step, state, task.frozen, batch_shapes(config), key)
    if found.uncounted:
        raise ValueError(f"{config.task}: operations not counted: {found.uncounted}")
    return found.total


def encoding_flops(model: ModelConfig) -> dict[str, float]:
    """Counts the operations of encoding a frame for each of a model's stages, by resolution."""
    params = component_shapes(model, "autoencoder")

    def encode(params: Any, video_BFHWC: jax.Array, resolution: int) -> Any:
        return encode_posterior(model, params, video_BFHWC, resolution)

    def of(size: int) -> float:
        frame = jax.ShapeDtypeStruct((1, 1, size, size, 3), np.float32)
        return jaxpr_flops(functools.partial(encode, resolution=size), params, frame).total

    return {str(stage.resolution): of(stage.resolution) for stage in model.stages}


def with_teacher(config: RunConfig, task: FlowTaskConfig, directory: Path) -> RunConfig:
    """Returns a run of the flow with a teacher of the published IFRNet's sizes."""
    save_config(directory / f"{PIXEL_FLOW_COMPONENT}.json", IFRNET)
    return dataclasses.replace(config, task=dataclasses.replace(task, teacher=str(directory)))


def figures(config: RunConfig) -> dict[str, Any]:
    """Returns the figures of a run, see `read`."""
    component = config.task.component()
    run = config
    with tempfile.TemporaryDirectory() as teacher:
        if isinstance(config.task, FlowTaskConfig):
            run = with_teacher(config, config.task, Path(teacher))
        found = {
            "run": fingerprint(config),
            "parameters": count(component_shapes(config.model, component)[component]),
            "flops": step_flops(run),
        }
        if config.task.cached_latents(config.model) is not None:
            found["flops_cached"] = step_flops(run, cached=True)
    return found


def main() -> None:
    known = read()
    for part in PARTS:
        preset = f"paper-{part}"
        config = RUNS[preset]
        if known.get(preset, {}).get("run") != fingerprint(config):
            known[preset] = figures(config)
            _write(known)
    known["encoding"] = encoding_flops(PAPER)
    _write(known)


def _write(known: dict[str, dict[str, Any]]) -> None:
    with replacing(FILE) as temporary:
        temporary.write_text(json.dumps(known, indent=1) + "\n")
    print(list(known), flush=True)


if __name__ == "__main__":
    main()
