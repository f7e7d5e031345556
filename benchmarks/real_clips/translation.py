"""Measures flows of moved photographs: `python -m benchmarks.real_clips.translation OUT`.

The frames are those of held-out shots, moved by known amounts of less than a pixel per frame and
more. The end-point error is that of both flows, from the middle frame to the first and to the last
one, in latent pixels, over the positions whose true flow ends inside the frame.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.real_clips import material
from benchmarks.real_clips.model import REAL
from videogen_jax.data.transforms import to_float
from videogen_jax.models.features.loading import load_pixel_flow
from videogen_jax.models.flow import FlowOutput, LatentFlow
from videogen_jax.models.warp import resize_flow
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.weights.model_dir import load_component

# Model directories of `train`.
FLOWS = {
    "flow, no teacher": "flow-translations",
    "flow, with teacher": "flow-translations-teacher",
}


def triplets(packages: Path, number: int, seed: int) -> dict[str, np.ndarray]:
    """Returns `a`, `mid`, `b`, uint8 `[N, H, W, 3]`, `time` `[N]` and `moved` `[N, 2]`.

    `moved` is the motion from a to b in pixels `(x, y)`.
    """
    rng = np.random.default_rng([material.SEED, seed])
    stills = material.images([shot for shot in material.SHOTS if shot.held_out], packages)
    found: dict[str, list[Any]] = {name: [] for name in ("a", "mid", "b", "time", "moved")}
    for i in range(number):
        square = material.moving_square(stills[i % len(stills)], rng)
        middle = material.MIDDLES[i % len(material.MIDDLES)]
        a, mid, b = (square.frame(number) for number in (0, middle, material.LAST))
        last = material.LAST
        values = (a, mid, b, middle / last, last * square.velocity_2)
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
    return {name: np.stack(values) for name, values in found.items()}


def inside(flow_NHW2: np.ndarray) -> np.ndarray:
    """Returns where a flow ends inside the frame, bool `[N, H, W]`."""
    size = flow_NHW2.shape[1]
    y, x = np.mgrid[:size, :size]
    ends = np.stack([x, y], axis=-1) + flow_NHW2
    return ((ends >= 0) & (ends <= size - 1)).all(axis=-1)


def errors(found: tuple[np.ndarray, ...], true: tuple[np.ndarray, ...]) -> np.ndarray:
    """Returns the mean end-point error of each triplet, `[N]`."""
    both = inside(true[0]) & inside(true[1])
    distance = sum(np.linalg.norm(f - t, axis=-1) for f, t in zip(found, true, strict=True)) / 2
    return (distance * both).sum(axis=(1, 2)) / both.sum(axis=(1, 2))


def latent_flows(model: Path, examples: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Returns the flows of a model directory's flow network, in latent pixels."""
    components = {name: load_component(model, name) for name in ("autoencoder", "flow")}
    network = LatentFlow(REAL.flow)

    @jax.jit
    def run(a: jax.Array, mid: jax.Array, b: jax.Array, time: jax.Array) -> FlowOutput:
        frames = to_float(jnp.stack([a, mid, b], axis=1))
        latents = encode_frames(REAL, components, frames, REAL.refiner.resolution)
        output: Any = network.apply(
            {"params": components["flow"]}, latents[:, 0], latents[:, 2], time
        )
        return output

    output = run(*(jnp.asarray(examples[name]) for name in ("a", "mid", "b", "time")))
    return np.asarray(output.flow_a_BHW2), np.asarray(output.flow_b_BHW2)


def teacher_flows(
    directory: Path, examples: dict[str, np.ndarray], size: int
) -> tuple[np.ndarray, ...]:
    """Returns the teacher's flows, resized to the latents."""
    config, params = load_pixel_flow(directory)
    a, b = (to_float(jnp.asarray(examples[name])) / 2 + 0.5 for name in ("a", "b"))
    apply = jax.jit(LatentFlow(config).apply)
    output: Any = apply({"params": params}, a, b, jnp.asarray(examples["time"]))
    flows = output.flow_a_BHW2, output.flow_b_BHW2
    return tuple(np.asarray(resize_flow(flow, (size, size))) for flow in flows)


def main(out: tyro.conf.Positional[Path], /, number: int = 240, seed: int = 1) -> None:
    """Prints a table of end-point errors.

    Args:
        out: folder of `benchmarks.real_clips.material` and `benchmarks.real_clips.train`.
        number: number of triplets.
        seed: seed of the motions.
    """
    examples = triplets(out / "packages", number, seed)
    examples["time"] = examples["time"].astype(np.float32)
    size = REAL.latent_size(REAL.refiner.resolution)
    true = material.true_flows(examples["moved"], examples["time"], size)
    still = tuple(np.zeros_like(flow) for flow in true)
    rows = {
        "no motion": still,
        "teacher": teacher_flows(out / "teacher", examples, size),
    }
    for name, model in FLOWS.items():
        if (out / model).exists():
            rows[name] = latent_flows(out / model, examples)
        else:
            print(f"{name}: not trained yet, {out / model} is missing")
    moved = np.linalg.norm(examples["moved"], axis=-1) * size / material.SIZE
    print(f"{number} triplets; latents of {size} × {size}; end-point error in latent pixels:")
    print("| flow | mean | standard error | 95th percentile | time 1/4 | 1/2 | 3/4 |")
    print("|---|---|---|---|---|---|---|")
    for name, found in rows.items():
        error = errors(found, true)
        by_time = [error[examples["time"] == m / material.LAST].mean() for m in material.MIDDLES]
        spread = error.std(ddof=1) / np.sqrt(number)
        values = [error.mean(), spread, np.percentile(error, 95), *by_time]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    print(f"Motion between the ends: {moved.mean():.2f} latent pixels, at most {moved.max():.2f}.")


if __name__ == "__main__":
    tyro.cli(main)
