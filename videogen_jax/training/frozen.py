"""The outputs of the frozen networks that tasks use: text states and clip latents.

A batch from a latent cache contains these outputs in place of pixels and tokens:
`latents_<resolution>` and `latents_std_<resolution>`, float32 `[B, F, H, W, Z]`, `text_states`
`[B, T, D]` and `text_pooled` `[B, D]`. The text outputs of the empty prompt, without B, are then in
`frozen["null_text"]`.

Letters: B clips, F frames, H height, W width, C channels, Z latent channels, T tokens, D text
channels.
"""

from typing import Any

import jax

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.transforms import to_float
from videogen_jax.models.text_encoder import TextEncoder, TextStates
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.encode import encode_posterior
from videogen_jax.training.losses.diffusion import drop_text
from videogen_jax.training.task import Batch, Params


def encode_text(model: ModelConfig, frozen: Params, tokens_BT: jax.Array) -> TextStates:
    """Returns the text states and pooled text of token ids, without gradient."""
    network = TextEncoder(model.text_encoder)
    states: Any = network.apply({"params": frozen["text_encoder"]}, tokens_BT)
    return jax.lax.stop_gradient(states)


def null_text(model: ModelConfig, frozen: Params, null_tokens_T: jax.Array) -> TextStates:
    """Returns the empty prompt's states and pooled text, as a batch of one."""
    cached = frozen.get("null_text")
    if cached is None:
        return encode_text(model, frozen, null_tokens_T[None])
    return TextStates(cached["text_states"][None], cached["text_pooled"][None])


def batch_text(
    model: ModelConfig,
    frozen: Params,
    batch: Batch,
    null_tokens_T: jax.Array,
    dropout: float,
    keys_B: jax.Array,
) -> TextStates:
    """Returns the batch's text, with some prompts replaced by the empty prompt; see `drop_text`.

    Args:
        model: configuration of the whole model.
        frozen: contains `text_encoder` or, if the text is cached, `null_text`.
        batch: contains `tokens` or cached text.
        null_tokens_T: tokens of the empty prompt.
        dropout: probability that a prompt is replaced.
        keys_B: one key per sample, for the replacement.
    """
    if "text_states" not in batch:
        tokens_BT = drop_text(batch["tokens"], null_tokens_T, dropout, keys_B)
        return encode_text(model, frozen, tokens_BT)
    null = null_text(model, frozen, null_tokens_T)
    return TextStates(
        drop_text(batch["text_states"], null.states_BTD[0], dropout, keys_B),
        drop_text(batch["text_pooled"], null.pooled_BD[0], dropout, keys_B),
    )


def clip_latents(
    model: ModelConfig,
    frozen: Params,
    batch: Batch,
    resolution: int,
    keys_B: jax.Array | None,
    data: DataConfig | None = None,
) -> jax.Array:
    """Returns the batch's scaled latents at `resolution` pixels, `[B, F, H, W, Z]` float32 (§3.5).

    They come from the latent cache if the batch has them. Otherwise the frames are resized
    (antialiased) and encoded one by one.

    Args:
        model: configuration of the whole model.
        frozen: contains `autoencoder`, unless the batch has latents.
        batch: contains `video`, uint8 `[B, F, height, width, 3]`, or latents.
        resolution: in pixels.
        keys_B: one key per sample, to draw from the posterior; None for its mean.
        data: the run's data, whose aspect buckets the frames are resized for; None for squares.
    """
    mean = batch.get(f"latents_{resolution}")
    if mean is None:
        video_BFHWC = batch["video"]
        size = (resolution, resolution)
        # The examples of a validation are squares.
        _, _, height, width, _ = video_BFHWC.shape
        if data is not None and (height, width) in data.buckets:
            size = data.size_at(resolution, (height, width))
        mean, std = encode_posterior(model, frozen, to_float(video_BFHWC), size)
    elif keys_B is not None:
        std = batch[f"latents_std_{resolution}"]
    if keys_B is None:
        return mean
    return mean + std * noise.normal(keys_B, mean.shape[1:])
