"""`SpaceTimeUNet`: Stable Diffusion's UNet plus temporal layers (§3.2).

One class serves the text-to-image model (`temporal=False`), the cascade stages and the temporal-SR
refiner; they differ by `UNetConfig` only. Spatial layers have diffusers' parameter names. Layers
that the video model adds are called `temporal_*` or `low_res_noise_embedding`.

Letters: B clips, F frames, N = B·F images, H height, W width, C channels, T text tokens,
D features of an embedding.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError, require_positive
from videogen_jax.kernels.choices import Selection
from videogen_jax.layout import constrain
from videogen_jax.models.attention import SpatialTransformer
from videogen_jax.models.blocks import Downsample, ResnetBlock, Upsample
from videogen_jax.models.embedding import EmbeddedInputs, embedding
from videogen_jax.models.layers import (
    UNET_NORM_EPS,
    Conv,
    GroupNorm,
    constrain_images,
    fold_frames,
    unfold_frames,
)
from videogen_jax.models.remat import Remat, remat
from videogen_jax.models.temporal import TemporalAttention, TemporalConv


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """Sizes of a `SpaceTimeUNet`; the defaults are Stable Diffusion 1.5's image model."""

    in_channels: int = 4  # [noisy, reference, low_res]: 4, 8 or 12
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention_levels: tuple[bool, ...] = (True, True, True, False)
    num_heads: tuple[int, ...] = (8, 8, 8, 8)  # per level
    transformer_layers: int = 1  # per spatial transformer
    cross_attention_dim: int = 768  # width of the text states
    linear_projection: bool = False  # SD 2: dense instead of 1×1 convolutions around transformers
    norm_groups: int = 32
    temporal: bool = False
    frame_embedding: bool = True  # temporal models: the frame's index in the time embedding
    low_res_noise: bool = False  # stages with noise augmentation of the low-res latent
    # The kernel of attention within an image, see `kernels.choices`. Attention to text and over
    # frames, whose sequences are short, has the table's choice; with `blocked` the plain formula.
    attention: Selection = "auto"

    def __post_init__(self):
        require_positive(self, "in_channels", "out_channels", "block_out_channels", "num_heads")
        require_positive(self, "layers_per_block", "transformer_layers", "norm_groups")
        require_positive(self, "cross_attention_dim")
        levels = len(self.block_out_channels)
        for field in ("attention_levels", "num_heads"):
            if len(getattr(self, field)) != levels:
                raise UserError(
                    f"UNetConfig.{field} has {len(getattr(self, field))} entries, "
                    f"expected one per level of block_out_channels ({levels})"
                )
        for channels, heads in zip(self.block_out_channels, self.num_heads, strict=True):
            if channels % self.norm_groups or channels % heads:
                raise UserError(
                    f"UNetConfig.block_out_channels: {channels} is not divisible by "
                    f"norm_groups={self.norm_groups} and num_heads={heads}"
                )


class Conditions(NamedTuple):
    """Inputs of every block: the time embedding per frame, the text, the number of frames."""

    embedding_ND: jax.Array
    text_BTD: jax.Array
    num_frames: int


class LayerBuilder(nn.Module):
    """Base of the down, middle and up blocks: builds a block's layers at one resolution."""

    config: UNetConfig
    features: int
    heads: int
    dtype: DTypeLike = jnp.float32
    remat: Remat = "none"

    def resnet(self, index: int, x_NHWC: jax.Array, given: Conditions) -> jax.Array:
        config = self.config
        block = remat(ResnetBlock, self.remat, static_argnums=(3,))(
            self.features,
            config.norm_groups,
            UNET_NORM_EPS,
            config.temporal,
            self.dtype,
            name=f"resnets_{index}",
        )
        return block(x_NHWC, given.embedding_ND, given.num_frames)

    def attend(self, index: int, x_NHWC: jax.Array, given: Conditions) -> jax.Array:
        """Applies a spatial transformer, then attention over frames (§3.2)."""
        config = self.config
        spatial = remat(SpatialTransformer, self.remat)(
            self.heads,
            config.transformer_layers,
            config.norm_groups,
            config.linear_projection,
            self.dtype,
            config.attention,
            name=f"attentions_{index}",
        )
        x = spatial(x_NHWC, given.text_BTD)
        if config.temporal:
            name = f"temporal_attentions_{index}"
            temporal = remat(TemporalAttention, self.remat, static_argnums=(2,))
            x = temporal(self.heads, self.dtype, config.attention, name=name)(x, given.num_frames)
        return x


class DownBlock(LayerBuilder):
    """Residual blocks, each with attention where the level has it; then a downsampler."""

    attention: bool = True
    downsample: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, given: Conditions) -> tuple[jax.Array, list[jax.Array]]:
        skips = []
        for i in range(self.config.layers_per_block):
            x = self.resnet(i, x, given)
            if self.attention:
                x = self.attend(i, x, given)
            skips.append(x)
        if self.downsample:
            down = remat(Downsample, self.remat, static_argnums=(2,))
            temporal = self.config.temporal
            x = down(temporal=temporal, dtype=self.dtype, name="downsamplers_0")(
                x, given.num_frames
            )
            skips.append(x)
        return x, skips


class MidBlock(LayerBuilder):
    """Residual block, attention, residual block at the lowest resolution."""

    @nn.compact
    def __call__(self, x: jax.Array, given: Conditions) -> jax.Array:
        x = self.resnet(0, x, given)
        x = self.attend(0, x, given)
        return self.resnet(1, x, given)


class UpBlock(LayerBuilder):
    """As `DownBlock`, with one more layer and an upsampler; each layer takes the last skip left."""

    attention: bool = True
    upsample: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, skips: list[jax.Array], given: Conditions) -> jax.Array:
        for i in range(self.config.layers_per_block + 1):
            x = self.resnet(i, jnp.concatenate([x, skips.pop()], axis=-1), given)
            if self.attention:
                x = self.attend(i, x, given)
        if self.upsample:
            up = remat(Upsample, self.remat, static_argnums=(2,))
            x = up(self.config.temporal, self.dtype, name="upsamplers_0")(x, given.num_frames)
        return x


class SpaceTimeUNet(nn.Module):
    """Predicts noise (or v, or x0) of a noisy latent video from text and conditions.

    Args of the call:
        x_BFHWC: noisy latents followed by the condition channels, `[noisy, reference, low_res]`;
            height and width divisible by 2^(levels − 1). An image is a video of one frame; without
            temporal layers frames are independent images that share a prompt.
        timesteps_B: diffusion timesteps, 0 .. num_train_timesteps − 1, integer or real; or their
            `time_embeddings`, `[B, D]`.
        text_BTD: text encoder states (diffusers: `encoder_hidden_states`).
        pooled_BD: pooled text, needed by temporal models with `frame_embedding`.
        fps_B: frames per second of the clip, needed by temporal models.
        low_res_noise_B: timestep to which the low-res latent was noised, needed with
            `low_res_noise`.

    Returns:
        `[B, F, H, W, out_channels]` in float32.
    """

    config: UNetConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = "none"

    @nn.compact
    def __call__(
        self,
        x_BFHWC: jax.Array,
        timesteps_B: jax.Array,
        text_BTD: jax.Array,
        *,
        pooled_BD: jax.Array | None = None,
        fps_B: jax.Array | None = None,
        low_res_noise_B: jax.Array | None = None,
    ) -> jax.Array:
        config, frames = self.config, x_BFHWC.shape[1]
        inputs = EmbeddedInputs(timesteps_B, pooled_BD, fps_B, low_res_noise_B)
        embedding_ND = embedding(self, inputs, frames)
        given = Conditions(embedding_ND, text_BTD.astype(self.dtype), frames)

        images_NHWC = fold_frames(constrain(x_BFHWC, "batch frames rows . ."))
        x = self._conv("conv_in", config.block_out_channels[0], images_NHWC, frames)
        skips = [x]
        last = len(config.block_out_channels) - 1
        for level in range(last + 1):
            down = DownBlock(
                **self._level(level), downsample=level < last, name=f"down_blocks_{level}"
            )
            x, outputs = down(x, given)
            skips += outputs
        x = MidBlock(**self._level(last, mid=True), name="mid_block")(x, given)
        for index, level in enumerate(reversed(range(last + 1))):
            up = UpBlock(**self._level(level), upsample=level > 0, name=f"up_blocks_{index}")
            x = up(x, skips, given)
        x = remat(SpaceTimeUNet._head, self.remat, static_argnums=(2,))(self, x, frames)
        return unfold_frames(x, frames).astype(jnp.float32)

    def _level(self, level: int, mid: bool = False) -> dict[str, Any]:
        """Returns the constructor arguments of the block at one resolution."""
        config = self.config
        fields = {
            "config": config,
            "features": config.block_out_channels[level],
            "heads": config.num_heads[level],
            "dtype": self.dtype,
            "remat": self.remat,
        }
        return fields if mid else fields | {"attention": config.attention_levels[level]}

    def _head(self, x_NHWC: jax.Array, num_frames: int) -> jax.Array:
        groups = self.config.norm_groups
        norm = GroupNorm(groups, UNET_NORM_EPS, self.dtype, name="conv_norm_out")
        return self._conv("conv_out", self.config.out_channels, nn.silu(norm(x_NHWC)), num_frames)

    def _conv(self, name: str, features: int, x_NHWC: jax.Array, num_frames: int) -> jax.Array:
        x = constrain_images(Conv(features, dtype=self.dtype, name=name)(x_NHWC), num_frames)
        if self.config.temporal:
            x = TemporalConv(self.dtype, name=f"temporal_{name}")(x, num_frames)
        return x
