"""Training the video decoder (§3.4, §3.5): clean clips from the latents of degraded ones.

The losses are L1 and, optionally, the patch GAN of Stable Diffusion's autoencoder. Its third loss,
LPIPS, is not implemented: it needs the weights of a VGG network, which this library does not
convert.

Letters: B clips, F frames, N images (B × F folded), H height, W width, C channels.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.shapes.sources import DegradedClips
from videogen_jax.data.transforms import resize, to_float, to_uint8
from videogen_jax.errors import UserError
from videogen_jax.models.autoencoder import unscale_latents
from videogen_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from videogen_jax.models.layers import fold_frames
from videogen_jax.models.parameters import init_discriminator, init_video_decoder
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.models.warm_start import warm_start_video_decoder
from videogen_jax.pipeline.decode import decode_frames
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.training.task import (
    Batch,
    Metrics,
    Params,
    Samples,
    Task,
    TaskConfig,
    TaskContext,
    begin_from,
)
from videogen_jax.training.tasks.autoencoder import psnr

_LAST_LAYER = "decoder/conv_out/kernel"
_MAX_ADAPTIVE_WEIGHT = 1e4  # both from taming-transformers
_ADAPTIVE_EPSILON = 1e-4
SAMPLE_CLIPS = 8
_ADVERSARIAL_COUPLES = "the discriminator and its weight normalise over the whole batch"


@dataclasses.dataclass(frozen=True)
class VideoDecoderTaskConfig(TaskConfig):
    """Adversarial weight and discriminator of the video decoder task.

    Stable Diffusion's autoencoder has an `adversarial_weight` of 0.5 from step 50,000. A video
    decoder starts where that training ended, so it needs no delay.
    """

    command = "video_decoder"

    adversarial_weight: float = 0.0  # 0: no discriminator
    discriminator: DiscriminatorConfig = DiscriminatorConfig()

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
        return DegradedClips(clips, data.degrade)

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
        if config.adversarial_weight < 0:
            raise UserError(
                f"task.adversarial_weight is {config.adversarial_weight}, expected 0 or more"
            )
        self._config, self._context, self._model = config, context, model
        self.couples_samples = _ADVERSARIAL_COUPLES if config.adversarial_weight else ""
        self._decoder = VideoDecoder(model.autoencoder, compute.dtype, compute.remat)
        self._discriminator = PatchDiscriminator(config.discriminator, compute.dtype)
        self._resolution = model.stages[-1].resolution
        self.frozen = context.frozen
        self._draw = jax.jit(self._pictures)

    def init(self, key: jax.Array) -> Params:
        """Returns `video_decoder` and, with an adversarial weight, `discriminator`."""
        decoder_key, discriminator_key = jax.random.split(key)
        params = {"video_decoder": init_video_decoder(decoder_key, self._model.autoencoder)}
        if self._config.adversarial_weight:
            params["discriminator"] = init_discriminator(
                discriminator_key, self._config.discriminator, self._resolution
            )
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
        decoded = self._decode(params["video_decoder"], latents)
        reconstruction = _l1(decoded, clean)
        metrics = {"psnr": psnr(decoded, clean), "flicker": _l1(_change(decoded), _change(clean))}
        if not self._config.adversarial_weight:
            return reconstruction, metrics
        weight = self._adaptive_weight(params, latents, clean)
        # One loss trains both networks: each sees the other through a stop_gradient.
        fooling = self._fooling(jax.lax.stop_gradient(params["discriminator"]), decoded)
        judging = self._judging(params["discriminator"], clean, jax.lax.stop_gradient(decoded))
        loss = reconstruction + self._config.adversarial_weight * weight * fooling + judging
        metrics |= {"l1": reconstruction, "fooling": fooling, "judging": judging}
        return loss, {**metrics, "adaptive_weight": weight}

    def _latents(self, frozen: Params, batch: Batch) -> jax.Array:
        """Returns the unscaled latents of the degraded clip."""
        return unscale_latents(self._model.autoencoder, self._scaled_latents(frozen, batch))

    def _scaled_latents(self, frozen: Params, batch: Batch) -> jax.Array:
        degraded = to_float(batch["degraded"])
        return encode_frames(self._model, frozen, degraded, self._resolution)

    def _decode(self, params: Params, latents_BFHWC: jax.Array) -> jax.Array:
        pixels: Any = self._decoder.apply({"params": params}, latents_BFHWC)
        return pixels

    def _logits(self, params: Params, video_BFHWC: jax.Array) -> jax.Array:
        logits: Any = self._discriminator.apply({"params": params}, fold_frames(video_BFHWC))
        return logits

    def _fooling(self, params: Params, decoded_BFHWC: jax.Array) -> jax.Array:
        """Returns the decoder's adversarial loss, which is low if its patches look real."""
        return -self._logits(params, decoded_BFHWC).mean()

    def _judging(self, params: Params, real: jax.Array, decoded: jax.Array) -> jax.Array:
        """Returns the discriminator's hinge loss (Lim & Ye 2017)."""
        of_real = jax.nn.relu(1.0 - self._logits(params, real)).mean()
        of_decoded = jax.nn.relu(1.0 + self._logits(params, decoded)).mean()
        return 0.5 * (of_real + of_decoded)

    def _adaptive_weight(self, params: Params, latents: jax.Array, clean: jax.Array) -> jax.Array:
        """Returns the weight that gives both losses equal gradient norms at the last layer.

        It is eq. 7 of VQGAN (Esser et al. 2021).
        """
        params = jax.lax.stop_gradient(params)
        leaves = trees.flatten(params["video_decoder"])

        def gradient_norm(loss: Callable[[jax.Array], jax.Array]) -> jax.Array:
            def of_kernel(kernel: jax.Array) -> jax.Array:
                decoder = trees.unflatten({**leaves, _LAST_LAYER: kernel})
                return loss(self._decode(decoder, latents))

            return jnp.linalg.norm(jax.grad(of_kernel)(leaves[_LAST_LAYER]))

        reconstruction = gradient_norm(lambda decoded: _l1(decoded, clean))
        fooling = gradient_norm(lambda decoded: self._fooling(params["discriminator"], decoded))
        return jnp.clip(reconstruction / (fooling + _ADAPTIVE_EPSILON), 0.0, _MAX_ADAPTIVE_WEIGHT)

    def samples(self, params: Params, seed: int) -> Samples:
        """Returns rows of frames for each clip: clean, degraded, image decoder, video decoder."""
        examples = self._context.validation(SAMPLE_CLIPS)
        batch = {name: np.stack([e[name] for e in examples]) for name in ("video", "degraded")}
        rows = self._draw(params["video_decoder"], self.frozen, batch)
        clips = np.stack([to_uint8(row) for row in rows], axis=1)
        return Samples(clips.reshape(-1, *clips.shape[2:]), float(examples[0]["fps"]))

    def _pictures(self, params: Params, frozen: Params, batch: Batch) -> tuple[jax.Array, ...]:
        clean, degraded = (
            resize(to_float(batch[name]), self._resolution) for name in ("video", "degraded")
        )
        scaled = self._scaled_latents(frozen, batch)
        by_image = decode_frames(self._model.autoencoder, frozen["autoencoder"], scaled)
        raw = unscale_latents(self._model.autoencoder, scaled)
        return clean, degraded, by_image, self._decode(params, raw)

    def components(self, params: Params) -> dict[str, Params]:
        return {"video_decoder": params["video_decoder"]}


def _l1(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.abs(x - y).mean()


def _change(video_BFHWC: jax.Array) -> jax.Array:
    """Returns the differences between consecutive frames."""
    return jnp.diff(video_BFHWC, axis=1)
