"""Table of diffusers' `AutoencoderKL`, as used in Stable Diffusion 1 and 2.

The attention layers are named `query`, `key`, `value` and `proj_attn` in older files, and are 1×1
convolutions in some.
"""

from videogen_jax.weights.rules import Rule, Table
from videogen_jax.weights.tables.layers import conv, norm, pointwise, resnet


def _half(source: str, resampling: str) -> tuple[Rule, ...]:
    """Returns the rules of the encoder or decoder, which differ in the direction of the blocks."""
    attention = source + ".mid_block.attentions.{i}"
    return (
        *conv(f"{source}.conv_in"),
        *resnet(f"{source}.{resampling}_blocks.{{block}}.resnets.{{i}}"),
        *conv(f"{source}.{resampling}_blocks.{{block}}.{resampling}samplers.0.conv"),
        *resnet(source + ".mid_block.resnets.{i}"),
        *norm(f"{attention}.group_norm"),
        *pointwise(f"{attention}.to_q"),
        *pointwise(f"{attention}.to_k"),
        *pointwise(f"{attention}.to_v"),
        *pointwise(f"{attention}.to_out.0"),
        *norm(f"{source}.conv_norm_out"),
        *conv(f"{source}.conv_out"),
    )


AUTOENCODER = Table(
    rules=(
        *_half("encoder", "down"),
        *conv("quant_conv"),
        *conv("post_quant_conv"),
        *_half("decoder", "up"),
    ),
    aliases=(
        (".query.", ".to_q."),
        (".key.", ".to_k."),
        (".value.", ".to_v."),
        (".proj_attn.", ".to_out.0."),
    ),
)
