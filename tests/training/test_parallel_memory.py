"""Memory per device when several share a clip: forward and backward of a small video UNet.

The program is compiled for 8 CPU devices and not run. Without the axis names in the models the
compiler gives every device the whole clip.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.support import micro_model
from videogen_jax import layout, sharding
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.sharding import MeshConfig

CLIPS, FRAMES, SIDE = 2, 8, 32
MIB = 2**20
# Measured: 185 MiB with the names, 1510 MiB without; on one device 1500 MiB.
BOUND_MIB = 300

NETWORK: Any = SpaceTimeUNet(micro_model.MICRO.stages[0].unet)


def temporary_mib(sizes: tuple[int, int, int]) -> float:
    """Returns the temporary memory of one gradient on each device, in MiB."""
    config = MeshConfig(*sizes, min_sharded_bytes=1)
    mesh = sharding.make_mesh(config)
    params = jax.eval_shape(lambda: micro_model.params()["stage_1"])
    shardings = sharding.tree_shardings(mesh, params, config)
    batch = {"x": (CLIPS, FRAMES, SIDE, SIDE, 8), "time": (CLIPS,), "text": (CLIPS, 4, 16)}
    batch |= {"pooled": (CLIPS, 16)}

    def shaped(shape: tuple[int, ...], where: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, np.float32, sharding=where)

    def loss(params: Any, batch: Any) -> jax.Array:
        output = NETWORK.apply(
            {"params": params},
            batch["x"],
            batch["time"],
            batch["text"],
            pooled_BD=batch["pooled"],
            fps_B=batch["time"],
        )
        return jnp.square(output).mean()

    params = jax.tree.map(lambda leaf, where: shaped(leaf.shape, where), params, shardings)
    inputs = {name: shaped(shape, sharding.batch_sharding(mesh)) for name, shape in batch.items()}
    with layout.activate(mesh):
        gradient = jax.jit(jax.grad(loss), out_shardings=shardings)
        compiled = gradient.lower(params, inputs).compile()
    return compiled.memory_analysis().temp_size_in_bytes / MIB


def test_eight_devices_that_share_clips_share_their_memory():
    assert temporary_mib((1, 1, 8)) < BOUND_MIB
