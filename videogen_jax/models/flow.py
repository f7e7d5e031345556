"""LatentFlow: IFRNet (Kong et al., CVPR 2022) on pixels or on latents (§3.3, §3.5).

The inputs are two frames and a time; the outputs are the frame at that time and the flows from it
to both frames. A pyramid encoder encodes each frame. One coarse-to-fine loop over the levels
refines two flows and an intermediate feature together. The finest level also gives a mask and a
residual. The paper changes IFRNet "simply [in] the first layer"; the residual then has latent
channels too. The published IFRNet, IFRNet-S and IFRNet-L are three configs of this module.

Parameter names follow the public checkpoints (github.com/ltkong218/IFRNet), whose levels L count
from 1 at the finest:

    encoder.pyramid{L}.{i}.0.{weight,bias}      encoder/pyramid{L}_{i}/conv/{kernel,bias}
    encoder.pyramid{L}.{i}.1.weight             encoder/pyramid{L}_{i}/prelu/negative_slope
    decoder{L}.convblock.0.0.{weight,bias}      decoder{L}/conv_in/conv/{kernel,bias}
    decoder{L}.convblock.0.1.weight             decoder{L}/conv_in/prelu/negative_slope
    decoder{L}.convblock.1.conv{k}.0.{...}      decoder{L}/res_block/conv{k}/conv/{...}
    decoder{L}.convblock.1.conv{k}.1.weight     decoder{L}/res_block/conv{k}/prelu/negative_slope
    decoder{L}.convblock.1.conv5.{...}          decoder{L}/res_block/conv5/{...}
    decoder{L}.convblock.1.prelu.weight         decoder{L}/res_block/prelu/negative_slope
    decoder{L}.convblock.2.{weight,bias}        decoder{L}/conv_out/{kernel,bias}

Kernels: every weight `[o, i, h, w]` becomes `[h, w, i, o]`; the transposed convolution's, which
torch stores as `[i, o, h, w]`, becomes `[h, w, o, i]`: the same permutation (2, 3, 1, 0), no flip.
The public weights expect pixels in [0, 1], `(x + 1) / 2`.

Letters: B batch, F = 2 frames a and b, N = B × F folded, H height, W width, C channels; `1` and
`2` are sizes.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError, require_positive
from videogen_jax.layout import constrain
from videogen_jax.models.flow_blocks import Decoder, PyramidEncoder
from videogen_jax.models.warp import backward_warp, pad_to_multiple, resize_flow


@dataclasses.dataclass(frozen=True)
class FlowConfig:
    """The sizes of LatentFlow; the defaults are IFRNet's.

    Each level halves the resolution, except that the first may keep it (`stem_stride=1`), which
    latents of 16×16 or less need. Decoders are 2× as wide as their level's encoder at the coarsest
    level and 3× elsewhere, as in all published sizes.

    Raises UserError for fewer than two levels, or a size that the network cannot have.
    """

    in_channels: int = 3
    encoder_channels: tuple[int, ...] = (32, 48, 72, 96)  # finest level first
    side_channels: int = 32  # the part of the features that residual blocks convolve once more
    stem_kernel: int = 3  # of the very first convolution
    stem_stride: int = 2

    def __post_init__(self) -> None:
        require_positive(self, "in_channels", "encoder_channels")
        if len(self.encoder_channels) < 2:
            raise UserError(
                f"encoder_channels must have at least 2 levels, got {self.encoder_channels}"
            )
        if self.stem_stride not in (1, 2):
            raise UserError(f"stem_stride must be 1 or 2, got {self.stem_stride}")
        if self.stem_kernel < 1 or self.stem_kernel % 2 == 0:
            raise UserError(f"stem_kernel must be odd and positive, got {self.stem_kernel}")
        narrowest = min(self.decoder_channels)
        if not 0 < self.side_channels < narrowest:
            raise UserError(
                f"side_channels must be between 1 and {narrowest - 1}, below the narrowest "
                f"decoder of {narrowest}, got {self.side_channels}"
            )

    @property
    def strides(self) -> tuple[int, ...]:
        """The factor by which each level reduces the resolution, finest first."""
        return (self.stem_stride, *(2 for _ in self.encoder_channels[1:]))

    @property
    def total_stride(self) -> int:
        """The factor of all levels together; height and width are padded to multiples of it."""
        return self.stem_stride * 2 ** (len(self.encoder_channels) - 1)

    @property
    def decoder_channels(self) -> tuple[int, ...]:
        """The width of each level's decoder, finest first."""
        *finer, coarsest = self.encoder_channels
        return (*(3 * channels for channels in finer), 2 * coarsest)


# The published sizes: 5.0, 2.8 and 19.7 million parameters.
IFRNET = FlowConfig()
IFRNET_S = FlowConfig(encoder_channels=(24, 36, 54, 72), side_channels=24)
IFRNET_L = FlowConfig(encoder_channels=(64, 96, 144, 192), side_channels=64, stem_kernel=7)


class FlowOutput(NamedTuple):
    """Output of LatentFlow; all but `features` is float32 and at the frames' resolution.

    `merged = mask · warp(a, flow_a) + (1 − mask) · warp(b, flow_b) + residual`, not clamped.
    `features` and `flows` are results of the intermediate levels, which the losses need. Both run
    from coarse to fine and have one entry less than there are levels: the finest level has no
    feature, and its flows are `flow_a_BHW2` and `flow_b_BHW2`.
    """

    merged_BHWC: jax.Array  # the frame at `time`
    flow_a_BHW2: jax.Array  # from the frame at `time` to frame a, in the frames' pixels
    flow_b_BHW2: jax.Array  # to frame b
    mask_BHW1: jax.Array  # in (0, 1): the weight of frame a
    residual_BHWC: jax.Array
    features: tuple[jax.Array, ...]  # estimates of `LatentFlow.target_features`
    flows: tuple[tuple[jax.Array, jax.Array], ...]  # (to a, to b), in the frames' pixels


class LatentFlow(nn.Module):
    """A network that estimates a frame between two frames, and the flows from it to both.

    Frames may have any size: they are padded with their last row and column to multiples of
    `config.total_stride`. Features are computed in `dtype`; flows, warps and results in float32.
    """

    config: FlowConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        config = self.config
        self.encoder = PyramidEncoder(
            config.encoder_channels, config.strides, config.stem_kernel, self.dtype
        )
        # Besides two flows, a decoder outputs the feature of the next finer level. The finest
        # decoder outputs the mask and the residual instead.
        outputs = (1 + config.in_channels, *config.encoder_channels[:-1])
        levels = zip(config.decoder_channels, outputs, config.strides, strict=True)
        self.decoders = [
            Decoder(
                width, 4 + extra, config.side_channels, stride, self.dtype, name=f"decoder{level}"
            )
            for level, (width, extra, stride) in enumerate(levels, start=1)
        ]

    def __call__(self, a_BHWC: jax.Array, b_BHWC: jax.Array, time_B: jax.Array) -> FlowOutput:
        """Interpolates between frames a and b of `config.in_channels` channels.

        `time_B` is in [0, 1], with 0 at a and 1 at b.

        Raises ValueError if the frames differ in shape or do not have the config's channels.
        """
        self._check_frames(a_BHWC, b_BHWC)
        frames_BFHWC = jnp.stack([a_BHWC, b_BHWC], axis=1).astype(jnp.float32)
        frames_BFHWC = constrain(frames_BFHWC, "images . . . .")
        height, width = frames_BFHWC.shape[2:4]
        pyramid = self._encode(_fold_pair(frames_BFHWC - _mean_of_frames(frames_BFHWC)))
        features, flows, last_BHWC = self._refine(pyramid, time_B)

        padded_size = last_BHWC.shape[1:3]
        flows = [resize_flow(flow_NHW2, padded_size)[:, :height, :width] for flow_NHW2 in flows]
        last_BHWC = last_BHWC[:, :height, :width].astype(jnp.float32)
        mask_BHW1, residual_BHWC = nn.sigmoid(last_BHWC[..., :1]), last_BHWC[..., 1:]
        # IFRNet warps the frames without their mean and adds it afterwards: the result is equal.
        warped_a_BHWC, warped_b_BHWC = _a_and_b(backward_warp(_fold_pair(frames_BFHWC), flows[-1]))
        merged_BHWC = mask_BHW1 * warped_a_BHWC + (1 - mask_BHW1) * warped_b_BHWC + residual_BHWC
        flow_a_BHW2, flow_b_BHW2 = _a_and_b(flows[-1])
        return FlowOutput(
            merged_BHWC,
            flow_a_BHW2,
            flow_b_BHW2,
            mask_BHW1,
            residual_BHWC,
            tuple(features),
            tuple(_a_and_b(flow_NHW2) for flow_NHW2 in flows[:-1]),
        )

    def target_features(
        self, a_BHWC: jax.Array, b_BHWC: jax.Array, target_BHWC: jax.Array
    ) -> tuple[jax.Array, ...]:
        """Returns the target of `FlowOutput.features`: the true intermediate frame's, encoded.

        Raises ValueError as `__call__` does.
        """
        self._check_frames(a_BHWC, b_BHWC, target_BHWC)
        mean_B1111 = _mean_of_frames(jnp.stack([a_BHWC, b_BHWC], axis=1))
        pyramid = self._encode(target_BHWC - mean_B1111[:, 0])
        return pyramid[:-1][::-1]

    def _encode(self, x_NHWC: jax.Array) -> tuple[jax.Array, ...]:
        return self.encoder(pad_to_multiple(x_NHWC, self.config.total_stride))

    def _refine(
        self, pyramid: tuple[jax.Array, ...], time_B: jax.Array
    ) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
        """Returns the features, the flows `NHW2` after each decoder, and the last other channels.

        Features and flows run from coarse to fine.
        """
        features, flows = [], []
        coarsest_BHWC = _to_channels(pyramid[-1])
        time_B111 = time_B.astype(self.dtype)[:, None, None, None]
        time_BHW1 = jnp.broadcast_to(time_B111, (*coarsest_BHWC.shape[:3], 1))
        output_BHWC = self.decoders[-1](jnp.concatenate([coarsest_BHWC, time_BHW1], axis=-1))
        flow_NHW2, rest_BHWC = _split_output(output_BHWC)
        flows.append(flow_NHW2)
        for level in reversed(range(len(self.decoders) - 1)):
            features.append(rest_BHWC)
            warped_BHWC = _to_channels(backward_warp(pyramid[level], flow_NHW2))
            flow_BHWC = _to_channels(flow_NHW2).astype(self.dtype)
            inputs_BHWC = jnp.concatenate([rest_BHWC, warped_BHWC, flow_BHWC], axis=-1)
            change_NHW2, rest_BHWC = _split_output(self.decoders[level](inputs_BHWC))
            flow_NHW2 = resize_flow(flow_NHW2, change_NHW2.shape[1:3]) + change_NHW2
            flows.append(flow_NHW2)
        return features, flows, rest_BHWC

    def _check_frames(self, a_BHWC: jax.Array, *others: jax.Array) -> None:
        if a_BHWC.ndim != 4 or a_BHWC.shape[-1] != self.config.in_channels:
            raise ValueError(
                f"frames must be [B, H, W, {self.config.in_channels}], got {a_BHWC.shape}"
            )
        for other in others:
            if other.shape != a_BHWC.shape:
                raise ValueError(f"frames differ in shape: {a_BHWC.shape} and {other.shape}")


def _mean_of_frames(frames_BFHWC: jax.Array) -> jax.Array:
    """Returns the mean over both frames, all pixels and all channels: `[B, 1, 1, 1, 1]`."""
    return frames_BFHWC.mean(axis=(1, 2, 3, 4), keepdims=True, dtype=jnp.float32)


def _split_output(output_BHWC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits a decoder's output: flows to a and b `NHW2` float32, other channels `BHWC`."""
    flows = rearrange(output_BHWC[..., :4], "b h w (f c) -> (b f) h w c", f=2)
    return flows.astype(jnp.float32), output_BHWC[..., 4:]


def _fold_pair(x_BFHWC: jax.Array) -> jax.Array:
    """Folds pairs into the batch. Unlike `fold_frames`, it never orders them by device."""
    return rearrange(x_BFHWC, "b f h w c -> (b f) h w c")


def _to_channels(x_NHWC: jax.Array) -> jax.Array:
    """Concatenates the channels of a and those of b."""
    return rearrange(x_NHWC, "(b f) h w c -> b h w (f c)", f=2)


def _a_and_b(x_NHWC: jax.Array) -> tuple[jax.Array, jax.Array]:
    pair_BFHWC = rearrange(x_NHWC, "(b f) h w c -> b f h w c", f=2)
    return pair_BFHWC[:, 0], pair_BFHWC[:, 1]
