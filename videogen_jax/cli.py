"""What all command-line scripts share: exit codes, one-line errors, the compilation cache."""

import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from videogen_jax.errors import user_message

COMPILATION_CACHE = Path.home() / ".cache" / "videogen_jax" / "compilation"

TRACEBACK = "--traceback"
_ABOUT_TRACEBACK = f"With {TRACEBACK} anywhere on the line, an error also prints its traceback."


def command(
    main: Callable[..., object],
    prog: str,
    *,
    description: str | None = None,
    config: Sequence[Any] = (),
    args: Sequence[str] | None = None,
    registry: Any = None,
) -> None:
    """Calls a script's body by the command line and exits as `run` does.

    Args:
        main: the body; tyro makes options of its parameters.
        prog: how the script is called, for `--help`.
        description: what it does, for `--help`, down to "Args:"; by default `main`'s docstring.
        config: tyro's markers.
        args: the command line; by default this process's own.
        registry: tyro's, for types that it reads otherwise.
    """
    import tyro

    own, rest = _own(sys.argv[1:] if args is None else args)
    about = inspect.cleandoc(description or main.__doc__ or "").partition("\n\nArgs:")[0]
    run(
        lambda: tyro.cli(
            main,
            prog=prog,
            description=f"{about}\n\n{_ABOUT_TRACEBACK}",
            args=[argument for argument in own if argument != TRACEBACK] + rest,
            config=tuple(config),
            registry=registry,
        )
    )


def run(main: Callable[[], object]) -> None:
    """Calls a script's body and exits: 0 done, 1 after an error, 2 (by tyro) for wrong usage.

    Errors that a user can cause are printed in one line, after their traceback if `--traceback` is
    on the command line. Any other exception is a bug and keeps its traceback.
    """
    try:
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


def traceback_wanted() -> bool:
    """Whether this process was started with `--traceback`; what follows `--` is not the script's."""
    return TRACEBACK in _own(sys.argv[1:])[0]


def _own(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line before the first `--`, and from it on."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end:]


def enable_compilation_cache(directory: Path = COMPILATION_CACHE) -> None:
    """Keeps compiled programs on disk, so that the next start of a script need not compile."""
    jax.config.update("jax_compilation_cache_dir", str(directory))
