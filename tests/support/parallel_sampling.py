"""Prompts and a model that gives the same videos on any number of devices and processes.

As a script, `parallel_sampling.py OUT DATA FSDP FRAMES ADDRESS PROCESSES ID` is one of several
processes. JAX_NUM_CPU_DEVICES sets the number of CPU devices of each.
"""

import dataclasses
import sys
from typing import Any

import jax
import numpy as np

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import VideoGen
from videogen_jax.config import DenoiserConfig
from videogen_jax.pipeline import placement
from videogen_jax.sharding import MeshConfig, make_mesh
from videogen_jax.training.processes.distributed import DistributedConfig, connect, is_main

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
PROMPTS = [f"a {colour} circle" for colour in COLOURS]
# All parts except the image model and the refiner, which run in the same way as the stages.
OPTIONS: Any = {"reference": np.full((16, 16, 3), 200, np.uint8), "refine": False, "seed": 4}


def smaller(denoiser: DenoiserConfig) -> DenoiserConfig:
    return dataclasses.replace(denoiser, resolution=denoiser.resolution // 2)


# The micro model with the latents' sizes but fewer layers around them, to compile faster.
CONFIG = dataclasses.replace(
    MICRO,
    text_encoder=dataclasses.replace(MICRO.text_encoder, num_layers=1),
    autoencoder=dataclasses.replace(MICRO.autoencoder, block_out_channels=(8,)),
    image=smaller(MICRO.image),
    stages=tuple(map(smaller, MICRO.stages)),
    refiner=smaller(MICRO.refiner),
)


def make_model(mesh: jax.sharding.Mesh | None = None) -> VideoGen:
    return VideoGen(CONFIG, micro_model.params(CONFIG), micro_model.TOKENIZER, mesh=mesh)


def main(out: str, data: str, fsdp: str, frames: str, address: str, count: str, number: str):
    connect(DistributedConfig(False, address, int(count), int(number)))
    placement.RULES = MeshConfig(min_sharded_bytes=1)
    model = make_model(make_mesh(MeshConfig(int(data), int(fsdp), int(frames))))
    videos = model(PROMPTS[:3], **OPTIONS)
    if is_main():
        np.savez(out, frames=np.stack([video.frames for video in videos]))


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_disable_most_optimizations", True)
    main(*sys.argv[1:])
