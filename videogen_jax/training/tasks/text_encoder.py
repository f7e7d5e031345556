"""Training the text encoder contrastively against clips (CLIP's loss, Radford et al. 2021).

In a random batch, hardly any two clips differ in a single attribute, so the loss does not force the
encoder to distinguish the words of that attribute. Where the data has wrong captions that differ in
one attribute ("contrasts"), these are added to the texts that a clip is compared with (Yuksekgonul
et al. 2023).

The paper uses CLIP's text encoder. A small model that ships cannot download one and trains its own.
It trains on clips and not on images, so that words of motion have a meaning before the cascade
trains.

Letters: B batch, K contrasts, F frames, H height, W width, C channels, T tokens, D embedding.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import linen as nn

from videogen_jax.config import ModelConfig
from videogen_jax.data.config import DataConfig
from videogen_jax.data.loader import Source
from videogen_jax.data.shapes.captions import CONTRASTS
from videogen_jax.data.shapes.sources import ContrastedClips, shapes_clips
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.models.blocks import Downsample, ResnetBlock
from videogen_jax.models.layers import UNET_NORM_EPS, Conv
from videogen_jax.models.parameters import init_text_encoder
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.training.task import (
    Batch,
    Metrics,
    Params,
    Task,
    TaskConfig,
    TaskContext,
    without_remat,
)


@dataclasses.dataclass(frozen=True)
class TextEncoderTaskConfig(TaskConfig):
    """The clip tower that the text encoder is trained against; it is discarded after training."""

    command = "text_to_image"

    resolution: int = 32  # pixels of the clip tower's input
    num_frames: int = 4  # frames of its input, evenly spaced over the clip
    tower_channels: tuple[int, ...] = (48, 96, 128)
    embedding_dim: int = 128
    initial_temperature: float = 0.07

    def component(self) -> str:
        return "text_encoder"

    def build(self, context: TaskContext) -> "TextEncoderTask":
        return TextEncoderTask(self, context)

    def shapes_source(self, data: DataConfig, split: str, size: int) -> Source:
        """Returns procedural clips with wrong captions as contrasts; real clips have none."""
        clips = shapes_clips(split, size, data.resolution, data.num_frames, data.fps)
        return ContrastedClips(clips)

    def example_shapes(
        self, model: ModelConfig, data: DataConfig
    ) -> dict[str, jax.ShapeDtypeStruct]:
        shapes = super().example_shapes(model, data)
        if not data.has_clips:
            tokens = (CONTRASTS, model.text_encoder.max_length)
            shapes["contrast_tokens"] = jax.ShapeDtypeStruct(tokens, np.int32)
        return shapes


class ClipTower(nn.Module):
    """A small residual network from a few frames, stacked as channels, to one embedding."""

    channels: tuple[int, ...]
    embedding_dim: int

    @nn.compact
    def __call__(self, x_BFHWC: jax.Array) -> jax.Array:
        x = rearrange(x_BFHWC, "b f h w c -> b h w (f c)")
        x = Conv(self.channels[0], stride=2, name="conv_in")(x)
        for i, channels in enumerate(self.channels):
            x = Downsample(name=f"downsample_{i}")(x) if i else x
            x = ResnetBlock(channels, 8, UNET_NORM_EPS, name=f"resnet_{i}")(x)
        # Maximum and mean show what is in the clip, wherever it is; they distinguish the shapes.
        # The flattened features also show where it is.
        parts = x.max((1, 2)), x.mean((1, 2)), x.reshape(x.shape[0], -1)
        return nn.Dense(self.embedding_dim, name="projection")(jnp.concatenate(parts, axis=1))


class TextEncoderTask(Task):
    """Text encoder, its projection and the clip tower, under the symmetric contrastive loss.

    A batch has `video`, uint8 `[B, F, H, W, 3]`, `tokens`, int32 `[B, T]`, and may have
    `contrast_tokens`, `[B, K, T]`, of captions that do not describe the clip.
    """

    couples_samples = "the contrastive loss compares every sample with all of its batch"
    validation_group = 32

    def __init__(self, config: TextEncoderTaskConfig, context: TaskContext):
        dtype = without_remat(context.compute, "text encoder").dtype
        self._config = config
        self._encoder = TextEncoder(context.model.text_encoder, dtype)
        self._tower = ClipTower(config.tower_channels, config.embedding_dim)
        self._projection = nn.Dense(config.embedding_dim, use_bias=False)
        self.frozen: Params = {}

    def init(self, key: jax.Array) -> Params:
        config, keys = self._config, jax.random.split(key, 3)
        size = (1, config.num_frames, config.resolution, config.resolution, 3)
        pooled = jnp.zeros((1, self._encoder.config.hidden_size))
        return {
            "text_encoder": init_text_encoder(keys[0], self._encoder.config),
            "clip_tower": self._tower.init(keys[1], jnp.zeros(size))["params"],
            "text_projection": self._projection.init(keys[2], pooled)["params"],
            "log_scale": jnp.log(1 / config.initial_temperature),
        }

    def loss(
        self, params: Params, frozen: Params, batch: Batch, keys_B: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        text, clips = self._embed(params, batch)
        # CLIP clips the temperature at 1/100, where training becomes unstable.
        logits = jnp.exp(jnp.minimum(params["log_scale"], jnp.log(100.0))) * text @ clips.T
        # A prompt may describe several clips of a batch. The other ones count as wrong, so the loss
        # cannot reach zero. Rankings are not affected.
        labels = jnp.arange(len(clips))
        right, contrasts = logits[: len(clips)], logits[len(clips) :]
        to_clips = -jnp.mean(jax.nn.log_softmax(right, axis=1)[labels, labels])
        to_text = -jnp.mean(jax.nn.log_softmax(logits, axis=0)[labels, labels])
        metrics = {"accuracy": jnp.mean(right.argmax(axis=1) == labels)}
        if len(contrasts):
            wrong_BK = contrasts.reshape(len(clips), -1, len(clips))[labels, :, labels]
            metrics["contrast_accuracy"] = jnp.mean(jnp.diag(right)[:, None] > wrong_BK)
        return 0.5 * (to_clips + to_text), metrics

    def _embed(self, params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Returns unit embeddings of texts, `[B, D]`, and of clips, `[B, D]`.

        With contrasts, those of texts are `[B + B K, D]`.
        """
        config, video = self._config, batch["video"]
        picked = np.linspace(0, video.shape[1] - 1, config.num_frames).round().astype(int)
        frames = resize(to_float(video[:, picked]), config.resolution)
        clips: Any = self._tower.apply({"params": params["clip_tower"]}, frames)
        tokens = [batch["tokens"]]
        if "contrast_tokens" in batch:
            tokens.append(rearrange(batch["contrast_tokens"], "b k t -> (b k) t"))
        states: Any = self._encoder.apply(
            {"params": params["text_encoder"]}, jnp.concatenate(tokens)
        )
        projection = {"params": params["text_projection"]}
        text: Any = self._projection.apply(projection, states.pooled_BD)
        return _unit(text), _unit(clips)

    def components(self, params: Params) -> dict[str, Params]:
        return {"text_encoder": params["text_encoder"]}


def _unit(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-8)
