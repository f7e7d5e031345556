"""How well a model of the shapes data follows prompts, measured by the analyser."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from videogen_jax.data.shapes import world as shapes
from videogen_jax.data.shapes.sources import ShapesClips
from videogen_jax.evaluation.shapes.analyser import Reading, accuracy, analyse
from videogen_jax.evaluation.shapes.held_out import held_out, sample_videos
from videogen_jax.evaluation.shapes.measures import flicker, roughness, steadiness
from videogen_jax.evaluation.shapes.sheets import save_sheet, worst_of
from videogen_jax.evaluation.shapes.true_latents import decode_clips, encode_clips
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.videogen import VideoGen

SHEET = 12  # videos whose frames are shown
_STILL = ("colour", "shape", "size", "background")


@dataclass(frozen=True)
class Scores:
    """Scores of a set of clips with captions: shares in 0..1, NaN if not measured.

    Attributes:
        colour, shape, motion, size, background: share of clips that the analyser reads as their
            caption says, among captions that name the attribute (all name the first three).
        keeps_colour, keeps_shape, keeps_size: share of clips whose object keeps it, see
            `steadiness`.
        flicker: mean of `flicker`, in levels of 255.
    """

    colour: float
    shape: float
    motion: float
    size: float
    background: float
    keeps_colour: float = math.nan
    keeps_shape: float = math.nan
    keeps_size: float = math.nan
    flicker: float = math.nan


def score(videos: Sequence[np.ndarray], asked: Sequence[Reading]) -> Scores:
    """Scores clips, uint8 `[F, H, W, 3]`, that span the whole motion."""
    read = accuracy([analyse(video) for video in videos], asked)
    kept = [steadiness(v, str(wanted.motion)) for v, wanted in zip(videos, asked, strict=True)]
    return Scores(
        **read,
        keeps_colour=float(np.mean([one.colour for one in kept])),
        keeps_shape=float(np.mean([one.shape for one in kept])),
        keeps_size=float(np.mean([one.size for one in kept])),
        flicker=float(np.nanmean([flicker(video) for video in videos])),
    )


def score_images(images: Sequence[np.ndarray], asked: Sequence[Reading]) -> Scores:
    """Scores pictures, uint8 `[H, W, 3]`, which have no motion."""
    still = [analyse(np.stack([image] * shapes.NUM_FRAMES)) for image in images]
    read = accuracy(still, asked)
    return Scores(**{name: read[name] for name in _STILL}, motion=math.nan)


@dataclass(frozen=True)
class Report:
    """Scores by set of clips, and `roughness` by number of frames and by method."""

    prompts: int
    rows: dict[str, Scores]
    roughness: dict[int, dict[str, float]]

    def table(self) -> str:
        """Formats the report as Markdown."""
        ways = list(next(iter(self.roughness.values())))
        lines = [
            scores_table(f"of {self.prompts}", self.rows),
            "",
            "| roughness of | " + " | ".join(ways) + " |",
            "|---|" + "---|" * len(ways),
        ]
        for frames, values in self.roughness.items():
            cells = " | ".join(f"{values[way]:.2f}" for way in ways)
            lines.append(f"| {frames} frames | {cells} |")
        return "\n".join(lines)


def scores_table(title: str, rows: dict[str, Scores]) -> str:
    """Formats scores as Markdown, with a row for each set of clips and "–" for NaN."""
    names = [field.name for field in fields(Scores)]

    def cell(scores: Scores, name: str) -> str:
        value = getattr(scores, name)
        if math.isnan(value):
            return "–"
        return f"{value:.2f}" if name == "flicker" else f"{value:.0%}"

    lines = [f"| {title} | " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for title, scores in rows.items():
        lines.append(f"| {title} | " + " | ".join(cell(scores, name) for name in names) + " |")
    return "\n".join(lines)


def evaluate_shapes(model: VideoGen, prompts: int, seed: int, out: Path) -> Report:
    """Samples and scores videos of `prompts` held-out captions.

    Args:
        model: a model of the shapes data, with 16 frames over the whole motion.
        prompts: number of captions; a multiple of 8 compiles for one batch size only.
        seed: seed of the noise.
        out: folder of contact sheets: `generated.png`, the first 12 videos, without selection;
            `guided.png`, the same with the true first frame as the reference; `worst.png`, the six
            of the first 48 that match their captions worst.
    """
    resolution = model.config.stages[-1].resolution
    data = held_out(prompts, resolution)
    firsts = [clip[0] for clip in data.clips]
    options = VideoOptions(temporal_sr=0)
    generated = sample_videos(model, data.captions, seed, options)
    guided = sample_videos(model, data.captions, seed, options, firsts)
    save_sheet(out / "generated.png", generated[:SHEET])
    save_sheet(out / "guided.png", guided[:SHEET])
    save_sheet(out / "worst.png", worst_of(generated[:48], data.asked[:48], 6))
    references = [video.reference for video in generated if video.reference is not None]
    decoded = decode_clips(model, encode_clips(model, data.clips), "image")
    rows = {
        "final video": score([video.frames for video in generated], data.asked),
        "reference image": score_images(references, data.asked),
        "video from the true first frame": score([v.frames for v in guided], data.asked),
        "true clips, encoded and decoded": score(decoded, data.asked),
        "true clips": score(data.clips, data.asked),
    }
    return Report(prompts, rows, _compare_roughness(model, data.captions[:8], seed))


def _compare_roughness(
    model: VideoGen, captions: Sequence[str], seed: int
) -> dict[int, dict[str, float]]:
    """Returns the roughness of clips after one and two rounds of temporal super-resolution."""

    def mean(videos: Iterable[np.ndarray]) -> float:
        return float(np.mean([roughness(video) for video in videos]))

    plain = model(list(captions), seed=seed, temporal_sr=0)
    compared = {}
    for rounds in (1, 2):
        smooth = model(list(captions), seed=seed, temporal_sr=rounds)
        factor, frames = 2**rounds, len(smooth[0].frames)
        true = ShapesClips(
            "held_out", len(captions), resolution=smooth[0].frames.shape[1], num_frames=frames
        )
        compared[frames] = {
            "true clips": mean(clip["video"] for clip in true),
            "temporal SR": mean(video.frames for video in smooth),
            "frames repeated": mean(
                video.frames.repeat(factor, axis=0)[: 1 - factor] for video in plain
            ),
        }
    return compared
