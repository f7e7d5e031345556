"""Table of diffusers' `UNet2DConditionModel`, as used in Stable Diffusion 1 and 2."""

from videogen_jax.weights.rules import Rule, Table
from videogen_jax.weights.tables.layers import conv, linear, norm, pointwise, resnet

_DOWN, _UP = "down_blocks.{block}", "up_blocks.{block}"


def _attention(source: str) -> tuple[Rule, ...]:
    return (
        *linear(f"{source}.to_q"),
        *linear(f"{source}.to_k"),
        *linear(f"{source}.to_v"),
        *linear(f"{source}.to_out.0"),
    )


def _spatial_transformer(source: str) -> tuple[Rule, ...]:
    """Returns the rules of `Transformer2DModel`.

    Its projections are convolutions in Stable Diffusion 1 and linear layers in 2.
    """
    layer = source + ".transformer_blocks.{layer}"
    return (
        *norm(f"{source}.norm"),
        *pointwise(f"{source}.proj_in"),
        *norm(f"{layer}.norm1"),
        *_attention(f"{layer}.attn1"),
        *norm(f"{layer}.norm2"),
        *_attention(f"{layer}.attn2"),
        *norm(f"{layer}.norm3"),
        *linear(f"{layer}.ff.net.0.proj"),
        *linear(f"{layer}.ff.net.2"),
        *pointwise(f"{source}.proj_out"),
    )


def _block(source: str) -> tuple[Rule, ...]:
    return (
        *resnet(source + ".resnets.{i}"),
        *_spatial_transformer(source + ".attentions.{i}"),
    )


UNET = Table(
    rules=(
        *linear("time_embedding.linear_1"),
        *linear("time_embedding.linear_2"),
        *conv("conv_in"),
        *_block(_DOWN),
        *conv(f"{_DOWN}.downsamplers.0.conv"),
        *_block("mid_block"),
        *_block(_UP),
        *conv(f"{_UP}.upsamplers.0.conv"),
        *norm("conv_norm_out"),
        *conv("conv_out"),
    ),
)
