"""What all command-line scripts share: exit codes, one-line errors, the compilation cache."""

import sys
from collections.abc import Callable
from pathlib import Path

import jax

COMPILATION_CACHE = Path.home() / ".cache" / "videogen_jax" / "compilation"


def run(main: Callable[[], object]) -> None:
    """Calls a script's body and exits: 0 done, 1 after a clear error, 2 (by tyro) for wrong usage.

    Errors that name what is wrong with an input are printed in one line; any other exception is a
    bug and keeps its traceback.
    """
    try:
        main()
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def enable_compilation_cache(directory: Path = COMPILATION_CACHE) -> None:
    """Keeps compiled programs on disk, so that the next start of a script need not compile."""
    jax.config.update("jax_compilation_cache_dir", str(directory))
