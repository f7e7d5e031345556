"""Errors that a user can cause, by input, files, options, configuration or environment.

Scripts print them as one line (`cli.run`). Every other exception is a bug of the program, whatever
its type, and keeps its traceback: NumPy and JAX raise `ValueError` too.
"""

EXTRAS = {
    "apache_beam": "data",
    "array_record": "data",
    "cv2": "data",
    "grain": "train",
    "importlib_resources": "tfds",
    "jax_plugins": "plan-cuda",
    "libtpu": "plan",
    "matplotlib": "data",
    "msgpack": "data",
    "optax": "train",
    "orbax": "train",
    "tensorboardX": "train",
    "tensorflow_datasets": "tfds",
}
"""The packages that only some commands import, and the extra of pyproject.toml that has each."""


class UserError(ValueError):
    """What is wrong with an input; the message names it and says what was expected."""


class MissingFile(UserError, FileNotFoundError):
    """A file or folder that is needed is not there; the message names it."""


class Diverged(UserError, FloatingPointError):
    """Training whose loss or gradient stays not finite; the message says since which step."""


def user_message(error: BaseException) -> str | None:
    """What to tell the user of an error; None if it is a bug, whose traceback is needed.

    Tells of a `UserError`, of an `OSError` of the operating system, such as one for a file that
    may not be read or for a full disk, and of a package of `EXTRAS` that is not installed.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([*([" -> ".join(files)] if files else []), error.strerror or str(error)])
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return missing_package(error.name)
    return None


def missing_package(package: str) -> str:
    """Says how to install a package of `EXTRAS`."""
    return f'this needs the package {package}: pip install "videogen-jax[{EXTRAS[package]}]"'
