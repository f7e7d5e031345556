"""Contact sheets for the ablation tables: the same few clips made by each method."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from videogen_jax.evaluation.shapes.ablations import degraded_clips, interpolated
from videogen_jax.evaluation.shapes.held_out import held_out, sample_videos
from videogen_jax.evaluation.shapes.sheets import save_sheet
from videogen_jax.evaluation.shapes.true_latents import decode_clips, encode_clips
from videogen_jax.media.video import Video
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.temporal_sr import Interpolation
from videogen_jax.pipeline.videogen import VideoGen

_PROMPTS = 4
_CLIPS = 3
_SHOWN = 16  # the first frames of a clip


def save_ablation_sheets(
    model: VideoGen,
    without: VideoGen,
    refiners: Mapping[Interpolation, VideoGen],
    out: Path,
    seed: int,
) -> None:
    """Writes the sheets `with_and_without.png`, `missing_frames.png` and `decoders.png`.

    They belong to Table 3, Fig. 6 and Fig. 7 and show the first held-out captions and clips,
    without selection.

    Args:
        model: the whole model.
        without: a model whose stages were trained without a reference.
        refiners: for each interpolation, a model whose refiner was trained on its frames.
        out: output folder.
        seed: seed of all noise.
    """
    save_sheet(out / "with_and_without.png", _with_and_without(model, without, seed))
    save_sheet(out / "missing_frames.png", _missing_frames(model, refiners, seed))
    save_sheet(out / "decoders.png", _decoders(model))


def _with_and_without(model: VideoGen, without: VideoGen, seed: int) -> list[Video]:
    captions = held_out(_PROMPTS, model.config.stages[-1].resolution).captions
    whole = sample_videos(model, captions, seed, VideoOptions(temporal_sr=0))
    options = VideoOptions(temporal_sr=0, use_reference=False)
    ablated = sample_videos(without, captions, seed, options)
    return _interleaved({"with reference": whole, "without": ablated})


def _missing_frames(
    model: VideoGen, refiners: Mapping[Interpolation, VideoGen], seed: int
) -> list[Video]:
    num_frames = 2 * model.config.num_frames - 1
    data = held_out(_CLIPS, model.config.stages[-1].resolution, num_frames)
    (latents,) = encode_clips(model, data.clips)
    rows: dict[str, Sequence[np.ndarray]] = {"true": data.clips}
    for way, refiner in refiners.items():
        rows[way] = list(interpolated(model, refiner, latents, way, True, seed))
    fps = 2 * model.config.fps
    return _interleaved({name: _videos(rows[name], data.captions, fps) for name in rows})


def _decoders(model: VideoGen) -> list[Video]:
    pairs = degraded_clips(_CLIPS, model.config.stages[-1].resolution)
    clips = {name: [pair[name] for pair in pairs] for name in ("video", "degraded")}
    latents = encode_clips(model, clips["degraded"])
    rows = {
        "true": clips["video"],
        "degraded": clips["degraded"],
        "image decoder": decode_clips(model, latents, "image"),
        "video decoder": decode_clips(model, latents, "video"),
    }
    captions, fps = [pair["caption"] for pair in pairs], model.config.fps
    return _interleaved({name: _videos(rows[name], captions, fps) for name in rows})


def _videos(clips: Sequence[np.ndarray], captions: Sequence[str], fps: float) -> list[Video]:
    return [Video(clip[:_SHOWN], fps, text) for clip, text in zip(clips, captions, strict=True)]


def _interleaved(ways: Mapping[str, list[Video]]) -> list[Video]:
    """Orders videos by clip, then by method, and puts the method before the prompt."""
    return [
        dataclasses.replace(video, prompt=f"{name}: {video.prompt}")
        for same in zip(*ways.values(), strict=True)
        for name, video in zip(ways, same, strict=True)
    ]
