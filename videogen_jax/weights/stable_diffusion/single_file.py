"""Reader of single-file checkpoints of Stable Diffusion 1 and 2, in the original names.

The original names are those of CompVis and Stability. Sizes are inferred from the shapes. Heads and
activations are constants of the two families. The prediction type (noise or velocity) is an option,
because Stable Diffusion 2 has models of both types.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from videogen_jax.diffusion.schedule import Prediction, ScheduleConfig
from videogen_jax.errors import UserError
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.models.text_encoder import TextEncoderConfig
from videogen_jax.models.unet import UNetConfig
from videogen_jax.weights.files import PrefixedTensors, Tensors, open_tensors
from videogen_jax.weights.rules import Table
from videogen_jax.weights.stable_diffusion.sources import (
    Component,
    ComponentSource,
    StableDiffusionConfigs,
)
from videogen_jax.weights.tables.compvis import OPEN_CLIP, compvis_autoencoder, compvis_unet
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
# Not weights of the three networks: averages, the noise schedule, textual inversion, the projection
# of CLIP's loss, and a constant that programs which merge models add.
_IGNORED = re.compile(
    r"model_ema\..*|embedding_manager\..*"
    r"|cond_stage_model\.(logit_scale|text_projection(\.weight)?)"
    r"|cond_stage_model\.model\.transformer\.text_model\.embeddings\.position_ids"
    r"|(sqrt_)?(one_minus_)?(alphas|betas)(_cumprod)?(_prev)?"
    r"|(log_one_minus|sqrt_recip|sqrt_recipm1)_alphas_cumprod"
    r"|posterior_(variance|log_variance_clipped|mean_coef[12])|logvar|lvlb_weights|scale_factor"
)
_SD1_HEADS, _HEAD_WIDTH = 8, 64
_OPEN_CLIP_LAYERS = 24  # Stable Diffusion 2 uses the states before the last layer


def open_single_file(
    path: Path,
    components: Iterable[Component],
    prediction: Prediction | None = None,
    ema: bool = False,
) -> tuple[StableDiffusionConfigs, dict[Component, ComponentSource]]:
    """Reads the configs of a checkpoint and opens the weights of `components`.

    Args:
        path: The checkpoint.
        components: The networks to open.
        prediction: Prediction type of the UNet, which is not in the file. By default noise for
            Stable Diffusion 1 and velocity for 2 (the 768-v models; its base models need "eps").
        ema: Use the UNet's averaged weights, `model_ema`.

    Raises:
        MissingFile: The file does not exist.
        UserError: It is damaged, would run code, or is not Stable Diffusion 1 or 2; names the file.
    """
    tensors = open_tensors(path)
    second = _check_names(path, tensors)
    views: dict[Component, Tensors] = {
        "text_encoder": PrefixedTensors(tensors, _OPEN_CLIP if second else _CLIP),
        "image_unet": PrefixedTensors(tensors, _UNET),
        "autoencoder": PrefixedTensors(tensors, _VAE),
    }
    if ema:
        views["image_unet"] = _Averaged(path, tensors, views["image_unet"])
    try:
        unet = _unet(views["image_unet"], second)
        text, text_table = _text_encoder(views["text_encoder"], second)
        autoencoder = _autoencoder(views["autoencoder"])
        schedule = ScheduleConfig(prediction=prediction or ("v" if second else "eps"))
        size = 96 if second and schedule.prediction == "v" else 64
        configs = StableDiffusionConfigs(text, unet, autoencoder, schedule, size)
    except KeyError as error:
        raise UserError(f"{path} is no Stable Diffusion 1 or 2: it has no {error}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    tables: dict[Component, Table] = {
        "text_encoder": text_table,
        "image_unet": compvis_unet(unet.attention_levels, unet.layers_per_block),
        "autoencoder": compvis_autoencoder(len(autoencoder.block_out_channels)),
    }
    return configs, {
        name: ComponentSource(tables[name], views[name], str(path)) for name in components
    }


def _check_names(path: Path, tensors: Tensors) -> bool:
    """Returns True for Stable Diffusion 2 and False for 1; raises UserError for other files."""
    _check_family(path, tensors)
    second = any(n.startswith(_OPEN_CLIP) and not _IGNORED.fullmatch(n) for n in tensors)
    needed = (_UNET, _VAE, _OPEN_CLIP if second else _CLIP)
    if absent := [p for p in needed if not any(name.startswith(p) for name in tensors)]:
        raise UserError(f"{path} has no tensors called {', '.join(p + '*' for p in absent)}")
    known = [name for name in tensors if name.startswith(needed) or _IGNORED.fullmatch(name)]
    if surplus := sorted(set(tensors) - set(known)):
        raise UserError("\n  + unexpected ".join([f"{path} has more than is read:", *surplus]))
    return second


def _check_family(path: Path, tensors: Tensors) -> None:
    """Raises UserError for files of Stable Diffusion XL and unCLIP."""

    def has(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in tensors)

    if has("conditioner.embedders."):
        kind = "is Stable Diffusion XL"
    elif has("embedder.", "noise_augmentor."):
        kind = "is Stable Diffusion 2.1 unCLIP, which makes variations of images"
    elif has(_UNET + "label_emb."):
        kind = "has a UNet with label embeddings, as of Stable Diffusion XL and unCLIP"
    else:
        return
    raise UserError(
        f"{path} {kind}; only text-to-image models of Stable Diffusion 1 and 2 are read"
    )


def _indices(tensors: Tensors, pattern: str) -> set[int]:
    found = (re.match(pattern, name) for name in tensors)
    return {int(match[1]) for match in found if match}


def _unet(tensors: Tensors, second: bool) -> UNetConfig:
    channels, attention, layers = [], [], 0
    for i in range(1, len(_indices(tensors, r"input_blocks\.(\d+)\."))):
        if f"input_blocks.{i}.0.op.weight" in tensors:
            layers = 0
            continue
        if layers == 0:
            channels.append(tensors.shape(f"input_blocks.{i}.0.out_layers.3.bias")[0])
            attention.append(f"input_blocks.{i}.1.norm.weight" in tensors)
        layers += 1
    middle = "middle_block.1."
    linear = len(tensors.shape(middle + "proj_in.weight")) == 2
    if linear != second:
        raise UserError("the UNet is of one Stable Diffusion family, the text encoder of another")
    heads = tuple(c // _HEAD_WIDTH if second else _SD1_HEADS for c in channels)
    return UNetConfig(
        in_channels=tensors.shape("input_blocks.0.0.weight")[1],
        out_channels=tensors.shape("out.2.bias")[0],
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        attention_levels=tuple(attention),
        num_heads=heads,
        transformer_layers=len(_indices(tensors, re.escape(middle) + r"transformer_blocks\.(\d+)")),
        cross_attention_dim=tensors.shape(middle + "transformer_blocks.0.attn2.to_k.weight")[1],
        linear_projection=linear,
    )


def _autoencoder(tensors: Tensors) -> AutoencoderConfig:
    levels = len(_indices(tensors, r"encoder\.down\.(\d+)\."))
    widths = [tensors.shape(f"encoder.down.{i}.block.0.conv2.bias")[0] for i in range(levels)]
    return AutoencoderConfig(
        in_channels=tensors.shape("encoder.conv_in.weight")[1],
        latent_channels=tensors.shape("post_quant_conv.bias")[0],
        block_out_channels=tuple(widths),
        layers_per_block=len(_indices(tensors, r"encoder\.down\.0\.block\.(\d+)\.")),
        mid_attention="encoder.mid.attn_1.norm.weight" in tensors,
    )


def _text_encoder(tensors: Tensors, second: bool) -> tuple[TextEncoderConfig, Table]:
    if second:
        table, names = OPEN_CLIP, ("token_embedding.weight", "positional_embedding")
        layers = len(_indices(tensors, r"transformer\.resblocks\.(\d+)\."))
        mlp = "transformer.resblocks.0.mlp.c_fc.bias"
        if layers not in (_OPEN_CLIP_LAYERS, _OPEN_CLIP_LAYERS - 1):
            raise UserError(f"the text encoder has {layers} layers, expected 24, or the 23 used")
        if layers == _OPEN_CLIP_LAYERS:
            layers -= 1
            last = f"transformer.resblocks.{layers}."
            unused = tuple(name for name in tensors if name.startswith(last))
            table = replace(table, ignored=(*table.ignored, *unused))
    else:
        table = TEXT_ENCODER
        prefix = "text_model." if any(n.startswith("text_model.") for n in tensors) else ""
        names = [f"{prefix}embeddings.{kind}_embedding.weight" for kind in ("token", "position")]
        layers = len(_indices(tensors, re.escape(prefix) + r"encoder\.layers\.(\d+)\."))
        mlp = f"{prefix}encoder.layers.0.mlp.fc1.bias"
    vocab, width = tensors.shape(names[0])
    config = TextEncoderConfig(
        vocab_size=vocab,
        max_length=tensors.shape(names[1])[0],
        hidden_size=width,
        intermediate_size=tensors.shape(mlp)[0],
        num_layers=layers,
        num_heads=width // _HEAD_WIDTH,
        activation="gelu" if second else "quick_gelu",
        eos_token_id=vocab - 1,
    )
    return config, table


class _Averaged(Tensors):
    """The averaged weights of a UNet, stored under the weights' names without dots."""

    def __init__(self, path: Path, tensors: Tensors, plain: Tensors) -> None:
        names = {name: f"model_ema.diffusion_model{name.replace('.', '')}" for name in plain}
        if missing := [name for name in names.values() if name not in tensors]:
            raise UserError(f"{path} has no averaged weights {', '.join(missing[:5])}")
        self._tensors, self._names = tensors, names

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors.shape(self._names[name])
