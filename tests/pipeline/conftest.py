"""The state of signals in the tests of the pipeline."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def default_interrupt() -> Iterator[None]:
    """Sets Python's own handler of SIGINT, also where a shell in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
