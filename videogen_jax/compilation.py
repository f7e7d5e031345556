"""The cache of compiled programs on disk, which later processes reuse."""

from pathlib import Path
from typing import Any

from videogen_jax.home import home

_HOME = home()
# JAX evicts by files that it writes only in bounded folders, so this is not the folder that
# versions without a bound have filled.
COMPILATION_CACHE = _HOME and _HOME / ".cache" / "videogen_jax" / "programs"
"""The default folder of compiled programs, None without a home folder."""

MAX_BYTES = 2**30
"""Bound of the default folder; the programs that were used longest ago are removed first."""


def enable_compilation_cache(directory: Path | None = COMPILATION_CACHE) -> None:
    """Keeps compiled programs on disk, for reuse by later processes; None keeps none.

    Commands and `VideoGen` call this. It only changes JAX's configuration: JAX creates the folder
    with the first program that it compiles, and keeps those that took a second or more. What the
    user has set counts more:

    - The default folder does not replace one that is set (`jax_compilation_cache_dir`, or the
      environment variable of that name in capitals).
    - A bound that is set (`jax_compilation_cache_max_size`) is kept. Folders other than the default
      one have no other bound.
    - `jax_enable_compilation_cache` set to False keeps nothing.

    Args:
        directory: the folder.
    """
    if directory is None:
        return
    import jax  # commands load it later than this module

    config: Any = jax.config  # Any: its options are registered at run time
    if directory == COMPILATION_CACHE:
        if config.jax_compilation_cache_dir is not None:
            return
        if config.jax_compilation_cache_max_size == -1:
            config.update("jax_compilation_cache_max_size", MAX_BYTES)
    config.update("jax_compilation_cache_dir", str(directory))
