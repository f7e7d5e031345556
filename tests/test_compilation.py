"""The folder of compiled programs: on by default, bounded, and never in place of the user's own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from tests.support import micro_model
from videogen_jax import VideoGen
from videogen_jax.compilation import COMPILATION_CACHE, MAX_BYTES, enable_compilation_cache

DIRECTORY, SIZE = "jax_compilation_cache_dir", "jax_compilation_cache_max_size"
ROOT = Path(__file__).parents[1]
JAXS_OWN = {DIRECTORY: None, SIZE: -1}


def settings() -> dict[str, Any]:
    return {name: getattr(jax.config, name) for name in JAXS_OWN}


@pytest.fixture(autouse=True)
def unset():
    """JAX's configuration as in a fresh process."""
    before = settings()
    for name, value in JAXS_OWN.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_default_folder_is_bounded():
    enable_compilation_cache()
    assert COMPILATION_CACHE is not None
    assert settings() == {DIRECTORY: str(COMPILATION_CACHE), SIZE: MAX_BYTES}


def test_a_model_enables_it():
    VideoGen(micro_model.MICRO, {}, micro_model.TOKENIZER)
    assert settings() == {DIRECTORY: str(COMPILATION_CACHE), SIZE: MAX_BYTES}


@pytest.mark.parametrize("own", [{DIRECTORY: "/own"}, {DIRECTORY: "/own", SIZE: 7}])
def test_a_folder_of_the_users_own_stays(own):
    for name, value in own.items():
        jax.config.update(name, value)
    VideoGen(micro_model.MICRO, {}, micro_model.TOKENIZER)
    enable_compilation_cache()
    assert settings() == JAXS_OWN | own


def test_a_bound_of_the_users_own_stays():
    jax.config.update(SIZE, 7)
    enable_compilation_cache()
    assert settings() == {DIRECTORY: str(COMPILATION_CACHE), SIZE: 7}


def test_a_folder_that_is_named_replaces_another_and_has_no_bound(tmp_path):
    jax.config.update(DIRECTORY, "/own")
    enable_compilation_cache(tmp_path)
    assert settings() == {DIRECTORY: str(tmp_path), SIZE: -1}


def test_without_a_home_folder_nothing_is_kept():
    enable_compilation_cache(None)
    assert settings() == JAXS_OWN


PROGRAM = """
import jax, sys
import videogen_jax
from videogen_jax import compilation
assert jax.config.jax_compilation_cache_dir is None
folder = compilation.COMPILATION_CACHE
assert not folder.parent.exists()
compilation.MAX_BYTES = 5000  # of programs of about 2.4 kB
compilation.enable_compilation_cache()
assert not folder.parent.exists()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
for number in range(4):
    jax.jit(lambda x: x + number)(1.0)
sizes = [file.stat().st_size for file in folder.glob("*-cache")]
print(len(sizes), sum(sizes))
"""


def test_a_process_writes_nothing_before_it_compiles_and_never_more_than_the_bound(tmp_path):
    environment = {"HOME": str(tmp_path), "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    count, size = map(int, done.stdout.split())
    assert count == 2 and size <= 5000  # of 4
