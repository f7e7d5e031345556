"""Checks of an evaluation that need no video to be read."""

from pathlib import Path

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.measures import Metric
from videogen_jax.evaluation.runner.options import EvaluateOptions, metrics_of
from videogen_jax.evaluation.runner.prompts import REAL
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.evaluation.runner.sources import Videos, captions_of
from videogen_jax.models.features.loading import I3D_COMPONENT, network_sha256, network_shapes


def check_before(
    protocol: Protocol, options: EvaluateOptions, num_videos: int, real: Videos | None
) -> None:
    """Raises, before any video is generated, for what the metrics lack.

    Raises:
        MissingFile: The weights of a network are not there; says how one gets them.
        UserError: There are too few videos for FVD or the splits, or no real videos.
    """
    metrics = metrics_of(protocol)
    for metric in metrics.values():
        if metric.component is not None:
            network_shapes(metric.component, options.networks)
            network_sha256(metric.component, options.networks)
    compares = [name for name, m in metrics.items() if m.needs_real or m.needs_truths]
    if compares and real is None:
        raise UserError(
            f"{compares[0]} needs --real: a dataset of `videogen ingest`, a folder of videos, or "
            "shapes"
        )
    if "fvd" in metrics and real is not None:
        features = network_shapes(I3D_COMPONENT, options.networks)[0].num_classes
        for what, count in (("generated", num_videos), ("real", len(real))):
            if count <= features:
                raise UserError(
                    f"FVD with {features} features needs at least {features + 1} videos in each "
                    f"set, got {count} {what} ones: see --num-videos and --real-videos"
                )
    if "is" in metrics and num_videos < protocol.splits:
        raise UserError(f"{protocol.splits} splits need as many videos or more, got {num_videos}")


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
