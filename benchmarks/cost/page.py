"""Writes docs/cost.md from the stored figures: `python -m benchmarks.cost.page`.

The figures are those of `operations.json` and `clips.json` beside this file, the presets' numbers
of steps and clips, the layout of latent caches, and the constants below.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cost import clips, operations
from videogen_jax.configs import RUNS
from videogen_jax.configs.paper import PAPER
from videogen_jax.data.latents.layout import CacheDType, CacheLayout
from videogen_jax.training.latents.opening import latent_shape, text_shapes
from videogen_jax.training.planning.topology import CHIPS

PAGE = Path(__file__).parents[2] / "docs" / "cost.md"
MFU = 0.40  # an assumption: no training step has been measured on these chips
DEVICES = 64
COSTED = ("v5p", "v5e", "h100")
STEPS_UCF101 = 10_000
_DAY, _HOUR = 86400.0, 3600.0
_STATE_BYTES = 16  # of a parameter: itself, its average, and two of AdamW, in float32


class Clips(NamedTuple):
    """Clips of one source to ingest: their number, frames in each, and the source of `clips.py`."""

    about: str
    number: int
    frames: float
    measured: str


_PAIRS = 10_700_000
_PAIR_FRAMES = 52_000 * _HOUR / _PAIRS * 30  # 52,000 hours in all; 30 per second is an assumption
INGESTED = (
    Clips("WebVid, previews of 336 pixels", _PAIRS, _PAIR_FRAMES, "preview"),
    Clips("as many clips of 512 pixels", _PAIRS, _PAIR_FRAMES, "captioned"),
    Clips("high-fps clips of 100 frames", 40_000, 100, "high_fps_4k"),
    Clips("high-fps clips of 300 frames", 40_000, 300, "high_fps_4k"),
)


class Cache(NamedTuple):
    """A latent cache: clips, windows of each, frames of a window, pixels, and texts in all."""

    about: str
    clips: int
    epochs: int
    frames: int
    resolutions: tuple[int, ...]
    texts: int

    def bytes(self, dtype: CacheDType) -> int:
        """Returns the bytes of the arrays, by the layout of caches."""
        latents = {size: latent_shape(PAPER, self.frames, size) for size in self.resolutions}
        length, width = text_shapes(PAPER)["text_states"]
        layout = CacheLayout(
            self.clips, self.epochs, self.clips, dtype, latents, (length, width)
        )  # one shard
        arrays = layout.arrays(0, self.texts).values()
        return sum(math.prod(shape) * kind.itemsize for shape, kind in arrays)

    def encoding(self, frame: Mapping[str, float]) -> float:
        """Returns the operations of encoding all windows, from those of a frame by resolution."""
        each = sum(frame[str(size)] for size in self.resolutions)
        return self.clips * self.epochs * self.frames * each


REFINER_CACHE = Cache("refiner, 512 pixels, 16 windows of a clip", 40_000, 16, 31, (512,), 1)
UCF101_CACHE = Cache("UCF-101, 128 pixels, 16 windows of a clip", 9_537, 16, 16, (128,), 102)
CACHES = (
    Cache("captioned clips, 128 pixels", _PAIRS, 1, 16, (128,), _PAIRS),
    Cache("captioned clips, 128, 256 and 512 pixels", _PAIRS, 1, 16, (128, 256, 512), _PAIRS),
    REFINER_CACHE,
    UCF101_CACHE,
)


class Training(NamedTuple):
    """A run: its number of steps, and whether it reads a latent cache."""

    about: str
    preset: str
    steps: int
    cached: bool = False

    def operations(self, counted: Mapping[str, Any]) -> float:
        """Returns the operations of the whole run."""
        config = RUNS[self.preset]
        flops = counted[self.preset]["flops_cached" if self.cached else "flops"]
        return flops * config.batch_size * self.steps


RECIPE = (
    *(
        Training(name, name, RUNS[name].steps, cached=name == "paper-refiner")
        for name in (f"paper-{part}" for part in operations.PARTS)
    ),
    Training("fine-tuning on UCF-101", "paper-stage-1", STEPS_UCF101, cached=True),
)


def chip_days(flops: float, chip: str, mfu: float = MFU) -> float:
    """Returns the days that one chip takes for some operations, at a share of its peak."""
    peak = CHIPS[chip].peak
    if peak is None:
        raise ValueError(f"the peak of {chip} is not known")
    return flops / (peak * mfu) / _DAY


def ingest_rows(measured: Mapping[str, Any]) -> list[list[str]]:
    """Returns the table of ingest, from the sources of `clips.json`."""
    rows = []
    for source in INGESTED:
        figures = measured[source.measured]
        frames = source.number * source.frames
        rows.append(
            [
                source.about,
                f"{source.number:,}",
                f"{source.frames:,.0f}",
                f"{figures['seconds_a_frame'] * 1e3:.1f} ms",
                round3(frames * figures["seconds_a_frame"] / _HOUR),
                f"{figures['width']}×{figures['height']}",
                shown_bytes(figures["bytes_a_frame"]),
                shown_bytes(frames * figures["bytes_a_frame"]),
            ]
        )
    return rows


def cache_rows(counted: Mapping[str, Any]) -> list[list[str]]:
    """Returns the table of latent caches."""
    return [
        [
            cache.about,
            f"{cache.clips * cache.epochs:,}",
            shown_bytes(cache.bytes("float32")),
            shown_bytes(cache.bytes("float16")),
            *(round3(chip_days(cache.encoding(counted["encoding"]), c)) for c in COSTED),
        ]
        for cache in CACHES
    ]


def training_rows(counted: Mapping[str, Any]) -> list[list[str]]:
    """Returns the table of runs, and of the two caches that they read, with its sum."""
    rows, total = [], 0.0
    for run in RECIPE:
        config, flops = RUNS[run.preset], run.operations(counted)
        total += flops
        rows.append(
            [
                f"{run.about}{', from a cache' if run.cached else ''}",
                round3(flops / config.batch_size / run.steps / 1e12),
                f"{run.steps:,} × {config.batch_size}",
                *_of_chips(flops),
                shown_bytes(counted[run.preset]["parameters"] * _STATE_BYTES),
            ]
        )
    for cache, reader in ((REFINER_CACHE, "the refiner"), (UCF101_CACHE, "UCF-101")):
        flops = cache.encoding(counted["encoding"])
        total += flops
        rows.append([f"cache for {reader}", "", "", *_of_chips(flops), ""])
    return [*rows, ["**all**", "", "", *_of_chips(total), ""]]


def loading_rows(counted: Mapping[str, Any], windows: Mapping[str, float]) -> list[list[str]]:
    """Returns the table of the cores that decode as fast as the chips train."""
    rows = []
    for preset, seconds in windows.items():
        config = RUNS[preset]
        step = counted[preset]["flops"] * config.batch_size / DEVICES
        cores = []
        for chip in COSTED:
            a_second = config.batch_size / (chip_days(step, chip) * _DAY)
            cores.append(round3(a_second * seconds))
        rows.append([f"`{preset}`", f"{seconds * 1e3:.0f} ms", *cores])
    return rows


def _of_chips(flops: float) -> list[str]:
    """Returns the chip-days on each chip, and the hours of `DEVICES` v5p."""
    days = [chip_days(flops, chip) for chip in COSTED]
    return [*map(round3, days), round3(days[0] * 24 / DEVICES)]


def round3(value: float) -> str:
    """Rounds to three digits, at most three of them decimals: 1,230; 45.6; 0.078."""
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    decimals = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, min(decimals, 3))}f}"


def shown_bytes(size: float) -> str:
    """Returns a size in TB, GB, MB or kB (10³ bytes)."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{round3(size / unit)} {name}"
    return f"{round3(size / 1e3)} kB"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def render(counted: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """Returns the page for the contents of `operations.json` and `clips.json`."""
    chips = [f"{name} days" for name in COSTED]
    peaks = ", ".join(f"{name} {(CHIPS[name].peak or 0) / 1e12:.0f}" for name in COSTED)
    text = (Path(__file__).parent / "page.md").read_text()
    return text.format(
        mfu=f"{MFU:.0%}".replace("%", " %"),
        devices=DEVICES,
        peaks=peaks,
        ingest=table(
            ("source", "clips", "frames", "core time of a frame", "core-hours", "stored as")
            + ("bytes of a frame", "dataset"),
            ingest_rows(measured["sources"]),
        ),
        caches=table(("cache", "windows", "float32", "float16", *chips), cache_rows(counted)),
        training=table(
            ("run", "TFLOP of a clip", "steps × clips", *chips, f"hours on {DEVICES} v5p")
            + ("a checkpoint",),
            training_rows(counted),
        ),
        loading=table(
            ("run", "core time of a window", *(f"cores for {DEVICES} {c}" for c in COSTED)),
            loading_rows(counted, measured["windows"]),
        ),
    )


if __name__ == "__main__":
    PAGE.write_text(render(operations.read(), clips.read()))
