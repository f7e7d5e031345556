"""The paper's chain with random weights in bfloat16: a prompt to 121 frames of 512 × 512 pixels.

Axes: B samples, F frames, H height, W width, Z latent channels, T tokens.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.accelerator.dry_model import dry_model
from benchmarks.accelerator.measure import process_peak_gib, random_like
from benchmarks.accelerator.results import Report
from videogen_jax.configs.paper import PAPER
from videogen_jax.models.components import component_shapes
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade
from videogen_jax.pipeline.decode import FrameDecoder
from videogen_jax.pipeline.temporal_sr import TemporalSR

DTYPE = jnp.bfloat16
ROUNDS = 3  # 16 → 31 → 61 → 121 frames


def run(report: Report) -> None:
    """Adds the tables `chain` (a row for each part) and `rounds` (of temporal super-resolution)."""
    report.attempt("chain", Chain(report).run, needs=60)


class Chain:
    """Times every part of the chain: a call with one step, which compiles, then a full call."""

    def __init__(self, report: Report):
        self._report = report
        self._model = model = dry_model() if report.dry_run else PAPER
        self._steps = 2 if report.dry_run else model.image.sampler.num_steps
        self._cascade, self._sr = Cascade(model, DTYPE), TemporalSR(model, DTYPE)
        self._decoder = FrameDecoder(model.autoencoder, DTYPE)
        self._keys_B = noise.sample_keys(np.uint32(0), jnp.arange(1))
        self._fps_B = jnp.full(1, model.fps)
        self._params: dict[str, Any] = {}

    def run(self) -> None:
        shapes, model = component_shapes(self._model), self._model
        self._params = {
            name: jax.device_put(random_like(shape, DTYPE)) for name, shape in shapes.items()
        }
        tokens_BT = jnp.ones((1, model.text_encoder.max_length), jnp.int32)
        prompts = self._row(
            "text", 1, lambda _: self._cascade.encode_prompts(self._params, tokens_BT, tokens_BT)
        )
        reference_BHWC = self._row(
            "image",
            self._steps,
            lambda steps: self._cascade.sample_image(
                self._params, prompts, self._keys_B, steps=steps
            ),
        )
        clip_BFHWZ = None
        for stage in range(1, len(model.stages) + 1):
            clip_BFHWZ = self._row(
                f"stage {stage}",
                self._steps,
                lambda steps, stage=stage, below=clip_BFHWZ: self._cascade.sample_stage(
                    self._params,
                    stage,
                    prompts,
                    reference_BHWC,
                    below,
                    self._fps_B,
                    self._keys_B,
                    model.num_frames,
                    steps=steps,
                ),  # fmt: skip
            )
        self._decode(clip_BFHWZ)
        long_BFHWZ = self._report.attempt(
            "temporal SR", self._rounds, clip_BFHWZ, prompts, needs=30
        )
        if long_BFHWZ is not None:
            self._report.attempt("decoding the long clip", self._decode, long_BFHWZ)

    def _row(self, part: str, steps: int, call: Callable[[int], Any]) -> Any:
        """Calls the part with one step, then with all steps, and adds a row with both times."""
        began = time.perf_counter()
        jax.block_until_ready(call(1))
        first = time.perf_counter() - began
        began = time.perf_counter()
        result = jax.block_until_ready(call(steps))
        self._add(part, first, time.perf_counter() - began, steps)
        self._check(part, result)
        return result

    def _rounds(self, clip_BFHWZ: Any, prompts: Any) -> Any:
        """Times three rounds step by step; each has twice as many pieces as the one before."""
        ticks: list[float] = []

        def call(steps: int, rounds: int) -> Any:
            return self._sr(
                self._params, clip_BFHWZ, self._fps_B, prompts.negative, self._keys_B, rounds,
                steps=steps, tick=lambda _: ticks.append(time.perf_counter()),
            )  # fmt: skip

        began = time.perf_counter()
        jax.block_until_ready(call(1, 1))
        first = time.perf_counter() - began
        ticks.clear()
        began = time.perf_counter()
        result = jax.block_until_ready(call(self._steps, ROUNDS))
        seconds = time.perf_counter() - began
        self._add(f"temporal SR, {ROUNDS} rounds", first, seconds, len(ticks))
        self._check("temporal SR", result)
        done, frames = 0, clip_BFHWZ.shape[1]
        for number in range(1, ROUNDS + 1):
            done += self._steps * 2 ** (number - 1)
            frames = 2 * frames - 1
            self._report.add(
                "rounds", round=number, frames=frames, seconds_since_start=ticks[done - 1] - began
            )
        return result

    def _decode(self, clip_BFHWZ: Any) -> None:
        frames = clip_BFHWZ.shape[1]
        call = lambda _: self._decoder(self._params, clip_BFHWZ)
        video = self._row(f"video decoder, {frames} frames", 1, call)
        self._report.note(f"the decoder returned uint8 {video.shape}")

    def _add(self, part: str, first: float, seconds: float, steps: int) -> None:
        self._report.add(
            "chain",
            part=part,
            first_call_seconds=first,
            seconds=seconds,
            steps=steps,
            ms_per_step=seconds / steps * 1e3,
            process_peak_gib=process_peak_gib(),
        )

    def _check(self, part: str, result: Any) -> None:
        if not all(np.isfinite(np.asarray(x, np.float32)).all() for x in jax.tree.leaves(result)):
            self._report.fail(part, "values that are not finite")
