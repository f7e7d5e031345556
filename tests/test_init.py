"""The names that `import videogen_jax` provides, and the modules that it loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import videogen_jax

HEAVY = "torch av PIL transformers tokenizers safetensors grain orbax optax tyro tqdm".split()


def test_importing_the_library_loads_nothing():
    assert loaded_by("import videogen_jax", ["jax", "flax", "numpy", *HEAVY]) == set()


def test_using_the_library_loads_jax_and_flax_and_no_heavy_module():
    loaded = loaded_by("import videogen_jax; videogen_jax.VideoGen", ["jax", "flax", *HEAVY])
    assert loaded == {"jax", "flax"}


def loaded_by(code: str, modules: list[str]) -> set[str]:
    """Returns those of the modules that are loaded after `code` in a new process."""
    code += f"; import sys; print(*({set(modules)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", videogen_jax.__all__)
def test_every_public_name_is_there(name):
    assert getattr(videogen_jax, name) is not None
    assert name in dir(videogen_jax)


def test_type_checkers_see_the_names_where_they_are_loaded_from():
    tree = ast.parse(Path(videogen_jax.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.name: str(node.module).removeprefix("videogen_jax.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == videogen_jax._MODULES
    assert sorted(imported) == sorted(videogen_jax.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'videogen_jax' has no attribute 'VideoGenn'"):
        videogen_jax.VideoGenn  # noqa: B018
