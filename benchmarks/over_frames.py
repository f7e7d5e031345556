"""The layers over frames on this CPU: `python -m benchmarks.over_frames [--sizes SIZE ...]`.

The temporal convolution as a convolution with a window of three frames (ours), as a sum of three
products, and as one product of an input that is copied three times. Attention over frames in the
library's layout, with frames innermost, and with pixels innermost. Forms take turns, see
`benchmarks.attention`.
Axes: F frames, P pixels, C channels, N heads, D features of a head; G is F, of keys.
"""

from collections.abc import Callable
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.attention import Clock, alternating, machine
from videogen_jax.kernels import blocked
from videogen_jax.models.temporal import conv_of_frames

# Frames, pixels, channels, heads: levels of `paper`'s stages.
SIZES = {
    "32² × 320": (16, 1024, 320, 8),
    "16² × 640": (16, 256, 640, 8),
    "8² × 1280": (16, 64, 1280, 8),
}
Function = Callable[..., jax.Array]


def main(
    repetitions: int = 5, sizes: tuple[str, ...] = tuple(SIZES), clock: Clock = "wall"
) -> None:
    """Measures and prints tables in Markdown; see `benchmarks.attention`."""
    print(machine())
    for backward in (False, True):
        print("forward and backward:" if backward else "forward:")
        print("\n| layer | sizes | form | ms | times ours | temporary MiB |")
        print("|---|---|---|---|---|---|")
        for name in sizes:
            layers = {
                "convolution": (CONVOLUTIONS, convolution_operands(name)),
                "attention": (ATTENTIONS, attention_operands(name)),
            }
            for layer, (forms, operands) in layers.items():
                calls, temporary = compiled(forms, operands, backward)
                seconds = alternating(calls, repetitions, clock)
                show(f"{layer} | {name}", seconds, temporary)
        print()


def compiled(
    forms: dict[str, Function], operands: tuple[jax.Array, ...], backward: bool
) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """Returns calls of compiled forms and their temporary MiB; checks that their results agree."""
    calls, temporary, results = {}, {}, []
    for name, form in forms.items():
        program = jax.jit(gradients(form) if backward else form).lower(*operands).compile()
        calls[name] = lambda program=program: jax.block_until_ready(program(*operands))
        temporary[name] = program.memory_analysis().temp_size_in_bytes / 2**20
        results.append(jax.tree.leaves(calls[name]()))
    for found in results[1:]:
        for right, theirs in zip(results[0], found, strict=True):
            np.testing.assert_allclose(theirs, right, atol=1e-3 * float(jnp.abs(right).max()))
    return calls, temporary


def show(label: str, seconds: dict[str, list[float]], temporary: dict[str, float]) -> None:
    """Prints the rows of a layer at one size."""
    for name, taken in seconds.items():
        ratio = median(ours / x for ours, x in zip(seconds["ours"], taken, strict=True))
        row = f"{median(taken) * 1e3:.1f} | {ratio:.2f} | {temporary[name]:.0f}"
        print(f"| {label} | {name} | {row} |", flush=True)


def gradients(function: Function) -> Callable[..., tuple[jax.Array, ...]]:
    """Returns the output and all gradients; the output's gradient is the output."""

    def value_and_gradients(*operands: jax.Array) -> tuple[jax.Array, ...]:
        out, pullback = jax.vjp(function, *operands)
        return out, *pullback(out)

    return value_and_gradients


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def convolution_operands(name: str) -> tuple[jax.Array, ...]:
    frames, pixels, channels, _ = SIZES[name]
    kernel = normal(1, 3, channels, channels) / (3 * channels) ** 0.5
    return normal(0, 1, frames, pixels, channels), kernel


def three_products(x_BFPC: jax.Array, kernel: jax.Array) -> jax.Array:
    """Adds to each frame's product those of the frames before and after it."""
    out = x_BFPC @ kernel[1]
    out = out.at[:, 1:].add(x_BFPC[:, :-1] @ kernel[0])
    return out.at[:, :-1].add(x_BFPC[:, 1:] @ kernel[2])


def one_product(x_BFPC: jax.Array, kernel: jax.Array) -> jax.Array:
    padded = jnp.pad(x_BFPC, ((0, 0), (1, 1), (0, 0), (0, 0)))
    copied = jnp.concatenate([padded[:, :-2], x_BFPC, padded[:, 2:]], axis=-1)
    return copied @ kernel.reshape(-1, kernel.shape[-1])


CONVOLUTIONS: dict[str, Function] = {
    "ours": conv_of_frames,
    "three products": three_products,
    "one product": one_product,
}


def attention_operands(name: str) -> tuple[jax.Array, ...]:
    frames, pixels, channels, heads = SIZES[name]
    return tuple(normal(i, pixels, frames, heads, channels // heads) for i in range(3))


def frames_innermost(q_PFND: jax.Array, k_PGND: jax.Array, v_PGND: jax.Array) -> jax.Array:
    """Products over pixels and heads of `[F, D]` with `[D, G]`."""
    q_PNFD, v_PNGD = q_PFND.swapaxes(1, 2), v_PGND.swapaxes(1, 2)
    k_PNDG = jnp.moveaxis(k_PGND, 1, 3)
    weights_PNFG = jax.nn.softmax(q_PNFD @ k_PNDG / q_PFND.shape[-1] ** 0.5)
    return (weights_PNFG @ v_PNGD).swapaxes(1, 2)


def pixels_innermost(q_PFND: jax.Array, k_PGND: jax.Array, v_PGND: jax.Array) -> jax.Array:
    """Sums of products of vectors over all pixels, a query's frame at a time."""
    q_FNDP, k_GNDP, v_GNDP = (jnp.moveaxis(x, 0, 3) for x in (q_PFND, k_PGND, v_PGND))

    def one_frame(q_NDP: jax.Array) -> jax.Array:
        logits_GNP = (q_NDP * k_GNDP).sum(axis=2) / q_NDP.shape[1] ** 0.5
        weights_GNP = jax.nn.softmax(logits_GNP, axis=0)
        return (weights_GNP[:, :, None] * v_GNDP).sum(axis=0)

    return jnp.moveaxis(jax.lax.map(one_frame, q_FNDP), 3, 0)


ATTENTIONS: dict[str, Function] = {
    "ours": blocked.attention,
    "frames innermost": frames_innermost,
    "pixels innermost": pixels_innermost,
}

if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
