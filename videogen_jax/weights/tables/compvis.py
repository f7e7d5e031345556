"""Tables of Stable Diffusion's original names (CompVis, Stability), as in single-file checkpoints.

The UNet's blocks are numbered consecutively: its rules depend on the number of blocks per level.
"""

from collections.abc import Sequence

from videogen_jax.weights.rules import EMBEDDING, LINEAR, VECTOR, Rule, Table
from videogen_jax.weights.tables.layers import conv, embedding, linear, norm, path_of, pointwise


def compvis_unet(attention_levels: Sequence[bool], layers_per_block: int) -> Table:
    """Returns the table of `model.diffusion_model`.

    Args:
        attention_levels: Whether each level has spatial transformers.
        layers_per_block: Residual blocks per level.
    """
    rules = [
        *linear("time_embed.0", "time_embedding.linear_1"),
        *linear("time_embed.2", "time_embedding.linear_2"),
        *conv("input_blocks.0.0", "conv_in"),
        *_resnet("middle_block.0", "mid_block.resnets.0"),
        *_transformer("middle_block.1", "mid_block.attentions.0"),
        *_resnet("middle_block.2", "mid_block.resnets.1"),
        *norm("out.0", "conv_norm_out"),
        *conv("out.2", "conv_out"),
    ]
    last = len(attention_levels) - 1
    number = 1
    for level, attends in enumerate(attention_levels):
        for i in range(layers_per_block):
            rules += _block(f"input_blocks.{number}", f"down_blocks.{level}", i, attends)
            number += 1
        if level < last:
            name = f"down_blocks.{level}.downsamplers.0.conv"
            rules += conv(f"input_blocks.{number}.0.op", name)
            number += 1
    number = 0
    for level, attends in enumerate(reversed(attention_levels)):
        for i in range(layers_per_block + 1):
            rules += _block(f"output_blocks.{number}", f"up_blocks.{level}", i, attends)
            number += 1
        if level < last:
            place = 2 if attends else 1
            name = f"up_blocks.{level}.upsamplers.0.conv"
            rules += conv(f"output_blocks.{number - 1}.{place}.conv", name)
    return Table(tuple(rules))


def _block(source: str, ours: str, i: int, attends: bool) -> list[Rule]:
    rules = [*_resnet(f"{source}.0", f"{ours}.resnets.{i}")]
    return [*rules, *_transformer(f"{source}.1", f"{ours}.attentions.{i}")] if attends else rules


def _resnet(source: str, ours: str) -> tuple[Rule, ...]:
    return (
        *norm(f"{source}.in_layers.0", f"{ours}.norm1"),
        *conv(f"{source}.in_layers.2", f"{ours}.conv1"),
        *linear(f"{source}.emb_layers.1", f"{ours}.time_emb_proj"),
        *norm(f"{source}.out_layers.0", f"{ours}.norm2"),
        *conv(f"{source}.out_layers.3", f"{ours}.conv2"),
        *conv(f"{source}.skip_connection", f"{ours}.conv_shortcut"),
    )


def _transformer(source: str, ours: str) -> tuple[Rule, ...]:
    rules = [
        *norm(f"{source}.norm", f"{ours}.norm"),
        *pointwise(f"{source}.proj_in", f"{ours}.proj_in"),
        *pointwise(f"{source}.proj_out", f"{ours}.proj_out"),
    ]
    layer = "transformer_blocks.{layer}"
    names = [f"{a}.{p}" for a in ("attn1", "attn2") for p in ("to_q", "to_k", "to_v", "to_out.0")]
    for name in [*names, "ff.net.0.proj", "ff.net.2"]:
        rules += linear(f"{source}.{layer}.{name}", f"{ours}.{layer}.{name}")
    for name in ("norm1", "norm2", "norm3"):
        rules += norm(f"{source}.{layer}.{name}", f"{ours}.{layer}.{name}")
    return tuple(rules)


def compvis_autoencoder(levels: int) -> Table:
    """Returns the table of `first_stage_model`, whose decoder counts levels from the finest."""
    down = [("encoder.down." + str(i), f"encoder.down_blocks.{i}", "down") for i in range(levels)]
    up = [(f"decoder.up.{levels - 1 - i}", f"decoder.up_blocks.{i}", "up") for i in range(levels)]
    rules = [*conv("quant_conv"), *conv("post_quant_conv")]
    for source, ours, way in [*down, *up]:
        rules += _autoencoder_resnet(f"{source}.block.{{i}}", f"{ours}.resnets.{{i}}")
        rules += conv(f"{source}.{way}sample.conv", f"{ours}.{way}samplers.0.conv")
    for half in ("encoder", "decoder"):
        middle = f"{half}.mid_block"
        rules += conv(f"{half}.conv_in")
        rules += _autoencoder_resnet(f"{half}.mid.block_1", f"{middle}.resnets.0")
        rules += _autoencoder_resnet(f"{half}.mid.block_2", f"{middle}.resnets.1")
        rules += norm(f"{half}.mid.attn_1.norm", f"{middle}.attentions.0.group_norm")
        for theirs, name in [("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")]:
            rules += pointwise(f"{half}.mid.attn_1.{theirs}", f"{middle}.attentions.0.{name}")
        rules += norm(f"{half}.norm_out", f"{half}.conv_norm_out")
        rules += conv(f"{half}.conv_out")
    return Table(tuple(rules))


def _autoencoder_resnet(source: str, ours: str) -> tuple[Rule, ...]:
    return (
        *norm(f"{source}.norm1", f"{ours}.norm1"),
        *conv(f"{source}.conv1", f"{ours}.conv1"),
        *norm(f"{source}.norm2", f"{ours}.norm2"),
        *conv(f"{source}.conv2", f"{ours}.conv2"),
        *conv(f"{source}.nin_shortcut", f"{ours}.conv_shortcut"),
    )


_OPEN_CLIP_LAYER = "transformer.resblocks.{i}"
_CLIP_LAYER = "encoder.layers.{i}"
_FUSED = tuple(
    rule
    for part, name in enumerate(("q_proj", "k_proj", "v_proj"))
    for rule in (
        Rule(
            f"{_OPEN_CLIP_LAYER}.attn.in_proj_weight",
            path_of(f"{_CLIP_LAYER}.self_attn.{name}") + "/kernel",
            LINEAR,
            (part, 3),
        ),
        Rule(
            f"{_OPEN_CLIP_LAYER}.attn.in_proj_bias",
            path_of(f"{_CLIP_LAYER}.self_attn.{name}") + "/bias",
            VECTOR,
            (part, 3),
        ),
    )
)

OPEN_CLIP = Table(
    rules=(
        *embedding("token_embedding", "embeddings.token_embedding"),
        Rule("positional_embedding", "embeddings/position_embedding/embedding", EMBEDDING),
        *norm(f"{_OPEN_CLIP_LAYER}.ln_1", f"{_CLIP_LAYER}.layer_norm1"),
        *_FUSED,
        *linear(f"{_OPEN_CLIP_LAYER}.attn.out_proj", f"{_CLIP_LAYER}.self_attn.out_proj"),
        *norm(f"{_OPEN_CLIP_LAYER}.ln_2", f"{_CLIP_LAYER}.layer_norm2"),
        *linear(f"{_OPEN_CLIP_LAYER}.mlp.c_fc", f"{_CLIP_LAYER}.mlp.fc1"),
        *linear(f"{_OPEN_CLIP_LAYER}.mlp.c_proj", f"{_CLIP_LAYER}.mlp.fc2"),
        *norm("ln_final", "final_layer_norm"),
    ),
    ignored=(
        "attn_mask",
        "logit_scale",
        "text_projection",
        "transformer.text_model.embeddings.position_ids",  # added by programs that merge models
    ),
)
"""OpenCLIP's text transformer, `cond_stage_model.model` of Stable Diffusion 2."""
