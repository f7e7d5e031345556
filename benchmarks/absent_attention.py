"""Attention compiled for absent devices: `python -m benchmarks.absent_attention PART v5e:1x1`.

    attention  the sizes of Stable Diffusion's UNet: the plain formula in one block, and the kernel
    unet       the whole UNet forward, with the table's kernels

The figures are the compiler's peak of memory and its estimate of the bytes that are read and
written. `least ms` is the longer of products and bytes at the manufacturer's figures. Nothing runs.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.attention import SIZES, Size
from videogen_jax import layout, sharding
from videogen_jax.configs.paper import PAPER
from videogen_jax.kernels import blocked, choices
from videogen_jax.kernels.attention import attention
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.training.planning.plan import compile_for
from videogen_jax.training.planning.topology import (
    Topology,
    absent_devices,
    parse_topology,
    prepare,
)
from videogen_jax.training.telemetry.flops import count_flops

BATCH, DTYPE = 8, jnp.bfloat16
EXTRA = (Size("24² pixels", 576, 576, 8, 80), Size("decoder, 64² pixels", 4096, 4096, 1, 512))


def main(part: str, name: str) -> None:
    topology = parse_topology(name)
    prepare(topology)
    mesh = sharding.make_mesh(sharding.MeshConfig(), absent_devices(topology))
    print(f"{topology}, batch {BATCH}, bfloat16, jax {jax.__version__}\n")
    print("| sizes | form | peak MiB | MiB read and written | least ms |\n|---|---|---|---|---|")
    with layout.activate(mesh):
        if part == "unet":
            show(topology, "UNet | table", unet(mesh))
            return
        # One block, so that the compiler's estimate counts no loop's body only once.
        blocked.MAX_LOGITS = 2**62
        forms = {"plain": blocked.attention, "kernel": by_hand(topology.chip.platform)}
        for size in (*SIZES, *EXTRA):
            for form, function in forms.items():
                shapes = placed(mesh, attention_shapes(size))
                show(topology, f"{size.name} | {form}", jax.jit(function).trace(*shapes))


def by_hand(platform: str) -> Callable[..., jax.Array]:
    """Returns attention by the platform's kernel, also below the sizes of the table."""
    names = [row.kernel for row in choices.TABLE if row.platform == platform]
    return lambda q, k, v: attention(q, k, v, kernel=names[0])  # pyright: ignore[reportArgumentType]


def attention_shapes(size: Size) -> tuple[jax.ShapeDtypeStruct, ...]:
    lengths = size.queries, size.keys, size.keys
    return tuple(
        jax.ShapeDtypeStruct((BATCH, length, size.heads, size.width), DTYPE) for length in lengths
    )


def unet(mesh: Any) -> Any:
    """Traces the forward pass of Stable Diffusion 1.5's UNet."""
    module = SpaceTimeUNet(PAPER.image.unet, DTYPE)
    inputs = (
        jax.ShapeDtypeStruct((BATCH, 1, 64, 64, 4), DTYPE),
        jax.ShapeDtypeStruct((BATCH,), jnp.int32),
        jax.ShapeDtypeStruct((BATCH, 77, 768), DTYPE),
    )
    params = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, DTYPE), params)
    return jax.jit(module.apply).trace(*placed(mesh, (params, *inputs)))


def placed(mesh: Any, shapes: Any) -> Any:
    on_all = sharding.replicated(mesh)
    return sharding.with_shardings(shapes, jax.tree.map(lambda leaf: on_all, shapes))


def show(topology: Topology, name: str, traced: Any) -> None:
    compiled, peak = compile_for(topology, traced)
    costs = {} if compiled is None else compiled.cost_analysis() or {}
    accessed = costs.get("bytes accessed", float("nan"))
    chip, flops = topology.chip, count_flops(traced.jaxpr.jaxpr).total
    least = max(flops / (chip.peak or 1), accessed / (chip.hbm_bandwidth or 1)) * 1e3
    print(f"| {name} | {peak / 2**20:.0f} | {accessed / 2**20:.0f} | {least:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
