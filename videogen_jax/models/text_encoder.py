"""CLIP's text transformer (Radford et al. 2021): Stable Diffusion's text encoder (§3.1, §3.2).

Module names are those of transformers' `CLIPTextModel`, with `_` for `.` before an index.

Letters in names: B batch, T tokens, D hidden size.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.errors import UserError, require_positive
from videogen_jax.layout import constrain
from videogen_jax.models.transformer import Activation, TransformerLayer, layer_norm


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of a CLIP text transformer; the defaults are ViT-L/14's, used by Stable Diffusion 1.

    Stable Diffusion 2 uses the states before OpenCLIP ViT-H's last layer. Its diffusers files
    have 23 layers: `num_layers=23, skip_last_layers=0`. With all 24, use `skip_last_layers=1`.

    Attributes:
        vocab_size: Number of token ids.
        max_length: Longest sequence that has position embeddings.
        hidden_size: Width D, a multiple of `num_heads`.
        intermediate_size: Width of the MLP's hidden layer.
        num_layers: Transformer layers that have parameters.
        num_heads: Attention heads.
        activation: `quick_gelu`, x · sigmoid(1.702 x) (OpenAI), or exact `gelu` (OpenCLIP).
        layer_norm_eps: Epsilon of every LayerNorm.
        eos_token_id: The id whose first position in a sequence gives the pooled state.
        skip_last_layers: Last layers that `states_BTD` skip; `pooled_BD` is after all layers.
    """

    vocab_size: int = 49408
    max_length: int = 77
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_layers: int = 12
    num_heads: int = 12
    activation: Activation = "quick_gelu"
    layer_norm_eps: float = 1e-5
    eos_token_id: int = 49407
    skip_last_layers: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "vocab_size", "max_length", "hidden_size", "intermediate_size")
        require_positive(self, "num_layers", "num_heads")
        if self.hidden_size % self.num_heads:
            raise UserError(
                f"TextEncoderConfig.hidden_size={self.hidden_size} is not divisible by "
                f"num_heads={self.num_heads}"
            )
        if self.activation not in ("quick_gelu", "gelu"):
            raise UserError(
                f"TextEncoderConfig.activation={self.activation!r}, expected quick_gelu or gelu"
            )
        if not 0 <= self.skip_last_layers < self.num_layers:
            raise UserError(
                f"TextEncoderConfig.skip_last_layers={self.skip_last_layers}, "
                f"expected 0 to num_layers - 1 = {self.num_layers - 1}"
            )


class TextStates(NamedTuple):
    """Output of the text encoder.

    Attributes:
        states_BTD: Final-norm states of all tokens (`encoder_hidden_states` of cross-attention).
        pooled_BD: The last layer's final-norm state at the first end-of-text (`pooler_output`).
    """

    states_BTD: jax.Array
    pooled_BD: jax.Array


class TextEncoder(nn.Module):
    """Causal transformer from token ids to text states."""

    config: TextEncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, tokens_BT: jax.Array) -> TextStates:
        """Encodes token sequences.

        Args:
            tokens_BT: int32 ids in [0, vocab_size), T ≤ max_length. Padding is not masked, as in
                Stable Diffusion. A sequence without end-of-text pools its first token.

        Returns:
            States [B, T, D] and pooled states [B, D] in `dtype`.

        Raises:
            UserError: If T > max_length.
        """
        config = self.config
        length = tokens_BT.shape[1]
        if length > config.max_length:
            raise UserError(
                f"text of {length} tokens, but this text encoder takes at most {config.max_length}"
            )
        hidden_BTD = _Embeddings(config, self.dtype, name="embeddings")(tokens_BT)
        chosen_BTD, last_BTD = _Encoder(config, self.dtype, name="encoder")(hidden_BTD)
        final_norm = layer_norm(config, self.dtype, "final_layer_norm")
        states_BTD, last_BTD = final_norm(chosen_BTD), final_norm(last_BTD)
        end_B = jnp.argmax(tokens_BT == config.eos_token_id, axis=1)
        pooled_BD = jnp.take_along_axis(last_BTD, end_B[:, None, None], axis=1)[:, 0]
        return TextStates(states_BTD, pooled_BD)


class _Embeddings(nn.Module):
    config: TextEncoderConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, tokens_BT: jax.Array) -> jax.Array:
        config = self.config
        embed = partial(nn.Embed, features=config.hidden_size, dtype=self.dtype)
        normal = nn.initializers.normal
        token = embed(config.vocab_size, embedding_init=normal(0.02), name="token_embedding")
        place = embed(config.max_length, embedding_init=normal(0.01), name="position_embedding")
        return token(tokens_BT) + place(jnp.arange(tokens_BT.shape[1]))[None]


class _Encoder(nn.Module):
    config: TextEncoderConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the states after `num_layers - skip_last_layers` layers and after all of them."""
        config = self.config
        outputs = [hidden_BTD]
        for index in range(config.num_layers):
            layer = TransformerLayer(config, True, self.dtype, name=f"layers_{index}")
            outputs.append(constrain(layer(outputs[-1]), "batch . ."))
        return outputs[config.num_layers - config.skip_last_layers], outputs[-1]
