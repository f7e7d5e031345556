"""The smallest model with every part of the chain, for tests of the pipeline.

It has two stages of one-level UNets. All parameters are random, including those that are zero
before training, so every condition has an effect.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from videogen_jax import VideoGen
from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.configs.tiny import TINY
from videogen_jax.diffusion.sampler_config import SamplerConfig
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.components import component_shapes
from videogen_jax.models.unet import UNetConfig
from videogen_jax.tokenizer import load_tokenizer

TOKENIZER_DIR = Path(__file__).parents[2] / "videogen_jax" / "assets" / "shapes" / "tokenizer"
TOKENIZER = load_tokenizer(TOKENIZER_DIR)

_UNET = UNetConfig(
    in_channels=4,
    out_channels=4,
    block_out_channels=(16,),
    layers_per_block=1,
    attention_levels=(True,),
    num_heads=(2,),
    cross_attention_dim=16,
    norm_groups=8,
)


def _stage(index: int, resolution: int, sampler: SamplerConfig) -> DenoiserConfig:
    unet = dataclasses.replace(
        _UNET, in_channels=4 * (index + 1), temporal=True, low_res_noise=index > 1
    )
    return dataclasses.replace(
        TINY.image,
        unet=unet,
        sampler=sampler,
        resolution=resolution,
        guidance_scale=3.0,
        low_res_noise=100 if index > 1 else 0,
    )


_DDIM = SamplerConfig("ddim", num_steps=3, timestep_spacing="leading")
_ANCESTRAL = SamplerConfig("euler_ancestral", num_steps=3, timestep_spacing="leading")

MICRO = dataclasses.replace(
    TINY,
    name="micro",
    autoencoder=AutoencoderConfig(
        block_out_channels=(8, 16), layers_per_block=1, norm_groups=8, mid_attention=False
    ),
    image=dataclasses.replace(TINY.image, unet=_UNET, sampler=_DDIM, resolution=16),
    stages=(_stage(1, 8, _DDIM), _stage(2, 16, _ANCESTRAL)),
    refiner=_stage(2, 16, _DDIM),
)


def read_config(name: str) -> tuple[Path, ModelConfig]:
    """Stands for `model_files.read_model_config`: every name is the micro model."""
    return Path(name), MICRO


@functools.cache
def params(config: ModelConfig = MICRO) -> dict[str, Any]:
    """Returns the parameters of every component, the same in every run."""
    rng = np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 16
        values = rng.standard_normal(leaf.shape) / np.sqrt(fan_in)
        return (values + (path[-1].key == "scale")).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, component_shapes(config))


@functools.cache
def model() -> VideoGen:
    """Returns one instance for all tests of a process, since each instance compiles anew."""
    return VideoGen(MICRO, params(), TOKENIZER)


@contextlib.contextmanager
def counting_compilations() -> Iterator[list[str]]:
    """Lists the compilations by XLA within the block, by function as in "jit(step)"."""
    events: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if "backend_compile" in event:
            events.append(str(kwargs.get("fun_name", event)))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)
