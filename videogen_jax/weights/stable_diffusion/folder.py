"""Reader of Stable Diffusion's diffusers folders.

`save_pretrained` of a diffusers pipeline writes such a folder:

    model_index.json                           {"unet": ["diffusers", "UNet2DConditionModel"], ...}
    unet/config.json
    unet/diffusion_pytorch_model.safetensors
    text_encoder/config.json
    text_encoder/model.safetensors

Weights may also be in several files with an index, in half precision (variant `fp16`), or pickled.
Folders of other components, such as `safety_checker`, are ignored.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.json_text import read_json_object
from videogen_jax.weights.files import open_tensors
from videogen_jax.weights.rules import Table
from videogen_jax.weights.stable_diffusion import configs as diffusers_configs
from videogen_jax.weights.stable_diffusion.scheduler import Scheduler, read_scheduler
from videogen_jax.weights.stable_diffusion.sources import (
    Component,
    ComponentSource,
    StableDiffusionConfigs,
)
from videogen_jax.weights.tables.autoencoder import AUTOENCODER
from videogen_jax.weights.tables.text_encoder import TEXT_ENCODER
from videogen_jax.weights.tables.unet import UNET

Variant = Literal["fp16"]

INDEX = "model_index.json"
FOLDERS: Mapping[Component, str] = {
    "text_encoder": "text_encoder",
    "image_unet": "unet",
    "autoencoder": "vae",
}
"""The folder of each component."""
CONFIG_FILES = (
    INDEX,
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
    "scheduler/scheduler_config.json",
)

_CLASSES = {
    "text_encoder": "CLIPTextModel",
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
}
_TABLES: Mapping[Component, Table] = {
    "text_encoder": TEXT_ENCODER,
    "image_unet": UNET,
    "autoencoder": AUTOENCODER,
}
_STEMS = {
    "safetensors": ("diffusion_pytorch_model", "model"),
    "bin": ("diffusion_pytorch_model", "pytorch_model"),
}
# The place of the variant differs between diffusers and transformers and between their versions.
_FULL = ("{stem}.{suffix}", "{stem}.{suffix}.index.json")
_VARIANT = (
    "{stem}.{variant}.{suffix}",
    "{stem}.{suffix}.index.{variant}.json",
    "{stem}.{suffix}.{variant}.index.json",
    "{stem}.{variant}.{suffix}.index.json",
)


def stable_diffusion_configs(folder: Path) -> StableDiffusionConfigs:
    """Reads the configs of a diffusers folder.

    Raises:
        MissingFile: The folder or one of its config files does not exist.
        UserError: It is not a Stable Diffusion 1 or 2 text-to-image folder; names the file, all its
            unsupported fields, and what was expected.
    """
    _check_folder(folder)
    scheduler = folder_scheduler(folder)
    configs = (
        diffusers_configs.text_encoder_config(folder / "text_encoder" / "config.json"),
        diffusers_configs.unet_config(folder / "unet" / "config.json"),
        diffusers_configs.autoencoder_config(folder / "vae" / "config.json"),
        scheduler.schedule,
        diffusers_configs.unet_sample_size(folder / "unet" / "config.json"),
        scheduler.sampler,
    )
    try:
        return StableDiffusionConfigs(*configs)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error


def folder_scheduler(folder: Path) -> Scheduler:
    """Reads the noise schedule and the sampler of a diffusers folder; see `read_scheduler`."""
    entry = read_json_object(folder / INDEX).get("scheduler")
    class_name = entry[-1] if isinstance(entry, list) and entry else None
    return read_scheduler(folder / "scheduler" / "scheduler_config.json", class_name)


def folder_components(
    folder: Path, components: Iterable[Component], variant: Variant | None = None
) -> tuple[dict[Component, ComponentSource], list[str]]:
    """Opens the weights of `components` in a diffusers folder.

    Returns:
        The weights, and a line for each component that has no files of `variant`: its other files
        are read.

    Raises:
        MissingFile: There is no weights file, or no component has any of `variant`; lists the
            files.
        UserError: A file is damaged or would run code.
    """
    names = list(components)
    lacking = [name for name in names if not _has_variant(folder / FOLDERS[name], variant)]
    sources, notes = {}, []
    for name in names:
        is_lacking = name in lacking and len(lacking) < len(names)
        path = find_weights(folder / FOLDERS[name], None if is_lacking else variant)
        sources[name] = ComponentSource(_TABLES[name], open_tensors(path), str(path))
        if is_lacking:
            notes.append(f"{name} has no weights of variant {variant}: {path.name} is read")
    return sources, notes


def _has_variant(folder: Path, variant: Variant | None) -> bool:
    return choose_weights((path.name for path in folder.iterdir()), variant) is not None


def choose_weights(names: Iterable[str], variant: Variant | None = None) -> str | None:
    """Selects the weights file, or index of files, to read from a component's folder.

    Safetensors are preferred to pickles. Without `variant`, full-precision files are preferred to
    half precision; with it, only its files are considered. Capitals in names do not matter. Returns
    None if there is no such file.
    """
    present = {name.lower(): name for name in names}
    patterns = {"": _FULL, "fp16": _VARIANT}
    for kind in [variant] if variant else ["", "fp16"]:
        for suffix, stems in _STEMS.items():
            for pattern in patterns[kind]:
                for stem in stems:
                    name = pattern.format(stem=stem, suffix=suffix, variant=kind)
                    if name in present:
                        return present[name]
    return None


def find_weights(folder: Path, variant: Variant | None = None) -> Path:
    """Returns the path of the file that `choose_weights` selects in a component's folder.

    Raises:
        MissingFile: There is no such file; lists the files.
    """
    name = choose_weights((path.name for path in folder.iterdir()), variant)
    if name is None:
        kind = f"weights of variant {variant}" if variant else "weights"
        raise MissingFile(
            f"no {kind} in {folder}, which has {_listing(folder)}; expected "
            "diffusion_pytorch_model or model as .safetensors, or as .bin"
        )
    return folder / name


def _check_folder(folder: Path) -> None:
    """Raises unless `folder` is a diffusers pipeline with Stable Diffusion 1's components."""
    if not folder.is_dir():
        raise MissingFile(f"no folder {folder}")
    if not (folder / INDEX).is_file():
        raise UserError(
            f"{folder} has no {INDEX}, it has {_listing(folder)}; a diffusers folder is expected"
        )
    index = read_json_object(folder / INDEX)
    if "text_encoder_2" in index:
        raise UserError(
            f"{folder} is Stable Diffusion XL or another model with two text encoders; "
            "only Stable Diffusion 1 and 2 are read"
        )
    problems = []
    for name, expected in _CLASSES.items():
        entry = index.get(name)
        if not isinstance(entry, list) or entry[-1:] != [expected]:
            problems.append(f"{name} is {json.dumps(entry)}, expected a {expected}")
        elif not (folder / name).is_dir():
            problems.append(f"the folder {name} is missing")
    if problems:
        raise UserError(f"{folder / INDEX}: {'; '.join(problems)}")


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
