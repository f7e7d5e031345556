"""Checks of an evaluation that need no video to be read."""

from pathlib import Path
from typing import Any

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.measures import Metric
from videogen_jax.evaluation.runner.options import EvaluateOptions, metrics_of
from videogen_jax.evaluation.runner.prompts import REAL
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.evaluation.runner.sources import Videos, captions_of
from videogen_jax.models.features.i3d import MIN_FRAMES
from videogen_jax.models.features.loading import network_sha256, network_shapes


def check_before(
    protocol: Protocol, options: EvaluateOptions, num_videos: int, real: Videos | None
) -> None:
    """Raises, before any video is generated, for what the metrics lack.

    Raises:
        MissingFile: The weights of a network are not there; says how one gets them.
        UserError: There are too few videos for FVD or the splits, no real videos, or a network
            takes other numbers of frames.
    """
    metrics = metrics_of(protocol)
    sizes: dict[str, Any] = {}
    for name, metric in metrics.items():
        if metric.component is not None:
            sizes[name] = network_shapes(metric.component, options.networks)[0]
            network_sha256(metric.component, options.networks)
    compares = [name for name, m in metrics.items() if m.needs_real or m.needs_truths]
    if compares and real is None:
        raise UserError(
            f"{compares[0]} needs --real: a dataset of `videogen ingest`, a folder of videos, or "
            "shapes"
        )
    if "fvd" in metrics and real is not None:
        _require_frames("FVD", protocol, MIN_FRAMES, None)
        features = sizes["fvd"].num_classes
        for what, count in (("generated", num_videos), ("real", len(real))):
            if count <= features:
                raise UserError(
                    f"FVD with {features} features needs at least {features + 1} videos in each "
                    f"set, got {count} {what} ones: see --num-videos and --real-videos"
                )
    if "is" in metrics:
        _require_frames("IS", protocol, sizes["is"].num_frames, sizes["is"].num_frames)
        if num_videos < protocol.splits:
            splits = protocol.splits
            raise UserError(f"{splits} splits need as many videos or more, got {num_videos}")


def _require_frames(metric: str, protocol: Protocol, least: int, most: int | None) -> None:
    frames = protocol.scored_frames
    if frames < least or (most is not None and frames > most):
        wanted = f"{least}" if most == least else f"{least} or more"
        raise UserError(f"scored-frames is {frames}, but {metric} needs {wanted}")


def check_captions(
    folder: Path, videos: Videos, metrics: dict[str, Metric], real: Videos | None
) -> None:
    """Raises UserError if captions are missing, or pairs are not of the same caption."""
    captions = captions_of(videos)
    for name, metric in metrics.items():
        if metric.needs_captions and not all(captions):
            raise UserError(
                f"{name} needs captions, and video {captions.index('')} of {folder} has none: a "
                "manifest.jsonl with the keys file and prompt gives them"
            )
        if metric.needs_truths and real is not None:
            if len(real) < len(videos):
                raise UserError(f"{name} needs a real video for each of {len(videos)} videos")
            for index, caption in enumerate(captions):
                if caption and caption != real.caption(index):
                    raise UserError(
                        f"{name} compares videos with real ones of the same caption, but video "
                        f"{index} is of {caption!r}, the real one of {real.caption(index)!r}: "
                        f"generate with --prompts {REAL}"
                    )
