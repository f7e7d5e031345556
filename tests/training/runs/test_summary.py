"""The start summary of a run."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from videogen_jax.configs import RUNS
from videogen_jax.data.config import DataConfig
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.training.runs.summary import start_summary
from videogen_jax.training.task import Task
from videogen_jax.training.tasks.flow import FlowTaskConfig

RUN = RUNS["tiny-flow"]


class OwnTask(Task):
    """A task that is not of the library, with two million parameters."""

    frozen = {"autoencoder": {"kernel": np.zeros((1000, 1200))}}

    def init(self, key):
        return {"kernel": jax.random.normal(key, (2000, 1000))}


def rows(config, mesh) -> dict[str, str]:
    *lines, last = start_summary(config, mesh, Path("runs/flow"), OwnTask()).splitlines()
    assert last == "compiling the step …"
    return dict(line.split(maxsplit=1) for line in lines)


def test_the_summary_names_what_a_run_uses():
    mesh = make_mesh(MeshConfig(data=2, fsdp=4), jax.devices())
    config = replace(RUN, steps=2000, accumulate=2)
    assert rows(config, mesh) == {
        "devices": "8 × cpu (data 2, fsdp 4)",
        "parameters": "0.1 M in flow, 1.2 M frozen",
        "batch": "8 in 2 parts, 5 frames of 32 pixels, float32",
        "data": "procedural shapes, 100,000 clips per epoch",
        "steps": "2,000, a checkpoint every 250, samples every 500",
        "results": "runs/flow: metrics.jsonl, tensorboard/, samples/, checkpoints/",
    }


def test_the_summary_names_the_data():
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    for data, text in (
        (DataConfig(dataset="data/clips"), "data/clips"),
        (DataConfig(mixture=(("a", 3.0), ("b", 0.5))), "a (3), b (0.5)"),
        (DataConfig(latent_cache="data/latents"), "latents of data/latents"),
    ):
        assert rows(replace(RUN, data=data), mesh)["data"] == text


def test_the_parameters_of_an_own_component_are_counted():
    class OwnConfig(FlowTaskConfig):
        def component(self) -> str:
            return "own"

    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    config = replace(RUN, task=OwnConfig())
    assert rows(config, mesh)["parameters"] == "2.0 M in own, 1.2 M frozen"
