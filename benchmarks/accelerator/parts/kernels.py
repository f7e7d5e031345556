"""Attention and convolutions at Stable Diffusion's sizes: this library's, JAX's and PyTorch's.

Each row is the time of one application, in a chain within one program (`ours`, `xla`, `cudnn`) or
in a queue of launches (`torch`). Errors are relative to the plain formula in float32.
Axes: B batch, T queries, S keys, N heads, D features of a head, H height, W width, C channels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerator import torch_peers
from benchmarks.accelerator.measure import chained_seconds, difference, median_seconds
from benchmarks.accelerator.results import Report, first_lines
from videogen_jax.kernels import blocked, cudnn
from videogen_jax.kernels.attention import attention
from videogen_jax.models.layers import Conv
from videogen_jax.models.temporal import TemporalConv

DTYPE = jnp.bfloat16
# name: (batch, queries, keys, heads, features of a head); 0 keys means as many as queries.
ATTENTION = {
    "64² pixels": (8, 4096, 0, 8, 40),
    "32² pixels": (8, 1024, 0, 8, 80),
    "16² pixels": (8, 256, 0, 8, 160),
    "64² pixels to text": (8, 4096, 77, 8, 40),
    "16 frames of 64²": (4096, 16, 0, 8, 40),
    "16 frames of 32²": (1024, 16, 0, 8, 80),
}
# name: (images, height and width, channels), 3×3.
CONVOLUTIONS = {
    "64² × 320": (8, 64, 320),
    "32² × 640": (8, 32, 640),
    "16² × 1280": (8, 16, 1280),
    "8² × 1280": (8, 8, 1280),
    "512² × 128 (decoder)": (1, 512, 128),
}
# name: (frames, height and width, channels).
TEMPORAL = {
    "16 × 64² × 320": (16, 64, 320),
    "16 × 32² × 640": (16, 32, 640),
    "16 × 8² × 1280": (16, 8, 1280),
}
_CHAIN_FLOPS = 4e12  # about 10 ms on an H100


class Case(NamedTuple):
    """One row: a form of an operation, applied to arrays in bfloat16."""

    table: str
    sizes: str
    form: str
    flops: float
    function: Callable[..., jax.Array]  # keeps the shape of the first operand
    operands: tuple[Any, ...]
    plain: Callable[..., jax.Array] | None = None  # the formula, for the error

    @property
    def name(self) -> str:
        return f"{self.table}, {self.sizes}, {self.form}"


def run(report: Report) -> None:
    """Adds the tables `attention`, `convolution` and `temporal convolution`."""
    attentions, convolutions, temporal = ATTENTION, CONVOLUTIONS, TEMPORAL
    if report.dry_run:
        attentions = {"16 pixels": (1, 16, 0, 2, 8), "16 pixels to text": (1, 16, 7, 2, 8)}
        convolutions, temporal = {"8² × 16": (1, 8, 16)}, {"4 × 4² × 8": (4, 4, 8)}
    cases = [case for name, sizes in attentions.items() for case in attend(name, *sizes)]
    cases += [convolve(name, *sizes) for name, sizes in convolutions.items()]
    cases += [case for name, sizes in temporal.items() for case in over_frames(name, *sizes)]
    if reason := torch_peers.missing():
        report.note(f"PyTorch is not compared: {reason}")
    for case in cases:
        report.attempt(case.name, measured, report, case)
        peers = case.form == "ours" and case.table in ("attention", "convolution")
        if peers and not torch_peers.missing():
            report.attempt(f"{case.name}, torch", peer, report, case)


def measured(report: Report, case: Case) -> None:
    """Adds the row of a case; a kernel that rejects these sizes becomes a note with its error."""
    count = 2 if report.dry_run else int(np.clip(_CHAIN_FLOPS / case.flops, 4, 400))
    try:
        error = None
        if case.plain is not None:
            found = jax.jit(case.function)(*case.operands).astype(jnp.float32)
            error = difference(found, in_float32(case.plain, *case.operands)).relative
        seconds = chained_seconds(case.function, count, *case.operands)
    except (ValueError, NotImplementedError, RuntimeError) as refusal:
        report.note(f"{case.name}: {first_lines(refusal)}")
    else:
        row(report, case, case.form, seconds, error)


def row(report: Report, case: Case, form: str, seconds: float, error: float | None) -> None:
    report.add(
        case.table, sizes=case.sizes, form=form, ms=seconds * 1e3,
        tflops=case.flops / seconds / 1e12, error=error,
    )  # fmt: skip


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32), DTYPE)


def attend(name: str, batch: int, queries: int, keys: int, heads: int, features: int) -> list[Case]:
    """Returns the forms of attention. Keys and values are constant in a chain."""
    q_BTND = normal(0, batch, queries, heads, features)
    k_BSND, v_BSND = (normal(i, batch, keys or queries, heads, features) for i in (1, 2))
    flops = 4.0 * batch * heads * queries * (keys or queries) * features
    # JAX's function, which takes the name of an implementation.
    library = jax.nn.dot_product_attention
    forms: dict[str, Callable[..., jax.Array]] = {
        "ours": attention,
        "blocked": blocked.attention,
        "xla": lambda q, k, v: library(q, k, v, implementation="xla"),
    }
    if jax.default_backend() == "gpu":
        forms["cudnn"] = cudnn.attention
    cases = []
    for form, function in forms.items():
        operands = q_BTND, k_BSND, v_BSND
        cases.append(Case("attention", name, form, flops, function, operands, plain_attention))
        # Includes one recomputed forward pass.
        both = Case("attention, forward and backward", name, form, 3.5 * flops,
                    all_gradients(function), operands)  # fmt: skip
        cases.append(both)
    return cases


def plain_attention(q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array) -> jax.Array:
    logits = jnp.einsum("btnd,bsnd->bnts", q_BTND, k_BSND) / q_BTND.shape[-1] ** 0.5
    return jnp.einsum("bnts,bsnd->btnd", jax.nn.softmax(logits, axis=-1), v_BSND)


def all_gradients(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Returns a function of q, k and v that needs the gradients with respect to all of them."""

    def step(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        loss = lambda q, k, v: function(q, k, v).astype(jnp.float32).sum()
        of_q, of_k, of_v = jax.grad(loss, argnums=(0, 1, 2))(q, k, v)
        rest = (of_k.sum() + of_v.sum()).astype(q.dtype)  # makes the chain depend on all gradients
        return q + 1e-3 * of_q + 1e-6 * rest

    return step


def convolve(name: str, images: int, size: int, channels: int) -> Case:
    """Returns our 3×3 convolution, with the same number of input and output channels."""
    x_NHWC = normal(0, images, size, size, channels)
    kernel = normal(1, 3, 3, channels, channels) / (9 * channels) ** 0.5
    params = {"kernel": kernel, "bias": jnp.zeros(channels, DTYPE)}
    flops = 2.0 * images * size**2 * 9 * channels**2
    dimensions = ("NHWC", "HWIO", "NHWC")

    def plain(x: jax.Array, params: Any) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, params["kernel"], (1, 1), "SAME", dimension_numbers=dimensions
        )

    module: Any = Conv(channels, dtype=DTYPE)
    ours = lambda x, params: module.apply({"params": params}, x)
    return Case("convolution", name, "ours", flops, ours, (x_NHWC, params), plain)


def over_frames(name: str, frames: int, size: int, channels: int) -> list[Case]:
    """Returns the temporal convolution: ours, a sum of three products and one product."""
    x_FHWC = normal(0, frames, size, size, channels)
    kernel = normal(1, 3, channels, channels) / (3 * channels) ** 0.5
    params = {"kernel": kernel, "bias": jnp.zeros(channels, DTYPE)}
    flops = 2.0 * frames * size**2 * 3 * channels**2

    def products(x: jax.Array, params: Any) -> jax.Array:
        padded = jnp.pad(x, ((1, 1), (0, 0), (0, 0), (0, 0)))
        return x + sum(padded[i : i + len(x)] @ params["kernel"][i] for i in range(3))

    def product(x: jax.Array, params: Any) -> jax.Array:
        padded = jnp.pad(x, ((1, 1), (0, 0), (0, 0), (0, 0)))
        shifted = jnp.concatenate([padded[:-2], x, padded[2:]], axis=-1)
        return x + shifted @ params["kernel"].reshape(3 * channels, channels)

    module: Any = TemporalConv(DTYPE)
    forms: dict[str, Callable[[jax.Array, Any], jax.Array]] = {
        "ours": lambda x, params: module.apply({"params": params}, x, frames),
        "three products": products,
        "one product": product,
    }

    def halved(function: Callable[[jax.Array, Any], jax.Array]) -> Callable[..., jax.Array]:
        """A chain of residuals would grow without bound."""
        return lambda x, params: function(x, params) / 2

    table, operands = "temporal convolution", (x_FHWC, params)
    return [
        Case(table, name, form, flops, halved(function), operands, halved(products))
        for form, function in forms.items()
    ]


def in_float32(function: Callable[..., jax.Array], *operands: Any) -> np.ndarray:
    """Evaluates the function on the same values in float32 with full precision."""
    with jax.default_matmul_precision("highest"):
        upcast = jax.tree.map(lambda x: x.astype(jnp.float32), operands)
        return np.asarray(jax.jit(function)(*upcast))


def peer(report: Report, case: Case) -> None:
    """Adds the row of PyTorch for attention or a convolution."""
    arrays = [np.asarray(x, np.float32) for x in jax.tree.leaves(case.operands)]
    if case.table == "attention":
        call, result = torch_peers.attention(*arrays)
    else:
        x_NHWC, _, kernel_HWIO = arrays  # parameters in the order of their names
        call, result = torch_peers.convolution(x_NHWC, kernel_HWIO)
    assert case.plain is not None
    error = difference(result, in_float32(case.plain, *case.operands)).relative
    row(report, case, "torch", median_seconds(call), error)
