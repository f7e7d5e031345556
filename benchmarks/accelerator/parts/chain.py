"""The paper's chain with random weights in bfloat16: a prompt to 121 frames of 512 × 512 pixels.

Axes: B samples, F frames, H height, W width, Z latent channels, T tokens.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerator.dry_model import dry_model
from benchmarks.accelerator.measure import process_peak_gib, random_like, together
from benchmarks.accelerator.results import Report
from videogen_jax.config import DenoiserConfig
from videogen_jax.configs.paper import PAPER
from videogen_jax.models.components import component_shapes
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade
from videogen_jax.pipeline.decode import FrameDecoder
from videogen_jax.pipeline.denoise import Tick
from videogen_jax.pipeline.temporal_sr import TemporalSR

DTYPE = jnp.bfloat16
ROUNDS = 3  # 16 → 31 → 61 → 121 frames
_ROUNDS_SHARE = 0.7  # of the time that is left


def run(report: Report) -> None:
    """Adds the tables `compilation`, `chain` (a row for each part) and `rounds`."""
    report.attempt("chain", lambda: Chain(report).run(), needs=60)


class Chain:
    """Compiles every part of the chain at the same time, by a call with one step; then times them.

    The rounds of temporal super-resolution take fewer steps where time is short, which a note says:
    the time of a step does not depend on their number.
    """

    def __init__(self, report: Report):
        self._report = report
        self._model = model = dry_model() if report.dry_run else PAPER
        self._steps = 2 if report.dry_run else model.image.sampler.num_steps
        self._cascade, self._sr = Cascade(model, DTYPE), TemporalSR(model, DTYPE)
        self._decoder = FrameDecoder(model.autoencoder, DTYPE)
        self._keys_B = noise.sample_keys(np.uint32(0), jnp.arange(1))
        self._fps_B = jnp.full(1, model.fps)
        shapes = component_shapes(model)
        drawn = together(functools.partial(random_like, shapes[name], DTYPE) for name in shapes)
        self._params: dict[str, Any] = dict(zip(shapes, map(jax.device_put, drawn), strict=True))
        tokens_BT = jnp.ones((1, model.text_encoder.max_length), jnp.int32)
        self._prompts = self._cascade.encode_prompts(self._params, tokens_BT, tokens_BT)

    def run(self) -> None:
        self._compile()
        reference_BHWC = self._row("image", self._steps, lambda steps: self._image(steps))
        clip_BFHWZ = None
        for stage in range(1, len(self._model.stages) + 1):
            clip_BFHWZ = self._row(
                f"stage {stage}", self._steps,
                lambda steps, stage=stage, below=clip_BFHWZ: self._stage(
                    stage, reference_BHWC, below, steps
                ),
            )  # fmt: skip
        self._row("video decoder", 1, lambda _: self._decoder(self._params, clip_BFHWZ))
        long_BFHWZ = self._report.attempt("temporal SR", self._rounds, clip_BFHWZ, needs=20)
        if long_BFHWZ is not None:
            decode = lambda _: self._decoder(self._params, long_BFHWZ)
            self._report.attempt("the long clip", self._row, "long video decoder", 1, decode)

    def _compile(self) -> None:
        """Calls every part with one step and inputs of the right shapes."""
        model, latents = self._model, self._latents
        pixels = jnp.zeros((1, model.image.resolution, model.image.resolution, 3), jnp.uint8)
        last = model.stages[-1]
        calls: dict[str, Callable[[], Any]] = {
            "video decoder": lambda: self._decoder(self._params, latents(last)),
            "temporal SR": lambda: self._interpolate(latents(last), 1, 1),
            "image": lambda: self._image(1),
        }
        for stage in range(1, len(model.stages) + 1):
            below = latents(model.stages[stage - 2]) if stage > 1 else None
            calls[f"stage {stage}"] = functools.partial(self._stage, stage, pixels, below, 1)
        together(functools.partial(self._first, part, call) for part, call in calls.items())

    def _first(self, part: str, call: Callable[[], Any]) -> None:
        began = time.perf_counter()
        jax.block_until_ready(call())
        self._report.add("compilation", part=part, seconds=time.perf_counter() - began)

    def _latents(self, part: DenoiserConfig) -> jax.Array:
        size, channels = self._model.latent_size(part.resolution), part.unet.out_channels
        shape = (1, self._model.num_frames, size, size, channels)
        return jax.random.normal(jax.random.key(1), shape)

    def _image(self, steps: int) -> jax.Array:
        return self._cascade.sample_image(self._params, self._prompts, self._keys_B, steps=steps)

    def _stage(self, stage: int, reference: jax.Array, below: Any, steps: int) -> jax.Array:
        return self._cascade.sample_stage(
            self._params, stage, self._prompts, reference, below, self._fps_B, self._keys_B,
            self._model.num_frames, steps=steps,
        )  # fmt: skip

    def _interpolate(
        self, clip_BFHWZ: Any, steps: int, rounds: int, tick: Tick | None = None
    ) -> jax.Array:
        return self._sr(
            self._params, clip_BFHWZ, self._fps_B, self._prompts.negative, self._keys_B, rounds,
            steps=steps, tick=tick,
        )  # fmt: skip

    def _row(self, part: str, steps: int, call: Callable[[int], Any]) -> Any:
        """Calls the compiled part with all steps and adds its time."""
        began = time.perf_counter()
        result = jax.block_until_ready(call(steps))
        self._add(part, time.perf_counter() - began, steps)
        self._check(part, result)
        return result

    def _rounds(self, clip_BFHWZ: Any) -> Any:
        """Times three rounds step by step; each has twice as many pieces as the one before."""
        ticks: list[float] = []
        began = time.perf_counter()
        jax.block_until_ready(self._interpolate(clip_BFHWZ, 1, 1, lambda _: None))
        step = time.perf_counter() - began
        pieces = 2**ROUNDS - 1
        limit = self._report.left() * _ROUNDS_SHARE
        steps = max(1, min(self._steps, int(limit / (pieces * step))))
        if steps < self._steps:
            self._report.note(f"temporal SR: {steps} steps a piece, not {self._steps}")
        began = time.perf_counter()
        call = lambda steps: self._interpolate(
            clip_BFHWZ, steps, ROUNDS, lambda _: ticks.append(time.perf_counter())
        )
        result = jax.block_until_ready(call(steps))
        self._add(f"temporal SR, {ROUNDS} rounds", time.perf_counter() - began, len(ticks))
        self._check("temporal SR", result)
        done, frames = 0, clip_BFHWZ.shape[1]
        for number in range(1, ROUNDS + 1):
            done += steps * 2 ** (number - 1)
            frames = 2 * frames - 1
            self._report.add(
                "rounds", round=number, frames=frames, seconds_since_start=ticks[done - 1] - began
            )
        return result

    def _add(self, part: str, seconds: float, steps: int) -> None:
        self._report.add(
            "chain",
            part=part,
            seconds=seconds,
            steps=steps,
            ms_per_step=seconds / steps * 1e3,
            process_peak_gib=process_peak_gib(),
        )

    def _check(self, part: str, result: Any) -> None:
        if not all(np.isfinite(np.asarray(x, np.float32)).all() for x in jax.tree.leaves(result)):
            self._report.fail(part, "values that are not finite")
