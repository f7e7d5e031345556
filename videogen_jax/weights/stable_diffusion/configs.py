"""Conversion of the `config.json` files of a Stable Diffusion diffusers folder to our configs.

diffusers' classes have many fields that Stable Diffusion never varies. Each field is therefore one
of: read into our config; required to have the one value that our networks support; or without
effect on the network's computation. Any other field must be null, diffusers' value for "not used".
A missing field has the default of diffusers' class (0.42).
"""

import dataclasses
from pathlib import Path

from videogen_jax.errors import UserError
from videogen_jax.json_text import read_json_object
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.models.unet import UNetConfig
from videogen_jax.weights.config_file import from_dict
from videogen_jax.weights.stable_diffusion.fields import Fields, choices, read_fields

TEXT_ENCODER_FIELDS = Fields(
    read={
        "vocab_size": ("vocab_size", 49408),
        "max_position_embeddings": ("max_length", 77),
        "hidden_size": ("hidden_size", 512),
        "intermediate_size": ("intermediate_size", 2048),
        "num_hidden_layers": ("num_layers", 12),
        "num_attention_heads": ("num_heads", 8),
        "hidden_act": ("activation", "quick_gelu"),
        "layer_norm_eps": ("layer_norm_eps", 1e-5),
        "eos_token_id": ("eos_token_id", 49407),
    },
    fixed={"model_type": "clip_text_model"},
    without_effect=(
        "architectures",
        "attention_dropout",
        "bos_token_id",
        "dropout",
        "dtype",
        "initializer_factor",
        "initializer_range",
        "pad_token_id",
        "projection_dim",
        "torch_dtype",
        "transformers_version",
    ),
)

UNET_FIELDS = Fields(
    read={
        "in_channels": ("in_channels", 4),
        "out_channels": ("out_channels", 4),
        "block_out_channels": ("block_out_channels", [320, 640, 1280, 1280]),
        "layers_per_block": ("layers_per_block", 2),
        "down_block_types": ("down", ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]),
        "up_block_types": ("up", ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3),
        "attention_head_dim": ("num_heads", 8),
        "transformer_layers_per_block": ("transformer_layers", 1),
        "cross_attention_dim": ("cross_attention_dim", 1280),
        "use_linear_projection": ("linear_projection", False),
        "norm_num_groups": ("norm_groups", 32),
    },
    fixed={
        "act_fn": "silu",
        "attention_type": "default",
        "center_input_sample": False,
        "class_embeddings_concat": False,
        "conv_in_kernel": 3,
        "conv_out_kernel": 3,
        "downsample_padding": 1,
        "dropout": 0.0,
        "dual_cross_attention": False,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "mid_block_scale_factor": 1,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "norm_eps": 1e-5,
        "only_cross_attention": False,
        "resnet_out_scale_factor": 1.0,
        "resnet_skip_time_act": False,
        "resnet_time_scale_shift": "default",
        "time_embedding_type": "positional",
    },
    without_effect=(
        "addition_embed_type_num_heads",  # of an embedding whose type must be null
        # Of diffusers' EMAModel, which saves averaged weights as a network.
        "decay",
        "inv_gamma",
        "min_decay",
        "optimization_step",
        "power",
        "update_after_step",
        "use_ema_warmup",
        "sample_size",  # of the training images, see `unet_sample_size`
        "upcast_attention",  # our attention logits are always float32
    ),
)

AUTOENCODER_FIELDS = Fields(
    read={
        "in_channels": ("in_channels", 3),
        "out_channels": ("out_channels", 3),
        "latent_channels": ("latent_channels", 4),
        "down_block_types": ("down", ["DownEncoderBlock2D"]),
        "up_block_types": ("up", ["UpDecoderBlock2D"]),
        "block_out_channels": ("block_out_channels", [64]),
        "layers_per_block": ("layers_per_block", 1),
        "norm_num_groups": ("norm_groups", 32),
        "mid_block_add_attention": ("mid_attention", True),
        "scaling_factor": ("scaling_factor", 0.18215),
    },
    fixed={"act_fn": "silu", "use_post_quant_conv": True, "use_quant_conv": True},
    without_effect=("force_upcast", "sample_size"),
)

# The value in Stable Diffusion's files, for which transformers uses the highest id as end-of-text.
_LEGACY_EOS_TOKEN_ID = 2


def text_encoder_config(path: Path) -> TextEncoderConfig:
    """Reads the config of a transformers `CLIPTextModel`.

    Args:
        path: Its `config.json`.

    Raises:
        MissingFile: The file does not exist.
        UserError: A field is unknown or has an unsupported value; names the file and all such
            fields.
    """
    config = from_dict(read_fields(path, TEXT_ENCODER_FIELDS), TextEncoderConfig, where=str(path))
    if config.eos_token_id == _LEGACY_EOS_TOKEN_ID:
        return dataclasses.replace(config, eos_token_id=config.vocab_size - 1)
    return config


def unet_config(path: Path) -> UNetConfig:
    """Reads the config of a diffusers `UNet2DConditionModel`; see `text_encoder_config`."""
    data = read_fields(path, UNET_FIELDS)
    down_types = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
    up_types = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}
    down = choices(path, "down_block_types", data.pop("down"), down_types)
    up = choices(path, "up_block_types", data.pop("up"), up_types)
    if up != down[::-1]:
        raise UserError(f"{path}: up_block_types is not the mirror image of down_block_types")
    data["attention_levels"] = down
    if not isinstance(data["num_heads"], list):
        # diffusers' field is named after the size of a head, but is the number of heads.
        data["num_heads"] = [data["num_heads"]] * len(down)
    return from_dict(data, UNetConfig, where=str(path))


def unet_sample_size(path: Path) -> int | None:
    """Reads the latents per side of a `UNet2DConditionModel`'s training; None if not in the file.

    Raises:
        UserError: It is not an integer (not square); names the file.
    """
    size = read_json_object(path).get("sample_size")
    if size is not None and type(size) is not int:
        raise UserError(f"{path}: sample_size is {size!r}, expected a whole number or null")
    return size


def autoencoder_config(path: Path) -> AutoencoderConfig:
    """Reads the config of a diffusers `AutoencoderKL`; see `text_encoder_config`."""
    data = read_fields(path, AUTOENCODER_FIELDS)
    choices(path, "down_block_types", data.pop("down"), {"DownEncoderBlock2D": True})
    choices(path, "up_block_types", data.pop("up"), {"UpDecoderBlock2D": True})
    if data.pop("out_channels") != data["in_channels"]:
        raise UserError(f"{path}: out_channels differs from in_channels")
    return from_dict(data, AutoencoderConfig, where=str(path))
