"""Devices that share a batch gather parameters only, no activation, in the step of every network.

A layer that lacks a constraint of its layout may gather whole activations, for which a device of a
large mesh has no memory.
"""

import dataclasses

import pytest

from tests.support.micro_model import MICRO
from videogen_jax.configs import RUNS
from videogen_jax.data.config import DataConfig
from videogen_jax.sharding import MeshConfig
from videogen_jax.training.planning.plan import plan_step
from videogen_jax.training.planning.topology import Topology
from videogen_jax.training.task import ComputeConfig

DEVICES, CLIPS_OF_A_DEVICE = 8, 8


@pytest.mark.slow  # a minute; the layers of both networks are those of every part
@pytest.mark.parametrize(("part", "frames"), [("video-decoder", 8), ("stage-2", 8)])
def test_the_bytes_that_are_sent_do_not_grow_with_the_clips(part: str, frames: int):
    config = dataclasses.replace(
        RUNS[f"tiny-{part}"],
        model=MICRO,
        batch_size=DEVICES * CLIPS_OF_A_DEVICE,
        data=DataConfig(num_frames=frames, resolution=16),
        compute=ComputeConfig(remat="blocks"),
        mesh=MeshConfig(data=1, fsdp=DEVICES, min_sharded_bytes=1),
    )
    plan = plan_step(config, Topology("cpu", (DEVICES,)))
    params = DEVICES * plan.arguments["parameters"]
    sent = {kind: traffic.sent for kind, traffic in plan.traffic.items()}
    # Forward, again, and backward. CPUs sum whole gradients before they keep their shares.
    assert sent.pop("all-gather") <= 3 * params and sent.pop("all-reduce") <= 2.5 * params
    assert sum(sent.values()) < 0.1 * params
