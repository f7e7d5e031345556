"""CLIP's two towers, for CLIPSIM (Radford et al. 2021).

The text tower is `TextEncoder`. Module names are those of transformers' `CLIPModel`, with `_` for
`.` before an index.

Letters: B batch, H height, W width, C channels, T tokens, D hidden size, E features.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError, require_positive
from videogen_jax.layout import constrain
from videogen_jax.models.text_encoder import TextEncoder, TextEncoderConfig
from videogen_jax.models.transformer import Activation, TransformerLayer, layer_norm


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of CLIP's vision transformer; the defaults are ViT-B/32's.

    Attributes:
        image_size: Pixels a side, a multiple of `patch_size`.
        patch_size: Pixels a side of a patch, each of which is a token.
        hidden_size: Width D, a multiple of `num_heads`.
        intermediate_size, num_layers, num_heads, activation, layer_norm_eps: As for
            `TextEncoderConfig`.
    """

    image_size: int = 224
    patch_size: int = 32
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_layers: int = 12
    num_heads: int = 12
    activation: Activation = "quick_gelu"
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        require_positive(self, "image_size", "patch_size", "hidden_size", "intermediate_size")
        require_positive(self, "num_layers", "num_heads")
        for whole, part in (("image_size", "patch_size"), ("hidden_size", "num_heads")):
            if getattr(self, whole) % getattr(self, part):
                raise UserError(
                    f"VisionConfig.{whole}={getattr(self, whole)} is not divisible by "
                    f"{part}={getattr(self, part)}"
                )


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of both towers; the defaults are ViT-B/32's, which CLIPSIM uses.

    Attributes:
        vision, text: The towers.
        num_features: Width E of their common features.
    """

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextEncoderConfig = field(
        default_factory=lambda: TextEncoderConfig(
            hidden_size=512, intermediate_size=2048, num_heads=8
        )
    )
    num_features: int = 512

    def __post_init__(self) -> None:
        require_positive(self, "num_features")


CLIP_VIT_B_32 = CLIPConfig()


class CLIP(nn.Module):
    """Both towers, each with the projection to the common features."""

    config: CLIPConfig
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        config = self.config
        self.vision_model = _VisionTower(config.vision, self.dtype)
        self.text_model = TextEncoder(config.text, self.dtype)
        projection = lambda: nn.Dense(config.num_features, use_bias=False, dtype=self.dtype)
        self.visual_projection, self.text_projection = projection(), projection()

    def __call__(self, x_BHWC: jax.Array, tokens_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns `images` and `texts`."""
        return self.images(x_BHWC), self.texts(tokens_BT)

    def images(self, x_BHWC: jax.Array) -> jax.Array:
        """Maps images of `image_size` pixels, normalised by `clip_pixels`, to features `[B, E]`."""
        return self.visual_projection(self.vision_model(x_BHWC)).astype(jnp.float32)

    def texts(self, tokens_BT: jax.Array) -> jax.Array:
        """Maps token ids, see `TextEncoder`, to features `[B, E]`, float32."""
        pooled_BD = self.text_model(tokens_BT).pooled_BD
        return self.text_projection(pooled_BD).astype(jnp.float32)


class _VisionTower(nn.Module):
    config: VisionConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        """Maps normalised images to the final-norm state of the class token, `[B, D]`."""
        config = self.config
        hidden_BTD = _VisionEmbeddings(config, self.dtype, name="embeddings")(x_BHWC)
        # The missing letter is in the public weights.
        hidden_BTD = layer_norm(config, self.dtype, "pre_layrnorm")(hidden_BTD)
        hidden_BTD = _VisionEncoder(config, self.dtype, name="encoder")(hidden_BTD)
        return layer_norm(config, self.dtype, "post_layernorm")(hidden_BTD[:, 0])


class _VisionEncoder(nn.Module):
    config: VisionConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        for index in range(self.config.num_layers):
            layer = TransformerLayer(self.config, False, self.dtype, name=f"layers_{index}")
            hidden_BTD = constrain(layer(hidden_BTD), "batch . .")
        return hidden_BTD


class _VisionEmbeddings(nn.Module):
    config: VisionConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_BHWC: jax.Array) -> jax.Array:
        """Returns the class token and the patches from left to right and top to bottom."""
        config, normal = self.config, nn.initializers.normal
        if x_BHWC.shape[1:] != (config.image_size, config.image_size, 3):
            raise UserError(f"CLIP takes {config.image_size}² RGB pixels, got {x_BHWC.shape[1:]}")
        size = 2 * (config.patch_size,)
        conv = nn.Conv(
            config.hidden_size,
            size,
            size,
            "VALID",
            use_bias=False,
            dtype=self.dtype,
            name="patch_embedding",
        )
        patches_BTD = conv(x_BHWC).reshape(len(x_BHWC), -1, config.hidden_size)
        one_D = self.param("class_embedding", normal(0.02), (config.hidden_size,))
        one_B1D = jnp.broadcast_to(one_D, (len(x_BHWC), 1, config.hidden_size))
        tokens_BTD = jnp.concatenate([one_B1D.astype(self.dtype), patches_BTD], axis=1)
        places = self.param(
            "position_embedding", normal(0.02), (tokens_BTD.shape[1], config.hidden_size)
        )
        return tokens_BTD + places.astype(self.dtype)
