"""The other forms of a model of real size, and the comparison of its networks with torch."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from safetensors.numpy import save_file

from benchmarks.real_size_torch import save_checkpoint
from videogen_jax.config import ModelConfig
from videogen_jax.models.autoencoder import Autoencoder
from videogen_jax.models.text_encoder import TextEncoder
from videogen_jax.models.unet import SpaceTimeUNet
from videogen_jax.weights.config_file import load_config
from videogen_jax.weights.files import SafeTensors
from videogen_jax.weights.model_dir import load_component
from videogen_jax.weights.rules import export_weights
from videogen_jax.weights.tables.compvis import OPEN_CLIP, compvis_autoencoder, compvis_unet
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER


def write_pickles(source: Path, folder: Path) -> None:
    """Writes a copy of a diffusers folder with its weights as `.bin`."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for file in source.glob("*/*.safetensors"):
        tensors = SafeTensors(file)
        name = "pytorch_model" if file.stem == "model" else file.stem
        path = folder / file.parent.name / f"{name}.bin"
        torch.save({key: torch.from_numpy(tensors[key]) for key in tensors}, path)


def write_single_file(model: Path, path: Path) -> None:
    """Writes a converted model as a single file, by inverting this library's tables.

    `tests/weights/stable_diffusion/test_single_file.py` tests that its names are the real ones.
    """
    config = load_config(model / "config.json", ModelConfig)
    unet, levels = config.image.unet, len(config.autoencoder.block_out_channels)
    second = unet.linear_projection
    kind = "model" if second else "transformer.text_model"
    weights: dict[str, np.ndarray] = {}
    for name, prefix, table in (
        (
            "image_unet",
            "model.diffusion_model",
            compvis_unet(unet.attention_levels, unet.layers_per_block),
        ),
        ("autoencoder", "first_stage_model", compvis_autoencoder(levels)),
        ("text_encoder", f"cond_stage_model.{kind}", OPEN_CLIP if second else TEXT_ENCODER),
    ):
        params = load_component(model, name, dtype=None)
        exported = export_weights(table, params)
        weights |= {f"{prefix}.{key}": array for key, array in exported.items()}
        del params, exported
    if path.suffix == ".ckpt":
        save_checkpoint(weights, path)
    else:
        save_file(weights, path)


def differing_weights(first: Path, second: Path) -> list[str]:
    """Lists the tensors that are not equal bit for bit in two safetensors files."""
    ours, theirs = SafeTensors(first), SafeTensors(second)
    names = set(ours) ^ set(theirs)
    shared = set(ours) & set(theirs)
    return sorted(names | {n for n in shared if ours[n].tobytes() != theirs[n].tobytes()})


def compare(model: Path, reference: Path) -> None:
    """Prints a table row for each output of torch: the difference of ours from it."""
    config = load_config(model / "config.json", ModelConfig)
    values = np.load(reference)
    _compare_text(config, model, values)
    _compare_unet(config, model, values)
    _compare_autoencoder(config, model, values)


def _compare_text(config: ModelConfig, model: Path, values: Any) -> None:
    variables = {"params": load_component(model, "text_encoder")}
    network = TextEncoder(config.text_encoder)
    states = jax.jit(network.apply)(variables, values["tokens"].astype(np.int32))
    _report("text states", states.states_BTD, values["text_states"])
    _report("pooled text", states.pooled_BD, values["text_pooled"])


def _compare_unet(config: ModelConfig, model: Path, values: Any) -> None:
    variables = {"params": load_component(model, "image_unet")}
    network = SpaceTimeUNet(config.image.unet)
    noisy_BFHWC = _channels_last(values["noisy"])[:, None]
    timesteps_B, text_BTD = values["timesteps"].astype(np.float32), values["text_states"]
    ours_BFHWC = jax.jit(network.apply)(variables, noisy_BFHWC, timesteps_B, text_BTD)
    _report(f"UNet ({config.image.schedule.prediction})", ours_BFHWC[:, 0], values["unet"])


def _compare_autoencoder(config: ModelConfig, model: Path, values: Any) -> None:
    variables = {"params": load_component(model, "autoencoder")}
    network = Autoencoder(config.autoencoder)
    image_BHWC, latents_BHWC = (_channels_last(values[name]) for name in ("image", "latents"))
    encode = jax.jit(lambda v, x: network.apply(v, x, method="encode"))
    decode = jax.jit(lambda v, z: network.apply(v, z, method="decode"))
    encoded: Any = encode(variables, image_BHWC)
    _report("encoder, mean", encoded.mean, values["mean"])
    _report("encoder, log variance", encoded.logvar, values["logvar"])
    _report("decoder", decode(variables, latents_BHWC), values["decoded"])


def _report(name: str, ours: Any, theirs: np.ndarray) -> None:
    theirs = _channels_last(theirs) if theirs.ndim == 4 else theirs
    difference, largest = np.abs(np.asarray(ours) - theirs).max(), np.abs(theirs).max()
    print(f"| {name} | {difference:.1e} | {difference / largest:.1e} |", flush=True)


def _channels_last(x_BCHW: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x_BCHW.transpose(0, 2, 3, 1))
