"""Stable Diffusion weights into a model directory (§3.1; the warm start of §3.5).

Reads a diffusers folder of Stable Diffusion 1 or 2 (see `files`); writes the components
`text_encoder`, `image_unet` and `autoencoder`, the tokenizer and the configuration.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from videogen_jax.atomic import replacing
from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.diffusion.schedule import ScheduleConfig
from videogen_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from videogen_jax.models.text_encoder import TextEncoder, TextEncoderConfig
from videogen_jax.models.unet import SpaceTimeUNet, UNetConfig
from videogen_jax.trees import Tree
from videogen_jax.weights import diffusers_configs
from videogen_jax.weights.config_file import save_config
from videogen_jax.weights.files import check_diffusers_folder, find_weights, open_tensors
from videogen_jax.weights.model_dir import DType, save_component
from videogen_jax.weights.rules import Table, import_weights
from videogen_jax.weights.tables.autoencoder import AUTOENCODER
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER
from videogen_jax.weights.tables.unet import UNET

_CLASSES = {
    "text_encoder": "CLIPTextModel",
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
}
_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True)
class StableDiffusionConfigs:
    """What the networks of a Stable Diffusion folder are.

    Attributes:
        text_encoder, unet, autoencoder: Configs of the networks.
        schedule: The noise schedule and prediction the UNet was trained with.
        sample_size: Latents per side it was trained at, None if the folder does not say.
    """

    text_encoder: TextEncoderConfig
    unet: UNetConfig
    autoencoder: AutoencoderConfig
    schedule: ScheduleConfig
    sample_size: int | None

    def __post_init__(self) -> None:
        latents, channels = self.autoencoder.latent_channels, self.unet.in_channels
        if not latents == channels == self.unet.out_channels:
            raise ValueError(
                f"the UNet has {channels} input and {self.unet.out_channels} output channels, "
                f"expected the autoencoder's {latents} latent channels: not a text-to-image model"
            )
        if self.unet.cross_attention_dim != self.text_encoder.hidden_size:
            raise ValueError(
                f"the UNet attends to text of width {self.unet.cross_attention_dim}, "
                f"the text encoder gives {self.text_encoder.hidden_size}"
            )


def stable_diffusion_configs(folder: Path) -> StableDiffusionConfigs:
    """Reads the configs of a diffusers folder.

    Raises:
        FileNotFoundError: The folder or one of its config files does not exist.
        ValueError: It is not a Stable Diffusion 1 or 2 text-to-image folder; names the file, all of
            its fields that are not supported, and what was expected.
    """
    check_diffusers_folder(folder, _CLASSES)
    configs = (
        diffusers_configs.text_encoder_config(folder / "text_encoder" / "config.json"),
        diffusers_configs.unet_config(folder / "unet" / "config.json"),
        diffusers_configs.autoencoder_config(folder / "vae" / "config.json"),
        diffusers_configs.schedule_config(folder / "scheduler" / "scheduler_config.json"),
        diffusers_configs.unet_sample_size(folder / "unet" / "config.json"),
    )
    try:
        return StableDiffusionConfigs(*configs)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def import_text_encoder(folder: Path, config: TextEncoderConfig) -> dict[str, Any]:
    """Parameters of `TextEncoder(config)` from the folder of a transformers `CLIPTextModel`.

    Arrays are numpy and keep the file's dtype.

    Raises:
        FileNotFoundError: No weights file that is read; names what there is.
        ValueError: Not a safetensors file, or its weights do not fit `config`; names the file and
            every weight that is unexpected, missing, given twice or of the wrong shape.
    """
    tokens_BT = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    return _import(TEXT_ENCODER, folder, TextEncoder(config).init, tokens_BT)


def import_unet(folder: Path, config: UNetConfig) -> dict[str, Any]:
    """As `import_text_encoder`, for `SpaceTimeUNet(config)`, a diffusers `UNet2DConditionModel`."""
    size = 2 ** (len(config.block_out_channels) - 1)
    x_BFHWC = jax.ShapeDtypeStruct((1, 1, size, size, config.in_channels), jnp.float32)
    timesteps_B = jax.ShapeDtypeStruct((1,), jnp.float32)
    text_BTD = jax.ShapeDtypeStruct((1, 1, config.cross_attention_dim), jnp.float32)
    return _import(UNET, folder, SpaceTimeUNet(config).init, x_BFHWC, timesteps_B, text_BTD)


def import_autoencoder(folder: Path, config: AutoencoderConfig) -> dict[str, Any]:
    """As `import_text_encoder`, for `Autoencoder(config)` and a diffusers `AutoencoderKL`."""
    shape = (1, config.factor, config.factor, config.in_channels)
    x_BHWC = jax.ShapeDtypeStruct(shape, jnp.float32)
    return _import(AUTOENCODER, folder, Autoencoder(config).init, x_BHWC)


def with_stable_diffusion(base: ModelConfig, configs: StableDiffusionConfigs) -> ModelConfig:
    """`base` with Stable Diffusion's networks, and video UNets that can start warm from them.

    The stages and the refiner keep what is theirs (resolutions, sampling, conditions, temporal
    layers, shift of the schedule) and take the sizes and the prediction of Stable Diffusion's UNet.
    Images are made at the resolution that it was trained at, `base`'s if that is not known.

    Raises:
        ValueError: `base` has another number of latent channels, or resolutions that the networks
            cannot have.
    """
    latents = configs.autoencoder.latent_channels
    if base.autoencoder.latent_channels != latents:
        raise ValueError(
            f"the autoencoder has {latents} latent channels, "
            f"configuration {base.name!r} is for {base.autoencoder.latent_channels}"
        )

    image = replace(base.image, unet=configs.unet, schedule=configs.schedule)
    if configs.sample_size is not None:
        image = replace(image, resolution=configs.sample_size * configs.autoencoder.factor)

    def widened(denoiser: DenoiserConfig) -> DenoiserConfig:
        unet = replace(
            configs.unet,
            in_channels=denoiser.unet.in_channels,
            temporal=denoiser.unet.temporal,
            frame_embedding=denoiser.unet.frame_embedding,
            low_res_noise=denoiser.unet.low_res_noise,
        )
        schedule = replace(configs.schedule, shift=denoiser.schedule.shift)
        return replace(denoiser, unet=unet, schedule=schedule)

    return replace(
        base,
        text_encoder=configs.text_encoder,
        autoencoder=configs.autoencoder,
        image=image,
        stages=tuple(widened(stage) for stage in base.stages),
        refiner=widened(base.refiner),
    )


def convert_stable_diffusion(
    source: Path, model_dir: Path, base: ModelConfig, dtype: DType | None = None
) -> ModelConfig:
    """Converts a diffusers folder into a model directory, which appears whole or not at all.

    One network is in memory at a time.

    Args:
        source: Diffusers folder of Stable Diffusion 1 or 2.
        model_dir: Must not exist, or be empty.
        base: What Stable Diffusion does not say: see `with_stable_diffusion`.
        dtype: Of the weights on disk; None keeps the source's.

    Returns:
        The configuration written to `config.json`.

    Raises:
        FileNotFoundError: A file of `source` is missing.
        ValueError: A file of `source` is not what it should be, or `model_dir` is in use or cannot
            be written; names the file and all that is wrong with it.
    """
    if model_dir.exists() and not (model_dir.is_dir() and not any(model_dir.iterdir())):
        raise ValueError(f"{model_dir} exists already; give the name of a new directory")
    configs = stable_diffusion_configs(source)
    config = replace(with_stable_diffusion(base, configs), name=model_dir.name)
    components = {
        "text_encoder": partial(import_text_encoder, source / "text_encoder", configs.text_encoder),
        "image_unet": partial(import_unet, source / "unet", configs.unet),
        "autoencoder": partial(import_autoencoder, source / "vae", configs.autoencoder),
    }
    with replacing(model_dir) as temporary:
        for name, read in components.items():
            save_component(temporary, name, read(), dtype)
        _copy_tokenizer(source / "tokenizer", temporary / "tokenizer")
        save_config(temporary / "config.json", config)
    return config


def _import(table: Table, folder: Path, init: Callable[..., Any], *inputs: Any) -> dict[str, Any]:
    expected: Tree = jax.eval_shape(init, jax.random.key(0), *inputs)["params"]
    path = find_weights(folder)
    with open_tensors(path) as tensors:
        return import_weights(table, tensors, expected, name=str(path))


def _copy_tokenizer(source: Path, target: Path) -> None:
    """Copies CLIP's files; only older transformers wrote a `special_tokens_map.json`."""
    missing = [name for name in _TOKENIZER_FILES if not (source / name).is_file()]
    if missing:
        raise FileNotFoundError(f"no {', '.join(missing)} in {source}")
    target.mkdir()
    for name in (*_TOKENIZER_FILES, "special_tokens_map.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
