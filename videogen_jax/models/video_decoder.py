"""The video decoder (§3.4): Stable Diffusion's image decoder with temporal layers.

Letters: B clips, F frames, H height, W width, C channels.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.layout import constrain
from videogen_jax.models.autoencoder import AutoencoderConfig, Decoder
from videogen_jax.models.layers import PointwiseConv, fold_frames, unfold_frames
from videogen_jax.models.remat import Remat


class VideoDecoder(nn.Module):
    """Decoder of raw latents `[B, F, H, W, Z]` to pixels `[B, F, H·factor, W·factor, 3]`.

    Pixels are about in [-1, 1], float32.

    A temporal convolution follows each 3×3 convolution, and a temporal attention the mid-block's
    attention. The parameters are the autoencoder's `decoder` and `post_quant_conv` plus
    `temporal_*`. Initialised from the autoencoder, it decodes frame by frame exactly as it does.
    """

    config: AutoencoderConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = "none"

    def setup(self):
        self.decoder = Decoder(self.config, True, self.dtype, self.remat)
        self.post_quant_conv = PointwiseConv(self.config.latent_channels, dtype=self.dtype)

    def __call__(self, z_BFHWC: jax.Array) -> jax.Array:
        frames = z_BFHWC.shape[1]
        images_NHWZ = fold_frames(constrain(z_BFHWC, "batch frames rows . ."))
        x = self.decoder(self.post_quant_conv(images_NHWZ), frames)
        return unfold_frames(x, frames).astype(jnp.float32)
