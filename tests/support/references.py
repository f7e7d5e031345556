"""Imports of packages that the library is compared with (torch, diffusers), which may be missing.

`pytest --without-references` is for an environment without them. It skips a test that uses a
missing package and reports the package's name. Without that option a missing package is an import
error.
"""

import importlib
from typing import Any

import pytest

PACKAGES = ("torch", "diffusers")

skip_if_absent = False
"""What `--without-references` sets."""


class Absent:
    """A replacement for a module that cannot be imported: each use of it skips the test."""

    def __init__(self, package: str):
        self.package = package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspection by pytest, not a use
            raise AttributeError(name)
        pytest.skip(f"{self.package} is not installed")


def import_reference(module: str) -> Any:
    """Import a module of `PACKAGES`, or a module of the tests' helpers that imports one of them.

    Call it at the top of a test module, after the imports, and use only attributes of the result
    (`torch.Tensor` in an annotation needs `from __future__ import annotations`).
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not skip_if_absent or package not in PACKAGES:
            raise
        return Absent(package)
