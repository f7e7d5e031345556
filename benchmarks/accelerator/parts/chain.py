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
from benchmarks.accelerator.measure import process_peak_gib, random_like
from benchmarks.accelerator.results import Report
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
    """Adds the tables `chain` (a row for each part) and `rounds`."""
    report.attempt("chain", lambda: Chain(report).run(), needs=60)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the seconds of a call and its result."""
    began = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - began, result


class Chain:
    """Times every part of the chain: a call with one step, which compiles, then a full call.

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
        self._params: dict[str, Any] = {
            name: jax.device_put(random_like(shape, DTYPE))
            for name, shape in component_shapes(model).items()
        }
        tokens_BT = jnp.ones((1, model.text_encoder.max_length), jnp.int32)
        self._prompts = self._cascade.encode_prompts(self._params, tokens_BT, tokens_BT)

    def run(self) -> None:
        reference_BHWC = self._row("image", self._steps, self._image)
        clip_BFHWZ = None
        for stage in range(1, len(self._model.stages) + 1):
            clip_BFHWZ = self._row(
                f"stage {stage}", self._steps,
                lambda steps, stage=stage, below=clip_BFHWZ: self._stage(
                    stage, reference_BHWC, below, steps
                ),
            )  # fmt: skip
        self._decode("video decoder", clip_BFHWZ)
        long_BFHWZ = self._report.attempt("temporal SR", self._rounds, clip_BFHWZ, needs=20)
        if long_BFHWZ is not None:
            self._report.attempt("the long clip", self._decode, "long video decoder", long_BFHWZ)

    def _decode(self, part: str, clip_BFHWZ: Any) -> None:
        self._row(part, 1, lambda _: self._decoder(self._params, clip_BFHWZ))

    def _image(self, steps: int) -> jax.Array:
        return self._cascade.sample_image(self._params, self._prompts, self._keys_B, steps=steps)

    def _stage(self, stage: int, reference: jax.Array, below: Any, steps: int) -> jax.Array:
        return self._cascade.sample_stage(
            self._params, stage, self._prompts, reference, below, self._fps_B, self._keys_B,
            self._model.num_frames, steps=steps,
        )  # fmt: skip

    def _interpolate(self, clip_BFHWZ: Any, steps: int, rounds: int, tick: Tick) -> jax.Array:
        return self._sr(
            self._params, clip_BFHWZ, self._fps_B, self._prompts.negative, self._keys_B, rounds,
            steps=steps, tick=tick,
        )  # fmt: skip

    def _row(self, part: str, steps: int, call: Callable[[int], Any]) -> Any:
        """Calls the part with one step, then with all steps, and adds a row with both times."""
        first, _ = timed(functools.partial(call, 1))
        seconds, result = timed(functools.partial(call, steps))
        self._add(part, first, seconds, steps)
        self._check(part, result)
        return result

    def _rounds(self, clip_BFHWZ: Any) -> Any:
        """Times three rounds step by step; each has twice as many pieces as the one before."""
        ticks: list[float] = []
        tick = lambda _: ticks.append(time.perf_counter())
        first, _ = timed(lambda: self._interpolate(clip_BFHWZ, 1, 1, tick))
        step, _ = timed(lambda: self._interpolate(clip_BFHWZ, 1, 1, tick))
        time_left = self._report.left() * _ROUNDS_SHARE
        steps = max(1, min(self._steps, int(time_left / ((2**ROUNDS - 1) * step))))
        if steps < self._steps:
            self._report.note(f"temporal SR: {steps} steps a piece, not {self._steps}")
        ticks.clear()
        began = time.perf_counter()
        seconds, result = timed(lambda: self._interpolate(clip_BFHWZ, steps, ROUNDS, tick))
        self._add(f"temporal SR, {ROUNDS} rounds", first, seconds, len(ticks))
        self._check("temporal SR", result)
        done, frames = 0, clip_BFHWZ.shape[1]
        for number in range(1, ROUNDS + 1):
            done += steps * 2 ** (number - 1)
            frames = 2 * frames - 1
            self._report.add(
                "rounds", round=number, frames=frames, seconds_since_start=ticks[done - 1] - began
            )
        return result

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
