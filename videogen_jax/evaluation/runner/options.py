"""The options of an evaluation, and what follows from them and the protocol."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import tyro

from videogen_jax.errors import UserError
from videogen_jax.evaluation.runner.measures import METRICS, Metric
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.evaluation.runner.reading import Window
from videogen_jax.models.features.loading import network_sha256


def _flag(metavar: str, default: str = "the protocol's") -> Any:
    """Returns how `--help` shows a flag whose default is None."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


Format: TypeAlias = Literal["png", "mp4"]
Text: TypeAlias = Annotated[str | None, _flag("STR")]
Count: TypeAlias = Annotated[int | None, _flag("INT")]
Rate: TypeAlias = Annotated[float | None, _flag("FLOAT")]


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Options of an evaluation. None is the protocol's own value."""

    metrics: Text = None  # names separated by commas
    prompts: Text = None  # ucf101, ucf101-classes, real, or a file
    caption_seed: Count = None  # seed by which num-videos captions are drawn at random
    num_videos: Count = None  # generated videos
    real_videos: Count = None
    scored_frames: Count = None  # consecutive frames of each video
    real_fps: Rate = None  # of the windows of real videos
    resolution: Count = None  # of both sets, in pixels; 0 leaves frames whole
    splits: Count = None  # of the inception score
    networks: Path = Path("metrics")  # written by `videogen convert metric-weights`
    # Statistics of the real videos, for several evaluations.
    real_statistics: Annotated[Path | None, _flag("PATH", "in --out")] = None
    format: Format = "png"  # of generated videos; png is lossless
    batch_size: int = 8  # videos that a process samples together
    scoring_batch: int = 2  # videos that a process measures together
    bootstrap: int = 100  # resamples for the confidence intervals; 0 for none

    def __post_init__(self) -> None:
        for name, lowest in (("batch_size", 1), ("scoring_batch", 1), ("bootstrap", 0)):
            if getattr(self, name) < lowest:
                raise UserError(
                    f"{name.replace('_', '-')} is {getattr(self, name)}, expected {lowest} or more"
                )


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
