"""Conversion of Stable Diffusion weights to a model directory (§3.1; the warm start of §3.5).

Writes the components `text_encoder`, `image_unet` and `autoencoder`, the tokenizer, the
configuration, and `conversion.json`, a report of the weights read, written and left out.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videogen_jax.atomic import replacing, require_new_directory
from videogen_jax.config import DenoiserConfig, ModelConfig
from videogen_jax.diffusion.schedule import Prediction
from videogen_jax.errors import UserError
from videogen_jax.models import parameters
from videogen_jax.tokenizer import check_vocabulary
from videogen_jax.trees import Tree
from videogen_jax.weights.config_file import save_config
from videogen_jax.weights.manifest import record_files
from videogen_jax.weights.model_dir import DType, save_component
from videogen_jax.weights.reading import ComponentReport, mapping_lines, read_component, to_json
from videogen_jax.weights.stable_diffusion.folder import (
    Variant,
    folder_components,
    stable_diffusion_configs,
)
from videogen_jax.weights.stable_diffusion.hub import download, is_hub_id
from videogen_jax.weights.stable_diffusion.lora import LORA_COMPONENTS, Lora, open_loras
from videogen_jax.weights.stable_diffusion.single_file import open_single_file
from videogen_jax.weights.stable_diffusion.sources import (
    COMPONENTS,
    Component,
    ComponentSource,
    StableDiffusionConfigs,
)
from videogen_jax.weights.stable_diffusion.tokenizer_files import check_tokenizer, copy_tokenizer

REPORT = "conversion.json"


@dataclass(frozen=True)
class ConversionOptions:
    """Options of the conversion.

    Attributes:
        dtype: Type of the weights on disk; None keeps the source's.
        only: Components to convert; () for all. The configuration always describes all of them.
        variant: "fp16" selects a folder's half-precision files. By default they are used only if
            there are no others.
        prediction: Prediction type of a single file's UNet, which is not in the file. If None,
            noise ("eps") for Stable Diffusion 1 and velocity ("v") for 2, as in its 768-v models;
            its base models need "eps".
        ema: Use the UNet's averaged weights of a single file.
        tokenizer: Folder of the tokenizer for a single file, which does not contain one.
        lora: LoRA files to merge into the weights.
        lora_scale: Scales of the LoRA files: one for each, or one for all; () for 1.
    """

    dtype: DType | None = None
    only: tuple[Component, ...] = ()
    variant: Variant | None = None
    prediction: Prediction | None = None
    ema: bool = False
    tokenizer: Path | None = None
    lora: tuple[Path, ...] = ()
    lora_scale: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Source:
    """An opened source: its configs and its weights.

    Attributes:
        form: Kind of source, for the report.
        configs: Configs of all networks.
        components: Weights of the networks to convert.
        tokenizer: Folder of its files; None if it is not converted.
        loras: LoRA files to merge.
    """

    form: str
    configs: StableDiffusionConfigs
    components: Mapping[Component, ComponentSource]
    tokenizer: Path | None
    loras: tuple[Lora, ...] = ()

    def left_out(self) -> list[str]:
        """Returns lines about the layers of LoRA files that are not merged."""
        return [
            f"{len(layers)} layers of {name} in {lora.file} left out: it is not converted"
            for lora in self.loras
            for name, layers in lora.layers.items()
            if name not in self.components
        ]


def with_stable_diffusion(base: ModelConfig, configs: StableDiffusionConfigs) -> ModelConfig:
    """Returns `base` with Stable Diffusion's networks, and video UNets for a warm start from them.

    The stages and the refiner keep their own resolutions, sampling, conditions, temporal layers and
    shift of the schedule, and take the sizes and the prediction type of Stable Diffusion's UNet.
    The image model takes the resolution of that UNet's training, or `base`'s if it is unknown.

    Raises:
        UserError: `base` has another number of latent channels, or resolutions that the networks
            cannot have.
    """
    latents = configs.autoencoder.latent_channels
    if base.autoencoder.latent_channels != latents:
        raise UserError(
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
    source: Path,
    model_dir: Path,
    base: ModelConfig,
    *,
    options: ConversionOptions = ConversionOptions(),
    log: Callable[[str], object] = lambda line: None,
) -> ModelConfig:
    """Converts Stable Diffusion weights to a model directory, which is written atomically.

    One network is in memory at a time.

    Args:
        source: Diffusers folder, hub id or single file of Stable Diffusion 1 or 2.
        model_dir: Directory to write; must not exist, or be empty.
        base: Configuration of the other networks, see `with_stable_diffusion`.
        options: Options of the conversion.
        log: Called with the report, a few lines per network.

    Returns:
        The configuration written to `config.json`.

    Raises:
        MissingFile: A file of `source` is missing.
        UserError: A file of `source` is invalid, or `model_dir` exists or cannot be written; names
            the file and all its problems.
    """
    require_new_directory(model_dir)
    opened = _open_source(source, options)
    log("\n  ".join([f"{source}: {opened.form}", *opened.left_out()]))
    config = replace(with_stable_diffusion(base, opened.configs), name=model_dir.name)
    reports = {}
    with replacing(model_dir) as temporary:
        for name, params, report in _read_components(opened, options):
            save_component(temporary, name, params)
            log(f"{name}: {report.summary()}")
            reports[name] = to_json(report)
            del params  # before the next network is read
        if opened.tokenizer is not None:
            copy_tokenizer(opened.tokenizer, temporary / "tokenizer")
        save_config(temporary / "config.json", config)
        content = {"source": str(source), "form": opened.form, "components": reports}
        content["left_out_of_loras"] = opened.left_out()
        (temporary / REPORT).write_text(json.dumps(content, indent=2) + "\n")
        record_files(temporary)
    return config


def describe_conversion(
    source: Path, base: ModelConfig, options: ConversionOptions, log: Callable[[str], object]
) -> None:
    """Reads and checks everything as `convert_stable_diffusion` does, without writing anything.

    Args:
        source, base, options: As for `convert_stable_diffusion`.
        log: Called with the report and the target of each weight.

    Raises: as `convert_stable_diffusion`.
    """
    opened = _open_source(source, options)
    log("\n  ".join([f"{source}: {opened.form}", *opened.left_out()]))
    with_stable_diffusion(base, opened.configs)
    for name, params, report in _read_components(opened, options):
        lines = mapping_lines(opened.components[name], params, report)
        log("\n".join([f"{name}: {report.summary()}", *lines]))
        del params  # before the next network is read


def _open_source(source: Path, options: ConversionOptions) -> _Source:
    opened = _open_weights(source, options)
    if not options.lora and not options.lora_scale:
        return opened
    shapes: dict[Component, Tree] = {
        name: parameter_shapes(name, opened.configs) for name in LORA_COMPONENTS
    }
    loras = open_loras(options.lora, options.lora_scale, shapes, tuple(opened.components))
    return replace(opened, loras=loras)


def _open_weights(source: Path, options: ConversionOptions) -> _Source:
    components = options.only or COMPONENTS
    if source.is_file():
        return _open_single_file(source, options, components)
    form = "diffusers folder"
    if not source.exists() and is_hub_id(source.as_posix()):
        form = f"hub, {source}"
        source = download(source.as_posix(), components, options.variant)
    if options.ema or options.prediction or options.tokenizer:
        raise UserError(f"{source}: ema, prediction and tokenizer are options of single files")
    configs = stable_diffusion_configs(source)
    tokenizer = source / "tokenizer" if "text_encoder" in components else None
    if tokenizer is not None:
        check_tokenizer(tokenizer)
    return _Source(
        form,
        configs,
        folder_components(source, components, options.variant),
        tokenizer,
    )


def _open_single_file(
    source: Path, options: ConversionOptions, components: tuple[Component, ...]
) -> _Source:
    if options.variant is not None:
        raise UserError(f"{source}: variant is an option of diffusers folders")
    tokenizer = options.tokenizer if "text_encoder" in components else None
    if tokenizer is not None:
        check_tokenizer(tokenizer)
    elif "text_encoder" in components:
        raise UserError(f"{source} has no tokenizer in it; give its folder as option tokenizer")
    opened = open_single_file(source, components, options.prediction, options.ema)
    if tokenizer is not None:
        text = opened[0].text_encoder
        check_vocabulary(tokenizer, text.vocab_size, text.eos_token_id)
    schedule = opened[0].schedule
    told = "given" if options.prediction else "the default of its family, the file does not say"
    form = f"single file, prediction {schedule.prediction} ({told})"
    return _Source(form, *opened, tokenizer)


def _read_components(
    source: _Source, options: ConversionOptions
) -> Iterator[tuple[Component, dict[str, Any], ComponentReport]]:
    for name, weights in source.components.items():
        expected = parameter_shapes(name, source.configs)
        yield name, *read_component(name, weights, expected, options.dtype, source.loras)


def parameter_shapes(component: Component, configs: StableDiffusionConfigs) -> Tree:
    """The parameters of one of the networks, as a nested dict of `jax.ShapeDtypeStruct`."""
    match component:
        case "text_encoder":
            return parameters.shapes(parameters.init_text_encoder, configs.text_encoder)
        case "image_unet":
            width = configs.unet.cross_attention_dim
            return parameters.shapes(parameters.init_unet, configs.unet, width)
        case "autoencoder":
            return parameters.shapes(parameters.init_autoencoder, configs.autoencoder)
