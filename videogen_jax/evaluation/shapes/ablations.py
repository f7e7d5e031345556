"""The paper's ablations on a model of the shapes data: Table 3, Fig. 6 and Fig. 7.

Letters: B clips, N frames of a clip, F = 2 N − 1 frames of it at twice the rate, H height, W width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.shapes.sources import DegradedClips, ShapesClips
from videogen_jax.errors import UserError
from videogen_jax.evaluation.frechet import frechet_distance
from videogen_jax.evaluation.image_quality import psnr
from videogen_jax.evaluation.shapes.analyser import accuracy, analyse
from videogen_jax.evaluation.shapes.held_out import BATCH, HeldOut, held_out, sample_videos
from videogen_jax.evaluation.shapes.measures import (
    change_error,
    features,
    flicker,
    roughness,
    sharpness,
)
from videogen_jax.evaluation.shapes.true_latents import decode_clips, encode_clips
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.decode import DecoderName
from videogen_jax.pipeline.requests.options import VideoOptions
from videogen_jax.pipeline.temporal_sr import Interpolation
from videogen_jax.pipeline.videogen import VideoGen


@dataclass(frozen=True)
class Spread:
    """Values of a measure at several seeds."""

    values: tuple[float, ...]

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """Formats the mean and, in brackets, the lowest and the highest value."""
        scaled = [value * scale for value in self.values]
        low, high = min(scaled), max(scaled)
        return f"{np.mean(scaled):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


@dataclass(frozen=True)
class PerClip:
    """Values of a measure for every clip of a set; NaN where it is undefined, which is left out."""

    values: tuple[float, ...]

    def text(self, other: "PerClip | None" = None, digits: int = 2) -> str:
        """Formats the mean and, in brackets, the mean gain over `other` ± its standard error."""
        mean = f"{np.nanmean(self.values):.{digits}f}"
        if other is None:
            return mean
        gains = np.subtract(self.values, other.values)
        gains = gains[np.isfinite(gains)]
        error = np.std(gains, ddof=1) / np.sqrt(len(gains))
        return f"{mean} ({np.mean(gains):+.{digits}f} ± {error:.{digits}f})"


Clips = Sequence[np.ndarray]  # each uint8 [F, H, W, 3]
Measure = Callable[[np.ndarray, np.ndarray], float]  # of a clip and the true one


def _measured(measures: dict[str, Measure], clips: Clips, truth: Clips) -> dict[str, PerClip]:
    pairs = list(zip(clips, truth, strict=True))
    return {
        name: PerClip(tuple(measure(clip, true) for clip, true in pairs))
        for name, measure in measures.items()
    }


_READ = "colour", "shape", "motion", "size", "background"


def reference_table(model: VideoGen, without: VideoGen, prompts: int, seeds: Sequence[int]) -> str:
    """Returns Table 3 as Markdown: the cascade with a reference image, and one trained without.

    Args:
        model: the model with references, which its image model draws.
        without: a model whose stages were trained with `reference_dropout=1`.
        prompts: number of held-out captions.
        seeds: seeds of the noise; each draws a video of every caption.

    Raises:
        UserError: `prompts` is below 2.
    """
    if prompts < 2:
        raise UserError(
            f"prompts is {prompts}, expected at least 2: the Fréchet distance needs covariances"
        )
    data = held_out(prompts, model.config.stages[-1].resolution)
    lines = [f"| % of {prompts} | " + " | ".join(_READ) + " | Fréchet distance |"]
    lines.append("|---" * (len(_READ) + 2) + "|")
    for title, one, use_reference in (("with reference", model, True), ("without", without, False)):
        cells = reference_row(one, data, seeds, use_reference)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    floor = frechet_distance(_features_of(_others(prompts, data)), _features_of(data.clips))
    lines.append("| other true clips " + "| – " * len(_READ) + f"| {floor:.3f} |")
    return "\n".join(lines)


def reference_row(
    model: VideoGen, data: HeldOut, seeds: Sequence[int], use_reference: bool
) -> list[str]:
    """Returns the cells of one model: shares in %, then the Fréchet distance to the true clips."""
    options = VideoOptions(temporal_sr=0, use_reference=use_reference)
    truth, shares, distances = _features_of(data.clips), [], []
    for seed in seeds:
        clips = [v.frames for v in sample_videos(model, data.captions, seed, options)]
        shares.append(accuracy([analyse(clip) for clip in clips], data.asked))
        distances.append(frechet_distance(_features_of(clips), truth))
    cells = [Spread(tuple(one[name] for one in shares)).text(100) for name in _READ]
    return [*cells, Spread(tuple(distances)).text(digits=3)]


def _features_of(clips: Clips) -> np.ndarray:
    return np.stack([features(clip) for clip in clips])


def _others(count: int, data: HeldOut) -> Clips:
    """Returns `count` held-out clips that are not in `data`."""
    return held_out(2 * count, data.clips[0].shape[1]).clips[count:]


def _missing_psnr(clip_FHW3: np.ndarray, truth_FHW3: np.ndarray) -> float:
    return psnr(clip_FHW3[1::2], truth_FHW3[1::2])


def _roughness(clip_FHW3: np.ndarray, truth_FHW3: np.ndarray) -> float:
    return roughness(clip_FHW3)


def _flicker(clip_FHW3: np.ndarray, truth_FHW3: np.ndarray) -> float:
    return flicker(clip_FHW3)


_FRAME_MEASURES: dict[str, Measure] = {
    "PSNR of missing frames, dB": _missing_psnr,
    "error of changes": change_error,
    "roughness": _roughness,
}
_DECODER_MEASURES: dict[str, Measure] = {
    "PSNR, dB": psnr,
    "sharpness": sharpness,
    "error of changes": change_error,
    "flicker": _flicker,
}


def interpolation_table(
    model: VideoGen, clips: int, seed: int, refiners: dict[Interpolation, VideoGen]
) -> str:
    """Returns Fig. 6 as Markdown: missing frames of true clips, interpolated by flow and slerp.

    Args:
        model: the model whose autoencoder, flow and decoder are used.
        clips: number of held-out clips.
        seed: seed of the refiner's noise.
        refiners: for each interpolation, a model whose refiner was trained on its frames.
    """
    num_frames = 2 * model.config.num_frames - 1
    data = held_out(clips, model.config.stages[-1].resolution, num_frames)
    latents = encode_clips(model, data.clips)
    lines = _header("missing frames by", _FRAME_MEASURES)
    for refine in (False, True):
        by_slerp = None
        for way in ("slerp", "flow"):
            found = [
                clip
                for number, batch in enumerate(latents)
                for clip in interpolated(
                    model, refiners[way], batch, way, refine, seed + number * BATCH
                )
            ]
            row = _measured(_FRAME_MEASURES, found, data.clips)
            lines.append(_row(way + (", refined" if refine else ""), row, by_slerp))
            by_slerp = row
    truth = np.mean([roughness(clip) for clip in data.clips])
    lines.append(f"| true frames | – | 0 | {truth:.2f} |")
    return "\n".join(lines)


def interpolated(
    model: VideoGen,
    refiner: VideoGen,
    latents_BFHWZ: jnp.ndarray,
    way: Interpolation,
    refine: bool,
    seed: int,
) -> np.ndarray:
    """Interpolates clips from every other frame of them, and decodes the result.

    Args:
        model: the model whose flow and decoder are used.
        refiner: the model whose refiner is used.
        latents_BFHWZ: latents of the true clips, F = 2 N − 1; those of odd frames are not used.
        way: the interpolation of the missing frames.
        refine: whether the refiner runs on them.
        seed: seed of the refiner's noise.

    Returns:
        uint8 [B, F, H, W, 3].
    """
    count = len(latents_BFHWZ)
    length = model.config.text_encoder.max_length
    tokens = jnp.asarray(model.tokenizer([""] * count, length))
    doubled = model.temporal_sr(
        {**model.params, "refiner": refiner.params["refiner"]},
        latents_BFHWZ[:, ::2],
        jnp.full(count, model.config.fps),
        model.cascade.encode_text(model.params, tokens),
        noise.sample_keys(np.uint32(seed), jnp.arange(count)),
        1,
        interpolation=way,
        refine=refine,
    )
    return model.decoder(model.params, doubled)


def decoder_table(model: VideoGen, clips: int, seed: int) -> str:
    """Returns Fig. 7 as Markdown: the image and the video decoder on true and sampled clips.

    True clips are decoded from clean and from degraded frames.

    Args:
        model: the model whose autoencoder and decoders are used.
        clips: number of held-out clips, and of their captions to sample.
        seed: seed of the noise that videos are sampled from.
    """
    pairs = degraded_clips(clips, model.config.stages[-1].resolution)
    true, degraded = ([pair[name] for pair in pairs] for name in ("video", "degraded"))
    lines = _header("clips, decoder", _DECODER_MEASURES)
    for title, inputs in (("clean", true), ("degraded", degraded)):
        latents = encode_clips(model, inputs)
        found: dict[DecoderName, Clips] = {
            name: decode_clips(model, latents, name) for name in ("image", "video")
        }
        lines += _decoder_rows(title, _DECODER_MEASURES, found, true)
    captions = [pair["caption"] for pair in pairs]
    sampled: dict[DecoderName, Clips] = {
        name: [
            video.frames
            for video in sample_videos(
                model, captions, seed, VideoOptions(temporal_sr=0, decoder=name)
            )
        ]
        for name in ("image", "video")
    }
    seen = {"flicker": _DECODER_MEASURES["flicker"]}
    lines += _decoder_rows("sampled", seen, sampled, sampled["image"])
    return "\n".join(lines)


def degraded_clips(count: int, resolution: int) -> list[dict]:
    """Returns the first held-out examples, with `caption`, `video`, `degraded` as in training."""
    source = ShapesClips("held_out", count, resolution=resolution)
    degrading = DegradedClips(source, DegradeConfig.for_pixels(resolution))
    return [degrading[index] for index in range(count)]


def _decoder_rows(
    title: str, measures: dict[str, Measure], found: dict[DecoderName, Clips], truth: Clips
) -> list[str]:
    image, video = (_measured(measures, found[name], truth) for name in ("image", "video"))
    shown = dict.fromkeys(_DECODER_MEASURES)
    return [
        _row(f"{title}, image", shown | image),
        _row(f"{title}, video", shown | video, image),
    ]


def _header(title: str, measures: dict[str, Measure]) -> list[str]:
    return [f"| {title} | " + " | ".join(measures) + " |", "|---" * (len(measures) + 1) + "|"]


def _row(
    title: str, row: Mapping[str, PerClip | None], other: Mapping[str, PerClip] | None = None
) -> str:
    """Formats a row with cells of `PerClip.text`, and a dash for None."""
    cells = [
        "–" if one is None else one.text(None if other is None else other[name])
        for name, one in row.items()
    ]
    return f"| {title} | " + " | ".join(cells) + " |"
