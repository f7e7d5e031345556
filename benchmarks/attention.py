"""Attention's kernels at Stable Diffusion's sizes, on this CPU: `python -m benchmarks.attention`.

    errors   the largest error of each kernel against the formula in float64, and whether attention
             in bfloat16 stays finite under guidance
    speed    GFLOP/s of the kernels and of torch (if it is installed), forward and with gradients

The TPU's kernel is interpreted here, so only its errors are. cuDNN needs a GPU
(`benchmarks.accelerator`). The forms of a size take turns, so that other work on the machine slows
all of them; a ratio is the median over pairs of neighbouring runs.
Axes: B batch, T queries, S keys, N heads, D features of a head.
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.accelerator import torch_peers
from videogen_jax.kernels import blocked, cpu, splash
from videogen_jax.kernels.attention import attention

# On a machine with other work, wall time is mostly the wait for a core. A process that is bound to
# one core (`taskset -c 0`) has no second thread that waits, so its CPU time is that of the work.
Clock = Literal["wall", "cpu"]
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Size:
    """An attention of Stable Diffusion 1.5's UNet at 512 pixels."""

    name: str
    queries: int
    keys: int
    heads: int
    width: int

    @property
    def operations(self) -> float:
        """Of a forward pass."""
        return 4.0 * self.queries * self.keys * self.heads * self.width

    def arrays(self, dtype: str, seed: int = 0) -> tuple[jax.Array, ...]:
        """Returns queries, keys and values of a batch of 1, normally distributed."""
        rng = np.random.default_rng(seed)
        lengths = self.queries, self.keys, self.keys
        shapes = [(1, length, self.heads, self.width) for length in lengths]
        return tuple(jnp.asarray(rng.standard_normal(s, np.float32), dtype) for s in shapes)


SIZES = (
    Size("64² pixels", 4096, 4096, 8, 40),
    Size("32² pixels", 1024, 1024, 8, 80),
    Size("16² pixels", 256, 256, 8, 160),
    Size("64² pixels to text", 4096, 77, 8, 40),
    Size("32² pixels to text", 1024, 77, 8, 80),
    Size("16² pixels to text", 256, 77, 8, 160),
)
KERNELS: dict[str, Attend] = {
    "blocked": blocked.attention,
    "cpu": cpu.attention,
    "splash": functools.partial(splash.attention, interpret=True),
}
GUIDANCE = (1.0, 3.0, 7.5, 15.0)


def main(
    part: tyro.conf.Positional[Literal["errors", "speed"]],
    repetitions: int = 7,
    sizes: tuple[str, ...] = (),
    clock: Clock = "wall",
) -> None:
    """Measures and prints tables in Markdown.

    Args:
        part: errors or speed.
        repetitions: alternating runs of each form.
        sizes: the names of the sizes to measure, by default all.
        clock: wall time, or CPU time of all threads, see `CLOCKS`.
    """
    chosen = [size for size in SIZES if not sizes or size.name in sizes]
    print(machine())
    if part == "speed":
        show_speed(chosen, repetitions, clock)
        return
    with jax.default_matmul_precision("highest"):
        show_errors(chosen)
        show_guidance(chosen)


def machine() -> str:
    """Returns a line with JAX's version, the cores of this process, and the machine's load."""
    cores = len(os.sched_getaffinity(0))
    return f"jax {jax.__version__}, {cores} cores, load {os.getloadavg()[0]:.1f}\n"


def show_errors(sizes: list[Size]) -> None:
    """Prints the largest errors, relative to the largest entry of the exact result."""
    print("| sizes | dtype | " + " | ".join(KERNELS) + " |")
    print("|---|---|" + "---|" * len(KERNELS))
    for size in sizes:
        for dtype in ("float32", "bfloat16"):
            arrays = size.arrays(dtype)
            right = exact(*arrays)
            found = [np.asarray(jax.jit(f)(*arrays), np.float64) for f in KERNELS.values()]
            errors = [np.abs(x - right).max() / np.abs(right).max() for x in found]
            row = " | ".join(f"{error:.1e}" for error in errors)
            print(f"| {size.name} | {dtype} | {row} |", flush=True)


def exact(q_BTND: jax.Array, k_BSND: jax.Array, v_BSND: jax.Array) -> np.ndarray:
    """Returns the formula in float64, a head at a time."""
    q, k, v = (np.asarray(x, np.float64)[0].swapaxes(0, 1) for x in (q_BTND, k_BSND, v_BSND))
    heads = []
    for q_TD, k_SD, v_SD in zip(q, k, v, strict=True):
        logits_TS = q_TD @ k_SD.T / np.sqrt(q_TD.shape[1])
        weights_TS = np.exp(logits_TS - logits_TS.max(axis=1, keepdims=True))
        heads.append(weights_TS @ v_SD / weights_TS.sum(axis=1, keepdims=True))
    return np.stack(heads, axis=1)[None]


def show_guidance(sizes: list[Size]) -> None:
    """Prints the largest entry of attention in bfloat16 to a result under guidance, and if finite.

    Guidance extrapolates from the result without text by that with text. The result becomes the
    queries, keys and values of the next attention.
    """
    print("\n| sizes | kernel | guidance | largest | finite |\n|---|---|---|---|---|")
    for size in (size for size in sizes if size.queries == size.keys):
        with_text, without = size.arrays("bfloat16", 0), size.arrays("bfloat16", 1)
        for name, function in KERNELS.items():
            attend = jax.jit(function)
            text, plain = attend(*with_text), attend(*without)
            for scale in GUIDANCE:
                # Attention's mean over keys is small: queries of the size of the inputs follow.
                guided = (plain + scale * (text - plain)) * jnp.bfloat16(size.queries**0.5)
                out = np.asarray(attend(guided, guided, guided), np.float32)
                finite = bool(np.isfinite(out).all())
                print(f"| {size.name} | {name} | {scale} | {np.abs(out).max():.2f} | {finite} |")


def show_speed(sizes: list[Size], repetitions: int, clock: Clock) -> None:
    """Prints GFLOP/s of each form, and the median ratio of its speed to the blocked formula's."""
    for direction, factor in (("forward", 1.0), ("forward and backward", 3.0)):
        print(f"\n{direction}:\n\n| sizes | form | GFLOP/s | times blocked | spread |")
        print("|---|---|---|---|---|")
        for size in sizes:
            calls = dict(forms(size, backward=factor > 1))
            seconds = alternating(calls, repetitions, clock)
            for name, taken in seconds.items():
                rate = factor * size.operations / median(taken) / 1e9
                pairs = [b / x for b, x in zip(seconds["blocked"], taken, strict=True)]
                spread = f"{min(pairs):.2f} to {max(pairs):.2f}"
                row = f"| {size.name} | {name} | {rate:.0f} | {median(pairs):.2f} | {spread} |"
                print(row, flush=True)


def forms(size: Size, *, backward: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields calls of the forms: ours is the table's choice."""
    arrays = size.arrays("float32")
    functions = {"ours": attention, "blocked": blocked.attention, "cpu": cpu.attention}
    for name, function in functions.items():
        compiled = jax.jit(gradients(function) if backward else function)
        yield name, lambda compiled=compiled: jax.block_until_ready(compiled(*arrays))
    if not torch_peers.missing():
        yield "torch", torch_call(arrays, backward)


def gradients(function: Attend) -> Callable[..., tuple[jax.Array, ...]]:
    """Returns the function of its output and its gradients, of an output gradient of the values."""

    def value_and_gradients(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, ...]:
        out, pullback = jax.vjp(function, q, k, v)
        return out, *pullback(q)

    return value_and_gradients


def torch_call(arrays: tuple[jax.Array, ...], backward: bool) -> Callable[[], object]:
    """Returns torch's fused attention of the same arrays, of contiguous heads as torch likes it."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    heads = [torch.from_numpy(np.array(x)).transpose(1, 2).contiguous() for x in arrays]
    fused = torch.nn.functional.scaled_dot_product_attention
    if not backward:
        return lambda: fused(*heads)
    leaves = [x.requires_grad_() for x in heads]

    def call() -> object:
        return torch.autograd.grad(fused(*leaves), leaves, heads[0].detach())

    return call


def alternating(
    calls: dict[str, Callable[[], object]], repetitions: int, clock: Clock = "wall"
) -> dict[str, list[float]]:
    """Returns the seconds of each call, which take turns; the first turn is not measured."""
    now = CLOCKS[clock]
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repetitions + 1):
        for name, call in calls.items():
            started = now()
            call()
            if turn:
                seconds[name].append(now() - started)
    return seconds


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
