"""The result of an evaluation: one JSON file, one line, and a plot of FVD against N."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from videogen_jax import __version__
from videogen_jax.atomic import replacing
from videogen_jax.evaluation.runner.intervals import Interval

RESULT, PLOT = "result.json", "fvd.png"
_PACKAGES = ("jax", "flax", "numpy", "av", "pillow")


def versions() -> dict[str, str]:
    """Returns the versions of this library and of those that a score depends on, and the device."""
    found = {name: version(name) for name in _PACKAGES}
    device = f"{jax.devices()[0].device_kind} ({jax.devices()[0].platform})"
    python = platform.python_version()
    return {"videogen-jax": __version__, **found, "python": python, "device": device}


def write_result(
    path: Path,
    scores: Mapping[str, Interval],
    settings: Mapping[str, Any],
    fvd_curve: Sequence[tuple[int, float]],
) -> None:
    """Writes the scores, everything that they depend on, and FVD by number of videos, atomically.

    A bound that does not exist is null.
    """
    rows = {name: _without_nan(interval._asdict()) for name, interval in scores.items()}
    curve = [{"videos": count, "fvd": value} for count, value in fvd_curve]
    data = {"scores": rows, "settings": settings, "fvd_by_videos": curve}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")


def _without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def result_line(scores: Mapping[str, Interval], videos: int, real: int | None) -> str:
    """Returns the scores with their intervals, and the numbers of videos, as one line."""
    cells = [f"{name} {_text(interval)}" for name, interval in scores.items()]
    against = "" if real is None else f", {real} real ones"
    return f"{'; '.join(cells)} (95 % intervals; {videos} videos{against})"


def _text(interval: Interval) -> str:
    value, low, high = interval
    if not math.isfinite(low):
        return f"{value:.4g}"
    half = (high - low) / 2
    # Two digits of the interval, and the value as precisely as that.
    digits = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 4
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def draw_curve(path: Path, fvd_curve: Sequence[tuple[int, float]], final: Interval) -> None:
    """Draws FVD against the number of generated videos, atomically, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axes.plot([count for count, _ in fvd_curve], [value for _, value in fvd_curve], marker="o")
    if math.isfinite(final.low):
        last = fvd_curve[-1][0]
        axes.errorbar([last], [final.value], [(final.high - final.low) / 2], capsize=4, color="k")
    axes.set_xlabel("generated videos")
    axes.set_ylabel("FVD")
    axes.set_ylim(bottom=0)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
    pyplot.close(figure)
