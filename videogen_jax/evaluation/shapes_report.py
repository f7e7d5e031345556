"""How well a model of the shapes data follows prompts: its videos read by the analyser.

Prompts are captions of clips whose combination of shape, colour and motion was never trained on.

Letters: F frames, H height, W width; a trailing 3 are RGB channels.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from videogen_jax.atomic import replacing
from videogen_jax.data import shapes
from videogen_jax.data.captions import parse
from videogen_jax.data.sources import ShapesClips
from videogen_jax.evaluation.shapes_analyser import Reading, accuracy, analyse
from videogen_jax.pipeline.contact_sheet import stack_sheets
from videogen_jax.pipeline.video import Video
from videogen_jax.pipeline.videogen import VideoGen

SHEETS = 12  # videos whose frames are shown
SHOWN: tuple[str, ...] = ("colour", "shape", "motion", "size", "background")


@dataclasses.dataclass(frozen=True)
class Report:
    """Shares in 0..1 by attribute, and smoothness.

    Attributes:
        prompts: how many videos were read.
        generated: agreement of the final video with its caption, over the captions that name the
            attribute (all name colour, shape and motion).
        reference: agreement of the reference image alone (motion cannot be seen in it).
        guided: agreement of videos that were given the true first frame as the reference.
        true_clips: the analyser's own agreement on true clips of the same captions.
        roughness: `roughness` by number of frames of true clips, of generated clips after temporal
            super-resolution, and of the same clips with frames repeated instead.
    """

    prompts: int
    generated: dict[str, float]
    reference: dict[str, float]
    guided: dict[str, float]
    true_clips: dict[str, float]
    roughness: dict[int, dict[str, float]]

    def table(self) -> str:
        """As Markdown."""
        rows = {
            "final video": self.generated,
            "reference image": self.reference,
            "video from the true first frame": self.guided,
            "true clips": self.true_clips,
        }
        lines = ["| of " + str(self.prompts) + " | " + " | ".join(SHOWN) + " |"]
        lines.append("|---|" + "---|" * len(SHOWN))
        for name, values in rows.items():
            cells = [
                "–" if name == "reference image" and field == "motion" else f"{values[field]:.0%}"
                for field in SHOWN
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        ways = list(next(iter(self.roughness.values())))
        lines += ["", "| roughness of | " + " | ".join(ways) + " |"]
        lines.append("|---|" + "---|" * len(ways))
        for frames, values in self.roughness.items():
            cells = " | ".join(f"{values[way]:.2f}" for way in ways)
            lines.append(f"| {frames} frames | {cells} |")
        return "\n".join(lines)


def evaluate_shapes(model: VideoGen, prompts: int, seed: int, out: Path) -> Report:
    """Makes and reads videos of `prompts` held-out captions.

    Args:
        model: of shapes, with 16 frames over the whole motion.
        prompts: how many; a multiple of 8 compiles for one batch size only.
        seed: of the noise.
        out: folder for contact sheets of the first 12 videos, not chosen: `generated.png`, and
            `guided.png` with the true first frame as the reference.
    """
    source = ShapesClips("held_out", prompts, resolution=model.config.stages[-1].resolution)
    clips = [source[i] for i in range(prompts)]
    captions = [clip["caption"] for clip in clips]
    asked = [Reading(**parse(caption)) for caption in captions]
    firsts = [clip["video"][0] for clip in clips]
    generated = list(_videos(model, captions, None, seed))
    guided = list(_videos(model, captions, firsts, seed))
    out.mkdir(parents=True, exist_ok=True)
    for name, videos in (("generated", generated), ("guided", guided)):
        rows = [video.contact_sheet(scale=1, caption=video.prompt) for video in videos[:SHEETS]]
        with replacing(out / f"{name}.png") as temporary:
            stack_sheets(rows).save(temporary, format="PNG")
    return Report(
        prompts,
        generated=accuracy([analyse(video.frames) for video in generated], asked),
        reference=accuracy([_read_image(video) for video in generated], asked),
        guided=accuracy([analyse(video.frames) for video in guided], asked),
        true_clips=accuracy([analyse(clip["video"]) for clip in clips], asked),
        roughness=_compare_roughness(model, captions[:8], seed),
    )


def roughness(frames_FHW3: np.ndarray) -> float:
    """Mean absolute second difference over time, relative to the mean absolute first difference.

    0 for pixels that change at a constant rate; 2 for ones that change and stop in turn, such as
    those of a clip with every frame shown twice.
    """
    x = frames_FHW3.astype(np.float32)
    change = np.abs(np.diff(x, axis=0)).mean()
    return float(np.abs(np.diff(x, n=2, axis=0)).mean() / max(change, 1e-6))


def _videos(
    model: VideoGen, captions: Sequence[str], references: Sequence[np.ndarray] | None, seed: int
) -> Iterator[Video]:
    for start in tqdm(range(0, len(captions), 8), desc="sampling", unit="batch"):
        batch = list(captions[start : start + 8])
        given = None if references is None else list(references[start : start + 8])
        # Another seed for each batch: place 0 of every batch has the same noise otherwise.
        videos = model(batch, seed=seed + start, reference=given, temporal_sr=0)
        assert isinstance(videos, list)
        yield from videos


def _read_image(video: Video) -> Reading:
    assert video.reference is not None
    return analyse(np.stack([video.reference] * shapes.NUM_FRAMES))


def _compare_roughness(
    model: VideoGen, captions: Sequence[str], seed: int
) -> dict[int, dict[str, float]]:
    """Roughness of clips after one and two rounds of temporal super-resolution."""

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
