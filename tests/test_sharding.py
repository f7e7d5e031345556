"""The mesh, and the layouts of parameters, batch and activations, on 8 virtual CPU devices."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

from videogen_jax import layout, sharding
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.temporal import TemporalAttention
from videogen_jax.sharding import MeshConfig

P = PartitionSpec
TREE = {
    "block": {
        "kernel": jax.ShapeDtypeStruct((3, 512, 1024), np.float32),
        "bias": jax.ShapeDtypeStruct((1024,), np.float32),
    },
    "odd": jax.ShapeDtypeStruct((1023, 513), np.float32),
    "small": jax.ShapeDtypeStruct((64, 64), np.float32),
}


def mesh_of(data: int, fsdp: int, frames: int = 1, **fields: Any) -> Mesh:
    return sharding.make_mesh(MeshConfig(data, fsdp, frames, **fields))


def specs(tree: Any) -> Any:
    return jax.tree.map(lambda s: s.spec, tree)


def test_one_axis_may_take_what_is_left():
    assert dict(mesh_of(-1, 4).shape) == {"data": 2, "fsdp": 4, "frames": 1}
    assert dict(mesh_of(2, -1).shape) == {"data": 2, "fsdp": 4, "frames": 1}
    assert dict(mesh_of(1, 2, -1).shape) == {"data": 1, "fsdp": 2, "frames": 4}


@pytest.mark.parametrize("sizes", [(3, 1, 1), (-1, 3, 1), (-1, -1, 1), (2, 2, 3), (-1, 0, 1)])
def test_a_mesh_that_does_not_multiply_to_the_devices_is_refused(sizes: tuple[int, int, int]):
    requested = "data={}, fsdp={}, frames={}".format(*sizes)
    with pytest.raises(ValueError, match=f"mesh {requested} does not multiply to the 8 devices"):
        mesh_of(*sizes)


def test_large_tensors_split_along_their_largest_divisible_axis():
    chosen = specs(sharding.tree_shardings(mesh_of(2, 4), TREE))
    assert chosen["block"]["kernel"] == P(None, None, "fsdp")
    assert chosen["odd"] == chosen["small"] == chosen["block"]["bias"] == P()


def test_what_counts_as_large_is_configured():
    chosen = specs(sharding.tree_shardings(mesh_of(2, 4), TREE, MeshConfig(min_sharded_bytes=1)))
    assert chosen["small"] == chosen["block"]["bias"] == P("fsdp")


def test_the_first_rule_that_matches_in_full_overrules_the_default():
    rules = ((r".*/kernel", ". data+fsdp"), (r"block/.*", ""), (r"small", "fsdp data"))
    chosen = specs(sharding.tree_shardings(mesh_of(2, 4), TREE, MeshConfig(rules=rules)))
    assert chosen["block"]["kernel"] == P(None, ("data", "fsdp"))
    assert chosen["block"]["bias"] == P()
    assert chosen["small"] == P(("fsdp",), ("data",))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (("blok/.*", "fsdp"), r"mesh\.rules: patterns that match no path.*\n  'blok/\.\*'"),
        (("block", "fsdp"), r"near it: block/bias, block/kernel"),
        (("small", ". fdsp"), r"'small' has the axis 'fdsp', expected data, fsdp, frames or '\.'"),
        (("odd", "fsdp"), r"splits the axes of odd into \[4\], but its shape is \(1023, 513\)"),
        (("small", ". . fsdp"), r"splits the axes of small .* but its shape is \(64, 64\)"),
    ],
)
def test_a_rule_that_does_not_fit_the_parameters_is_refused(rule: tuple[str, str], message: str):
    with pytest.raises(ValueError, match=message):
        sharding.tree_shardings(mesh_of(2, 4), TREE, MeshConfig(rules=(rule,)))


def test_optimizer_state_and_average_lie_where_their_parameters_do():
    def init(params: Any) -> Any:
        optimizer = optax.chain(optax.clip(1.0), optax.adamw(1e-3))
        return {"step": jnp.zeros((), jnp.int32), "ema": params, "opt": optimizer.init(params)}

    config = MeshConfig(rules=((".*/kernel", ". fsdp"),))
    state = jax.eval_shape(init, TREE)
    chosen = specs(sharding.state_shardings(mesh_of(2, 4), state, TREE, config))
    moments = chosen["opt"][1][0]
    for tree in (chosen["ema"], moments.mu, moments.nu):
        assert tree["block"]["kernel"] == P(None, ("fsdp",))
        assert tree["small"] == P()
    assert chosen["step"] == moments.count == P()


def test_a_tree_is_read_shard_by_shard():
    class Recording:
        """A replacement for a tensor in a file, which records the size of reads."""

        shape, dtype = (16, 4), np.dtype(np.float32)
        values = np.arange(64, dtype=np.float32).reshape(16, 4)
        largest = 0

        def __getitem__(self, index: Any) -> np.ndarray:
            part = self.values[index]
            self.largest = max(self.largest, part.size)
            return part

    tree = {"stored": Recording(), "array": jnp.arange(16.0)}
    shardings = sharding.tree_shardings(mesh_of(1, 8), tree, MeshConfig(min_sharded_bytes=1))
    put = sharding.put_tree(tree, shardings)
    np.testing.assert_array_equal(put["stored"], Recording.values)
    np.testing.assert_array_equal(put["array"], np.arange(16.0))
    assert tree["stored"].largest == 64 // 8
    assert put["array"].addressable_shards[0].data.shape == (2,)


def test_a_batch_is_split_over_data_and_fsdp_and_must_be_divisible():
    values = np.arange(16, dtype=np.float32).reshape(16, 1)
    for mesh, rows in ((mesh_of(4, 2), 2), (mesh_of(2, 2, 2), 4)):
        batch = sharding.put_batch(mesh, {"x": values})
        assert batch["x"].addressable_shards[0].data.shape == (rows, 1)
        np.testing.assert_array_equal(batch["x"], values)
        np.testing.assert_array_equal(sharding.batch_positions(mesh, 16), np.arange(16))
    with pytest.raises(ValueError, match=r"batch of 6 \(x\) is not divisible by the 8 devices"):
        sharding.put_batch(mesh_of(4, 2), {"x": np.zeros((6, 1))})
    with pytest.raises(ValueError, match=r"batch of 6 \(batch_size\) .* by the 4 devices"):
        sharding.batch_positions(mesh_of(2, 2, 2), 6)


def test_frames_that_the_devices_do_not_divide_are_refused():
    sharding.check_frames(mesh_of(2, 2, 2), 16)
    with pytest.raises(ValueError, match="clips of 15 frames are not divisible by the 2 devices"):
        sharding.check_frames(mesh_of(2, 2, 2), 15)


def layout_of(mesh: Mesh, shape: tuple[int, ...], names: str) -> Any:
    with layout.activate(mesh):
        return jax.jit(lambda x: layout.constrain(x, names))(np.zeros(shape)).sharding.spec


def test_activations_are_laid_out_by_name():
    mesh = mesh_of(2, 2, 2)
    clip = "batch frames rows . ."
    batch = ("data", "fsdp")
    assert layout_of(mesh, (4, 6, 8, 8, 3), clip) == P(batch, "frames")
    assert layout_of(mesh, (4, 5, 8, 8, 3), clip) == P(
        batch, None, "frames"
    )  # 5 frames are split by rows
    assert layout_of(mesh, (1, 6, 8, 8, 3), clip) == P(None, "frames")
    assert layout_of(mesh, (2, 6, 8, 8, 3), clip) == P("data", "frames")
    assert layout_of(mesh, (24, 8, 8, 3), "images rows . .") == P((*batch, "frames"))
    assert layout_of(mesh, (12, 8, 8, 3), "images rows . .") == P(batch, "frames")
    assert layout_of(mesh, (4, 6, 64, 3), "batch . pixels .") == P(batch, None, "frames")


def test_unknown_names_of_activations_are_refused():
    for names in ("batch chanels", "batch ."):
        with pytest.raises(ValueError, match=rf"shape \(4, 4, 4\) as '{names}'"):
            layout_of(mesh_of(2, 2, 2), (4, 4, 4), names)


def test_one_device_is_not_annotated():
    one = sharding.make_mesh(MeshConfig(), jax.devices()[:1])

    def constrained(x: jax.Array) -> jax.Array:
        return fold_frames(layout.constrain(x, "batch frames . . ."))

    with layout.activate(one):
        assert "sharding_constraint" not in str(
            jax.make_jaxpr(constrained)(np.zeros((2, 4, 8, 8, 3)))
        )
    with layout.activate(mesh_of(1, 2, 4)):
        assert "sharding_constraint" in str(jax.make_jaxpr(constrained)(np.zeros((2, 4, 8, 8, 3))))


def test_folding_moves_nothing_between_devices_and_unfolding_undoes_it():
    mesh = mesh_of(2, 2, 2)
    x = np.arange(8 * 4 * 3, dtype=np.float32).reshape(8, 4, 3)

    def there_and_back(x: jax.Array) -> jax.Array:
        x = layout.constrain(x, "batch frames .")
        return layout.constrain(unfold_frames(jnp.sin(fold_frames(x)), 4), "batch frames .")

    with layout.activate(mesh):
        where = jax.sharding.NamedSharding(mesh, P(("data", "fsdp"), "frames"))
        placed = jax.device_put(x, where)
        compiled = jax.jit(there_and_back).lower(placed).compile()
        np.testing.assert_allclose(compiled(placed), np.sin(x), rtol=1e-6)
    assert not collectives(compiled.as_text())


def test_time_is_seen_after_one_exchange_of_frames_for_pixels():
    """In a temporal layer no device contains a whole clip, and none is gathered."""
    layer = TemporalAttention(2)
    x = np.zeros((8 * 4, 4, 4, 16), np.float32)
    params = layer.init(jax.random.key(0), x, 4)
    with layout.activate(mesh_of(2, 2, 2)):
        compiled = jax.jit(lambda p, x: layer.apply(p, x, 4)).lower(params, x).compile()
    assert set(collectives(compiled.as_text())) == {"all-to-all"}


def collectives(program: str) -> list[str]:
    kinds = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
    return re.findall(rf"\s({kinds})(?:-start)?\(", program)
