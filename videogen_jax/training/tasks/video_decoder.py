"""Training the video decoder (§3.4, §3.5): clean clips from the latents of degraded ones.

L1 and, if wanted, the patch GAN of Stable Diffusion's autoencoder. Its third loss, LPIPS, is not
here: it needs the weights of a VGG network, which this library does not convert.

Letters: B clips, F frames, N images (B × F folded), H height, W width, C channels.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax import trees
from videogen_jax.config import ModelConfig
from videogen_jax.data.transforms import resize, to_float, to_uint8
from videogen_jax.errors import UserError
from videogen_jax.models.autoencoder import Autoencoder, unscale_latents
from videogen_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.models.parameters import init_discriminator, init_video_decoder
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.models.warm_start import warm_start_video_decoder
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.training.task import Batch, ComputeConfig, Metrics, Params, Samples, begin_from
from videogen_jax.training.tasks.autoencoder import psnr

_LAST_LAYER = "decoder/conv_out/kernel"
_MAX_ADAPTIVE_WEIGHT = 1e4  # both from taming-transformers
_ADAPTIVE_EPSILON = 1e-4
_ADVERSARIAL_COUPLES = "the discriminator and its weight normalise over the whole batch"


@dataclasses.dataclass(frozen=True)
class VideoDecoderTaskConfig:
    """What the video decoder's loss weighs.

    Stable Diffusion's autoencoder has an `adversarial_weight` of 0.5, from step 50,000 on; a video
    decoder starts where that training ended and needs no delay.
    """

    adversarial_weight: float = 0.0  # 0: no discriminator
    discriminator: DiscriminatorConfig = DiscriminatorConfig()


class VideoDecoderTask:
    """`VideoDecoder`, from pairs of clean and degraded clips as `DegradedClips` gives them.

    A batch has `video` and `degraded`, both uint8 `[B, F, H, W, 3]`. The degraded clip is encoded
    by the frozen image encoder at the last stage's resolution; what is decoded from it is compared
    with the clean clip, so the decoder learns to take back what the degradations did.

    Args:
        config: weights of the losses.
        model: the whole model's configuration.
        frozen: parameters of `autoencoder`; its decoder is what the video decoder starts from.
        examples: a batch to make samples of.
        compute: how decoder and discriminator compute.
    """

    def __init__(
        self,
        config: VideoDecoderTaskConfig,
        model: ModelConfig,
        frozen: Params,
        examples: Mapping[str, np.ndarray],
        compute: ComputeConfig = ComputeConfig(),
    ):
        if config.adversarial_weight < 0:
            raise UserError(
                f"task.adversarial_weight is {config.adversarial_weight}, expected 0 or more"
            )
        self._config, self._model = config, model
        self.couples_samples = _ADVERSARIAL_COUPLES if config.adversarial_weight else ""
        self._decoder = VideoDecoder(model.autoencoder, compute.dtype, compute.remat)
        self._discriminator = PatchDiscriminator(config.discriminator, compute.dtype)
        self._resolution = model.stages[-1].resolution
        self.frozen = frozen
        self._examples = examples
        self._draw = jax.jit(self._pictures)

    def init(self, key: jax.Array) -> Params:
        """`video_decoder` and, with an adversarial weight, `discriminator`."""
        decoder_key, discriminator_key = jax.random.split(key)
        params = {"video_decoder": init_video_decoder(decoder_key, self._model.autoencoder)}
        if self._config.adversarial_weight:
            params["discriminator"] = init_discriminator(
                discriminator_key, self._config.discriminator, self._resolution
            )
        return params

    def warm_start(self, params: Params) -> Params:
        """The frozen autoencoder's decoder; only temporal layers are new. Prints what it copied.

        Raises:
            UserError: another name or shape differs; lists every key.
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
        # One loss for both players: each sees the other through a stop_gradient.
        fooling = self._fooling(jax.lax.stop_gradient(params["discriminator"]), decoded)
        judging = self._judging(params["discriminator"], clean, jax.lax.stop_gradient(decoded))
        loss = reconstruction + self._config.adversarial_weight * weight * fooling + judging
        metrics |= {"l1": reconstruction, "fooling": fooling, "judging": judging}
        return loss, {**metrics, "adaptive_weight": weight}

    def _latents(self, frozen: Params, batch: Batch) -> jax.Array:
        """Raw latents of the degraded clip."""
        degraded = to_float(batch["degraded"])
        scaled = encode_frames(self._model, frozen, degraded, self._resolution)
        return unscale_latents(self._model.autoencoder, scaled)

    def _decode(self, params: Params, latents_BFHWC: jax.Array) -> jax.Array:
        pixels: Any = self._decoder.apply({"params": params}, latents_BFHWC)
        return pixels

    def _logits(self, params: Params, video_BFHWC: jax.Array) -> jax.Array:
        logits: Any = self._discriminator.apply({"params": params}, fold_frames(video_BFHWC))
        return logits

    def _fooling(self, params: Params, decoded_BFHWC: jax.Array) -> jax.Array:
        """The decoder's side of the game: its patches should look real."""
        return -self._logits(params, decoded_BFHWC).mean()

    def _judging(self, params: Params, real: jax.Array, decoded: jax.Array) -> jax.Array:
        """The discriminator's side: the hinge loss (Lim & Ye 2017)."""
        of_real = jax.nn.relu(1.0 - self._logits(params, real)).mean()
        of_decoded = jax.nn.relu(1.0 + self._logits(params, decoded)).mean()
        return 0.5 * (of_real + of_decoded)

    def _adaptive_weight(self, params: Params, latents: jax.Array, clean: jax.Array) -> jax.Array:
        """Makes both losses pull equally hard at the last layer (VQGAN, Esser et al. 2021, eq. 7)."""
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
        """For each clip, rows of frames: clean, degraded, image decoder, video decoder."""
        rows = self._draw(params["video_decoder"], self.frozen, self._examples)
        clips = np.stack([to_uint8(row) for row in rows], axis=1)
        return Samples(clips.reshape(-1, *clips.shape[2:]), float(self._examples["fps"][0]))

    def _pictures(self, params: Params, frozen: Params, batch: Batch) -> tuple[jax.Array, ...]:
        clean, degraded = (
            resize(to_float(batch[name]), self._resolution) for name in ("video", "degraded")
        )
        latents = self._latents(frozen, batch)
        image_decoder = Autoencoder(self._model.autoencoder)
        by_image: Any = image_decoder.apply(
            {"params": frozen["autoencoder"]}, fold_frames(latents), method="decode"
        )
        by_image = unfold_frames(by_image, latents.shape[1])
        return clean, degraded, by_image, self._decode(params, latents)

    def components(self, params: Params) -> dict[str, Params]:
        return {"video_decoder": params["video_decoder"]}


def _l1(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.abs(x - y).mean()


def _change(video_BFHWC: jax.Array) -> jax.Array:
    """From frame to frame."""
    return jnp.diff(video_BFHWC, axis=1)
