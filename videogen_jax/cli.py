"""The `videogen` command, and what all commands share: exit codes and one-line errors.

Nothing heavy is imported here: `videogen --help` must answer immediately.
"""

import argparse
import contextlib
import difflib
import functools
import importlib
import inspect
import io
import logging
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from videogen_jax import __version__
from videogen_jax.errors import user_message
from videogen_jax.help_text import HELP_ALL, print_help, wants_help
from videogen_jax.home import path_of_home, with_home
from videogen_jax.paths import require_local

TRACEBACK = "--traceback"
_ABOUT_TRACEBACK = f"With {TRACEBACK} anywhere on the line, an error also prints its traceback."


class Command(NamedTuple):
    """The function of a command, and its line in `--help`."""

    target: str  # module in `videogen_jax.commands`, and its function with (prog, arguments)
    help: str


COMMANDS = {
    "sample": Command("sample.video:call", "generate videos from prompts"),
    "long": Command("sample.long:call", "generate a video of several clips"),
    "image": Command("sample.image:call", "generate images from prompts"),
    "interpolate": Command("sample.interpolate:call", "add frames between those of a video"),
    "restore": Command("sample.restore:call", "decode a video with the video decoder"),
    "plan-video": Command("sample.plan:call", "check whether a video fits in memory"),
    "evaluate": Command("sample.evaluate:call", "score a model or a folder of videos"),
    "evaluate-shapes": Command("sample.evaluate_shapes:call", "evaluate a shapes model"),
    "compare": Command("sample.compare:call", "make and tally a user study of two folders"),
    "app": Command("app:call", "open a page in the browser"),
    "gallery": Command("sample.gallery:call", "make the pictures of the README"),
    "ablations": Command("sample.ablations:call", "print the tables of the paper's ablations"),
    "train text-to-image": Command(
        "train.parts:text_to_image", "train the autoencoder, text encoder or image model"
    ),
    "train cascade": Command("train.parts:cascade", "train a stage of the cascade"),
    "train temporal-sr": Command("train.parts:temporal_sr", "train the flow or the refiner"),
    "train video-decoder": Command("train.parts:video_decoder", "train the video decoder"),
    "train shapes": Command("train.shapes:call", "train every part of the shipped model"),
    "train ablations": Command("train.ablations:call", "train the models for the ablations"),
    "export": Command("train.export:call", "add a run's result to a model directory"),
    "plan": Command("train.plan:call", "check whether a run's step fits in memory"),
    "ingest": Command("train.ingest:call", "make a dataset of clips"),
    "inspect": Command("train.inspect_dataset:call", "show what is in a dataset"),
    "to-tfds": Command("train.to_tfds:call", "write a dataset for TensorFlow Datasets"),
    "cache-latents": Command("train.cache_latents:call", "encode the clips of a dataset once"),
    "degradations": Command("train.degradations:call", "draw clips before and after degradation"),
    "tokenizer": Command("train.tokenizer:call", "build the tokenizer of the shapes model"),
    "convert stable-diffusion": Command(
        "convert.stable_diffusion:call", "convert Stable Diffusion to a model directory"
    ),
    "convert ifrnet": Command("convert.ifrnet:call", "add IFRNet's weights to a model directory"),
    "convert lpips": Command("convert.lpips:call", "add LPIPS's weights to a model directory"),
    "convert metric-weights": Command(
        "convert.metric_weights:call", "add a metric's network to a model directory"
    ),
    "convert to-diffusers": Command("convert.to_diffusers:call", "write a folder for diffusers"),
}
"""The commands by name, in the order in which `videogen --help` lists them."""


def main() -> None:
    """Runs the command named on the command line: the entry point of the `videogen` script.

    Names may have underscores for hyphens. The words after the name are the command's arguments.
    """
    own, rest = _own(sys.argv[1:])
    words = [word for word in own if word != TRACEBACK]
    for count in (2, 1):
        name = " ".join(words[:count]).replace("_", "-")
        if name in COMMANDS:
            return call(name, f"videogen {name}", words[count:] + rest)
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    group = words[0] if words and words[0] in groups else ""
    parser = _parser(group)
    words = words[1:] if group else words
    if not words:
        parser.print_help(sys.stderr)
        sys.exit(2)
    if not words[0].startswith("-"):
        asked = f"{group} {words[0]}".strip()
        spoken = {name.split()[-1]: name for name in COMMANDS} | {name: name for name in COMMANDS}
        found = difflib.get_close_matches(asked, [*spoken, *groups], n=1)
        nearest = f", did you mean {spoken.get(found[0], found[0])!r}?" if found else ""
        parser.error(f"no command {asked!r}{nearest}")
    parser.parse_args(words)


def call(name: str, prog: str, arguments: Sequence[str] | None = None) -> None:
    """Runs a command of the table and exits as `run` does.

    Args:
        name: name of the command in `COMMANDS`.
        prog: name of the program in `--help`.
        arguments: the command line; by default this process's own.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    module, _, function = COMMANDS[name].target.partition(":")

    def target() -> None:
        loaded = importlib.import_module(f"videogen_jax.commands.{module}")
        getattr(loaded, function)(prog, arguments)

    run(target)


def _parser(group: str) -> argparse.ArgumentParser:
    """Returns the parser that lists the commands of a group, or all of them for ""."""
    parser = argparse.ArgumentParser(
        prog=f"videogen {group}".strip(),
        description="VideoGen in JAX and Flax: reference-guided text-to-video generation.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28),
        epilog=f"`videogen COMMAND --help` shows the options of a command. {_ABOUT_TRACEBACK}",
    )
    if not group:
        parser.add_argument("--version", action="version", version=f"videogen {__version__}")
    listed = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, about in COMMANDS.items():
        if not group or name.startswith(f"{group} "):
            listed.add_parser(name.removeprefix(f"{group} "), help=about.help)
    return parser


def command(
    main: Callable[..., object],
    prog: str,
    args: Sequence[str] | None = None,
    *,
    description: str | None = None,
    config: Sequence[Any] = (),
    registry: Any = None,
    buckets: Collection[str] = (),
    **shown: Any,
) -> None:
    """Parses the command line with tyro, calls `main` and exits as `run` does.

    `--help` has at most 60 lines, `--help-all` shows every option with its whole description.

    Args:
        main: the script's function; tyro makes options of its parameters.
        prog: name of the script in `--help`.
        args: the command line; by default this process's own.
        description: description in `--help`, up to "Args:"; by default `main`'s docstring.
        config: tyro's markers.
        registry: tyro's registry of constructors, for types with a custom syntax.
        buckets: the parameters of type `Path` that may be URLs of buckets.
        **shown: arguments of `help_text` for `--help`.
    """
    from tyro.constructors import ConstructorRegistry

    if registry is None:
        registry = ConstructorRegistry()
    registry.primitive_rule(path_of_home)
    own, rest = _own(sys.argv[1:] if args is None else args)
    about = inspect.cleandoc(description or main.__doc__ or "").partition("\n\nArgs:")[0]
    words = [argument for argument in own if argument != TRACEBACK]
    options = {
        "prog": prog,
        "description": f"{about}\n\n{_ABOUT_TRACEBACK}",
        "config": tuple(config),
        "registry": registry,
    }
    if wants_help(own):
        run(lambda: print_help(main, options, everything=HELP_ALL in own, **shown))
        sys.exit(0)
    run(lambda: _parse_and_call(_with_local_paths(main, buckets), options, words, rest))


def _with_local_paths(main: Callable[..., object], buckets: Collection[str]) -> Callable[..., Any]:
    """Returns `main` with a check that no other path than those of `buckets` is a URL."""

    @functools.wraps(main)
    def checked(*positional: Any, **named: Any) -> object:
        given = inspect.signature(main).bind(*positional, **named).arguments
        for name, value in given.items():
            if name not in buckets and not isinstance(value, str):
                for path in value if isinstance(value, list | tuple) else [value]:
                    require_local(path, name)
        return main(*positional, **named)

    return checked


def _parse_and_call(
    main: Callable[..., object], options: dict[str, Any], own: Sequence[str], rest: list[str]
) -> None:
    import tyro

    tyro.cli(main, args=with_home(own) + rest, **options)


def run(main: Callable[[], object]) -> None:
    """Calls a script's function; exits with 1 after an error, 2 (by tyro) for wrong usage.

    Errors that a user can cause are printed in one line, after their traceback if `--traceback` is
    on the command line. Any other exception is a bug and keeps its traceback. An interrupt exits
    with 130.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # As on stderr: a file name that is not UTF-8 must not end a command that has succeeded.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with showing_log():
            main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        if traceback_wanted():
            traceback.print_exc()
        print(f"error: {message}", file=sys.stderr)
        sys.exit(1)


@contextlib.contextmanager
def showing_log() -> Iterator[None]:
    """Prints what the library logs within the block: warnings on stderr, the rest on stdout."""
    logger = logging.getLogger("videogen_jax")
    if any(isinstance(handler, _Console) for handler in logger.handlers):
        yield
        return
    handler, level, propagates = _Console(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # packages such as Beam have handlers of their own at the root
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


class _Console(logging.Handler):
    """Plain lines that leave progress bars whole."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        tqdm.write(self.format(record), file=stream)
        stream.flush()


def traceback_wanted() -> bool:
    """Returns True if this process was started with `--traceback`, before any `--`."""
    return TRACEBACK in _own(sys.argv[1:])[0]


def _own(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits a command line at the first `--`, which begins the second part."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end:]
