"""Stable Diffusion's autoencoder: images to latents and back (§3.2, §3.4).

Letters: N images (= B clips × F frames folded), H height, W width, C channels, Z latent channels.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError, require_positive
from videogen_jax.models.attention import Attention
from videogen_jax.models.blocks import Downsample, ResnetBlock, Upsample
from videogen_jax.models.layers import (
    AUTOENCODER_NORM_EPS,
    Conv,
    GroupNorm,
    PointwiseConv,
    constrain_images,
)
from videogen_jax.models.remat import Remat, remat
from videogen_jax.models.temporal import TemporalAttention, TemporalConv


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of an `Autoencoder` and its latents' scale; the defaults are Stable Diffusion's."""

    in_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_groups: int = 32
    mid_attention: bool = True
    scaling_factor: float = 0.18215

    def __post_init__(self):
        require_positive(self, "in_channels", "latent_channels", "block_out_channels")
        require_positive(self, "layers_per_block", "norm_groups", "scaling_factor")
        for channels in self.block_out_channels:
            if channels % self.norm_groups:
                raise UserError(
                    f"AutoencoderConfig.block_out_channels: {channels} is not divisible by "
                    f"norm_groups={self.norm_groups}"
                )

    @property
    def factor(self) -> int:
        """Pixels per latent, along height and width."""
        return 2 ** (len(self.block_out_channels) - 1)


def scale_latents(config: AutoencoderConfig, latents: jax.Array) -> jax.Array:
    """Scales raw autoencoder latents for the diffusion models, to about unit variance."""
    return latents * config.scaling_factor


def unscale_latents(config: AutoencoderConfig, latents: jax.Array) -> jax.Array:
    """Inverts `scale_latents`."""
    return latents / config.scaling_factor


class LatentDistribution(NamedTuple):
    """Diagonal Gaussian over raw latents, `mean` and `logvar` each `[N, H, W, Z]` float32."""

    mean: jax.Array
    logvar: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws a sample, `[N, H, W, Z]`. Inference uses the mean instead."""
        return self.at(jax.random.normal(key, self.mean.shape))

    def at(self, eps_NHWZ: jax.Array) -> jax.Array:
        """Returns the sample that standard normal noise `eps` determines, `[N, H, W, Z]`."""
        return self.mean + jnp.exp(0.5 * self.logvar) * eps_NHWZ

    def kl(self) -> jax.Array:
        """Returns the KL divergence to the standard normal per image, in nats, `[N]`."""
        terms = jnp.square(self.mean) + jnp.exp(self.logvar) - 1.0 - self.logvar
        return 0.5 * terms.sum(axis=(1, 2, 3))


class MidBlock(nn.Module):
    """Residual block, single-head attention, residual block at the lowest resolution."""

    config: AutoencoderConfig
    temporal: bool
    dtype: DTypeLike
    remat: Remat = "none"

    @nn.compact
    def __call__(self, x_NHWC: jax.Array, num_frames: int) -> jax.Array:
        channels = x_NHWC.shape[-1]
        first = resnet(self.config, channels, self.temporal, self.dtype, "resnets_0", self.remat)
        x = first(x_NHWC, None, num_frames)
        if self.config.mid_attention:
            spatial = remat(SpatialAttention, self.remat)
            groups = self.config.norm_groups
            x = spatial(groups=groups, dtype=self.dtype, name="attentions_0")(x)
        if self.temporal:
            temporal = remat(TemporalAttention, self.remat, static_argnums=(2,))
            x = temporal(1, self.dtype, name="temporal_attentions_0")(x, num_frames)
        last = resnet(self.config, channels, self.temporal, self.dtype, "resnets_1", self.remat)
        return last(x, None, num_frames)


def resnet(
    config: AutoencoderConfig,
    features: int,
    temporal: bool,
    dtype: DTypeLike,
    name: str,
    policy: Remat = "none",
) -> ResnetBlock:
    """Builds a residual block with the autoencoder's norm."""
    return remat(ResnetBlock, policy, static_argnums=(3,))(
        features, config.norm_groups, AUTOENCODER_NORM_EPS, temporal, dtype, name=name
    )


class SpatialAttention(Attention):
    """Single-head attention over the pixels of one image, with its own norm and shortcut.

    A subclass because diffusers keeps the norm beside the projections, in one module.
    """

    heads: int = 1
    qkv_bias: bool = True
    groups: int = 32

    @nn.compact
    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        x = GroupNorm(self.groups, AUTOENCODER_NORM_EPS, self.dtype, name="group_norm")(x_NHWC)
        x = super().__call__(rearrange(x, "n h w c -> n (h w) c"))
        return x_NHWC + x.reshape(x_NHWC.shape)


class UpBlock(nn.Module):
    """`layers_per_block + 1` residual blocks, then an upsampler."""

    config: AutoencoderConfig
    features: int
    upsample: bool
    temporal: bool
    dtype: DTypeLike
    remat: Remat = "none"

    @nn.compact
    def __call__(self, x_NHWC: jax.Array, num_frames: int) -> jax.Array:
        x = x_NHWC
        for i in range(self.config.layers_per_block + 1):
            name = f"resnets_{i}"
            block = resnet(self.config, self.features, self.temporal, self.dtype, name, self.remat)
            x = block(x, None, num_frames)
        if self.upsample:
            up = remat(Upsample, self.remat, static_argnums=(2,))
            x = up(self.temporal, self.dtype, name="upsamplers_0")(x, num_frames)
        return x


class DownBlock(nn.Module):
    """`layers_per_block` residual blocks, then a downsampler that pads right and bottom."""

    config: AutoencoderConfig
    features: int
    downsample: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        x = x_NHWC
        for i in range(self.config.layers_per_block):
            x = resnet(self.config, self.features, False, self.dtype, f"resnets_{i}")(x)
        if self.downsample:
            padding = ((0, 1), (0, 1))
            x = Downsample(padding, dtype=self.dtype, name="downsamplers_0")(x)
        return x


class Encoder(nn.Module):
    """Pixels `[N, H, W, 3]` → mean and log-variance stacked, `[N, H/factor, W/factor, 2Z]`."""

    config: AutoencoderConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        config, channels = self.config, self.config.block_out_channels
        x = Conv(channels[0], dtype=self.dtype, name="conv_in")(constrain_images(x_NHWC, 1))
        for i, features in enumerate(channels):
            downsample = i < len(channels) - 1
            x = DownBlock(config, features, downsample, self.dtype, name=f"down_blocks_{i}")(x)
        x = MidBlock(config, False, self.dtype, name="mid_block")(x, num_frames=1)
        norm = GroupNorm(config.norm_groups, AUTOENCODER_NORM_EPS, self.dtype, name="conv_norm_out")
        return Conv(2 * config.latent_channels, dtype=self.dtype, name="conv_out")(nn.silu(norm(x)))


class Decoder(nn.Module):
    """Latents `[N, H, W, Z]` → pixels; with `temporal`, the body of the video decoder (§3.4)."""

    config: AutoencoderConfig
    temporal: bool
    dtype: DTypeLike
    remat: Remat = "none"

    @nn.compact
    def __call__(self, z_NHWC: jax.Array, num_frames: int) -> jax.Array:
        config, channels = self.config, self.config.block_out_channels[::-1]
        x = self._conv("conv_in", channels[0], z_NHWC, num_frames)
        middle = MidBlock(config, self.temporal, self.dtype, self.remat, name="mid_block")
        x = middle(x, num_frames)
        for i, features in enumerate(channels):
            upsample = i < len(channels) - 1
            name = f"up_blocks_{i}"
            block = UpBlock(
                config, features, upsample, self.temporal, self.dtype, self.remat, name=name
            )
            x = block(x, num_frames)
        return remat(Decoder._head, self.remat, static_argnums=(2,))(self, x, num_frames)

    def _head(self, x_NHWC: jax.Array, num_frames: int) -> jax.Array:
        groups = self.config.norm_groups
        norm = GroupNorm(groups, AUTOENCODER_NORM_EPS, self.dtype, name="conv_norm_out")
        return self._conv("conv_out", self.config.in_channels, nn.silu(norm(x_NHWC)), num_frames)

    def _conv(self, name: str, features: int, x_NHWC: jax.Array, num_frames: int) -> jax.Array:
        x = constrain_images(Conv(features, dtype=self.dtype, name=name)(x_NHWC), num_frames)
        if self.temporal:
            x = TemporalConv(self.dtype, name=f"temporal_{name}")(x, num_frames)
        return x


class Autoencoder(nn.Module):
    """The KL autoencoder of Stable Diffusion. Its latents are raw: see `scale_latents`."""

    config: AutoencoderConfig
    dtype: DTypeLike = jnp.float32

    def setup(self):
        config, dtype = self.config, self.dtype
        self.encoder = Encoder(config, dtype)
        self.quant_conv = PointwiseConv(2 * config.latent_channels, dtype=dtype)
        self.decoder = Decoder(config, False, dtype)
        self.post_quant_conv = PointwiseConv(config.latent_channels, dtype=dtype)

    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        """Encodes images and decodes the mean; `init` traces this method."""
        return self.decode(self.encode(x_NHWC).mean)

    def encode(self, x_NHWC: jax.Array) -> LatentDistribution:
        """Encodes pixels in [-1, 1] to a distribution of raw latents.

        Height and width must be divisible by `config.factor`.
        """
        moments = self.quant_conv(self.encoder(x_NHWC)).astype(jnp.float32)
        mean, logvar = jnp.split(moments, 2, axis=-1)
        return LatentDistribution(mean, jnp.clip(logvar, -30.0, 20.0))

    def decode(self, z_NHWC: jax.Array) -> jax.Array:
        """Decodes raw latents to pixels, about [-1, 1] (not clipped), float32."""
        return self.decoder(self.post_quant_conv(z_NHWC), num_frames=1).astype(jnp.float32)
