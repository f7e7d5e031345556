"""The command line of a run: a preset's name, a configuration file, and a flag for every field."""

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import tyro

from videogen_jax.cli import command
from videogen_jax.commands.other_names import TRAINING_NAMES, refuse_other_names
from videogen_jax.config import ModelConfig
from videogen_jax.configs.about import about_run
from videogen_jax.help_text import HELP_ALL, wants_help
from videogen_jax.home import expand_home
from videogen_jax.training.runs.config import RunConfig, load_run

ConfigFile: TypeAlias = Annotated[
    Path | None,
    tyro.conf.arg(
        name="config",
        metavar="FILE",
        help="a run's config.json, in place of PRESET; or a part of one after PRESET, whose fields "
        "replace those of PRESET. Flags override it.",
        help_behavior_hint="(optional)",
    ),
]
"""The type of a parameter `config_file`, which lists `--config` in `--help`."""

Check: TypeAlias = Callable[[Path, RunConfig], None]

# The options that `--help` shows, of hundreds; `--help-all` shows the others.
FIRST = """
    --steps --batch-size --accumulate --seed --init-from
    --task.warm-start --task.text-dropout --task.teacher --task.lpips
    --data.dataset --data.num-frames --data.resolution --data.fps --data.latent-cache
    --data.num-workers
    --optim.name --optim.learning-rate --optim.schedule --optim.warmup-steps --optim.freeze
    --loop.log-every --loop.sample-every --loop.validate-every --loop.checkpoint-every
    --loop.ema-decay
    --mesh.data --mesh.fsdp --mesh.frames
    --compute.dtype --compute.remat
""".split()


def call_with_run(
    main: Callable[..., object],
    runs: Mapping[str, RunConfig],
    prog: str,
    arguments: Sequence[str],
    *,
    description: str,
    check: Check | None = None,
) -> None:
    """Parses `[PRESET] [--config FILE] [--any.field VALUE …]` and other flags, and calls `main`.

    Args:
        main: function with a parameter `config`, which receives the run, and `config_file`, of type
            `ConfigFile`.
        runs: the presets by name.
        prog: name of the command in `--help`.
        arguments: the command line.
        description: description of the command in `--help`.
        check: raises a UserError if the run of a configuration file does not belong to this
            command; by default every run does.

    Raises:
        MissingFile: the configuration file does not exist.
        UserError: the file has an unknown field or a wrong type, or lacks a field without a preset
            to take it from.
        SystemExit: there are no arguments; the presets are printed.
    """
    if not arguments:
        print(f"{description} {_listing(runs, prog)}", file=sys.stderr)
        sys.exit(2)
    refuse_other_names(prog, arguments, TRAINING_NAMES)
    runs, path, words = dict(runs), *_config_file(prog, arguments)
    presets, default = runs, inspect.Parameter.empty
    named = runs.get(words[0]) if words else None
    if path is not None:
        default = load_run(path, named)
        if check is not None:
            check(path, default)
    elif named is not None:
        default = named
    elif wants_help(words):
        listing, own = _listing(runs, prog), _without_config(main)
        return command(own, prog, words, description=description, listing=listing)
    if default is not inspect.Parameter.empty:
        presets, words = None, words[named is not None :]
        prog = f"{prog} {arguments[0]}" if named is not None and wants_help(words) else prog
    run = tyro.extras.subcommand_type_from_defaults(presets) if presets else RunConfig
    more = []
    if isinstance(default, RunConfig) and wants_help(words) and HELP_ALL not in words:
        run, default, more = _HiddenModel, _HiddenModel.of(default), ["--model"]
    body = _with_config(main, run, default)
    options = (tyro.conf.AvoidSubcommands, tyro.conf.CascadeSubcommandArgs)
    command(
        body,
        prog,
        words,
        description=description,
        config=options,
        buckets=("run_dir", "model_dir"),
        first=FIRST,
        more=more,
    )


@dataclasses.dataclass(frozen=True)
class _HiddenModel(RunConfig):
    """A run without options for its model's fields, for a `--help` that does not show them."""

    model: tyro.conf.Suppress[ModelConfig]

    @classmethod
    def of(cls, config: RunConfig) -> "_HiddenModel":
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})


def _listing(runs: Mapping[str, RunConfig], prog: str) -> str:
    """Returns what to show without a preset: every preset with one line."""
    return "\n".join(
        [
            "Give a preset, or a run's configuration by --config FILE:",
            *(f"  {name:<28}{about_run(config)}" for name, config in runs.items()),
            f"`{prog} PRESET --help` shows the options of a preset.",
        ]
    )


def _config_file(prog: str, arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Returns the file of `--config`, and the other arguments."""
    parser = argparse.ArgumentParser(prog, add_help=False, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE")
    found, others = parser.parse_known_args(list(arguments))
    return None if found.config is None else expand_home(found.config), others


def _with_config(
    main: Callable[..., object], annotation: Any, default: Any = inspect.Parameter.empty
) -> Callable[..., object]:
    """Returns `main` with another type and default of `config`, whose fields have no prefix."""
    unprefixed = Annotated[annotation, tyro.conf.arg(name="")]
    signature = inspect.signature(main)
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
    ]
    at = list(signature.parameters).index("config")
    parameters[at] = parameters[at].replace(annotation=unprefixed, default=default)
    return _with_parameters(main, parameters)


def _without_config(main: Callable[..., object]) -> Callable[..., object]:
    """Returns `main` without `config`, for its help alone."""
    parameters = inspect.signature(main).parameters.values()
    return _with_parameters(main, [one for one in parameters if one.name != "config"])


def _with_parameters(
    main: Callable[..., object], parameters: Sequence[inspect.Parameter]
) -> Callable[..., object]:
    def body(**values: Any) -> object:
        return main(**values)

    body.__doc__, body.__name__ = main.__doc__, getattr(main, "__name__", "main")
    body.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    body.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return body
