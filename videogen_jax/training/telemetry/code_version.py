"""The version of the code, as saved in checkpoints."""

import importlib.metadata
import subprocess
from pathlib import Path

import jax

import videogen_jax


def code_version() -> dict[str, str]:
    """Returns the versions of this package and of JAX, and the git commit if it is a checkout.

    `-dirty` after the commit means that files differ from it.
    """
    try:
        version = importlib.metadata.version("videogen-jax")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    found = {"videogen_jax": version, "jax": jax.__version__}
    package = Path(videogen_jax.__file__).parent
    try:
        # A package that is installed inside another checkout is not tracked there.
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        found["git"] = _git(package, "describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.CalledProcessError):
        found["git"] = "none"
    return found


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
