"""The mesh, the FSDP default and the batch over devices, on 8 virtual CPU devices."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from videogen_jax import sharding
from videogen_jax.sharding import MeshConfig


def test_one_axis_may_take_what_is_left():
    assert dict(sharding.make_mesh(MeshConfig(data=-1, fsdp=4)).shape) == {"data": 2, "fsdp": 4}
    assert dict(sharding.make_mesh(MeshConfig(data=2, fsdp=-1)).shape) == {"data": 2, "fsdp": 4}


@pytest.mark.parametrize("config", [MeshConfig(3, 1), MeshConfig(-1, 3), MeshConfig(-1, -1)])
def test_a_mesh_that_does_not_multiply_to_the_devices_is_refused(config: MeshConfig):
    with pytest.raises(ValueError, match="does not multiply to the 8 devices"):
        sharding.make_mesh(config)


def test_large_tensors_split_along_their_largest_divisible_axis():
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=4))
    tree = {
        "kernel": jax.ShapeDtypeStruct((3, 512, 1024), np.float32),
        "odd": jax.ShapeDtypeStruct((1023, 513), np.float32),
        "small": jax.ShapeDtypeStruct((64, 64), np.float32),
    }
    specs = jax.tree.map(lambda s: s.spec, sharding.tree_shardings(mesh, tree))
    assert specs["kernel"] == PartitionSpec(None, None, "fsdp")
    assert specs["odd"] == specs["small"] == PartitionSpec()


def test_a_batch_is_split_over_all_devices_and_must_be_divisible():
    mesh = sharding.make_mesh(MeshConfig(data=4, fsdp=2))
    batch = sharding.put_batch(mesh, {"x": np.arange(16.0).reshape(16, 1)})
    assert batch["x"].addressable_shards[0].data.shape == (2, 1)
    np.testing.assert_array_equal(batch["x"], np.arange(16.0).reshape(16, 1))
    with pytest.raises(ValueError, match=r"batch of 6 \(x\) is not divisible by the 8 devices"):
        sharding.put_batch(mesh, {"x": np.zeros((6, 1))})
