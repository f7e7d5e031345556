"""The command line of a run: a preset's name, a configuration file, and a flag for every field."""

import argparse
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import tyro

from videogen_jax.cli import command
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
        _print_presets(runs, prog, description)
        sys.exit(2)
    runs, path, words = dict(runs), *_config_file(prog, arguments)
    presets, default = runs, inspect.Parameter.empty
    if path is not None:
        preset = words[0] if words else ""
        config = load_run(path, runs.get(preset))
        if check is not None:
            check(path, config)
        if preset in runs:
            runs[preset] = config
        else:
            presets, default = None, config
    run = tyro.extras.subcommand_type_from_defaults(presets) if presets else RunConfig
    body = _with_config(main, run, default)
    options = (tyro.conf.AvoidSubcommands, tyro.conf.CascadeSubcommandArgs)
    command(body, prog, words, description=description, config=options)


def _print_presets(runs: Mapping[str, RunConfig], prog: str, description: str) -> None:
    print(
        f"{description} Give a preset, or a run's configuration by --config FILE:", file=sys.stderr
    )
    for name, config in runs.items():
        what = f"{config.task.component()} of the model {config.model.name}"
        print(f"  {name:<28}{what}, {config.steps} steps", file=sys.stderr)
    print(f"`{prog} PRESET --help` shows the options of a preset.", file=sys.stderr)


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

    def body(**values: Any) -> object:
        return main(**values)

    body.__doc__, body.__name__ = main.__doc__, getattr(main, "__name__", "main")
    body.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    body.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return body
