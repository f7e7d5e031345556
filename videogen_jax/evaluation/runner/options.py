"""The options of an evaluation, and what follows from them and the protocol."""

import dataclasses
from pathlib import Path

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.folder import Format
from videogen_jax.evaluation.runner.measures import METRICS, Metric
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.evaluation.runner.reading import Window
from videogen_jax.models.features.loading import network_sha256


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Options of an evaluation. None is the protocol's own value."""

    metrics: str | None = None  # names separated by commas
    prompts: str | None = None  # ucf101, ucf101-classes, real, or a file
    caption_seed: int | None = None  # draws num-videos captions at random
    num_videos: int | None = None
    real_videos: int | None = None
    scored_frames: int | None = None
    real_fps: float | None = None
    resolution: int | None = None  # of both sets, in pixels; 0 leaves frames whole
    splits: int | None = None
    networks: Path = Path("metrics")  # written by `videogen convert metric-weights`
    # Statistics of the real videos, for several evaluations; by default in --out.
    real_statistics: Path | None = None
    format: Format = "png"  # of generated videos; png is lossless
    batch_size: int = 8  # videos that a process samples together
    scoring_batch: int = 2  # videos that a process measures together
    bootstrap: int = 100  # resamples of the confidence intervals; 0 for none


def real_window(protocol: Protocol) -> Window:
    """Returns the window of the real videos of a protocol."""
    return Window(
        protocol.scored_frames,
        protocol.real_place,
        protocol.real_fps,
        protocol.resolution,
        protocol.seed,
    )


def metrics_of(protocol: Protocol) -> dict[str, Metric]:
    """Returns the metrics of a protocol by name.

    Raises:
        UserError: A name is unknown; lists the known ones.
    """
    names = [name.strip() for name in protocol.metrics.split(",")]
    if unknown := [name for name in names if name not in METRICS]:
        raise UserError(f"there is no metric {unknown[0]!r}, expected some of {', '.join(METRICS)}")
    return {name: METRICS[name] for name in names}


def network_hashes(metrics: dict[str, Metric], options: EvaluateOptions) -> dict[str, str]:
    """Returns the hash of each network that metrics use."""
    names = {metric.component for metric in metrics.values() if metric.component}
    return {name: network_sha256(name, options.networks) for name in sorted(names)}
