"""Several prompts in one call, on one device and on eight."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import micro_model
from tests.support.micro_model import MICRO
from videogen_jax import Video, VideoGen
from videogen_jax.config import DenoiserConfig
from videogen_jax.pipeline import noise
from videogen_jax.sharding import MeshConfig, make_mesh

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
PROMPTS = [f"a {colour} circle" for colour in COLOURS]
# All parts except the image model and the refiner, which run in the same way as the stages.
OPTIONS: Any = {"reference": np.full((16, 16, 3), 200, np.uint8), "refine": False, "seed": 4}

ROUNDING = 1  # levels of 255: 1e-6 from the order of sums may change rounding


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


@pytest.fixture(scope="module")
def one_device() -> VideoGen:
    return make_model()


@pytest.fixture(scope="module")
def eight_devices() -> VideoGen:
    return make_model(make_mesh(MeshConfig()))


@pytest.fixture(scope="module")
def on_one(one_device) -> list[Video]:
    return one_device(PROMPTS, **OPTIONS)


def worst(one: Video, other: Video) -> int:
    """Returns the largest difference of any value, in levels of 255."""
    return int(np.abs(one.frames.astype(int) - other.frames).max())


def test_each_prompt_has_its_video(on_one):
    assert [video.prompt for video in on_one] == PROMPTS
    assert all((video.frames != on_one[0].frames).mean() > 0.1 for video in on_one[1:])


def test_the_first_of_several_is_that_of_one(on_one, one_device):
    assert worst(on_one[0], one_device(PROMPTS[0], **OPTIONS)) <= ROUNDING


def test_the_same_seed_gives_the_same_videos_on_1_and_8_devices(on_one, eight_devices):
    on_eight = eight_devices(PROMPTS, **OPTIONS)
    for one, other in zip(on_one, on_eight, strict=True):
        assert one.prompt == other.prompt
        assert worst(one, other) <= ROUNDING


def test_each_device_has_one_of_the_prompts(eight_devices):
    batch = eight_devices._put({"tokens": np.zeros((8, 16), np.int32)})
    keys = noise.sample_keys(np.uint32(0), eight_devices._put({"sample": np.arange(8)})["sample"])
    assert len(batch["tokens"].sharding.device_set) == 8
    assert keys.sharding.shard_shape(keys.shape) == (1,)
    assert jax.tree.leaves(eight_devices.params)[0].sharding.is_fully_replicated


def test_prompts_that_the_devices_do_not_divide_are_refused(eight_devices):
    with pytest.raises(ValueError, match="batch of 3 .* is not divisible by the 8 devices"):
        eight_devices(PROMPTS[:3], **OPTIONS)


def test_devices_that_share_one_clip_make_the_same_video(on_one):
    mesh = make_mesh(MeshConfig(data=1, frames=2), jax.devices()[:2])
    model = make_model(mesh)
    with micro_model.counting_compilations() as compiled:
        assert worst(on_one[0], model(PROMPTS[0], **OPTIONS)) <= ROUNDING
    # Once for each stage: the state after a step is laid out as the one before the first.
    assert compiled.count("jit(_sample)") == len(CONFIG.stages)
    with pytest.raises(ValueError, match="clips of 3 frames are not divisible by the 2 devices"):
        model(PROMPTS[0], num_frames=3, **OPTIONS)
