"""Training the video decoder (§3.4, §3.5): clean clips from the latents of degraded ones.

The losses are those of Stable Diffusion's autoencoder: L1, LPIPS and a patch discriminator of
frames, and a discriminator of short windows of frames. All but L1 are off unless they have a
weight.

Letters: B clips, F frames, H height, W width, C channels.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.shapes.sources import DegradedClips
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.errors import UserError
from videogen_jax.models.autoencoder import unscale_latents
from videogen_jax.models.discriminator import DiscriminatorConfig
from videogen_jax.models.layers import fold_frames
from videogen_jax.models.parameters import init_video_decoder
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.models.warm_start import warm_start_video_decoder
from videogen_jax.pipeline.decode import decode_clips, decode_frames, quantise
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.training.losses.adversarial import Adversary, PullBack, with_pull_back
from videogen_jax.training.losses.perceptual import (
    draw_frames,
    perceptual_loss,
    perceptual_network,
    take_frames,
)
from videogen_jax.training.previews import Drawing
from videogen_jax.training.task import (
    Batch,
    Mean,
    Metrics,
    Params,
    Task,
    TaskConfig,
    TaskContext,
    begin_from,
)
from videogen_jax.training.tasks.autoencoder import psnr

_LAST_LAYER = "decoder/conv_out/kernel"
SAMPLE_CLIPS = 8
_ADVERSARIAL_COUPLES = "the discriminators and their weights normalise over the whole batch"


@dataclasses.dataclass(frozen=True)
class VideoDecoderTaskConfig(TaskConfig):
    """Weights of the losses, discriminators and clean share of the video decoder task.

    Stable Diffusion's autoencoder has an `adversarial_weight` of 0.5 from step 50,000, and a
    `perceptual_weight` of 1. A video decoder starts where that training ended, so it needs no
    delay.
    """

    command = "video_decoder"

    adversarial_weight: float = 0.0  # of the discriminator of frames; 0: none
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    temporal_adversarial_weight: float = 0.0  # of the discriminator of windows; 0: none
    temporal_discriminator: DiscriminatorConfig = DiscriminatorConfig(frames=5)
    lpips: str = ""  # directory that `videogen convert lpips` wrote, for a perceptual weight
    perceptual_weight: float = 0.0  # of LPIPS; 0: without
    perceptual_frames: int = 0  # frames of each clip that LPIPS compares, at random; 0: all
    clean_probability: float = 0.0  # of a clip that is not degraded

    def component(self) -> str:
        return "video_decoder"

    def build(self, context: TaskContext) -> "VideoDecoderTask":
        return VideoDecoderTask(self, context)

    def frozen_components(self) -> tuple[str, ...]:
        return ("autoencoder",)

    def split_frames(self, num_frames: int) -> int:
        return num_frames

    def shapes_source(self, data: DataConfig, split: str, size: int) -> Source:
        return self.clips_source(data, super().shapes_source(data, split, size))

    def clips_source(self, data: DataConfig, clips: Source) -> Source:
        return DegradedClips(clips, data.degrade, clean_probability=self.clean_probability)

    def example_shapes(
        self, model: ModelConfig, data: DataConfig
    ) -> dict[str, jax.ShapeDtypeStruct]:
        shapes = super().example_shapes(model, data)
        return {**shapes, "degraded": shapes["video"]}


class VideoDecoderTask(Task):
    """`VideoDecoder`, trained on pairs of clean and degraded clips from `DegradedClips`.

    A batch has `video` and `degraded`, both uint8 `[B, F, H, W, 3]`. The frozen image encoder
    encodes the degraded clip at the last stage's resolution. The decoded clip is compared with the
    clean clip, so the decoder learns to undo the degradations.
    """

    def __init__(self, config: VideoDecoderTaskConfig, context: TaskContext):
        model, compute = context.model, context.compute
        _check_perceptual_frames(config, context.data)
        self._config, self._model = config, model
        self._adversaries = _adversaries(config, compute.dtype)
        self.couples_samples = _ADVERSARIAL_COUPLES if self._adversaries else ""
        self._decoder = VideoDecoder(model.autoencoder, compute.dtype, compute.remat)
        self._resolution = model.stages[-1].resolution
        frozen: dict[str, Params] = context.frozen
        self.frozen = frozen | perceptual_network(config.lpips, config.perceptual_weight, context)
        pixels = context.data.num_frames * self._resolution**2
        self.drawing = Drawing(context, SAMPLE_CLIPS, pixels, self._rows)

    def init(self, key: jax.Array) -> Params:
        """Returns `video_decoder` and the discriminators that have a weight."""
        decoder_key, discriminator_key = jax.random.split(key)
        params = {"video_decoder": init_video_decoder(decoder_key, self._model.autoencoder)}
        for number, adversary in enumerate(self._adversaries):
            own_key = jax.random.fold_in(discriminator_key, number)
            params[adversary.name] = adversary.init(own_key, self._resolution)
        return params

    def warm_start(self, params: Params) -> Params:
        """Copies the frozen autoencoder's decoder and prints what it copied.

        Only the temporal layers keep their fresh parameters.

        Raises:
            UserError: any other name or shape differs; the message lists every such key.
        """
        decoder = begin_from(
            params["video_decoder"], self.frozen["autoencoder"], warm_start_video_decoder
        )
        return {**params, "video_decoder": decoder}

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        latents = self._latents(frozen, batch)
        clean = resize(to_float(batch["video"]), self._resolution)

        def reconstruct(decoded: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            return self._reconstruction(frozen, decoded, clean, keys_B)

        decoded, pull_back = self._decode_with_pull_back(params["video_decoder"], latents)
        loss, terms = reconstruct(decoded)
        metrics: dict[str, Any] = {**self._measures(decoded, clean, batch), **terms}
        if self._adversaries:
            pixels = jax.lax.stop_gradient(decoded)
            gradient = pull_back(jax.grad(lambda x: reconstruct(x)[0])(pixels))
            for adversary in self._adversaries:
                own = params[adversary.name]
                term, parts = adversary.loss(own, decoded, clean, gradient, pull_back)
                loss, metrics = loss + term, metrics | parts
        return loss, metrics

    def validation_loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """L1 and LPIPS. The terms of the discriminators are relative to what these know."""
        clean = resize(to_float(batch["video"]), self._resolution)
        decoded = self._decode(params["video_decoder"], self._latents(frozen, batch))
        loss, terms = self._reconstruction(frozen, decoded, clean, keys_B)
        return loss, {**self._measures(decoded, clean, batch), **terms}

    def _reconstruction(
        self, frozen: Params, decoded: jax.Array, clean: jax.Array, keys_B: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns L1 + weight · LPIPS, and the terms as metrics."""
        terms = {"l1": _l1(decoded, clean)}
        if not self._config.perceptual_weight:
            return terms["l1"], terms
        if count := self._config.perceptual_frames:
            frames_BK = draw_frames(keys_B, clean.shape[1], count)
            decoded, clean = (take_frames(video, frames_BK) for video in (decoded, clean))
        terms["lpips"] = perceptual_loss(frozen, fold_frames(decoded), fold_frames(clean))
        return terms["l1"] + self._config.perceptual_weight * terms["lpips"], terms

    def _measures(self, decoded: jax.Array, clean: jax.Array, batch: Batch) -> Metrics:
        measures = {"psnr": psnr(decoded, clean), "flicker": _l1(_change(decoded), _change(clean))}
        if not self._config.clean_probability:
            return measures
        psnr_B = jax.vmap(psnr)(decoded, clean)
        is_clean_B = (batch["degraded"] == batch["video"]).all(axis=(1, 2, 3, 4))
        return measures | {
            "psnr_clean": _mean_where(is_clean_B, psnr_B),
            "psnr_degraded": _mean_where(~is_clean_B, psnr_B),
            "clean_share": is_clean_B.mean(dtype=jnp.float32),
        }

    def _latents(self, frozen: Params, batch: Batch) -> jax.Array:
        """Returns the unscaled latents of the degraded clip."""
        return unscale_latents(self._model.autoencoder, self._scaled_latents(frozen, batch))

    def _scaled_latents(self, frozen: Params, batch: Batch) -> jax.Array:
        degraded = to_float(batch["degraded"])
        return encode_frames(self._model, frozen, degraded, self._resolution)

    def _decode(self, params: Params, latents_BFHWC: jax.Array) -> jax.Array:
        pixels: Any = self._decoder.apply({"params": params}, latents_BFHWC)
        return pixels

    def _decode_with_pull_back(
        self, params: Params, latents_BFHWC: jax.Array
    ) -> tuple[jax.Array, PullBack]:
        return with_pull_back(lambda p: self._decode(p, latents_BFHWC), params, _LAST_LAYER)

    def _rows(
        self, params: Params, components: Params, batch: Batch, keys_B: jax.Array
    ) -> jax.Array:
        """Returns rows of frames for each clip: clean, degraded, image decoder, video decoder."""
        clean, degraded = (
            resize(to_float(batch[name]), self._resolution) for name in ("video", "degraded")
        )
        scaled = self._scaled_latents(components, batch)
        by_image = decode_frames(self._model.autoencoder, components["autoencoder"], scaled)
        by_video = decode_clips(self._decoder, params["video_decoder"], scaled)
        rows = (clean, degraded, by_image, by_video)
        return jnp.stack([quantise(row) for row in rows], axis=1)

    def components(self, params: Params) -> dict[str, Params]:
        return {"video_decoder": params["video_decoder"]}


def _adversaries(config: VideoDecoderTaskConfig, dtype: str) -> tuple[Adversary, ...]:
    """Returns the discriminators that have a weight: of frames, and of windows of frames.

    Raises:
        UserError: a weight is negative.
    """
    of_frames = Adversary(
        "discriminator", "", config.adversarial_weight, config.discriminator, dtype
    )
    of_windows = Adversary(
        "temporal_discriminator",
        "temporal_",
        config.temporal_adversarial_weight,
        config.temporal_discriminator,
        dtype,
    )
    return tuple(adversary for adversary in (of_frames, of_windows) if adversary.weight)


def _check_perceptual_frames(config: VideoDecoderTaskConfig, data: DataConfig) -> None:
    if not 0 <= config.perceptual_frames <= data.num_frames:
        raise UserError(
            f"task.perceptual_frames is {config.perceptual_frames}, expected 0 (all) to "
            f"{data.num_frames}, the frames of a clip (data.num_frames)"
        )


def _mean_where(chosen_B: jax.Array, values_B: jax.Array) -> Mean:
    """Returns the mean of the chosen samples' values, of which others may be infinite."""
    return Mean(jnp.where(chosen_B, values_B, 0.0).sum(), chosen_B.sum())


def _l1(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.abs(x - y).mean()


def _change(video_BFHWC: jax.Array) -> jax.Array:
    """Returns the differences between consecutive frames."""
    return jnp.diff(video_BFHWC, axis=1)
