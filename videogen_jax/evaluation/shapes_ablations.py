"""The paper's ablations on a model of the shapes data: Table 3, Fig. 6 and Fig. 7.

Letters: B clips, N frames of a clip, F = 2 N − 1 frames of it at twice the rate, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.sources import DegradedClips, ShapesClips
from videogen_jax.evaluation.frechet import frechet_distance
from videogen_jax.evaluation.held_out import BATCH, HeldOut, held_out, sample_videos
from videogen_jax.evaluation.shapes_analyser import accuracy, analyse
from videogen_jax.evaluation.shapes_measures import change_error, features, psnr, roughness
from videogen_jax.evaluation.true_latents import decode_clips, encode_clips
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.request import Options
from videogen_jax.pipeline.temporal_sr import Interpolation
from videogen_jax.pipeline.videogen import VideoGen


@dataclass(frozen=True)
class Spread:
    """A number at several seeds."""

    values: tuple[float, ...]

    def text(self, scale: float = 1.0, digits: int = 1) -> str:
        """The mean and, in brackets, the lowest and the highest."""
        scaled = [value * scale for value in self.values]
        low, high = min(scaled), max(scaled)
        return f"{np.mean(scaled):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def reference_table(model: VideoGen, without: VideoGen, prompts: int, seeds: Sequence[int]) -> str:
    """Table 3: the cascade with a reference image, and one that was trained without, as Markdown.

    Args:
        model: its image model draws the references.
        without: whose stages were trained with `reference_dropout=1`.
        prompts: how many held-out captions.
        seeds: of the noise; each draws a video of every caption.
    """
    data = held_out(prompts, model.config.stages[-1].resolution)
    true = np.stack([features(clip) for clip in data.clips])
    names = ("colour", "shape", "motion")
    lines = ["| % of " + str(prompts) + " | " + " | ".join(names) + " | Fréchet distance |"]
    lines.append("|---|---|---|---|---|")
    ways = {"with reference": (model, True), "without": (without, False)}
    for title, (one, use_reference) in ways.items():
        shares: dict[str, list[float]] = {name: [] for name in names}
        distances = []
        for seed in seeds:
            options = Options(temporal_sr=0, use_reference=use_reference)
            sampled = sample_videos(one, data.captions, seed, options)
            clips = [video.frames for video in sampled]
            read = accuracy([analyse(clip) for clip in clips], data.asked)
            for name in names:
                shares[name].append(read[name])
            distances.append(frechet_distance(np.stack([features(c) for c in clips]), true))
        cells = [Spread(tuple(shares[name])).text(100) for name in names]
        cells.append(Spread(tuple(distances)).text(digits=3))
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    floor = frechet_distance(_features_of_others(prompts, data), true)
    lines.append(f"| other true clips | – | – | – | {floor:.3f} |")
    return "\n".join(lines)


def _features_of_others(count: int, data: HeldOut) -> np.ndarray:
    """Features of as many held-out clips that are not in `data`."""
    others = held_out(2 * count, data.clips[0].shape[1])
    return np.stack([features(clip) for clip in others.clips[count:]])


def interpolation_table(
    model: VideoGen, clips: int, seed: int, refiners: dict[Interpolation, VideoGen]
) -> str:
    """Fig. 6: the missing frames of true clips, found by flow and by slerp, as Markdown.

    Args:
        model: whose autoencoder, flow and decoder are taken.
        clips: how many held-out clips.
        seed: of the refiner's noise.
        refiners: the model whose refiner was trained on this way's frames.
    """
    num_frames = 2 * model.config.num_frames - 1
    data = held_out(clips, model.config.stages[-1].resolution, num_frames)
    latents = encode_clips(model, data.clips)
    lines = ["| missing frames by | PSNR | roughness |", "|---|---|---|"]
    truth = np.mean([roughness(clip) for clip in data.clips])
    for way, refiner in refiners.items():
        for refine in (False, True):
            found = [
                clip
                for number, batch in enumerate(latents)
                for clip in _interpolated(model, refiner, batch, way, refine, seed + number * BATCH)
            ]
            decibels = np.mean(
                [psnr(a[1::2], b[1::2]) for a, b in zip(found, data.clips, strict=True)]
            )
            rough = np.mean([roughness(clip) for clip in found])
            title = way + (", refined" if refine else "")
            lines.append(f"| {title} | {decibels:.2f} dB | {rough:.2f} |")
    lines.append(f"| true frames | – | {truth:.2f} |")
    return "\n".join(lines)


def _interpolated(
    model: VideoGen,
    refiner: VideoGen,
    latents_BFHWZ: jnp.ndarray,
    way: Interpolation,
    refine: bool,
    seed: int,
) -> np.ndarray:
    """The clip again from every other frame of it, decoded: uint8 [B, F, H, W, 3]."""
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


def decoder_table(model: VideoGen, clips: int) -> str:
    """Fig. 7: true clips, clean and degraded, through either decoder, as Markdown."""
    resolution = model.config.stages[-1].resolution
    source = ShapesClips("held_out", clips, resolution=resolution)
    degrading = DegradedClips(source, DegradeConfig.for_pixels(resolution))
    pairs = [degrading[index] for index in range(clips)]
    true, degraded = ([pair[name] for pair in pairs] for name in ("video", "degraded"))
    lines = ["| clips, decoder | PSNR | change between frames, error |", "|---|---|---|"]
    for title, given in (("clean", true), ("degraded", degraded)):
        latents = encode_clips(model, given)
        for decoder in ("image", "video"):
            found = decode_clips(model, latents, decoder)
            decibels = np.mean(list(map(psnr, found, true)))
            changes = np.mean(list(map(change_error, found, true)))
            lines.append(f"| {title}, {decoder} | {decibels:.2f} dB | {changes:.3f} |")
    return "\n".join(lines)
