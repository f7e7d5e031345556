"""Conversion of Stable Diffusion weights to a model directory (§3.1; the warm start of §3.5).

Writes the components `text_encoder`, `image_unet` and `autoencoder`, the tokenizer, the
configuration, and `conversion.json`, a report of the weights read, written and left out.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from videogen_jax.atomic import replacing, require_new_directory
from videogen_jax.config import ModelConfig
from videogen_jax.conversion.model_config import with_stable_diffusion
from videogen_jax.conversion.result import check_model, check_samplers, write_tokenizer
from videogen_jax.diffusion.schedule import Prediction
from videogen_jax.errors import UserError
from videogen_jax.models import parameters
from videogen_jax.trees import Tree
from videogen_jax.vocabulary import end_of_text
from videogen_jax.weights.config_file import save_config
from videogen_jax.weights.manifest import record_files
from videogen_jax.weights.model_dir import DType, save_component
from videogen_jax.weights.reading import ComponentReport, mapping_lines, read_component, to_json
from videogen_jax.weights.stable_diffusion.folder import (
    Variant,
    folder_components,
    folder_scheduler,
    stable_diffusion_configs,
)
from videogen_jax.weights.stable_diffusion.hub import download, is_hub_id
from videogen_jax.weights.stable_diffusion.lora import Lora, open_loras
from videogen_jax.weights.stable_diffusion.lora_targets import LORA_COMPONENTS
from videogen_jax.weights.stable_diffusion.single_file import open_single_file
from videogen_jax.weights.stable_diffusion.sources import (
    COMPONENTS,
    Component,
    ComponentSource,
    StableDiffusionConfigs,
)
from videogen_jax.weights.stable_diffusion.tokenizer_files import check_tokenizer

REPORT = "conversion.json"


@dataclass(frozen=True)
class ConversionOptions:
    """Options of the conversion.

    Attributes:
        dtype: Type of the weights on disk; None keeps the source's.
        only: Components to convert; () for all. The configuration always describes all of them.
        variant: "fp16" selects a folder's half-precision files; a component without any is read
            from its other files. By default they are used only if there are no others.
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
        pad_id: The token that pads texts; None for the tokenizer's own.
        loras: LoRA files to merge.
        notes: Lines about what is read in another way than the source says.
    """

    form: str
    configs: StableDiffusionConfigs
    components: Mapping[Component, ComponentSource]
    tokenizer: Path | None
    pad_id: int | None = None
    loras: tuple[Lora, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Returns the notes and the lines of `left_out`."""
        return [*self.notes, *self.left_out()]

    def left_out(self) -> list[str]:
        """Returns lines about the layers of LoRA files that are not merged."""
        return [
            f"{len(layers)} layers of {name} in {lora.file} left out: it is not converted"
            for lora in self.loras
            for name, layers in lora.layers.items()
            if name not in self.components
        ]


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
    log("\n  ".join([f"{source}: {opened.form}", *opened.lines()]))
    config = replace(with_stable_diffusion(base, opened.configs), name=model_dir.name)
    check_samplers(config)
    reports = {}
    with replacing(model_dir) as temporary:
        notes = [*opened.notes, *_write_tokenizer(opened, temporary, log)]
        for name, params, report in _read_components(opened, options):
            save_component(temporary, name, params)
            log(f"{name}: {report.summary()}")
            reports[name] = to_json(report)
            del params  # before the next network is read
        save_config(temporary / "config.json", config)
        content = {"source": str(source), "form": opened.form, "components": reports}
        content["notes"] = notes
        content["left_out_of_loras"] = opened.left_out()
        (temporary / REPORT).write_text(json.dumps(content, indent=2) + "\n")
        record_files(temporary)
        check_model(temporary)
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
    log("\n  ".join([f"{source}: {opened.form}", *opened.lines()]))
    check_samplers(with_stable_diffusion(base, opened.configs))
    with TemporaryDirectory() as temporary:
        _write_tokenizer(opened, Path(temporary), log)
    for name, params, report in _read_components(opened, options):
        lines = mapping_lines(opened.components[name], params, report)
        log("\n".join([f"{name}: {report.summary()}", *lines]))
        del params  # before the next network is read


def _write_tokenizer(
    source: _Source, directory: Path, log: Callable[[str], object]
) -> tuple[str, ...]:
    """Writes the tokenizer, if there is one; returns and logs the changes of its files."""
    if source.tokenizer is None:
        return ()
    text = source.configs.text_encoder
    notes = write_tokenizer(source.tokenizer, directory / "tokenizer", text, source.pad_id)
    for note in notes:
        log(note)
    return notes


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
    configs = _with_end_of_text(configs, tokenizer)
    weights, notes = folder_components(source, components, options.variant)
    notes = (*folder_scheduler(source).notes, *notes)
    return _Source(form, configs, weights, tokenizer, notes=notes)


def _open_single_file(
    source: Path, options: ConversionOptions, components: tuple[Component, ...]
) -> _Source:
    if options.variant is not None:
        raise UserError(f"{source}: variant is an option of diffusers folders")
    tokenizer = options.tokenizer if "text_encoder" in components else None
    if tokenizer is None and "text_encoder" in components:
        raise UserError(f"{source} has no tokenizer in it; give its folder as option tokenizer")
    configs, weights = open_single_file(source, components, options.prediction, options.ema)
    configs = _with_end_of_text(configs, tokenizer)
    prediction = configs.schedule.prediction
    reason = "as chosen" if options.prediction else "the default of its family, not in the file"
    form = f"single file, prediction {prediction} ({reason})"
    # Stable Diffusion 2 pads with "!", the first token, and 1 with end-of-text.
    pad_id = 0 if configs.unet.linear_projection else configs.text_encoder.eos_token_id
    return _Source(form, configs, weights, tokenizer, pad_id)


def _with_end_of_text(
    configs: StableDiffusionConfigs, tokenizer: Path | None
) -> StableDiffusionConfigs:
    """Takes end-of-text from the tokenizer if the source does not state it; checks that they agree.

    The last embedding is the value for sources that do not: there may be added tokens behind it.
    """
    if tokenizer is None:
        return configs
    check_tokenizer(tokenizer)
    text = configs.text_encoder
    stated = None if text.eos_token_id == text.vocab_size - 1 else text.eos_token_id
    end = end_of_text(tokenizer, text.vocab_size, stated)
    return replace(configs, text_encoder=replace(text, eos_token_id=end))


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
