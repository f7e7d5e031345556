"""Command lines that are parsed and not run."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import tyro


@contextlib.contextmanager
def parsing_only() -> Iterator[list[tuple[str, tuple[Any, ...], dict[str, Any]]]]:
    """Makes commands stop after they have parsed; the program, arguments and options of each."""
    seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    parse = tyro.cli

    def parse_only(main: Any, **options: Any) -> None:
        @functools.wraps(main)
        def stop(*arguments: Any, **named: Any) -> None:
            seen.append((options["prog"], arguments, named))

        parse(stop, **options)

    with mock.patch.object(tyro, "cli", parse_only):
        yield seen
