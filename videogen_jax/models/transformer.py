"""The transformer layer that CLIP's two towers share (Radford et al. 2021).

Module names are those of transformers' `CLIPEncoderLayer`.

Letters in names: B batch, T tokens, D hidden size, N attention heads.
"""

from typing import Literal, Protocol

import jax
from flax import linen as nn
from jax.typing import DTypeLike

from videogen_jax.kernels.attention import attention

Activation = Literal["quick_gelu", "gelu"]


class TransformerConfig(Protocol):
    """What a configuration says of its transformer, see `TextEncoderConfig`."""

    @property
    def hidden_size(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def activation(self) -> Activation: ...
    @property
    def layer_norm_eps(self) -> float: ...


class TransformerLayer(nn.Module):
    """Self-attention and MLP, each after a LayerNorm and with a residual."""

    config: TransformerConfig
    causal: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        config, dtype = self.config, self.dtype
        normed_BTD = layer_norm(config, dtype, "layer_norm1")(hidden_BTD)
        hidden_BTD += _SelfAttention(config, self.causal, dtype, name="self_attn")(normed_BTD)
        normed_BTD = layer_norm(config, dtype, "layer_norm2")(hidden_BTD)
        return hidden_BTD + _MLP(config, dtype, name="mlp")(normed_BTD)


class _SelfAttention(nn.Module):
    config: TransformerConfig
    causal: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        config = self.config
        input_std = config.hidden_size**-0.5
        heads_shape = (*x_BTD.shape[:-1], config.num_heads, -1)

        def heads(name: str) -> jax.Array:
            projection = _dense(config.hidden_size, input_std, self.dtype, name)
            return projection(x_BTD).reshape(heads_shape)

        q_BTNH, k_BTNH, v_BTNH = heads("q_proj"), heads("k_proj"), heads("v_proj")
        mixed_BTNH = attention(q_BTNH, k_BTNH, v_BTNH, causal=self.causal)
        output = _dense(config.hidden_size, _residual_std(config), self.dtype, "out_proj")
        return output(mixed_BTNH.reshape(x_BTD.shape))


class _MLP(nn.Module):
    config: TransformerConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        config = self.config
        input_std = (2 * config.hidden_size) ** -0.5
        hidden = _dense(config.intermediate_size, input_std, self.dtype, "fc1")(x_BTD)
        if config.activation == "quick_gelu":
            hidden = hidden * jax.nn.sigmoid(1.702 * hidden)
        else:
            hidden = jax.nn.gelu(hidden, approximate=False)
        return _dense(config.hidden_size, _residual_std(config), self.dtype, "fc2")(hidden)


def layer_norm(config: TransformerConfig, dtype: DTypeLike, name: str) -> nn.LayerNorm:
    """Returns a LayerNorm, which Flax computes in float32 whatever `dtype` is, its result's."""
    return nn.LayerNorm(config.layer_norm_eps, dtype=dtype, use_fast_variance=False, name=name)


def _residual_std(config: TransformerConfig) -> float:
    """CLIP's initial scale of layers that write to the residual stream (openai/CLIP `model.py`)."""
    return (2 * config.num_layers * config.hidden_size) ** -0.5


def _dense(features: int, std: float, dtype: DTypeLike, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=dtype, kernel_init=nn.initializers.normal(std), name=name)
