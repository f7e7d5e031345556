"""Errors that a user can cause, by input, files, options, configuration or environment.

Scripts print them as one line (`cli.run`). Every other exception is a bug in the program and keeps
its traceback, whatever its type: NumPy and JAX raise `ValueError` too.
"""

from typing import Any

EXTRAS = {
    "apache_beam": "data",
    "array_record": "data",
    "cv2": "data",
    "gcsfs": "buckets",
    "gradio": "app",
    "grain": "train",
    "importlib_resources": "tfds",
    "jax_plugins": "plan-cuda",
    "libtpu": "plan",
    "matplotlib": "data",
    "msgpack": "data",
    "onnxruntime": "text-boxes",
    "optax": "train",
    "orbax": "train",
    "rapidocr": "text-boxes",
    "s3fs": "buckets",
    "scenedetect": "shots",
    "tensorboardX": "train",
    "upath": "buckets",
    "tensorflow_datasets": "tfds",
}
"""The packages that only some commands import, with the extra of pyproject.toml that lists each."""


class UserError(ValueError):
    """An invalid input; the message names it and says what was expected."""


class WrongType(UserError, TypeError):
    """A value of another type than expected; the message names both."""


class MissingFile(UserError, FileNotFoundError):
    """A required file or folder that does not exist; the message names it."""


class Diverged(UserError, FloatingPointError):
    """Training whose loss or gradient stays non-finite; the message gives the first such step."""


def require_positive(config: Any, *fields: str) -> None:
    """Raises UserError unless these fields of a configuration are above 0, each of their numbers.

    Args:
        config: a dataclass.
        *fields: names of fields with a number, or with a tuple of at least one.
    """
    for field in fields:
        value = getattr(config, field)
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or not all(number > 0 for number in numbers):
            raise UserError(
                f"{type(config).__name__}.{field} is {value}, expected positive numbers"
            )


def user_message(error: BaseException) -> str | None:
    """Returns the message for an error that a user can cause, or None for a bug.

    The former are a `UserError`, an `OSError` of the operating system (a file without read
    permission, a full disk), and a package of `EXTRAS` that is not installed.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        files = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([*([" -> ".join(files)] if files else []), error.strerror or str(error)])
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return missing_package(error.name)
    return None


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its type if it has none."""
    text = (user_message(error) or str(error)).strip()
    return (text or type(error).__name__).splitlines()[0]


def missing_package(package: str) -> str:
    """Returns a message that says how to install a package of `EXTRAS`."""
    return f'this needs the package {package}: pip install "videogen-jax[{EXTRAS[package]}]"'
