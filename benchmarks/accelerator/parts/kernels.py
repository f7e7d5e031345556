"""Attention and convolutions at Stable Diffusion's sizes: this library's, JAX's and PyTorch's.

Each row is the time of one application, in a chain within one program (`ours`, `xla`, `cudnn`) or
in a queue of launches (`torch`). Errors are relative to the plain formula in float32.
Axes: B batch, T queries, S keys, N heads, D features of a head, H height, W width, C channels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerator import torch_peers
from benchmarks.accelerator.measure import chained_seconds, difference, median_seconds
from benchmarks.accelerator.results import Report, first_lines
from videogen_jax.models.attention import attention
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


def run(report: Report) -> None:
    """Adds the tables `attention`, `convolution` and `temporal convolution`."""
    if reason := torch_peers.missing():
        report.note(f"PyTorch is not compared: {reason}")
    attentions, convolutions, temporal = ATTENTION, CONVOLUTIONS, TEMPORAL
    if report.dry_run:
        attentions = {"16 pixels": (1, 16, 0, 2, 8), "16 pixels to text": (1, 16, 7, 2, 8)}
        convolutions, temporal = {"8² × 16": (1, 8, 16)}, {"4 × 4² × 8": (4, 4, 8)}
    for name, sizes in attentions.items():
        report.attempt(f"attention, {name}", attend, report, name, *sizes)
    for name, sizes in convolutions.items():
        report.attempt(f"convolution, {name}", convolve, report, name, *sizes)
    for name, sizes in temporal.items():
        report.attempt(f"temporal convolution, {name}", over_frames, report, name, *sizes)


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape, DTYPE)


def attend(
    report: Report, name: str, batch: int, queries: int, keys: int, heads: int, features: int
) -> None:
    """Adds rows to `attention`. Keys and values are constant in a chain, also in self-attention."""
    q_BTND = normal(0, batch, queries, heads, features)
    k_BSND, v_BSND = (normal(i, batch, keys or queries, heads, features) for i in (1, 2))
    flops = 4.0 * batch * heads * queries * (keys or queries) * features
    expected = in_float32(plain_attention, q_BTND, k_BSND, v_BSND)
    # JAX's function, which takes the name of an implementation.
    library = jax.nn.dot_product_attention
    forms: dict[str, Callable[..., jax.Array]] = {
        "ours": attention,
        "xla": lambda q, k, v: library(q, k, v, implementation="xla"),
    }
    if jax.default_backend() == "gpu":
        forms["cudnn"] = lambda q, k, v: library(q, k, v, implementation="cudnn")
    for form, function in forms.items():
        measured(report, "attention", name, form, flops, expected, function, q_BTND, k_BSND, v_BSND)
        backward(report, name, form, 3.5 * flops, function, q_BTND, k_BSND, v_BSND)
    if not torch_peers.missing():
        call, result = torch_peers.attention(*map(np.float32, (q_BTND, k_BSND, v_BSND)))
        peer(report, "attention", name, flops, expected, call, result)


def plain_attention(q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array) -> jax.Array:
    logits = jnp.einsum("btnd,bsnd->bnts", q_BTND, k_BSND) / q_BTND.shape[-1] ** 0.5
    return jnp.einsum("bnts,bsnd->btnd", jax.nn.softmax(logits, axis=-1), v_BSND)


def backward(
    report: Report,
    name: str,
    form: str,
    flops: float,
    function: Callable[..., jax.Array],
    *qkv: Any,
) -> None:
    """Adds a row for forward and backward together; FLOPs include one recomputed forward pass."""

    def all_gradients(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        loss = lambda q, k, v: function(q, k, v).astype(jnp.float32).sum()
        of_q, of_k, of_v = jax.grad(loss, argnums=(0, 1, 2))(q, k, v)
        rest = (of_k.sum() + of_v.sum()).astype(q.dtype)  # makes the chain depend on all gradients
        return q + 1e-3 * of_q + 1e-6 * rest

    table = "attention, forward and backward"
    measured(report, table, name, form, flops, None, all_gradients, *qkv)


def convolve(report: Report, name: str, images: int, size: int, channels: int) -> None:
    """Adds rows to `convolution`: 3×3, with the same number of input and output channels."""
    x_NHWC = normal(0, images, size, size, channels)
    kernel = normal(1, 3, 3, channels, channels) / (9 * channels) ** 0.5
    params = {"kernel": kernel, "bias": jnp.zeros(channels, DTYPE)}
    flops = 2.0 * images * size**2 * 9 * channels**2
    dimensions = ("NHWC", "HWIO", "NHWC")

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)

    module: Any = Conv(channels, dtype=DTYPE)
    expected = in_float32(plain, x_NHWC, kernel)
    ours = lambda x, params: module.apply({"params": params}, x)
    measured(report, "convolution", name, "ours", flops, expected, ours, x_NHWC, params)
    if not torch_peers.missing():
        call, result = torch_peers.convolution(np.float32(x_NHWC), np.float32(kernel))
        peer(report, "convolution", name, flops, expected, call, result)


def over_frames(report: Report, name: str, frames: int, size: int, channels: int) -> None:
    """Adds rows to `temporal convolution`: ours, a sum of three products and XLA's convolution."""
    x_FHWC = normal(0, frames, size, size, channels)
    kernel = normal(1, 3, channels, channels) / (3 * channels) ** 0.5
    params = {"kernel": kernel, "bias": jnp.zeros(channels, DTYPE)}
    flops = 2.0 * frames * size**2 * 3 * channels**2

    def products(x: jax.Array, kernel: jax.Array) -> jax.Array:
        padded = jnp.pad(x, ((1, 1), (0, 0), (0, 0), (0, 0)))
        return x + sum(padded[i : i + len(x)] @ kernel[i] for i in range(3))

    def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
        rows = x.reshape(1, frames, -1, channels)  # frames by pixels, a window of 3 × 1
        y = jax.lax.conv_general_dilated(
            rows, kernel[:, None], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return x + y.reshape(x.shape)

    module: Any = TemporalConv(DTYPE)
    expected = in_float32(products, x_FHWC, kernel)
    forms: dict[str, Callable[[jax.Array, Any], jax.Array]] = {
        "ours": lambda x, params: module.apply({"params": params}, x, frames),
        "three products": lambda x, params: products(x, params["kernel"]),
        "convolution": lambda x, params: convolution(x, params["kernel"]),
    }
    for form, function in forms.items():
        # Halved, because a chain of residuals would grow without bound.
        halved = lambda x, params, f=function: f(x, params) / 2
        measured(
            report, "temporal convolution", name, form, flops, expected / 2, halved, x_FHWC, params
        )


def in_float32(function: Callable[..., jax.Array], *args: jax.Array) -> np.ndarray:
    """Evaluates the function on the same values in float32 with full precision."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(jax.jit(function)(*(x.astype(jnp.float32) for x in args)))


def measured(
    report: Report, table: str, name: str, form: str, flops: float, expected: np.ndarray | None,
    function: Callable[..., jax.Array], x: jax.Array, *operands: Any,
) -> None:  # fmt: skip
    """Adds a row for one form, or a note with the error of a kernel that rejects these sizes."""
    try:
        error = None
        if expected is not None:
            error = difference(
                jax.jit(function)(x, *operands).astype(jnp.float32), expected
            ).relative
        count = 2 if report.dry_run else int(np.clip(_CHAIN_FLOPS / flops, 4, 400))
        seconds = chained_seconds(function, count, x, *operands)
    except (ValueError, NotImplementedError, RuntimeError) as refusal:
        report.note(f"{table}, {name}, {form}: {first_lines(refusal)}")
        return
    report.add(
        table, sizes=name, form=form, ms=seconds * 1e3, tflops=flops / seconds / 1e12, error=error
    )


def peer(
    report: Report, table: str, name: str, flops: float, expected: np.ndarray,
    call: Callable[[], Any], result: np.ndarray,
) -> None:  # fmt: skip
    """Adds the row of PyTorch."""
    seconds = median_seconds(call)
    report.add(
        table, sizes=name, form="torch", ms=seconds * 1e3, tflops=flops / seconds / 1e12,
        error=difference(result, expected).relative,
    )  # fmt: skip
