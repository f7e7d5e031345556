"""The latent cache that the tests of this folder read."""

from pathlib import Path

import pytest

from tests.support.latent_windows import write


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("caches") / "cache")
