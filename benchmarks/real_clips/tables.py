"""Measures the trained parts on held-out clips: `python -m benchmarks.real_clips.tables OUT LPIPS`.

The first table has the missing frames of clips in which something moves by at least `MOTION` pixels
between the frames that are kept (Fig. 6). The second one compares the decoders on clean, degraded
and re-compressed clips (Fig. 7). Means are over clips, with the standard error. Rows such as
`flow - slerp` are means of the differences clip by clip, whose standard error is smaller. Contact
sheets are written beside the material.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.real_clips import material
from benchmarks.real_clips.model import REAL
from videogen_jax.data.clips.records import ClipDataset, ClipRecord
from videogen_jax.data.clips.video import decode_window
from videogen_jax.data.compression import h264_round_trip
from videogen_jax.data.degrade import DegradeConfig, degrade, draw_recipe
from videogen_jax.evaluation.image_quality import video_lpips, video_psnr, video_ssim
from videogen_jax.evaluation.shapes.ablations import interpolated
from videogen_jax.evaluation.shapes.measures import sharpness
from videogen_jax.evaluation.shapes.sheets import save_sheet
from videogen_jax.evaluation.shapes.true_latents import decode_clips, encode_clips
from videogen_jax.evaluation.steadiness import estimate_flows, flicker, warping_error
from videogen_jax.media.video import Video
from videogen_jax.models.features.loading import load_lpips
from videogen_jax.pipeline.model_files import load_model
from videogen_jax.pipeline.videogen import VideoGen

FRAMES = 2 * REAL.num_frames - 1
MOTION = 4.0  # pixels, of the fastest tenth of the picture
CRF = 35  # of the re-compressed clips
SEED = 7
_MEASURES = ("PSNR (dB)", "SSIM", "LPIPS", "warping error (10⁻³)")
Clips = list[np.ndarray]
Columns = list[np.ndarray]  # a value for each clip, of each measure


def windows(record: ClipRecord) -> Iterator[np.ndarray]:
    """Yields the middle window of a clip at each stride that fits, uint8 `[FRAMES, H, W, 3]`."""
    stride = 1
    while (length := (FRAMES - 1) * stride + 1) <= record.num_frames:
        yield decode_window(record.video, (record.num_frames - length) // 2, FRAMES, stride)
        stride += 1


def fast_windows(dataset: ClipDataset) -> Clips:
    """Returns each clip's window of the smallest stride at which its kept frames move enough."""
    found = []
    for record in dataset:
        for window in windows(record):
            speed = np.linalg.norm(estimate_flows(window[::2]).forward_PHW2, axis=-1)
            if np.quantile(speed, 0.9) >= MOTION:
                found.append(window)
                break
    return found


def repeated(clips: Clips) -> Clips:
    """Returns clips whose missing frames are the frames before them."""
    kept = [clip[::2].repeat(2, axis=0)[:FRAMES] for clip in clips]
    return kept


def missing_frames(model: VideoGen, clips: Clips, lpips: Any) -> dict[str, Clips]:
    """Prints the table of the missing frames, and returns the clips of each row."""
    batches = encode_clips(model, clips)

    def by(way: Any, refine: bool) -> Clips:
        found = [interpolated(model, model, z, way, refine, SEED) for z in batches]
        return [clip for batch in found for clip in batch]

    rows = {
        "true frames, encoded and decoded": decode_clips(model, batches, "image"),
        "flow + refiner": by("flow", True),
        "flow": by("flow", False),
        "slerp": by("slerp", False),
        "repeat": repeated(decode_clips(model, batches, "image")),
    }
    _print_head("missing frames", *_MEASURES)
    found = {}
    for name, row in rows.items():
        odd = [(clip[1::2], true[1::2]) for clip, true in zip(row, clips, strict=True)]
        found[name] = _columns(
            [video_psnr(*pair) for pair in odd],
            [video_ssim(*pair) for pair in odd],
            _lpips(lpips, odd),
            _warping(row, clips),
        )
        _print_row(name, found[name])
    for better, other in (("flow", "slerp"), ("flow + refiner", "flow"), ("flow", "repeat")):
        _print_difference(better, other, found)
    return {"true": clips, **rows}


def decoders(model: VideoGen, clips: Clips, lpips: Any) -> dict[str, Clips]:
    """Prints the table of the decoders, and returns the clips of each row."""
    config, rng = DegradeConfig.for_pixels(material.SIZE), np.random.default_rng(SEED)
    inputs = {
        "clean": clips,
        "degraded": [degrade(clip, draw_recipe(config, rng)) for clip in clips],
        f"re-compressed, crf {CRF}": [h264_round_trip(clip, CRF) for clip in clips],
    }
    _print_head("input | decoder", *_MEASURES, "flicker", "sharpness")
    shown = {}
    for kind, row in inputs.items():
        batches = encode_clips(model, row)
        found = {}
        for decoder in ("image", "video"):
            decoded = decode_clips(model, batches, decoder)
            pairs = list(zip(decoded, clips, strict=True))
            found[decoder] = _columns(
                [video_psnr(*pair) for pair in pairs],
                [video_ssim(*pair) for pair in pairs],
                _lpips(lpips, pairs),
                _warping(decoded, clips),
                [flicker(clip, estimate_flows(true)) for clip, true in pairs],
                [sharpness(*pair) for pair in pairs],
            )
            _print_row(f"{kind} | {decoder}", found[decoder])
            shown[f"{kind}, {decoder} decoder"] = decoded
        _print_difference("video", "image", found, f"{kind} | ")
    return {"true": clips, **shown}


def _lpips(params: Any, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    return [float(video_lpips(params, *(jnp.asarray(x)[None] for x in pair))[0]) for pair in pairs]


def _warping(row: Clips, clips: Clips) -> list[float]:
    """Returns the warping error by the flows of the true clips, in thousandths."""
    pairs = zip(row, clips, strict=True)
    return [1000 * warping_error(clip, estimate_flows(true)) for clip, true in pairs]


def _print_head(*names: str) -> None:
    columns = " | ".join(names)
    print(f"| {columns} |\n|{'---|' * (columns.count('|') + 1)}")


def _columns(*values: list[float]) -> Columns:
    return [np.asarray(column) for column in values]


def _print_row(name: str, columns: Columns, form: str = ".3f") -> None:
    cells = []
    for column in columns:
        values = column[np.isfinite(column)]
        error = values.std(ddof=1) / np.sqrt(len(values))
        cells.append(f"{values.mean():{form}} ± {error:.3f}")
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _print_difference(one: str, other: str, rows: dict[str, Columns], prefix: str = "") -> None:
    """Prints the mean difference of two rows, clip by clip."""
    columns = [a - b for a, b in zip(rows[one], rows[other], strict=True)]
    _print_row(f"{prefix}{one} - {other}", columns, "+.3f")


def _sheet(path: Path, rows: dict[str, Clips], count: int) -> None:
    """Writes the rows of some clips below each other."""
    places = np.linspace(0, len(rows["true"]) - 1, count).round().astype(int)
    videos = [
        Video(clips[place], 2 * REAL.fps, name) for place in places for name, clips in rows.items()
    ]
    save_sheet(path, videos)


def main(
    out: tyro.conf.Positional[Path], lpips: tyro.conf.Positional[Path], /, shown: int = 6
) -> None:
    """Prints both tables.

    Args:
        out: folder of `benchmarks.real_clips.material` and `benchmarks.real_clips.train`.
        lpips: folder that `convert.lpips` wrote.
        shown: number of clips on the contact sheets.
    """
    _, _, tokenizer, params = load_model(out / "model")
    model, weights = VideoGen(REAL, params, tokenizer), load_lpips(lpips)
    dataset = ClipDataset(out / "held-out")
    clips = fast_windows(dataset)
    print(f"{len(clips)} of {len(dataset)} held-out clips move fast enough.\n")
    _sheet(out / "missing-frames.png", missing_frames(model, clips, weights), shown)
    print()
    _sheet(out / "decoders.png", decoders(model, clips, weights), shown)


if __name__ == "__main__":
    tyro.cli(main)
