"""Samples of the diffusion tasks: what a model makes of a few validation prompts right now.

Letters: B clips, F frames, H height, W width, C channels, Z latent channels, T tokens.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogen_jax.config import ModelConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.transforms import to_float, to_uint8
from videogen_jax.models.autoencoder import Autoencoder, unscale_latents
from videogen_jax.models.layers import fold_frames, unfold_frames
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.conditioning import reference_video, upsample
from videogen_jax.pipeline.denoise import Conditions, Denoiser
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.pipeline.frequency import merge_frequencies
from videogen_jax.pipeline.temporal_sr import Interpolation
from videogen_jax.tokenizer import Tokenizer
from videogen_jax.training.frozen import encode_text
from videogen_jax.training.task import DrawSamples, Params, Samples
from videogen_jax.training.tasks.temporal_sr import missing_frames


def image_samples(
    model: ModelConfig, frozen: Params, tokenizer: Tokenizer, prompts: Sequence[str]
) -> DrawSamples:
    """A row of pictures, one per prompt, by the image model's own sampler."""
    denoiser = Denoiser(model.image, model.latent_size(model.image.resolution))
    tokens_BT, null_BT = _tokens(model, tokenizer, prompts)

    def draw(params: Params, seed: int) -> Samples:
        given = Conditions(_text(model, frozen, tokens_BT), _text(model, frozen, null_BT))
        latents = denoiser.sample(params, given, _keys(seed, len(prompts)), 1)
        return Samples(to_uint8(_decode(model, frozen, latents).swapaxes(0, 1)))

    return draw


def cascade_samples(
    model: ModelConfig, stage: int, frozen: Params, tokenizer: Tokenizer, clips: Source
) -> DrawSamples:
    """A row of frames per clip, by one stage alone: true reference, true low-res, own motion.

    Args:
        model: the whole model's configuration.
        stage: which stage, counted from 1.
        frozen: parameters of `text_encoder` and `autoencoder`.
        tokenizer: of the text encoder.
        clips: the clips whose captions and first frames are given.
    """
    config = model.stages[stage - 1]
    denoiser = Denoiser(config, model.latent_size(config.resolution))
    examples = [clips[i] for i in range(len(clips))]
    video = np.stack([example["video"] for example in examples])
    fps_B = jnp.stack([example["fps"] for example in examples])
    tokens_BT, null_BT = _tokens(model, tokenizer, [example["caption"] for example in examples])

    def draw(params: Params, seed: int) -> Samples:
        latents = _encode(model, frozen, video[:, :1], config.resolution)
        below = None
        if stage > 1:
            below = upsample(_encode(model, frozen, video, model.stages[stage - 2].resolution))
        given = Conditions(
            _text(model, frozen, tokens_BT),
            _text(model, frozen, null_BT),
            reference_BFHWZ=reference_video(latents[:, 0], video.shape[1]),
            low_res_BFHWZ=below,
            fps_B=fps_B,
            low_res_noise_B=jnp.zeros(len(examples), jnp.int32),
        )
        latents = denoiser.sample(params, given, _keys(seed, len(examples)), video.shape[1])
        return Samples(to_uint8(_decode(model, frozen, latents)), float(fps_B[0]))

    return draw


def refiner_samples(
    model: ModelConfig,
    frozen: Params,
    tokenizer: Tokenizer,
    clips: Source,
    interpolation: Interpolation,
) -> DrawSamples:
    """A row of frames per clip of 2N − 1: the even ones true, the odd ones found and refined."""
    denoiser = Denoiser(model.refiner, model.latent_size(model.refiner.resolution))
    examples = [clips[i] for i in range(len(clips))]
    video = np.stack([example["video"] for example in examples])
    fps_B = jnp.stack([example["fps"] for example in examples])
    _, null_BT = _tokens(model, tokenizer, [""] * len(examples))

    def draw(params: Params, seed: int) -> Samples:
        latents = _encode(model, frozen, video, model.refiner.resolution)
        warped = _missing_frames(model, frozen, latents[:, ::2], interpolation)
        given = Conditions(
            _text(model, frozen, null_BT),
            reference_BFHWZ=jnp.zeros_like(warped),
            low_res_BFHWZ=warped,
            fps_B=fps_B,
            low_res_noise_B=jnp.zeros(len(examples), jnp.int32),
        )
        refined = denoiser.sample(params, given, _keys(seed, len(examples)), warped.shape[1])
        merged = merge_frequencies(fold_frames(warped), fold_frames(refined), model.lowpass_factor)
        shown = latents.at[:, 1::2].set(unfold_frames(merged, warped.shape[1]))
        return Samples(to_uint8(_decode(model, frozen, shown)), float(fps_B[0]))

    return draw


def _tokens(
    model: ModelConfig, tokenizer: Tokenizer, prompts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    length = model.text_encoder.max_length
    return tokenizer(list(prompts), length), tokenizer([""] * len(prompts), length)


def _keys(seed: int, number: int) -> jax.Array:
    return noise.sample_keys(np.uint32(seed), np.arange(number))


_text = jax.jit(encode_text, static_argnums=0)
_missing_frames = jax.jit(missing_frames, static_argnums=(0, 3))


@jax.jit(static_argnums=(0, 3))
def _encode(
    model: ModelConfig, frozen: Params, video_BFHWC: jax.Array, resolution: int
) -> jax.Array:
    return encode_frames(model, frozen, to_float(video_BFHWC), resolution)


@jax.jit(static_argnums=0)
def _decode(model: ModelConfig, frozen: Params, latents_BFHWZ: jax.Array) -> jax.Array:
    raw = unscale_latents(model.autoencoder, fold_frames(latents_BFHWZ))
    network = Autoencoder(model.autoencoder)
    pixels: Any = network.apply({"params": frozen["autoencoder"]}, raw, method="decode")
    return unfold_frames(pixels, latents_BFHWZ.shape[1])
