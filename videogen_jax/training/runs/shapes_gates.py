"""Minimum scores of each part of the shipped model, checked before the next part trains on it.

Scores are measured on 64 held-out clips or prompts, or are the run's last metrics. The limits are
slightly below the scores of the shipped weights. If a run is below them, something went wrong, and
hours of training on top of it would be lost.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.evaluation.image_quality import psnr
from videogen_jax.evaluation.shapes.held_out import BATCH, HeldOut, held_out, sample_videos
from videogen_jax.evaluation.shapes.report import score, score_images
from videogen_jax.evaluation.shapes.true_latents import decode_clips, encode_clips
from videogen_jax.json_text import parse_json_of
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.videogen import VideoGen

_log = logging.getLogger(__name__)

CLIPS = 64
_SEED = 1000
Numbers = dict[str, float]

LEAST: dict[str, Numbers] = {
    "shapes-autoencoder": {"shape": 0.97, "psnr": 32.0},
    "shapes-text-encoder": {"accuracy": 0.9, "contrast_accuracy": 0.9},
    "shapes-image": {"colour": 0.97, "shape": 0.9, "size": 0.95},
    "shapes-stage-1": {"motion": 0.95},
    "shapes-stage-2": {"colour": 0.97, "shape": 0.9, "motion": 0.95},
    "shapes-flow": {"gain": 1.0},
    "shapes-refiner": {"shape": 0.9},
    "shapes-video-decoder": {"psnr": 32.5, "colour": 0.97},
}
"""Lower limits of the scores of each run: shares in 0..1, PSNR in dB."""


def check_gate(name: str, run_dir: Path, model_dir: Path) -> None:
    """Prints the scores of a finished part, and compares them with their limits.

    Args:
        name: name of the run, a key of `LEAST`.
        run_dir: directory of the run.
        model_dir: model directory with the part and those before it.

    Raises:
        UserError: a score is below its limit; the message names it, its value and the limit.
    """
    reached = {**_last_metrics(run_dir), **_measure(name, VideoGen.load(model_dir))}
    limits = LEAST[name]
    _log.info("%s: %s", name, ", ".join(f"{key} {reached[key]:.3g}" for key in limits))
    for key, least in limits.items():
        if not reached[key] >= least:  # also of NaN
            raise UserError(
                f"{run_dir}: {key} is {reached[key]:.3g}, at least {least:g} expected; the next "
                "parts are not trained (metrics.jsonl and samples/ show the training of this one)"
            )


def _measure(name: str, model: VideoGen) -> Numbers:
    measures: dict[str, Callable[[VideoGen, HeldOut], Numbers]] = {
        "shapes-autoencoder": _decoded("image"),
        "shapes-image": _images,
        "shapes-stage-1": _videos(VideoOptions(stages=1, temporal_sr=0, decoder="image")),
        "shapes-stage-2": _videos(VideoOptions(temporal_sr=0, decoder="image")),
        "shapes-refiner": _videos(VideoOptions(temporal_sr=1, decoder="image")),
        "shapes-video-decoder": _decoded("video"),
    }
    if name not in measures:
        return {}
    return measures[name](model, held_out(CLIPS, model.config.image.resolution))


def _decoded(decoder: DecoderName) -> Callable[[VideoGen, HeldOut], Numbers]:
    """Scores true clips after the autoencoder's encoder and a decoder."""

    def measure(model: VideoGen, data: HeldOut) -> Numbers:
        found = decode_clips(model, encode_clips(model, data.clips), decoder)
        decibels = float(np.mean(list(map(psnr, found, data.clips))))
        return {**asdict(score(found, data.asked)), "psnr": decibels}

    return measure


def _images(model: VideoGen, data: HeldOut) -> Numbers:
    """Scores the images that the image model makes for the captions."""
    pictures = [
        picture
        for start in range(0, len(data.captions), BATCH)
        for picture in model.images(data.captions[start : start + BATCH], seed=_SEED + start)
    ]
    return asdict(score_images(pictures, data.asked))


def _videos(options: VideoOptions) -> Callable[[VideoGen, HeldOut], Numbers]:
    """Scores videos made from the true first frames."""

    def measure(model: VideoGen, data: HeldOut) -> Numbers:
        firsts = [clip[0] for clip in data.clips]
        videos = sample_videos(model, data.captions, _SEED, options, firsts)
        return asdict(score([video.frames for video in videos], data.asked))

    return measure


def _last_metrics(run_dir: Path) -> Numbers:
    """Returns means of a run's last five logged rows; `gain` is the flow's over a plain average."""
    path = run_dir / "metrics.jsonl"
    lines = enumerate(path.read_bytes().splitlines(), start=1)
    written = [parse_json_of(f"{path}, line {line}", text) for line, text in lines]
    rows = [row for row in written if "loss" in row][-5:]
    means = {key: float(np.mean([row.get(key, math.nan) for row in rows])) for key in rows[-1]}
    if "charbonnier_of_average" in means:
        means["gain"] = means["charbonnier_of_average"] / means["charbonnier"]
    return means
